"""What every benchmark shares: a corpus of real and random files, commands timed as whole processes, ratios of medians.

Commands that are compared run in turn (A B C A B C …), so that a machine whose speed drifts drifts for all of them.
Seconds differ between machines; the ratios are what is claimed.
"""

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
SEED = 20261121
MADV_POPULATE_WRITE = 23  # madvise(2), Linux 5.14
TIDEGATE = str(Path(sys.executable).parent / "tidegate")


@dataclass(slots=True)
class Run:
    """One finished process."""

    seconds: float
    peak_mib: float
    output: str

    def result(self) -> dict:
        """The last JSON object that the command printed."""
        return json.loads([line for line in self.output.splitlines() if line.startswith("{")][-1])


@dataclass(slots=True)
class Series:
    """All runs of one row."""

    name: str
    runs: list[Run] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    @property
    def peak_mib(self) -> float:
        return max(run.peak_mib for run in self.runs)


def run(command: Sequence[str] | str, *, env: dict[str, str] | None = None, check: bool = True) -> Run:
    """Run one command to its end; peak memory is the largest process of its tree that was waited for.

    Python keeps what it compiles, as an installer would have left it: the round that is not counted writes it.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        shell=isinstance(command, str),
        executable="/bin/bash" if isinstance(command, str) else None,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, **(env or {})},
    )
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if check and process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}\n{output}")
    return Run(seconds, usage.ru_maxrss / 1024, output)


def warm_memory(mib: int = 2048) -> None:
    """Touch and free memory, so that what runs next is given pages that this machine has.

    A virtual machine whose host takes freed memory back (free page reporting) asks for each page anew: measured here,
    writing 1 GiB to tmpfs took 2.0 to 2.4 s then, and 0.3 to 0.4 s after this. Without it who comes after a run that
    wrote much is ahead of who comes first.
    """
    available = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    size = min(mib, int(available.split()[1]) // 1024 // 3) * MIB
    code = f"import mmap; mmap.mmap(-1, {size}).madvise({MADV_POPULATE_WRITE})"
    subprocess.run([sys.executable, "-c", code], check=True)


def in_turn(count: int, rows: dict[str, Callable[[], Run]]) -> dict[str, Series]:
    """Each row once per round, `count` rounds after one that is not counted; memory is touched before each."""
    series = {name: Series(name) for name in rows}
    for turn in range(count + 1):
        for name, action in rows.items():
            warm_memory()
            result = action()
            if turn:
                series[name].runs.append(result)
    return series


def ratio(faster: Series, slower: Series) -> float:
    """How many times as fast `faster` is: the median of the rounds' ratios."""
    return statistics.median(b.seconds / a.seconds for a, b in zip(faster.runs, slower.runs, strict=True))


def scratch() -> Path:
    """A folder on tmpfs where there is one, made anew for this process."""
    base = Path(os.environ.get("BENCH_DIR") or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"))
    folder = base / f"tidegate-bench-{os.getpid()}"
    folder.mkdir()
    return folder


def end_tidily() -> None:
    """Let SIGTERM end this process as Ctrl-C does: folders are removed, settings of the host are put back."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def make_corpus(folder: Path, mib: int) -> int:
    """Half random bytes, half real files of this machine; the number of bytes written.

    Made in a process of its own: the kernel counts what a parent had in memory for each child that it starts.
    """
    code = f"import measure, pathlib; print(measure.write_corpus(pathlib.Path({str(folder)!r}), {mib}))"
    here = Path(__file__).parent
    return int(subprocess.run([sys.executable, "-c", code], cwd=here, check=True, stdout=subprocess.PIPE).stdout)


def write_corpus(folder: Path, mib: int) -> int:
    """The work of `make_corpus`."""
    generator = random.Random(SEED)
    folder.mkdir(parents=True)
    total = 0
    half = mib * MIB // 2
    while total < half:
        size = min(generator.choice([1, 4, 16, 64]) * MIB, half - total)
        target = folder / "random" / f"{total // MIB:05d}.bin"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(generator.randbytes(size))
        total += size
    sources = list(_real_files())
    copy = 0
    while total < 2 * half:
        for path in sources:
            size = path.stat().st_size
            if total + size > 2 * half:
                continue
            target = folder / f"real{copy}" / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            total += size
            if 2 * half - total < 64 * 1024:
                return total
        copy += 1
    return total


def _real_files() -> Iterator[Path]:
    """Files of the running Python and of /usr, by name, none above 32 MiB."""
    for root in (sys.base_prefix, "/usr/lib", "/usr/share"):
        for path, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                file = Path(path) / name
                if file.is_file() and not file.is_symlink() and 0 < file.stat().st_size < 32 * MIB:
                    yield file


def tidegate(root: Path, *arguments: str, no_sync: bool = True, check: bool = True) -> Run:
    """Run the installed command on `root` with --json."""
    env = {"TIDEGATE_ROOT": str(root), **({"TIDEGATE_NO_SYNC": "1"} if no_sync else {})}
    return run([TIDEGATE, *arguments, "--json"], env=env, check=check)


def make_pair(folder: Path) -> tuple[Path, Path]:
    """A low and a high root that trust each other."""
    low, high = folder / "low", folder / "high"
    tidegate(low, "init", "low", "--channel", "bench", "--site", "bench-site")
    tidegate(high, "init", "high", "--site", "bench-site")
    pairing = folder / "bench.root"
    words = tidegate(low, "keys", "export", str(pairing)).result()["fingerprint"]
    tidegate(high, "trust", "add", str(pairing), "--fingerprint", words)
    return low, high


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores, {model}, Python {sys.version.split()[0]}"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table under a heading, printed and returned."""
    lines = [f"### {title}", "", "| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    text = "\n".join(lines) + "\n"
    print(text, flush=True)
    return text
