"""Faults at system calls, by strace: an error or a kill at the N-th call of a kind, in the command as it is installed.

A `Stage` is a command with all that went before it already done, so that a fault hits that command alone.
"""

import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from two_sides import Answer, Side, Sides

#: by which bytes and names reach a disk; `write` is left out: it is also how a command speaks
CALLS = (
    "fsync", "fdatasync", "syncfs", "pwrite64", "pwritev2", "rename", "renameat", "renameat2", "unlink", "mkdir",
    "ftruncate", "link", "linkat",
)  # fmt: skip
ERRORS = {"pwrite64": "ENOSPC", "pwritev2": "ENOSPC", "mkdir": "ENOSPC", "link": "EMLINK", "linkat": "EMLINK"}
STAGES = ("pack", "send", "receive", "load")


@dataclass(frozen=True)
class Fault:
    """What happens at call number `when` of `call`: an error, or (None) SIGKILL."""

    call: str
    when: int
    error: str | None

    @property
    def option(self) -> str:
        effect = f"error={self.error}" if self.error else "signal=SIGKILL"
        return f"inject={self.call}:{effect}:when={self.when}"

    def __str__(self) -> str:
        return f"{self.call} {self.when} {self.error or 'SIGKILL'}"


def needs_strace() -> None:
    """Skip where processes cannot be traced."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    tried = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("processes cannot be traced here: needs ptrace (CAP_SYS_PTRACE in a container)")


def prepare(first_day: Sides, folder: Path, stage: str) -> Sides:
    """Everything before `stage` is done."""
    sides = first_day.copy(folder)
    sides.make_files()
    sides.stick.mkdir(exist_ok=True)
    for earlier in STAGES[: STAGES.index(stage)]:
        run(sides, earlier, good=True)
    return sides


def side_of(sides: Sides, stage: str) -> Side:
    return sides.low if stage in {"pack", "send"} else sides.high


def arguments(sides: Sides, stage: str) -> tuple[str | Path, ...]:
    return {
        "pack": ("pack", sides.folder / "docs"),
        "send": ("send", "1", sides.stick),
        "receive": ("receive", sides.stick),
        "load": ("load", "1", "--to", sides.folder / "out"),
    }[stage]


def run(sides: Sides, stage: str, *, prefix: tuple[str, ...] = (), good: bool = False) -> Answer:
    answer = side_of(sides, stage).run(*arguments(sides, stage), prefix=prefix)
    assert not good or answer.code == 0, answer
    return answer


def count_calls(sides: Sides, stage: str) -> dict[str, int]:
    """How often the busiest thread makes each call in a run without a fault; strace counts by thread."""
    log = sides.folder / "calls"
    run(sides, stage, prefix=strace(f"trace={','.join(CALLS)}", log=log), good=True)
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        thread, _, rest = line.partition(" ")
        if "resumed>" in rest:  # the end of a call that another thread's line came between
            continue
        counts[thread, rest.lstrip().partition("(")[0]] += 1
    log.unlink()
    return {call: max(n for (_, name), n in counts.items() if name == call) for call in {name for _, name in counts}}


def strace(*expressions: str, log: str | Path = "/dev/null") -> tuple[str, ...]:
    """The words before a command. Stops at the calls of interest alone, but for signals: strace 6.1 injects none so."""
    options = [part for expression in expressions for part in ("-e", expression)]
    quickly = () if any(":signal=" in expression for expression in expressions) else ("--seccomp-bpf",)
    return ("strace", "-f", *quickly, "-qq", "-o", str(log), *options)


def strike(sides: Sides, stage: str, fault: Fault) -> Answer:
    """Run the stage with the fault; what it says is our own in any case, and nothing of it is half done."""
    side = side_of(sides, stage)
    answer = run(sides, stage, prefix=strace(f"trace={fault.call}", fault.option))
    if fault.error is None:
        # A later call may be another thread's this time; the first is always somebody's.
        assert answer.code == -signal.SIGKILL or (answer.code == 0 and fault.when > 1), answer
    else:
        assert answer.is_ours, answer
        if answer.code:
            assert "tidegate: error: " in answer.err, answer
            assert answer.code != 1, answer
    side.check()
    return answer


def go_on(sides: Sides, stage: str) -> None:
    """The same command again, then all that follow: the files arrive, and the ledger says it once."""
    for later in STAGES[STAGES.index(stage) :]:
        run(sides, later, good=True)
    sides.assert_loads("1")
    events = [f"{entry['event']} {entry['outcome']}" for entry in sides.high.entries()]
    for event in ("receive done", "quarantine done", "promote done"):
        assert events.count(event) == 1, events
    sides.low.check()
    assert sides.low.good("ledger", "verify").code == 0
    assert sides.high.spooled() == []
    assert not any(sides.high.quarantined().values())
    assert [name for name in sides.low.spooled() if not name.endswith((".tgb", ".cover"))] == []
    assert len(list(sides.stick.rglob("*.TGV"))) == 1
