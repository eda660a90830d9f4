"""The layout of a volume: one place for every record; numbers from outside are limited before they cost much."""

from dataclasses import replace
from itertools import pairwise

import pytest
from made_volumes import MemoryBundle, make_bundle, small_plan

from tidegate.carrier.announcement import FILE_MAX_BYTES, Announcement
from tidegate.carrier.parts import plan_parts
from tidegate.carrier.volume import VolumeLayout, file_name
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import CarrierFormatError


def layout_of(chunks: int, *, preamble: int = 700, **changes: object) -> VolumeLayout:
    return VolumeLayout(small_plan(make_bundle(chunks), **changes), preamble)


def all_runs(layout: VolumeLayout) -> list:
    return [run for section in range(layout.section_count) for run in layout.section_runs(section)]


def test_the_name_of_a_file_fits_fat() -> None:
    assert file_name(1, 999) == "V001F999.TGV"


@pytest.mark.parametrize("chunks", [0, 1, 4096, 100_000, 3_000_000])
def test_records_of_a_section_are_those_of_its_group(chunks: int) -> None:
    layout = layout_of(chunks)
    for section in range(layout.section_count):
        part, group = layout.section_group(section)
        count = layout.announcement.geometry(part).group_record_count(group)
        assert sum(run.record_count for run in layout.section_runs(section)) == count


@pytest.mark.parametrize(("chunks", "file_bytes"), [(0, 1 << 20), (100_000, 1 << 20), (3_000_000, 1 << 20)])
def test_runs_follow_each_other_without_a_gap_in_files_of_the_size_given(chunks: int, file_bytes: int) -> None:
    layout = layout_of(chunks, file_bytes=file_bytes)
    runs = all_runs(layout)
    assert [run.number for run in runs] == list(range(layout.run_count))
    for before, after in pairwise(runs):
        if before.file_number == after.file_number:
            assert after.offset == before.end
        else:
            assert (after.file_number, after.offset) == (before.file_number + 1, layout.opening_bytes)
    for file in layout.files:
        last = runs[file.first_run + file.run_count - 1]
        assert last.file_number == file.number
        assert file.size == last.end + layout.closing_bytes
        assert file.size <= file_bytes
    assert sum(file.size for file in layout.files) == layout.total_bytes


def test_a_file_is_filled_as_far_as_whole_runs_fit() -> None:
    layout = layout_of(3_000_000, file_bytes=1 << 20)
    runs = all_runs(layout)
    for file, following in pairwise(layout.files):
        first = runs[following.first_run]
        assert file.size + first.end - first.offset > 1 << 20


def test_the_preamble_takes_whole_blocks_at_both_ends() -> None:
    assert layout_of(0, preamble=0).total_bytes + 4 * 4096 == layout_of(0, preamble=4097).total_bytes


def test_cover_and_head_have_two_places_and_chunks_one() -> None:
    layout = layout_of(100_000)
    assert [len(layout.sections(part, 0)) for part in range(3)] == [2, 2, 1]
    assert layout.sections(2, 99) == ()
    assert layout.groups(2) == tuple(range(layout.announcement.geometry(2).group_count))


def test_an_empty_part_has_no_place() -> None:
    layout = VolumeLayout(small_plan(MemoryBundle((b"c", b"h", b""))), 0)
    assert layout.groups(2) == ()
    assert layout.section_count == 4


def test_a_terabyte_is_laid_out_by_arithmetic() -> None:
    parts = plan_parts((700, 50_000_000, 1 << 40))
    spans = tuple((part, 0, parts[part].group_count) for part in (0, 1, 2, 1, 0))
    layout = VolumeLayout(replace(small_plan(make_bundle()), parts=parts, spans=spans, file_bytes=FILE_MAX_BYTES), 700)
    assert 1.10 < layout.total_bytes / (1 << 40) < 1.11
    last = layout.section_runs(layout.section_count - 1)[-1]
    assert last.end + layout.closing_bytes == layout.files[-1].size


def with_part(**changes: object) -> Announcement:
    geometry = PartGeometry(**{**{"length": 1 << 40, "source_count": 1, "repair_count": 0}, **changes})  # type: ignore[arg-type]
    plan = small_plan(make_bundle())
    return replace(plan, parts=(*plan.parts[:2], geometry), spans=((2, 0, geometry.group_count),))


def test_m10_more_groups_than_a_medium_can_hold_are_refused_before_they_are_laid_out() -> None:
    with pytest.raises(CarrierFormatError, match=r"\(M-10\)"):
        VolumeLayout(with_part(symbol_size=4096, interleave=1), 0)


def test_m10_more_runs_than_a_medium_can_hold_are_refused() -> None:
    with pytest.raises(CarrierFormatError, match=r"\(M-10\)"):
        VolumeLayout(with_part(symbol_size=4096, interleave=255, length=4 << 40, source_count=255), 0)


def test_m10_the_same_groups_named_again_and_again_count_again() -> None:
    plan = with_part(symbol_size=65536, interleave=255, source_count=16, length=1 << 40)
    with pytest.raises(CarrierFormatError, match=r"\(M-10\)"):
        VolumeLayout(replace(plan, spans=plan.spans * 24), 0)


def test_m11_a_run_that_fits_into_no_file_is_refused() -> None:
    with pytest.raises(CarrierFormatError, match=r"\(M-11\)"):
        layout_of(3_000_000, file_bytes=262144, parts=(PartGeometry(3_000_000, 100, 0, 65536, 1),) * 3)


def test_m11_more_than_999_files_are_refused() -> None:
    with pytest.raises(CarrierFormatError, match=r"\(M-11\)"):
        VolumeLayout(replace(with_part(length=1 << 32, symbol_size=65536, interleave=1), file_bytes=262144), 0)


def test_m12_a_preamble_above_its_limit_is_refused() -> None:
    with pytest.raises(CarrierFormatError, match=r"\(M-12\)"):
        layout_of(0, preamble=65537)


def test_m06_a_stream_has_no_volume() -> None:
    with pytest.raises(CarrierFormatError, match=r"\(M-6\)"):
        VolumeLayout(replace(small_plan(make_bundle()), carrier="stream"), 0)
