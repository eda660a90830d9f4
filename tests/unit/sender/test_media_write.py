"""Writing a medium: exact sizes, others' files untouched, nothing half, and every fault by its name."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_volumes import (
    PREAMBLE,
    SIGNER,
    MemoryBundle,
    destroy_records,
    find_one,
    make_bundle,
    open_one,
    random_bytes,
    zero,
)

from tidegate import files as files_module
from tidegate.carrier.announcement import parse_announcement
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.parts import read_part
from tidegate.errors import (
    HostError,
    MediaError,
    MediaFullError,
    MediaNotFoundError,
    MediaWriteError,
    MediumLostError,
    TidegateError,
)
from tidegate.trust.keys import FileSigner
from tidegate_sender.media import file as media_file
from tidegate_sender.media import target as media_target
from tidegate_sender.media.writing import (
    ReadBack,
    WriteOutcome,
    WritePhase,
    WriteReport,
    estimate_volume,
    estimate_write,
    write_volume,
)

BUNDLE = make_bundle(300_000)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    folder = tmp_path / "medium"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"jpg")
    return folder


def write(medium: Path, bundle: MemoryBundle = BUNDLE, **options: Any) -> WriteReport:
    return write_volume(bundle, medium, **{"signer": SIGNER, "preamble": PREAMBLE, **options})


def everything(medium: Path) -> dict[str, bytes]:
    return {str(path.relative_to(medium)): path.read_bytes() for path in sorted(medium.rglob("*")) if path.is_file()}


def parts_of(medium: Path) -> tuple[bytes, ...]:
    reader = open_one(medium)
    return tuple(read_part(reader, part, 1 << 24) for part in range(3))


def test_what_is_written_is_read_and_the_report_says_so(medium: Path) -> None:
    report = write(medium)
    assert report.outcome is WriteOutcome.WRITTEN
    assert report.folder == medium / "TIDEGATE" / BUNDLE.bundle_id[:8]
    assert [path.name for path in report.files] == ["V001F001.TGV"]
    assert report.volume_bytes == report.files[0].stat().st_size
    assert report.may_be_removed
    assert report.read_back in (ReadBack.DIRECT, ReadBack.CACHE_DROPPED)
    assert parts_of(medium) == BUNDLE.parts
    assert open_one(medium).check().is_clean
    assert find_one(medium).preamble == PREAMBLE


@pytest.mark.parametrize("chunks", [0, 1, 4096, 999_999, 1 << 20, 5_000_000])
def test_bundles_of_all_sizes_cross(medium: Path, chunks: int) -> None:
    bundle = make_bundle(chunks)
    report = write(medium, bundle)
    assert parts_of(medium) == bundle.parts
    assert estimate_volume(bundle, preamble=PREAMBLE) == report.volume_bytes


def test_a_bundle_larger_than_a_file_takes_several(medium: Path) -> None:
    bundle = make_bundle(900_000)
    report = write(medium, bundle, file_bytes=1 << 19)
    assert len(report.files) == 4
    assert all(path.stat().st_size <= 1 << 19 for path in report.files)
    assert parts_of(medium) == bundle.parts


def test_two_writings_differ_in_their_set_alone(medium: Path, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    first, second = write(medium).announcement, write(tmp_path / "second").announcement
    assert first.set != second.set
    assert replace(first, set=second.set) == second


def test_progress_rises_to_the_whole_in_each_phase(medium: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    report = write(medium, make_bundle(5_000_000), progress=lambda *values: seen.append(values))
    for phase in (WritePhase.WRITE, WritePhase.READ_BACK):
        done = [done for done, total, name in seen if name == phase]
        assert done == sorted(done)
        assert done[-1] == report.volume_bytes
    assert {total for _, total, _ in seen} == {report.volume_bytes}


def test_each_file_and_its_folders_are_synced(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))  # noqa: PTH115, PTH119
        real(fd)

    monkeypatch.setattr(files_module.os, "fsync", fsync)
    report = write(medium, make_bundle(900_000), file_bytes=1 << 19)
    names = [path.name for path in report.files]
    assert synced == ["medium", "TIDEGATE", *names, report.folder.name]


def test_without_sync_nothing_is_synced_and_the_medium_must_stay(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module.SYNCS, "enabled", False)
    report = write(medium, sync=False, read_back=False)
    assert not report.may_be_removed
    assert report.read_back is ReadBack.SKIPPED
    assert parts_of(medium) == BUNDLE.parts


# --- what is there already --------------------------------------------------------------------


def test_a_whole_copy_is_left_as_it_is(medium: Path) -> None:
    write(medium)
    before = everything(medium)
    report = write(medium)
    assert report.outcome is WriteOutcome.ALREADY_THERE
    assert everything(medium) == before
    assert estimate_write(BUNDLE, medium, preamble=PREAMBLE).has_copy


def test_a_whole_copy_under_another_name_is_found(medium: Path) -> None:
    (path,) = write(medium).files
    path.rename(path.with_name("RENAMED.BIN"))
    assert write(medium).outcome is WriteOutcome.ALREADY_THERE


@pytest.mark.parametrize("damage", ["record", "truncated", "zeroed", "missing file", "second place"])
def test_a_copy_that_is_not_whole_is_replaced(medium: Path, damage: str) -> None:
    bundle = make_bundle(900_000)
    files = write(medium, bundle, file_bytes=1 << 19).files
    if damage == "record":
        destroy_records(open_one(medium), 2, 0, (3,))
    elif damage == "second place":
        destroy_records(open_one(medium), 0, 0, (0,), copy=1)
    elif damage == "truncated":
        os.truncate(files[1], 5000)
    elif damage == "zeroed":
        zero(files[1], 0, files[1].stat().st_size)
    else:
        files[1].unlink()
    report = write(medium, bundle, file_bytes=1 << 19)
    assert report.outcome is WriteOutcome.REPLACED
    assert open_one(medium).check().is_clean
    assert set(everything(medium)) == {"holiday.jpg", *(str(path.relative_to(medium)) for path in report.files)}


@pytest.mark.parametrize("change", ["cover", "key", "preamble", "redundancy"])
def test_a_whole_copy_with_other_signatures_or_protection_is_replaced(medium: Path, change: str) -> None:
    write(medium)
    bundle, options = BUNDLE, {}
    if change == "cover":
        bundle = MemoryBundle((random_bytes(700, 99), *BUNDLE.parts[1:]))
    elif change == "key":
        options = {"signer": FileSigner(bytes(32), "another")}
    elif change == "preamble":
        options = {"preamble": PREAMBLE + b"more"}
    else:
        options = {"redundancy": 0.3}
    assert write(medium, bundle, **options).outcome is WriteOutcome.REPLACED
    assert len(find_volumes(medium).volumes) == 1
    assert parts_of(medium) == bundle.parts


def test_more_files_of_an_older_copy_do_not_stay_behind(medium: Path) -> None:
    bundle = make_bundle(900_000)
    old = write(medium, bundle, file_bytes=1 << 19).files
    os.truncate(old[0], 9000)
    assert len(write(medium, bundle).files) == 1
    assert len(list(old[0].parent.iterdir())) == 1


def test_several_bundles_share_a_medium(medium: Path) -> None:
    other = make_bundle(100_000, seed=5)
    write(medium)
    before = everything(medium)
    write(medium, other)
    after = everything(medium)
    assert before.items() <= after.items()
    assert len(find_volumes(medium).volumes) == 2


def test_another_bundles_files_in_the_folder_of_our_name_stay(medium: Path) -> None:
    other = make_bundle(100_000, seed=5)
    theirs = write(medium, other).folder
    theirs.rename(theirs.with_name(BUNDLE.bundle_id[:8]))
    before = everything(medium)
    report = write(medium)
    assert report.folder.name == BUNDLE.bundle_id[:8] + ".002"
    assert before.items() <= everything(medium).items()


def test_a_strangers_file_in_our_folder_stays(medium: Path) -> None:
    folder = medium / "TIDEGATE" / BUNDLE.bundle_id[:8]
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_bytes(b"notes")
    os.truncate(write(medium).files[0], 9000)
    assert write(medium).outcome is WriteOutcome.REPLACED
    assert (folder / "notes.txt").read_bytes() == b"notes"


def test_what_an_early_pulled_medium_left_under_our_name_makes_place(medium: Path) -> None:
    folder = medium / "TIDEGATE" / BUNDLE.bundle_id[:8]
    folder.mkdir(parents=True)
    (folder / "V001F001.TGV").write_bytes(bytes(20_000))
    assert write(medium).outcome is WriteOutcome.REPLACED
    assert parts_of(medium) == BUNDLE.parts


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_under_our_name_is_not_ours(medium: Path, kind: str) -> None:
    folder = medium / "TIDEGATE" / BUNDLE.bundle_id[:8]
    folder.mkdir(parents=True)
    place = folder / "V001F001.TGV"
    target = medium.parent / "elsewhere"
    target.write_bytes(b"precious")
    if kind == "link":
        place.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    report = write(medium)
    assert report.folder.name.endswith(".002")
    assert target.read_bytes() == b"precious"
    assert os.path.lexists(place)


def test_a_folder_that_is_a_link_is_not_entered(medium: Path) -> None:
    elsewhere = medium.parent / "elsewhere"
    elsewhere.mkdir()
    (medium / "TIDEGATE").mkdir()
    (medium / "TIDEGATE" / BUNDLE.bundle_id[:8]).symlink_to(elsewhere)
    assert write(medium).folder.name.endswith(".002")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_tidegate_that_is_no_folder_is_refused(medium: Path, kind: str) -> None:
    if kind == "link":
        (medium / "TIDEGATE").symlink_to(medium.parent)
    else:
        (medium / "TIDEGATE").write_bytes(b"")
    with pytest.raises(MediaError, match="is no folder"):
        write(medium)


# --- room and time ----------------------------------------------------------------------------


class _Status:
    """What statvfs says, with the free space of a test."""

    def __init__(self, free: int, cluster: int = 4096, blocks: int = 1000) -> None:
        self.f_frsize, self.f_bavail, self.f_blocks = cluster, free // cluster, blocks


def test_a_medium_without_room_is_refused_before_the_first_write(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_target.os, "statvfs", lambda _path: _Status(100_000))
    needed = estimate_volume(BUNDLE, preamble=PREAMBLE) + 2 * 4096
    with pytest.raises(MediaFullError, match=rf"needs .*\({needed} bytes\), free are .*\(98304 bytes\)"):
        write(medium)
    assert everything(medium) == {"holiday.jpg": b"jpg"}
    assert not (medium / "TIDEGATE").exists()


@pytest.mark.parametrize("cluster", [4096, 32768, 131072])
def test_room_is_counted_exactly_in_clusters(medium: Path, monkeypatch: pytest.MonkeyPatch, cluster: int) -> None:
    clusters = -(-estimate_volume(BUNDLE, preamble=PREAMBLE) // cluster) + 2  # and one for each new folder
    monkeypatch.setattr(media_target.os, "statvfs", lambda _path: _Status(clusters * cluster, cluster))
    assert estimate_write(BUNDLE, medium, preamble=PREAMBLE).room.is_enough
    monkeypatch.setattr(media_target.os, "statvfs", lambda _path: _Status((clusters - 1) * cluster, cluster))
    estimate = estimate_write(BUNDLE, medium, preamble=PREAMBLE)
    assert not estimate.room.is_enough
    assert estimate.room.needed == clusters * cluster


def test_an_old_copy_counts_as_room(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(write(medium).files[0], 400_000)
    monkeypatch.setattr(media_target.os, "statvfs", lambda _path: _Status(0))
    room = estimate_write(BUNDLE, medium, preamble=PREAMBLE).room
    assert room.available is not None
    assert room.available >= 390_000


def test_a_file_system_that_does_not_know_its_room_is_tried(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_target.os, "statvfs", lambda _path: _Status(0, blocks=0))
    assert write(medium).outcome is WriteOutcome.WRITTEN


def test_an_estimate_measures_the_speed_and_leaves_nothing(medium: Path) -> None:
    estimate = estimate_write(BUNDLE, medium, preamble=PREAMBLE, measure=True)
    assert estimate.seconds is not None
    assert 0 < estimate.seconds[0] < estimate.seconds[1]
    assert everything(medium) == {"holiday.jpg": b"jpg"}


# --- faults -----------------------------------------------------------------------------------


def fail_writes(monkeypatch: pytest.MonkeyPatch, number: int, *, after: int = 0) -> None:
    real = os.pwritev
    left = [after]

    def pwritev(fd: int, views: Sequence[memoryview], offset: int) -> int:
        if left[0] == 0:
            raise OSError(number, os.strerror(number))
        left[0] -= 1
        return real(fd, views, offset)

    monkeypatch.setattr(media_file.os, "pwritev", pwritev)


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, MediaFullError),
        (errno.EDQUOT, MediaFullError),
        (errno.EIO, MediumLostError),
        (errno.ENODEV, MediumLostError),
        (errno.ESTALE, MediumLostError),
        (errno.ENOTCONN, MediumLostError),
        (errno.EROFS, HostError),
        (errno.EFBIG, MediaWriteError),
    ],
)
def test_a_write_that_fails_leaves_nothing_of_the_bundle(
    medium: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[TidegateError], after: int
) -> None:
    bundle = make_bundle(900_000)
    before = everything(medium)
    fail_writes(monkeypatch, number, after=after)
    with pytest.raises(error) as caught:
        write(medium, bundle, file_bytes=1 << 19)
    assert caught.value.exit_code == error.exit_code
    assert caught.value.hint
    assert everything(medium) == before
    assert not (medium / "TIDEGATE").exists()


def test_a_failing_sync_is_a_lost_medium(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate_sender.media.file.sync_fd", raise_os_error(errno.EIO))
    with pytest.raises(MediumLostError):
        write(medium)
    assert everything(medium) == {"holiday.jpg": b"jpg"}


def test_a_medium_that_vanishes_while_it_is_written_is_lost(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(900_000)

    def vanish(_done: int, _total: int, _phase: str) -> None:
        shutil.rmtree(medium, ignore_errors=True)

    with pytest.raises(MediumLostError):
        write(medium, bundle, file_bytes=1 << 19, progress=vanish)


def test_a_bundle_that_cannot_be_read_leaves_nothing(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_bundle: MemoryBundle, part: int, _offset: int, _view: memoryview) -> None:
        raise HostError(f"reading part {part}")

    monkeypatch.setattr(MemoryBundle, "read_into", fail)
    with pytest.raises(HostError, match="reading part"):
        write(medium)
    assert everything(medium) == {"holiday.jpg": b"jpg"}


def test_an_interruption_leaves_nothing(medium: Path) -> None:
    def interrupt(_done: int, _total: int, _phase: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(medium, progress=interrupt)
    assert everything(medium) == {"holiday.jpg": b"jpg"}


def test_no_medium_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError):
        write(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(MediaNotFoundError, match="is no folder"):
        write(tmp_path / "file")


def test_short_writes_are_continued(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def pwritev(fd: int, views: Sequence[memoryview], offset: int) -> int:
        some = [*views[:2], views[2][:1024]] if len(views) > 2 else [views[0][: max(1, len(views[0]) // 2)]]
        return real(fd, some, offset)

    monkeypatch.setattr(media_file.os, "pwritev", pwritev)
    write(medium)
    monkeypatch.undo()
    assert parts_of(medium) == BUNDLE.parts


def test_a_file_system_that_refuses_direct_writes_gets_ordinary_ones(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_file, "set_direct", lambda _fd, _wanted: False)
    monkeypatch.setattr(media_file, "UNSYNCED_MAX_BYTES", 100_000)
    write(medium)
    assert parts_of(medium) == BUNDLE.parts


def raise_os_error(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_the_announcement_on_the_medium_is_the_reports(medium: Path) -> None:
    report = write(medium)
    assert parse_announcement(find_one(medium).frame) == report.announcement
