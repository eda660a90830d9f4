"""Run every benchmark and write docs/benchmarks.md: `make bench`. Takes several minutes; nothing else should run."""

import subprocess
import sys
from pathlib import Path

from measure import machine

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `make bench` (this file is its output); each peer is measured in the same run, in turn with ours. Seconds
differ between machines and from hour to hour; the ratios are what is claimed. The corpus is half random bytes and half
real files of the machine, by a fixed seed.

"""


def main() -> None:
    parts = [HEAD, f"Machine: {machine()}.\n"]
    for script in ("erasure.py", "media.py", "carving.py", "sets.py", "requires.py", "images.py"):
        process = subprocess.run([sys.executable, str(HERE / script)], stdout=subprocess.PIPE, text=True, check=True)
        print(process.stdout, flush=True)
        parts.append(f"\n## {script}: `python bench/{script}`\n\n{process.stdout}")
    DOCUMENT.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
