"""What goes wrong on the hosts themselves: full disks, failing calls, kills. Each ends in our words, and goes on."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import ERRORS, STAGES, Fault, arguments, count_calls, go_on, needs_strace, prepare, run, side_of, strike
from two_sides import Side, Sides

SEED = 20_260_302
MIB = 1 << 20


@pytest.fixture(scope="module")
def prepared(first_day: Sides, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sides]:
    """Both sides just before each stage."""
    return {stage: prepare(first_day, tmp_path_factory.mktemp(stage), stage) for stage in STAGES}


@pytest.fixture(scope="module")
def calls(prepared: dict[str, Sides], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    needs_strace()
    return {
        stage: count_calls(sides.copy(tmp_path_factory.mktemp(f"count-{stage}")), stage)
        for stage, sides in prepared.items()
    }


# --- system calls -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fsync", "pwrite64", "rename", "other"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.system
def test_a_failing_call_ends_in_our_words_and_the_same_command_goes_on(
    stage: str, kind: str, calls: dict[str, dict[str, int]], prepared: dict[str, Sides], tmp_path: Path
) -> None:
    fault = pick(stage, kind, calls[stage], is_kill=False)
    sides = prepared[stage].copy(tmp_path)
    answer = strike(sides, stage, fault)
    if answer.code and stage == "send" and list(sides.stick.rglob("*.TGV")):
        # What failed came after the writing (the record of it): then it is a whole copy, and nothing less.
        sides.low.good("verify", sides.stick)
    go_on(sides, stage)


@pytest.mark.parametrize("kind", ["fsync", "pwrite64", "rename", "other"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.system
def test_sigkill_at_a_call_leaves_nothing_half_done_and_the_same_command_goes_on(
    stage: str, kind: str, calls: dict[str, dict[str, int]], prepared: dict[str, Sides], tmp_path: Path
) -> None:
    sides = prepared[stage].copy(tmp_path)
    strike(sides, stage, pick(stage, kind, calls[stage], is_kill=True))
    go_on(sides, stage)


def pick(stage: str, kind: str, counts: dict[str, int], *, is_kill: bool) -> Fault:
    """One call of the kind, the same for the same seed; printed, so that a failure can be had again."""
    chance = random.Random(f"{SEED} {stage} {kind} {is_kill}")
    names = sorted(counts) if kind == "other" else [kind]
    call = chance.choice([name for name in names if kind != "other" or name not in {"fsync", "pwrite64", "rename"}])
    fault = Fault(call, chance.randint(1, counts[call]), None if is_kill else ERRORS.get(call, "EIO"))
    print(f"seed {SEED}, stage {stage}: {fault}")
    return fault


@pytest.mark.parametrize("stage", STAGES)
def test_sigkill_at_random_moments_and_then_one_good_run(
    stage: str, prepared: dict[str, Sides], tmp_path: Path
) -> None:
    chance = random.Random(f"{SEED} {stage}")
    print(f"seed {SEED}, stage {stage}")
    sides = prepared[stage].copy(tmp_path)
    for _ in range(4):
        process = side_of(sides, stage).start(*arguments(sides, stage))
        time.sleep(chance.uniform(0.12, 0.5))
        process.kill()
        process.communicate()
        side_of(sides, stage).check()
    go_on(sides, stage)


# --- full disks -------------------------------------------------------------------------------


@contextmanager
def small_disk(point: Path, size: int) -> Iterator[Path]:
    """A tmpfs of `size` bytes; skips where it cannot be mounted."""
    point.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(point)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounts a small tmpfs: run as root, with CAP_SYS_ADMIN")
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", str(point)], capture_output=True, check=True)


def fill(folder: Path, left: int) -> Path:
    """Fill the disk under `folder` but for `left` bytes."""
    status = os.statvfs(folder)
    size = max(0, status.f_bavail * status.f_frsize - left)
    path = folder / "filler"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))
    return path


@pytest.mark.parametrize("stage", ["pack", "receive", "load"])
@pytest.mark.system
def test_a_full_disk_under_a_root_is_named_and_the_same_command_goes_on_when_there_is_room(
    stage: str, prepared: dict[str, Sides], tmp_path: Path
) -> None:
    made = prepared[stage].copy(tmp_path)
    name = "low" if stage == "pack" else "high"
    with small_disk(tmp_path / "disk", 64 * MIB) as disk:
        shutil.move(tmp_path / name, disk / name)
        (tmp_path / name).symlink_to(disk / name)
        sides = Sides(tmp_path, made.low, made.high)
        codes: list[int] = []
        # 4 MiB are kept for the ledger, 16 more on the high side for what else a bundle needs
        for left in (0, 64 << 10, 3 * MIB, 4 * MIB + (100 << 10), 4 * MIB + (700 << 10), 5 * MIB, 12 * MIB):
            filler = fill(disk, left)
            answer = run(sides, stage)
            codes.append(answer.code)
            filler.unlink()
            assert answer.is_ours, answer
            side_of(sides, stage).check()
            if answer.code == 0:
                break
            assert answer.code == 72, (left, answer)
            assert "tidegate: hint: make room" in answer.err
        assert codes[:3] == [72, 72, 72]
        go_on(sides, stage)


@pytest.mark.system
def test_a_medium_without_room_is_named_before_anything_is_written(prepared: dict[str, Sides], tmp_path: Path) -> None:
    sides = prepared["send"].copy(tmp_path)
    with small_disk(tmp_path / "small", MIB) as medium:
        sides.low.events()
        answer = sides.low.fails(22, "send", "1", medium)
        assert "needs" in answer.err
        assert "use a larger medium, or make room on this one" in answer.err
        assert list(medium.iterdir()) == []
        assert sides.low.events() == []  # nothing was begun
        sides.low.fails(22, "send", "1", medium, "--dry-run")
    go_on(sides, "send")


@pytest.mark.system
def test_a_full_disk_at_the_target_of_a_load_leaves_no_file_half_written(
    prepared: dict[str, Sides], tmp_path: Path
) -> None:
    sides = prepared["load"].copy(tmp_path)
    with small_disk(tmp_path / "out", 700 << 10) as target:
        answer = sides.high.fails(72, "load", "1", "--to", target)
        assert "tidegate: hint: make room" in answer.err
        whole = {path.name: path.read_bytes() for path in (sides.folder / "docs").iterdir()}
        for path in target.rglob("*.bin"):
            if path.parent == target / "docs":
                assert path.read_bytes() == whole[path.name]
        assert sides.high.events()[-1].startswith("load-failed failed/")
        subprocess.run(["mount", "-o", "remount,size=8m", str(target)], check=True)
        go_on(sides, "load")


def test_a_root_that_cannot_be_written_is_named(prepared: dict[str, Sides], tmp_path: Path) -> None:
    sides = prepared["receive"].copy(tmp_path)
    state = sides.high.root / "state.db"
    data = state.read_bytes()
    state.write_bytes(b"no database" * 1000)
    sides.high.fails(75, "receive", sides.stick)
    state.write_bytes(data)
    (sides.high.root / "state.db-wal").unlink(missing_ok=True)
    key = sides.high.root / "keys" / "ledger.key"
    key.chmod(0o644)
    sides.high.fails(83, "receive", sides.stick)
    key.chmod(0o600)
    moved = key.rename(key.with_suffix(".away"))
    sides.high.fails(83, "receive", sides.stick)
    moved.rename(key)
    sides.assert_untouched()
    go_on(sides, "receive")


def test_two_receives_at_once_take_turns_or_say_that_they_are_busy(prepared: dict[str, Sides], tmp_path: Path) -> None:
    sides = prepared["receive"].copy(tmp_path)
    processes = [sides.high.start("receive", sides.stick) for _ in range(4)]
    outcomes = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert {code for _, code in outcomes} <= {0, 74}, outcomes
    assert any(code == 0 for _, code in outcomes)
    go_on(sides, "receive")


def test_sides_are_what_these_tests_take_them_for(prepared: dict[str, Sides]) -> None:
    assert isinstance(prepared["load"].high, Side)
    assert prepared["load"].high.states() == ["quarantined"]
