"""Run every benchmark and write docs/benchmarks.md: `make bench`. Takes some 35 minutes; nothing else should run.

What a machine cannot do (no root, no namespaces, a peer that is not installed) its script says in one line, and the
others go on. Each heading says which options were used; more rounds and larger sizes are had by each script's own.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from measure import machine

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
HEAD = """# Benchmarks

Made by `make bench` (this file is its output); each peer is measured in the same run, in turn with ours. Seconds
differ between machines and from hour to hour; the ratios are what is claimed. The corpus is half random bytes and half
real files of the machine, by a fixed seed.

"""
FIGURES = "STREAM-FIGURES"  # in its place comes a file for bench/plot.py
#: script and options, in the order of the document
SCRIPTS: tuple[tuple[str, ...], ...] = (
    ("erasure.py",),
    ("media.py",),
    ("carving.py",),
    ("sets.py",),
    ("requires.py",),
    ("images.py",),
    ("stream.py", "--rounds", "3", "--synced", "--json", FIGURES),
    ("stream_whole.py",),
    ("stream_small.py",),
    ("stream_idle.py",),
)
PLOT = "stream-goodput.svg"


def run(script: str, *options: str) -> str:
    """A script's output; where it failed, its last word."""
    command = [sys.executable, str(HERE / script), *options]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    print(process.stdout, process.stderr, flush=True)
    if process.returncode == 0:
        return process.stdout
    words = process.stderr.strip().splitlines()
    return f"{process.stdout}\nNot finished here: {words[-1] if words else process.returncode}\n"


def main() -> None:
    wanted = set(sys.argv[1:])
    parts = [HEAD, f"Machine: {machine()}.\n"]
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "stream.json"
        for script, *options in SCRIPTS:
            if wanted and script not in wanted:
                continue
            output = run(script, *(str(figures) if option == FIGURES else option for option in options))
            shown = " ".join(["python", f"bench/{script}", *options]).replace(FIGURES, "stream.json")
            parts.append(f"\n## {script}: `{shown}`\n\n{output}")
            if script == "stream.py" and figures.is_file():
                run("plot.py", str(figures), str(DOCS / PLOT))
                parts.append(f"\n![Goodput against loss]({PLOT})\n")
    if wanted:
        return
    (DOCS / "benchmarks.md").write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
