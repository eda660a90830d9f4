"""The memory of a group: order, views, slack, reuse."""

import ctypes
import itertools
import mmap

import pytest

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import FormatError


def address_of(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def test_the_sources_of_all_blocks_lie_in_part_order() -> None:
    geometry = PartGeometry(64 * 14, 5, 2, 64, 2)
    buffer = GroupBuffer(geometry)
    buffer.bind(0)
    view = buffer.source_view()
    assert len(view) == 64 * 10
    for number in range(10):
        view[64 * number : 64 * (number + 1)] = bytes([number + 1]) * 64
    slots = [buffer.slot(position, symbol) for position in range(2) for symbol in range(5)]
    assert [slot[0] for slot in slots] == list(range(1, 11))


def test_no_two_slots_of_a_group_overlap() -> None:
    geometry = PartGeometry(64 * 11, 4, 3, 64, 3)
    buffer = GroupBuffer(geometry)
    buffer.bind(0)
    starts = sorted(address_of(slot) for slot in buffer.record_slots())
    assert len(starts) == geometry.group_record_count(0)
    assert all(after - before >= 64 for before, after in itertools.pairwise(starts))


def test_record_slots_are_the_slots_in_record_order() -> None:
    geometry = PartGeometry(64 * 11, 4, 3, 64, 3)
    buffer = GroupBuffer(geometry)
    buffer.bind(0)
    slots = buffer.record_slots()
    for slot, (position, symbol) in zip(slots, geometry.record_order(0).tolist(), strict=True):
        assert address_of(slot) == address_of(buffer.slot(position, symbol))
    assert buffer.record_slots() is slots


def test_every_slot_of_an_aligned_symbol_is_page_aligned() -> None:
    buffer = GroupBuffer(PartGeometry(4096 * 7, 3, 2, 4096, 2))
    buffer.bind(0)
    assert all(address_of(slot) % mmap.PAGESIZE == 0 and len(slot) == 4096 for slot in buffer.record_slots())


def test_bind_clears_what_the_last_group_left() -> None:
    geometry = PartGeometry(64 * 5 + 10, 3, 1, 64, 1)
    buffer = GroupBuffer(geometry)
    buffer.bind(0)
    buffer.memory[:] = 0xEE
    buffer.present[:] = True
    buffer.bind(1)
    assert not buffer.present.any()
    assert len(buffer.source_view()) == 64 * 2 + 10
    assert bytes(buffer.slot(0, 2)[10:]) == bytes(54)


def test_places_that_do_not_exist_in_a_smaller_block_are_marked() -> None:
    buffer = GroupBuffer(PartGeometry(64 * 5, 3, 1, 64, 2))
    buffer.bind(0)
    assert buffer.exists.tolist() == [[True] * 4, [True, True, True, False]]


def test_the_buffer_takes_what_the_geometry_says() -> None:
    geometry = PartGeometry(4096 * 1000, 100, 10, 4096, 4)
    assert GroupBuffer(geometry).nbytes == geometry.group_max_bytes == 4 * 110 * 4096


def test_a_part_of_length_zero_takes_no_slots_and_binds_to_nothing() -> None:
    buffer = GroupBuffer(PartGeometry(0, 200, 20, 4096, 8))
    assert buffer.nbytes == 0
    with pytest.raises(FormatError):
        buffer.bind(0)


def test_missing_extents_name_the_bytes_that_are_not_there() -> None:
    geometry = PartGeometry(64 * 16, 4, 2, 64, 2)
    buffer = GroupBuffer(geometry)
    buffer.bind(1)
    buffer.present[:] = buffer.exists
    assert buffer.missing_extents() == ()
    buffer.present[0, [1, 3, 5]] = False  # 5 is a repair: no byte of the part
    buffer.present[1, 0] = False
    assert buffer.missing_extents() == ((64 * 9, 64), (64 * 11, 128))


def test_missing_extents_end_with_the_part_and_not_with_its_zero_fill() -> None:
    buffer = GroupBuffer(PartGeometry(64 * 3 + 10, 4, 2, 64, 2))
    buffer.bind(0)
    assert buffer.missing_extents() == ((0, 64 * 3 + 10),)
    buffer.present[0, :3] = True
    assert buffer.missing_extents() == ((64 * 3, 10),)
