"""What holds for any part: reedsolo agrees, any loss up to R is mended, numbers partition as RFC 5052 says."""

from collections import Counter

import numpy as np
import reedsolo
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import BlockState, GroupCodec
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.isal import IsalEngine
from tidegate.erasure.numpy_engine import NumpyEngine
from tidegate.errors import FormatError

ISAL, NUMPY = IsalEngine.load(), NumpyEngine()


@st.composite
def geometries(draw: st.DrawFn, max_symbols: int = 600) -> PartGeometry:
    source_count = draw(st.integers(1, 255) | st.integers(1, 12))
    repair_count = draw(st.integers(0, 255 - source_count) | st.integers(0, min(12, 255 - source_count)))
    symbol_size = 8 * draw(st.integers(8, 12))
    total = draw(st.integers(1, max_symbols))
    short = draw(st.integers(0, symbol_size - 1))
    return PartGeometry(
        total * symbol_size - short, source_count, repair_count, symbol_size, draw(st.integers(1, 255) | st.just(2))
    )


def encoded(geometry: PartGeometry, group: int, seed: int, codec: GroupCodec) -> GroupBuffer:
    buffer = GroupBuffer(geometry)
    buffer.bind(group)
    buffer.source_view()[:] = np.random.default_rng(seed).bytes(buffer.extent_length)
    codec.encode(buffer)
    return buffer


def block_rows(buffer: GroupBuffer, position: int) -> np.ndarray:
    total = buffer.source_counts[position] + buffer.geometry.repair_count
    return np.stack([np.frombuffer(buffer.slot(position, symbol), np.uint8) for symbol in range(total)])


@settings(max_examples=40, deadline=None)
@given(geometries(max_symbols=300), st.integers(0, 2**32), st.data())
def test_every_byte_column_is_a_codeword_of_reedsolo(geometry: PartGeometry, seed: int, data: st.DataObject) -> None:
    group = data.draw(st.integers(0, geometry.group_count - 1))
    buffer = encoded(geometry, group, seed, GroupCodec(geometry, ISAL, threads=1))
    position = data.draw(st.integers(0, len(buffer.source_counts) - 1))
    rows = block_rows(buffer, position)
    count = buffer.source_counts[position]
    for column in data.draw(st.lists(st.integers(0, geometry.symbol_size - 1), min_size=1, max_size=3)):
        codeword = rows[:, column].tobytes()
        oracle = reedsolo.RSCodec(geometry.repair_count).encode(codeword[:count]) if geometry.repair_count else codeword
        assert bytes(oracle) == codeword


@settings(max_examples=40, deadline=None)
@given(geometries(max_symbols=300), st.integers(0, 2**32), st.data())
def test_both_engines_encode_and_mend_to_the_same_bytes(geometry: PartGeometry, seed: int, data: st.DataObject) -> None:
    group = data.draw(st.integers(0, geometry.group_count - 1))
    codecs = [GroupCodec(geometry, ISAL), GroupCodec(geometry, NUMPY, threads=1)]
    buffers = [encoded(geometry, group, seed, codec) for codec in codecs]
    assert np.array_equal(buffers[0].memory, buffers[1].memory)
    losses = np.random.default_rng(seed).random(buffers[0].present.shape) < data.draw(st.floats(0, 1))
    for buffer in buffers:
        buffer.present[losses] = False
    reports = [codec.mend(buffer) for codec, buffer in zip(codecs, buffers, strict=True)]
    assert reports[0] == reports[1]
    assert np.array_equal(buffers[0].memory, buffers[1].memory)


@settings(max_examples=60, deadline=None)
@given(geometries(max_symbols=300), st.integers(0, 2**32), st.data())
def test_any_loss_of_up_to_r_symbols_is_mended_and_one_more_is_lost(
    geometry: PartGeometry, seed: int, data: st.DataObject
) -> None:
    group = data.draw(st.integers(0, geometry.group_count - 1))
    codec = GroupCodec(geometry, ISAL, threads=1)
    buffer = encoded(geometry, group, seed, codec)
    sources = bytes(buffer.source_view())
    random = np.random.default_rng(seed + 1)
    expected = []
    for position, count in enumerate(buffer.source_counts):
        total = count + geometry.repair_count
        lost = random.permutation(total)[: data.draw(st.integers(0, min(geometry.repair_count + 1, total)))]
        for symbol in lost.tolist():
            buffer.slot(position, symbol)[:] = random.bytes(geometry.symbol_size)
        buffer.present[position, lost] = False
        missing_sources = int((lost < count).sum())
        too_many = len(lost) > geometry.repair_count and missing_sources > 0
        state = BlockState.LOST if too_many else BlockState.MENDED if missing_sources else BlockState.INTACT
        expected.append((state, tuple(sorted(lost.tolist()))))
    report = codec.mend(buffer)
    assert [(block.state, block.erasures) for block in report.blocks] == expected
    holes = buffer.missing_extents()
    assert bool(holes) == bool(report.lost_blocks)
    if report.is_whole:
        assert bytes(buffer.source_view()) == sources


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 2**32), st.data())
def test_reedsolo_decodes_the_erasures_that_we_mend(
    source_count: int, repair_count: int, seed: int, data: st.DataObject
) -> None:
    geometry = PartGeometry(source_count * 64, source_count, repair_count, 64, 1)
    codec = GroupCodec(geometry, ISAL, threads=1)
    buffer = encoded(geometry, 0, seed, codec)
    lost = np.random.default_rng(seed).permutation(source_count + repair_count)
    lost = np.sort(lost[: data.draw(st.integers(1, repair_count))])
    for symbol in lost.tolist():
        buffer.slot(0, symbol)[:] = bytes(64)
    column = data.draw(st.integers(0, 63))
    damaged = block_rows(buffer, 0)[:, column].tobytes()
    message, _, _ = reedsolo.RSCodec(repair_count).decode(damaged, erase_pos=lost.tolist())
    buffer.present[0, lost] = False
    codec.mend(buffer)
    assert bytes(message) == block_rows(buffer, 0)[:source_count, column].tobytes()


@given(geometries(max_symbols=5000))
def test_blocks_cover_every_symbol_once_and_differ_by_at_most_one(geometry: PartGeometry) -> None:
    counts = [geometry.block_source_count(block) for block in range(geometry.block_count)]
    firsts = [geometry.block_first_symbol(block) for block in range(geometry.block_count)]
    assert firsts == [sum(counts[:block]) for block in range(len(counts))]
    assert sum(counts) == geometry.symbol_total
    assert 1 <= min(counts) <= max(counts) <= geometry.source_count
    assert max(counts) - min(counts) <= 1
    assert counts == sorted(counts, reverse=True)


@given(geometries(max_symbols=5000))
def test_group_extents_join_to_the_part(geometry: PartGeometry) -> None:
    end = 0
    for group in range(geometry.group_count):
        offset, length = geometry.group_extent(group)
        assert offset == end
        assert length > 0
        assert geometry.group_of_offset(offset) == geometry.group_of_offset(offset + length - 1) == group
        end = offset + length
        assert geometry.group_record_count(group) * geometry.symbol_size <= geometry.group_max_bytes
    assert end == geometry.length


@given(geometries(), st.data())
def test_record_order_is_a_permutation_that_covers_each_symbol_once(
    geometry: PartGeometry, data: st.DataObject
) -> None:
    group = data.draw(st.integers(0, geometry.group_count - 1))
    order = [tuple(row) for row in geometry.record_order(group).tolist()]
    counts = geometry.group_source_counts(group)
    symbols = {(place, index) for place, count in enumerate(counts) for index in range(count + geometry.repair_count)}
    assert Counter(order) == Counter(symbols)
    assert order == sorted(order, key=lambda row: (row[1], row[0]))
    assert len(order) == geometry.group_record_count(group)


@given(geometries(), st.data())
def test_a_burst_of_d_times_r_records_is_mended(geometry: PartGeometry, data: st.DataObject) -> None:
    group = data.draw(st.integers(0, geometry.group_count - 1))
    order = geometry.record_order(group)
    blocks = len(geometry.group_blocks(group))
    start = data.draw(st.integers(0, len(order) - 1))
    burst = order[start : start + blocks * geometry.repair_count]
    assert all(count <= geometry.repair_count for count in Counter(burst[:, 0].tolist()).values())


@given(*[st.integers(-(2**70), 2**70) | st.integers(-2, 300) for _ in range(5)])
def test_any_five_numbers_end_in_a_geometry_or_our_error(
    length: int, source_count: int, repair_count: int, symbol_size: int, interleave: int
) -> None:
    try:
        geometry = PartGeometry(length, source_count, repair_count, symbol_size, interleave)
    except FormatError:
        return
    assert geometry.group_max_bytes <= 256 << 20
