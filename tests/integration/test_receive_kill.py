"""SIGKILL while receiving, at calls spread over the whole way: the next run ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_bundles import content
from receiver_world import HighSide, LowSide, SignedBundle

from tidegate.ledger.verify import verify_ledger
from tidegate_receiver.intake.outcomes import OutcomeKind

WORKER = Path(__file__).parents[1] / "support" / "receive_worker.py"
BLOBS = [content(number, 150_000) for number in range(6)]
POINTS = 24


def start(high: HighSide, stick: Path, *more: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parent)}
    command = [sys.executable, str(WORKER), str(high.root), str(stick), *more]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedBundle, LowSide, Path]:
    low, stick = LowSide(), tmp_path_factory.mktemp("stick")
    made = low.bundle(BLOBS, chunk_bytes=8192)
    low.write(made, stick)
    return made, low, stick


@pytest.fixture(scope="module")
def calls(bundle: tuple[SignedBundle, LowSide, Path], tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many calls reach the disk in a run that is not killed."""
    _, low, stick = bundle
    output, _ = start(HighSide.make(tmp_path_factory.mktemp("whole") / "high", low), stick).communicate(timeout=60)
    kind, count = output.split()
    assert kind == "received"
    return int(count)


def assert_as_if_nothing_had_happened(high: HighSide, made: SignedBundle) -> None:
    assert high.holds(made, BLOBS)
    assert high.state_of(made) == "quarantined"
    assert high.spooled() == []
    assert high.events().count("quarantine") == 1
    workspace = high.workspace()
    verify_ledger(high.root / "ledger", workspace.recorder.key)
    workspace.state.close()


@pytest.mark.parametrize("point", range(POINTS))
def test_killed_at_any_call_and_run_again(
    point: int, calls: int, bundle: tuple[SignedBundle, LowSide, Path], tmp_path: Path
) -> None:
    made, low, stick = bundle
    high = HighSide.make(tmp_path / "high", low)
    killed = start(high, stick, str(1 + calls * point // POINTS))
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert high.receive_one(stick).kind in {OutcomeKind.RECEIVED, OutcomeKind.DUPLICATE}
    assert_as_if_nothing_had_happened(high, made)


def test_killed_again_and_again_at_random_moments(bundle: tuple[SignedBundle, LowSide, Path], tmp_path: Path) -> None:
    made, low, stick = bundle
    high = HighSide.make(tmp_path / "high", low)
    chance = random.Random(3)
    for _ in range(6):
        process = start(high, stick)
        time.sleep(chance.uniform(0.2, 0.8))
        process.kill()
        process.communicate(timeout=60)
    assert high.receive_one(stick).kind in {OutcomeKind.RECEIVED, OutcomeKind.DUPLICATE}
    assert_as_if_nothing_had_happened(high, made)
