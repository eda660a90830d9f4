"""Damaged and hostile media, and a full disk: what can be read counts, the rest is named, nothing is half taken."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from made_bundles import MadeBundle, content
from receiver_world import HighSide, LowSide, destroy_in_blocks, records

from tidegate.errors import MediumLostError, NothingOnMediumError
from tidegate_receiver.intake.outcomes import OutcomeKind

BLOBS = [content(1, 200_000), content(2, 70_000)]


# --- the medium -------------------------------------------------------------------------------


def files_of(low: LowSide, stick: Path) -> tuple[MadeBundle, list[bytes], tuple[Path, ...]]:
    blobs = [content(number, 300_000) for number in range(6)]
    bundle = low.bundle(blobs)
    return bundle, blobs, low.write(bundle, stick, file_bytes=512 << 10)


def test_renamed_and_swapped_files_are_known_by_their_content(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle, blobs, files = files_of(low, stick)
    first, second, *rest = files
    first.rename(first.with_name("holiday.jpg"))
    second.rename(first)
    rest[0].rename(second)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, blobs)


def test_duplicated_files_do_no_harm(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle, blobs, files = files_of(low, stick)
    for file in files:
        shutil.copy(file, file.with_suffix(".BAK"))
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, blobs)


def test_a_missing_file_is_named_as_what_is_missing(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle, _, files = files_of(low, stick)
    files[len(files) // 2].unlink()
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.INCOMPLETE, 21)
    assert high.state_of(bundle) == "incomplete"
    assert high.events() == ["receive/volume-missing"]


@pytest.mark.parametrize("how", ["truncated", "zero-filled", "bit-flipped", "empty"])
def test_a_damaged_file_is_damage_and_no_more(how: str, low: LowSide, high: HighSide, stick: Path) -> None:
    bundle, blobs, files = files_of(low, stick)
    victim = files[1]
    data = bytearray(victim.read_bytes())
    if how == "truncated":
        del data[len(data) // 2 :]
    elif how == "zero-filled":
        data[:] = bytes(len(data))
    elif how == "empty":
        data.clear()
    else:
        data[8192::50_000] = bytes(len(data[8192::50_000]))
    victim.write_bytes(data)
    outcome = high.receive_one(stick)
    assert outcome.kind in {OutcomeKind.RECEIVED, OutcomeKind.INCOMPLETE}
    if outcome.kind is OutcomeKind.RECEIVED:
        assert high.holds(bundle, blobs)
    else:
        assert outcome.exit_code == 21
        assert "can be repaired" in str(outcome.error)


def test_a_medium_where_nothing_can_be_recognised(low: LowSide, high: HighSide, stick: Path) -> None:
    _, _, files = files_of(low, stick)
    for file in files:
        file.write_bytes(bytes(100_000))
    with pytest.raises(NothingOnMediumError, match="nothing can be recognised in"):
        high.receive(stick)
    assert high.entries()[-1]["outcome"] == "nothing"


@pytest.mark.parametrize(("part", "what"), [(0, "cover"), (1, "head")])
def test_a_lost_cover_or_head_is_named(part: int, what: str, low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick)
    destroy_in_blocks(stick, part, beyond=100)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.INCOMPLETE, 21)
    assert what in str(outcome.error)
    assert high.events() == ["receive/volume-missing"]
    assert high.spooled() == []


def test_r_records_of_a_block_are_repaired_and_one_more_is_named(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path
) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    shutil.copytree(stick, tmp_path / "worse")
    destroy_in_blocks(stick, 2, beyond=0)
    destroy_in_blocks(tmp_path / "worse", 2, beyond=1)
    assert high.receive_one(tmp_path / "worse").kind is OutcomeKind.INCOMPLETE
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_hostile_names_on_a_medium_are_never_raw(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick)
    inside = stick / "TIDEGATE"
    os.mkfifo(inside / "fifo.TGV")
    (inside / "loop").symlink_to(stick)
    (inside / "\x1b]0;owned\x07.TGV").write_bytes(b"x" * 5000)
    (Path(os.fsdecode(os.fsencode(inside) + b"/\xff\xfe\n.TGV"))).write_bytes(b"x")
    (inside / ("n" * 255)).touch()
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    names = next(item for item in high.entries() if item["event"] == "media-inserted")["names"]
    assert isinstance(names, list)
    assert all(name.isprintable() for name in names)


def test_a_medium_that_was_pulled_out_before_anything_was_read(
    low: LowSide, high: HighSide, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    after = pull_out_after(monkeypatch, stick, reads=0)
    try:
        outcomes = high.receive(stick)
    except (MediumLostError, NothingOnMediumError):
        outcomes = ()
    assert after()
    assert all(outcome.kind is OutcomeKind.INCOMPLETE for outcome in outcomes)
    monkeypatch.undo()
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED


@pytest.mark.parametrize("reads", [3, 8, 12, 20, 30])
def test_a_medium_that_is_pulled_out_on_the_way_goes_on_when_it_is_back(
    reads: int, low: LowSide, high: HighSide, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, blobs, _ = files_of(low, stick)
    pull_out_after(monkeypatch, stick, reads=reads)
    try:
        outcomes = high.receive(stick)
    except (MediumLostError, NothingOnMediumError):
        outcomes = ()
    assert {outcome.kind for outcome in outcomes} <= {OutcomeKind.INCOMPLETE, OutcomeKind.RECEIVED}
    monkeypatch.undo()
    assert high.receive_one(stick).kind in {OutcomeKind.RECEIVED, OutcomeKind.DUPLICATE}
    assert high.holds(bundle, blobs)


def pull_out_after(monkeypatch: pytest.MonkeyPatch, stick: Path, *, reads: int) -> object:
    """From the given number of reads on, everything below `stick` answers EIO."""
    count = 0
    real_preadv, real_pread, real_open = os.preadv, os.pread, os.open

    def is_there(fd: int | None = None) -> None:
        nonlocal count
        if fd is not None and not str(Path(f"/proc/self/fd/{fd}").readlink()).startswith(str(stick)):
            return
        count += 1
        if count > reads:
            raise OSError(errno.EIO, "Input/output error")

    def preadv(fd: int, *more: object) -> int:
        is_there(fd)
        return real_preadv(fd, *more)  # type: ignore[arg-type]

    def pread(fd: int, *more: object) -> bytes:
        is_there(fd)
        return real_pread(fd, *more)  # type: ignore[arg-type]

    def open_(path: object, *more: object, **named: object) -> int:
        if count > reads and str(path).startswith(str(stick)):
            raise OSError(errno.EIO, "Input/output error")
        return real_open(path, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(os, "open", open_)
    return lambda: count > reads


# --- our own disk -----------------------------------------------------------------------------


def test_no_room_is_said_before_the_first_write(
    low: LowSide, high: HighSide, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate_receiver.intake import room

    low.write(low.bundle(BLOBS), stick)
    monkeypatch.setattr(room, "MARGIN_BYTES", 1 << 60)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FAILED, 72)
    assert high.events() == ["receive/disk-full"]
    assert high.spooled() == []
    monkeypatch.undo()
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED


def test_the_quota_counts_what_waits_in_quarantine(low: LowSide, high: HighSide, stick: Path, tmp_path: Path) -> None:
    low.write(low.bundle(BLOBS), stick)
    assert high.receive_one(stick, quota_bytes=400_000).kind is OutcomeKind.RECEIVED
    second = low.bundle([content(8, 200_000)], sequence=2)
    low.write(second, tmp_path / "second")
    outcome = high.receive_one(tmp_path / "second", quota_bytes=400_000)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FAILED, 72)
    assert high.receive_one(tmp_path / "second").kind is OutcomeKind.RECEIVED


@pytest.mark.parametrize("writes", range(0, 40, 3))
def test_a_disk_that_fills_up_at_any_stage(
    writes: int, low: LowSide, high: HighSide, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    count = 0
    real_pwrite, real_write = os.pwrite, os.write

    def is_full() -> None:
        nonlocal count
        count += 1
        if count > writes:
            raise OSError(errno.ENOSPC, "No space left on device")

    def pwrite(*given: object) -> int:
        is_full()
        return real_pwrite(*given)  # type: ignore[arg-type]

    def write(fd: int, data: bytes) -> int:
        if "/spool/" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            is_full()
        return real_write(fd, data)

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "write", write)
    outcome = high.receive_one(stick)
    monkeypatch.undo()
    if outcome.kind is not OutcomeKind.RECEIVED:
        assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FAILED, 72)
        assert not high.quarantine(bundle).exists()
        assert high.events() == ["receive/disk-full"]
        assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_every_refusal_is_one_entry_that_names_the_medium(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, audience=("plant-8",)), stick)
    high.receive_one(stick)
    refusal = high.entries()[-1]
    assert (refusal["event"], refusal["outcome"], refusal["reason"]) == ("refuse", "refused", "audience")
    assert refusal["medium"] == {"path": str(stick)}
    assert "is for plant-8; this is plant-7" in str(refusal["detail"])


def test_records_of_the_helper_cover_the_whole_volume(low: LowSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick)
    assert {record.part for record in records(stick)} == {0, 1, 2}


@pytest.mark.parametrize("where", [10, 2000], ids=["at its beginning", "behind its first root"])
def test_a_damaged_preamble_without_any_label_is_damage_and_no_refusal(
    where: int, low: LowSide, high: HighSide, stick: Path
) -> None:
    low.rotate()
    workspace = high.workspace()
    workspace.trust.advance(low.chain)
    workspace.state.close()
    (file,) = low.write(low.bundle(BLOBS), stick)
    data = bytearray(file.read_bytes())
    preamble = low.chain.to_bytes()
    assert len(preamble) > 2000
    for start in (data.index(preamble), data.rindex(preamble)):
        data[start + where : start + where + 40] = bytes(40)
    data[:4096] = data[-4096:] = bytes(4096)
    file.write_bytes(data)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
