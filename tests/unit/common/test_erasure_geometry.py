"""Parts cut into blocks and groups: RFC 5052's partitioning, extents, record order, and what is refused."""

import pytest

from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import FormatError
from tidegate.units import MIB, TIB

ORDINARY = {"length": 10_000, "source_count": 200, "repair_count": 20, "symbol_size": 4096, "interleave": 8}


@pytest.mark.parametrize(
    "lie",
    [
        {"length": -1},
        {"length": 4 * TIB + 1},
        {"source_count": 0},
        {"source_count": 256},
        {"source_count": -3},
        {"repair_count": -1},
        {"source_count": 1, "repair_count": 255},
        {"source_count": 200, "repair_count": 56},
        {"symbol_size": 0},
        {"symbol_size": 56},
        {"symbol_size": 4100},
        {"symbol_size": 2 * MIB},
        {"interleave": 0},
        {"interleave": 256},
        {"length": 4 * TIB, "source_count": 1, "repair_count": 0, "symbol_size": 64},
        {"length": TIB, "symbol_size": MIB, "interleave": 2},
    ],
    ids=str,
)
def test_geometry_refuses_lying_values(lie: dict[str, int]) -> None:
    with pytest.raises(FormatError):
        PartGeometry(**{**ORDINARY, **lie})


def test_geometry_takes_the_largest_values_of_each_limit() -> None:
    PartGeometry(4 * TIB, 235, 20, MIB, 1)
    PartGeometry(255 * 64, 255, 0, 64, 255)
    PartGeometry(64, 1, 254, 64, 255)


def test_a_part_of_length_zero_has_no_blocks() -> None:
    geometry = PartGeometry(0, 200, 20, 4096, 8)
    assert (geometry.symbol_total, geometry.block_count, geometry.group_count) == (0, 0, 0)
    with pytest.raises(FormatError):
        geometry.group_blocks(0)


def test_numbers_outside_of_the_part_are_refused() -> None:
    geometry = PartGeometry(10_000, 2, 1, 4096, 1)
    for ask in (geometry.block_source_count, geometry.block_first_symbol, geometry.group_extent, geometry.record_order):
        for number in (-1, 2, 2**32):
            with pytest.raises(FormatError):
                ask(number)


def test_a_part_of_one_byte_is_one_shortened_block() -> None:
    geometry = PartGeometry(1, 200, 20, 4096, 8)
    assert geometry.group_source_counts(0) == (1,)
    assert geometry.group_extent(0) == (0, 1)
    assert geometry.group_record_count(0) == 21


def test_blocks_are_near_equal_and_none_is_a_lone_short_one() -> None:
    geometry = PartGeometry(201 * 4096, 200, 20, 4096, 8)
    assert geometry.group_source_counts(0) == (101, 100)
    assert [geometry.block_first_symbol(block) for block in (0, 1)] == [0, 101]


def test_record_order_takes_each_index_from_every_block_in_turn() -> None:
    geometry = PartGeometry(5 * 64, 3, 1, 64, 2)
    assert geometry.group_source_counts(0) == (3, 2)
    assert geometry.record_order(0).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2], [0, 3]]


def test_the_last_group_has_only_the_blocks_that_are_left() -> None:
    geometry = PartGeometry(64 * 10 * 5 - 30, 10, 2, 64, 3)
    assert [geometry.group_blocks(group) for group in range(geometry.group_count)] == [range(3), range(3, 5)]
    assert geometry.group_extent(1) == (64 * 30, 64 * 20 - 30)
