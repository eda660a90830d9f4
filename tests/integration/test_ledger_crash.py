"""Whatever happens to the process that records, no entry that was committed is lost or doubled, and the log verifies.

SIGKILL at random moments; SIGKILL and errors at every system call of a drain, injected by strace; two writers at once.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import needs_strace, strace
from ledgers import open_desk

from tidegate.ledger.listing import list_recorded
from tidegate.ledger.verify import OutsideCheckpoint, verify_ledger
from tidegate.state.outbox import count_waiting

WORKER = Path(__file__).parents[1] / "support" / "ledger_worker.py"
#: the system calls that a drain changes something with
CALLS = ("fsync", "fdatasync", "rename", "mkdir", "unlink", "pwrite64", "write")
BEFORE = 254  # entries before the worker starts: its own cross the border of a tile


def worker(root: Path, count: int, every: int, *name: str) -> list[str]:
    return [sys.executable, str(WORKER), str(root), str(count), str(every), *name]


def committed(output: str) -> list[str]:
    """The events that a worker said it had committed; a last line that was cut off by the kill says nothing."""
    return [line for line in output.splitlines(keepends=True) if line.startswith("worker") and line.endswith("\n")]


def assert_nothing_lost_or_doubled(root: Path, told: list[str], before: bytes | None = None) -> None:
    """Recover as the next command would, and compare the ledger with what was told."""
    with open_desk(root, wait_seconds=20) as desk:
        desk.recorder.check()
        with desk.state.reading() as tx:
            assert count_waiting(tx) == 0
            events = [row[0] for row in tx.execute("SELECT event_id FROM outbox ORDER BY id")]
            numbers = [row[0] for row in tx.execute("SELECT ledger_index FROM outbox ORDER BY id")]
        recorded = [item.text("event_id") for item in list_recorded(desk.folder)]
        assert recorded == events
        assert numbers == list(range(len(events)))
        told_events = [line.strip() for line in told]
        assert [event for event in recorded if event in set(told_events)] == told_events
        against = [OutsideCheckpoint("before", before)] if before else []
        verify_ledger(desk.folder, desk.recorder.key, against=against)


def test_sigkill_at_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    told: list[str] = []
    for name in range(6):
        output = tmp_path / f"output-{name}"
        with output.open("wb") as file:
            process = subprocess.Popen(worker(tmp_path / "root", 100_000, 3, str(name)), stdout=file)
            while output.stat().st_size < 200 and process.poll() is None:
                time.sleep(0.005)
            time.sleep(moments.random() * 0.2)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        told += committed(output.read_text())
    assert len(told) > 6
    assert_nothing_lost_or_doubled(tmp_path / "root", told)


def test_two_writers_take_turns(tmp_path: Path) -> None:
    root = tmp_path / "root"
    open_desk(root).state.close()
    both = [subprocess.Popen(worker(root, 40, 2, name), stdout=subprocess.PIPE, text=True) for name in "ab"]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    for output in outputs:
        assert_nothing_lost_or_doubled(root, committed(output))
    assert len(list_recorded(root / "ledger")) == 80


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose log ends just before the border of a tile."""
    root = tmp_path_factory.mktemp("prepared") / "root"
    with open_desk(root) as desk:
        desk.record(BEFORE)
    return root


def run_injected(prepared: Path, folder: Path, call: str, fault: str, when: int) -> tuple[Path, int, str]:
    """Run the worker with one fault in its `when`th call; (root, exit code, what it told)."""
    root = Path(shutil.copytree(prepared, folder / f"{call}-{when}"))
    inject = f"inject={call}:{fault}:when={when}"
    command = [*strace(f"trace={call}", inject), *worker(root, 4, 2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return root, done.returncode, done.stdout


@pytest.fixture(scope="module")
def call_counts(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often a worker that nothing happens to makes each call."""
    needs_strace()
    folder = tmp_path_factory.mktemp("counts")
    root = Path(shutil.copytree(prepared, folder / "count"))
    log = folder / "strace.log"
    command = [*strace(f"trace={','.join(CALLS)}", log=log), *worker(root, 4, 2)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    lines = log.read_text(errors="replace").splitlines()
    return {call: sum(f" {call}(" in line for line in lines) for call in CALLS}


def spread(count: int, most: int) -> list[int]:
    """1 … count, or `most` of them from first to last."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(i * (count - 1) / (most - 1)) for i in range(most)})


@pytest.mark.system
@pytest.mark.parametrize("call", CALLS)
def test_sigkill_at_any_system_call_leaves_the_old_log_or_the_new_one(
    prepared: Path, tmp_path: Path, call_counts: dict[str, int], call: str
) -> None:
    before = (prepared / "ledger" / "checkpoint").read_bytes()
    for when in spread(call_counts[call], 12):
        root, code, told = run_injected(prepared, tmp_path, call, "signal=KILL", when)
        assert code == -signal.SIGKILL, (call, when, code)
        with open_desk(root) as desk:
            verify_ledger(desk.folder, desk.recorder.key, against=[OutsideCheckpoint("before", before)])
        assert_nothing_lost_or_doubled(root, committed(told), before)
        shutil.rmtree(root)


@pytest.mark.system
@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC"])
@pytest.mark.parametrize("call", CALLS[:-1])  # write is the worker's own voice, too
def test_an_error_at_any_system_call_is_ours_and_loses_nothing(
    prepared: Path, tmp_path: Path, call_counts: dict[str, int], call: str, fault: str
) -> None:
    before = (prepared / "ledger" / "checkpoint").read_bytes()
    for when in spread(call_counts[call], 6):
        root, code, told = run_injected(prepared, tmp_path, call, fault, when)
        # 72 full disk, 73 refused by the host, 75 SQLite's word for some of it; 0: an unlink that may fail
        assert code in {0, 70, 72, 73, 75}, (call, when, code)
        assert_nothing_lost_or_doubled(root, committed(told), before)
        shutil.rmtree(root)
