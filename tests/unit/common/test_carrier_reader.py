"""Symbols off a damaged volume: what can be mended is, what cannot is named, nothing raises."""

import errno
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from made_volumes import (
    MemoryBundle,
    destroy_records,
    find_one,
    flip,
    make_bundle,
    open_one,
    record_place,
    runs_of,
    small_plan,
    write_planned,
    zero,
)

from tidegate.carrier import positional
from tidegate.carrier.announcement import CHUNKS, COVER, HEAD, parse_announcement
from tidegate.carrier.parts import read_part
from tidegate.carrier.reader import VolumeReader
from tidegate.erasure.buffer import GroupBuffer
from tidegate.errors import MediumLostError, VolumeMissingError

BUNDLE = make_bundle(500_000)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    write_planned(BUNDLE, tmp_path, small_plan(BUNDLE, file_bytes=262144))
    return tmp_path


def read_all(reader: VolumeReader) -> tuple[bytes, bytes, bytes]:
    parts = [read_part(reader, part, 1 << 20) for part in (COVER, HEAD, CHUNKS)]
    return parts[0], parts[1], parts[2]


def files_of(medium: Path) -> list[Path]:
    return sorted(medium.glob("TIDEGATE/*/*.TGV"))


def test_an_undamaged_volume_gives_every_byte_and_reads_each_record_once(medium: Path) -> None:
    reader = open_one(medium)
    assert read_all(reader) == BUNDLE.parts
    assert reader.stats.is_clean
    expected = sum(
        reader.announcement.geometry(part).group_record_count(group)
        for part in range(3)
        for group in reader.groups(part)
    )
    assert reader.stats.records_read == expected


def test_check_reads_both_places_of_cover_and_head(medium: Path) -> None:
    reader = open_one(medium)
    seen: list[tuple[int, int]] = []
    stats = reader.check(lambda done, total: seen.append((done, total)))
    assert stats.is_clean
    assert stats.bytes_read == reader.layout.record_bytes == seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("block", [0, 5, 15])
def test_as_many_destroyed_records_of_a_block_as_repairs_are_mended(medium: Path, block: int) -> None:
    destroy_records(open_one(medium), CHUNKS, block, (0, 8))
    reader = open_one(medium)
    assert read_all(reader) == BUNDLE.parts
    assert reader.stats.records_damaged == 2


@pytest.mark.parametrize("block", [0, 5, 15])
def test_one_more_destroyed_record_is_refused_by_block_and_counts(medium: Path, block: int) -> None:
    destroy_records(open_one(medium), CHUNKS, block, (0, 3, 8))
    with pytest.raises(VolumeMissingError, match=f"chunks: block {block} has 3 of (9|10) pieces .*, 2 can be repaired"):
        read_part(open_one(medium), CHUNKS, 1 << 20)


def test_one_flipped_bit_is_one_erasure(medium: Path) -> None:
    flip(*record_place(open_one(medium), CHUNKS, 3, 2))
    reader = open_one(medium)
    assert read_all(reader) == BUNDLE.parts
    assert reader.stats.records_damaged == 1


@pytest.mark.parametrize("part", [COVER, HEAD])
@pytest.mark.parametrize("copy", [0, 1])
def test_a_wholly_destroyed_cover_or_head_is_taken_from_its_other_place(medium: Path, part: int, copy: int) -> None:
    destroy_records(open_one(medium), part, 0, range(3), copy)
    assert read_all(open_one(medium)) == BUNDLE.parts


def test_two_half_destroyed_places_of_the_head_make_one_whole(tmp_path: Path) -> None:
    bundle = make_bundle(head=60_000)
    write_planned(bundle, tmp_path, small_plan(bundle))
    destroy_records(open_one(tmp_path), HEAD, 0, range(5), 0)
    destroy_records(open_one(tmp_path), HEAD, 0, range(5, 10), 1)
    assert read_part(open_one(tmp_path), HEAD, 1 << 20) == bundle.parts[HEAD]


def test_runs_of_repairs_alone_are_left_out_until_they_are_needed(tmp_path: Path) -> None:
    bundle = make_bundle(4096 * 120)
    plan = small_plan(bundle)
    parts = (*plan.parts[:2], replace(plan.parts[2], source_count=60, repair_count=70, interleave=2))
    plan = replace(plan, parts=parts, spans=tuple((part, 0, 1) for part in (0, 1, 2, 1, 0)))
    write_planned(bundle, tmp_path, plan)
    for destroyed, runs_read in ((0, 2), (1, 5)):
        destroy_records(open_one(tmp_path), CHUNKS, 0, range(destroyed))
        reader = open_one(tmp_path)
        buffer = GroupBuffer(reader.announcement.geometry(CHUNKS))
        buffer.bind(0)
        reader.read_group(CHUNKS, 0, buffer, repairs=False)
        assert -(-(reader.stats.records_read + reader.stats.records_unread) // 64) == runs_read
        assert reader.stats.records_damaged == destroyed


def test_every_second_index_block_destroyed_costs_nothing(medium: Path) -> None:
    reader = open_one(medium)
    runs = [run for section in range(reader.layout.section_count) for run in reader.layout.section_runs(section)]
    for run in runs[::2]:
        zero(reader.found.files[run.file_number].path, run.offset, run.offset + 4096)
    again = open_one(medium)
    assert read_all(again) == BUNDLE.parts
    assert again.stats.records_damaged == 0
    assert again.stats.index_blocks_damaged > 0


def test_two_neighbouring_index_blocks_destroyed_lose_the_run_between(medium: Path) -> None:
    reader = open_one(medium)
    first, second = list(runs_of(reader, CHUNKS))[:2]
    path = reader.found.files[1].path
    zero(path, first.offset, first.offset + 4096)
    zero(path, second.offset, second.offset + 4096)
    again = open_one(medium)
    with pytest.raises(VolumeMissingError):
        read_part(again, CHUNKS, 1 << 20)
    assert again.stats.records_damaged == first.record_count


def test_a_hole_as_long_as_a_group_bears_is_mended_wherever_it_lies(medium: Path) -> None:
    # Groups of 2 blocks with 2 repairs bear 4 neighbouring records, index blocks included or not.
    reader = open_one(medium)
    run = list(runs_of(reader, CHUNKS))[3]
    path = reader.found.files[run.file_number].path
    original = path.read_bytes()
    for start in range(run.offset - 2 * 4096, run.offset + 3 * 4096, 1000):
        path.write_bytes(original)
        zero(path, start, start + 3 * 4096)
        assert read_part(open_one(medium), CHUNKS, 1 << 20) == BUNDLE.parts[CHUNKS]


def test_a_truncated_file_is_reported_short_and_read_as_far_as_it_goes(medium: Path) -> None:
    path = files_of(medium)[-1]
    size = path.stat().st_size
    os.truncate(path, size - 30_000)
    reader = open_one(medium)
    assert [(place.number, file.size) for place, file in reader.short_files] == [(len(files_of(medium)), size - 30_000)]
    # What is gone is the second place of cover and head alone.
    assert read_all(reader) == BUNDLE.parts
    assert not reader.check().is_clean


def test_a_missing_file_is_named_and_its_records_are_erasures(medium: Path) -> None:
    files_of(medium)[1].unlink()
    reader = open_one(medium)
    assert [file.number for file in reader.missing_files] == [2]
    with pytest.raises(VolumeMissingError):
        read_part(reader, CHUNKS, 1 << 20)
    assert reader.stats.records_unread > 0


def test_a_zero_filled_file_is_lost_and_nothing_else(medium: Path) -> None:
    path = files_of(medium)[1]
    path.write_bytes(bytes(path.stat().st_size))
    reader = open_one(medium)
    assert [file.number for file in reader.missing_files] == [2]
    assert read_part(reader, HEAD, 1 << 20) == BUNDLE.parts[HEAD]


def test_files_with_swapped_and_changed_names_are_read_by_content(medium: Path) -> None:
    first, second, third = files_of(medium)[:3]
    first.rename(first.with_name("X.TMP"))
    second.rename(first)
    first.with_name("X.TMP").rename(second)
    third.rename(third.with_name("holiday.jpg"))
    assert read_all(open_one(medium)) == BUNDLE.parts


def test_a_damaged_file_and_its_damaged_duplicate_make_one_whole(medium: Path) -> None:
    path = files_of(medium)[0]
    spare = path.with_name("COPY OF.TGV")
    shutil.copy(path, spare)
    size = path.stat().st_size
    zero(path, size // 2, size)
    zero(spare, 0, size // 2)
    reader = open_one(medium)
    assert len(reader.found.copies(1)) == 2
    assert read_all(reader) == BUNDLE.parts


def test_a_duplicate_is_not_read_while_the_first_copy_suffices(medium: Path) -> None:
    for path in files_of(medium):
        shutil.copy(path, path.with_name("D" + path.name[1:]))
    reader = open_one(medium)
    read_all(reader)
    plain = sum(
        reader.announcement.geometry(part).group_record_count(group)
        for part in range(3)
        for group in reader.groups(part)
    )
    assert reader.stats.records_read == plain


def test_the_records_of_another_volume_at_the_right_place_are_erasures(medium: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_planned(BUNDLE, other, small_plan(BUNDLE, file_bytes=262144))
    path, foreign = files_of(medium)[1], files_of(other)[1]
    keep = path.read_bytes()
    path.write_bytes(keep[:8192] + foreign.read_bytes()[8192:-8192] + keep[-8192:])
    reader = open_one(medium)
    with pytest.raises(VolumeMissingError):
        read_part(reader, CHUNKS, 1 << 20)


def test_what_is_present_already_is_not_overwritten(medium: Path) -> None:
    reader = open_one(medium)
    buffer = GroupBuffer(reader.announcement.geometry(CHUNKS))
    buffer.bind(0)
    buffer.slot(0, 1)[:] = b"\xaa" * 4096
    buffer.present[0, 1] = True
    reader.read_group(CHUNKS, 0, buffer)
    assert bytes(buffer.slot(0, 1)) == b"\xaa" * 4096
    assert buffer.present[buffer.exists].all()


# --- read errors ------------------------------------------------------------------------------

Fails = Callable[[int, int], bool]


def break_reads(
    monkeypatch: pytest.MonkeyPatch, fails: Fails, number: int = errno.EIO, *, partial: bool = True
) -> None:
    """`os.preadv` fails for the pages that `fails(start, end)` names; with `partial`, after what lies before them."""
    real = os.preadv

    def preadv(fd: int, views: Sequence[memoryview], offset: int) -> int:
        taken = []
        for view in views:
            if fails(offset + sum(map(len, taken)), offset + sum(map(len, taken)) + len(view)):
                if not taken or not partial:
                    raise OSError(number, os.strerror(number))
                break
            taken.append(view)
        return real(fd, taken, offset)

    monkeypatch.setattr(positional.os, "preadv", preadv)


@pytest.mark.parametrize("partial", [True, False])
def test_a_read_error_costs_the_records_that_it_hits_and_no_more(
    medium: Path, monkeypatch: pytest.MonkeyPatch, partial: bool
) -> None:
    reader = open_one(medium)
    _, bad = record_place(reader, CHUNKS, 0, 4)
    break_reads(monkeypatch, lambda start, end: start <= bad < end, partial=partial)
    assert read_part(reader, CHUNKS, 1 << 20) == BUNDLE.parts[CHUNKS]
    # The place is bad in each of the files.
    assert 1 <= reader.stats.records_unread <= len(reader.layout.files)
    assert reader.stats.read_errors > 0


def test_a_medium_that_goes_away_is_lost_not_damaged(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = open_one(medium)
    break_reads(monkeypatch, lambda _start, _end: True)
    monkeypatch.setattr("tidegate.carrier.reader.os.pread", _fail_with(errno.ENODEV))
    with pytest.raises(MediumLostError, match="can no longer be read"):
        read_part(reader, CHUNKS, 1 << 20)


def test_files_that_vanish_are_a_lost_medium(medium: Path) -> None:
    reader = open_one(medium)
    shutil.rmtree(medium / "TIDEGATE")
    with pytest.raises(MediumLostError):
        read_part(reader, CHUNKS, 1 << 20)


def test_a_medium_of_which_only_labels_can_be_read_is_damaged_not_lost(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_one(medium)
    break_reads(monkeypatch, lambda _start, _end: True)
    with pytest.raises(VolumeMissingError):
        read_part(reader, CHUNKS, 1 << 20)


def _fail_with(number: int) -> Callable[..., bytes]:
    def fail(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    return fail


def test_read_views_reads_what_can_be_read_around_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    data = random.Random(5).randbytes(100 * 512)
    path.write_bytes(data)
    bad = {3, 4, 50, 99}
    for partial in (True, False):
        with monkeypatch.context() as patch, path.open("rb") as file:
            break_reads(patch, lambda start, end: any(start <= b * 512 < end for b in bad), partial=partial)
            views = [memoryview(bytearray(512)) for _ in range(101)]
            outcome = positional.read_views(file.fileno(), views, 0)
        assert [number for number, filled in enumerate(outcome.filled) if not filled] == [3, 4, 50, 99, 100]
        assert all(bytes(views[n]) == data[n * 512 : n * 512 + 512] for n in range(100) if n not in bad)


# --- lies -------------------------------------------------------------------------------------


def test_a_label_that_lies_about_the_preamble_moves_nothing_but_its_own_volume(medium: Path) -> None:
    found = find_one(medium)
    lying = replace(found, preamble_length=65536)
    reader = VolumeReader(lying, parse_announcement(found.frame))
    with pytest.raises(VolumeMissingError):
        read_part(reader, CHUNKS, 1 << 20)


def test_files_beyond_the_layout_are_not_read(medium: Path) -> None:
    found = find_one(medium)
    files = {**found.files, 999: replace(found.files[1], number=999)}
    assert read_all(VolumeReader(replace(found, files=files), parse_announcement(found.frame))) == BUNDLE.parts


def test_a_bundle_without_chunks_is_whole(tmp_path: Path) -> None:
    bundle = MemoryBundle((b"cover", b"head", b""))
    write_planned(bundle, tmp_path, small_plan(bundle))
    assert read_all(open_one(tmp_path)) == bundle.parts
