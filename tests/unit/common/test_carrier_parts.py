"""The sender's choice of a code, and small parts read back into memory."""

import math

import pytest
from made_bundles import MemorySource
from made_volumes import CHANNEL, make_bundle, small_plan

from tidegate.carrier.parts import JoinedSource, plan_parts, read_part
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import FormatError, UsageError, VolumeMissingError

KIB, MIB, GB = 1024, 1 << 20, 10**9


def chunks_plan(length: int, redundancy: float = 0.1) -> PartGeometry:
    return plan_parts((1, 1, length), redundancy=redundancy)[2]


@pytest.mark.parametrize(
    ("length", "symbol_size"),
    [(0, 4 * KIB), (MIB - 1, 4 * KIB), (MIB, 16 * KIB), (4 * MIB - 1, 16 * KIB), (4 * MIB, 64 * KIB), (GB, 64 * KIB)],
)
def test_symbols_are_the_largest_that_still_give_64(length: int, symbol_size: int) -> None:
    assert chunks_plan(length).symbol_size == symbol_size


@pytest.mark.parametrize(("symbols", "repairs"), [(1, 4), (4, 4), (7, 7), (16, 16), (100, 16), (161, 17), (200, 20)])
def test_a_small_part_is_one_block_with_more_repairs_than_its_share(symbols: int, repairs: int) -> None:
    geometry = chunks_plan(symbols * 4 * KIB)
    assert (geometry.source_count, geometry.repair_count, geometry.block_count) == (symbols, repairs, 1)


@pytest.mark.parametrize(
    "length", [10 * MIB, 64 * MIB, 104 * MIB, 105 * MIB, 110 * MIB, 600 * MIB, GB, 10 * GB, 10**12]
)
def test_a_tenth_of_redundancy_costs_about_a_tenth(length: int) -> None:
    geometry = chunks_plan(length)
    overhead = geometry.block_count * geometry.repair_count / geometry.symbol_total
    assert 0.1 <= overhead < 0.112
    assert geometry.source_count + geometry.repair_count <= 255


@pytest.mark.parametrize(
    "length", [105 * MIB, 110 * MIB, 215 * MIB, 317 * MIB, 600 * MIB, GB, 7 * GB, 105 * GB, 10**12]
)
def test_the_last_group_of_many_bears_about_the_burst_that_the_others_do(length: int) -> None:
    geometry = chunks_plan(length)
    assert geometry.group_count > 1
    last = len(geometry.group_blocks(geometry.group_count - 1))
    burst = last * geometry.repair_count * geometry.symbol_size
    assert burst >= 5 * MIB
    if length >= 600 * MIB:
        assert burst >= 8 * 10**6


@pytest.mark.parametrize("redundancy", [0.01, 0.05, 0.1, 0.25, 0.275, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("length", [1, 5000, 300_000, 3 * MIB, 64 * MIB, 10 * GB])
def test_every_redundancy_gives_a_code_that_exists(redundancy: float, length: int) -> None:
    geometry = chunks_plan(length, redundancy)
    largest = geometry.block_source_count(0)
    assert geometry.source_count + geometry.repair_count <= 255
    assert geometry.repair_count >= min(math.floor(largest * redundancy), 255 - geometry.source_count)


def test_without_redundancy_chunks_have_no_repairs_and_cover_and_head_keep_theirs() -> None:
    cover, head, chunks = plan_parts((5000, 5000, 5000), redundancy=0)
    assert (cover.repair_count, head.repair_count, chunks.repair_count) == (4, 4, 0)


@pytest.mark.parametrize("redundancy", [-0.1, 4.1, float("nan"), float("inf")])
def test_a_redundancy_that_is_none_is_refused(redundancy: float) -> None:
    with pytest.raises(UsageError):
        plan_parts((1, 1, 1), redundancy=redundancy)


def test_the_plan_of_a_body_depends_on_its_lengths_alone() -> None:
    assert plan_parts((1, 2, 3))[1:] == plan_parts((9999, 2, 3))[1:]


# --- reading ----------------------------------------------------------------------------------

BUNDLE = make_bundle(120_000)


def make_source(lost: set[tuple[int, int, int]] | None = None) -> MemorySource:
    return MemorySource(small_plan(BUNDLE), BUNDLE.parts, lost or set())


def test_read_part_gives_the_bytes_of_a_part_over_several_groups() -> None:
    assert read_part(make_source(), 2, 120_000) == BUNDLE.parts[2]


def test_read_part_mends_as_many_losses_as_repair_symbols() -> None:
    assert read_part(make_source({(2, 1, 0), (2, 1, 3)}), 2, 120_000) == BUNDLE.parts[2]


def test_read_part_names_the_block_that_cannot_be_mended() -> None:
    with pytest.raises(VolumeMissingError) as caught:
        read_part(make_source({(2, 1, 0), (2, 1, 3), (2, 1, 4)}), 2, 120_000)
    assert f"bundle {CHANNEL[:4]}-0192: chunks: block 1 has 3 of 10 pieces" in caught.value.message
    assert "2 can be repaired" in caught.value.message


def test_read_part_names_groups_that_are_nowhere() -> None:
    source = make_source()
    source.absent_groups = {(2, 1)}
    with pytest.raises(VolumeMissingError, match="groups 1 are not here"):
        read_part(source, 2, 120_000)


def test_read_part_takes_no_more_memory_than_its_limit() -> None:
    with pytest.raises(FormatError, match="limit is 119999"):
        read_part(make_source(), 2, 119_999)


def test_two_damaged_copies_make_one_whole() -> None:
    first = make_source({(2, 1, symbol) for symbol in range(0, 5)})
    second = make_source({(2, 1, symbol) for symbol in range(5, 10)})
    assert read_part(JoinedSource((first, second)), 2, 120_000) == BUNDLE.parts[2]


def test_a_second_copy_is_read_only_where_the_first_does_not_suffice() -> None:
    first, second = make_source({(2, 0, 1), (2, 2, 0), (2, 2, 1), (2, 2, 2)}), make_source()
    read_part(JoinedSource((first, second)), 2, 120_000)
    assert second.groups_read == [(2, 1)]


class Unsearched(tuple[int, ...]):
    """Groups that may not be looked through one after another: a large stick has a hundred thousand."""

    def __contains__(self, _: object) -> bool:
        raise AssertionError("looked through all groups for one")


class ManyGroups(MemorySource):
    def groups(self, part: int) -> tuple[int, ...]:
        return Unsearched(super().groups(part))


def test_a_group_is_not_looked_for_among_all_groups() -> None:
    damaged = {(2, 1, symbol) for symbol in range(5)}
    copies = (ManyGroups(small_plan(BUNDLE), BUNDLE.parts, damaged), ManyGroups(small_plan(BUNDLE), BUNDLE.parts))
    copies[0].absent_groups = {(2, 1)}
    assert read_part(JoinedSource(copies), 2, 120_000) == BUNDLE.parts[2]
    assert copies[1].groups_read == [(2, 0), (2, 1)]


def test_a_copy_of_another_bundle_or_code_gives_nothing() -> None:
    first = make_source({(2, 1, symbol) for symbol in range(5)})
    other = MemorySource(small_plan(make_bundle(120_000, seed=9)), make_bundle(120_000, seed=9).parts)
    with pytest.raises(VolumeMissingError):
        read_part(JoinedSource((first, other)), 2, 120_000)


def test_the_cover_comes_from_the_first_copy_alone() -> None:
    first = make_source({(0, 0, symbol) for symbol in range(3)})
    with pytest.raises(VolumeMissingError):
        read_part(JoinedSource((first, make_source())), 0, 1000)
