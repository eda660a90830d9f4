"""Datagrams and frames of any content: no exception but ours, and no growth."""

import contextlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.carrier.spans import full_spans, span_groups
from tidegate.carrier.stream.header import (
    HEADER,
    HEADER_BYTES,
    Kind,
    build_headers,
    check_headers,
    crc32c,
    crc32c_headers,
    view_headers,
)
from tidegate.carrier.stream.heartbeat import parse_heartbeat, read_heartbeat_frame
from tidegate.carrier.stream.parts import bears_burst, plan_stream_parts
from tidegate.carrier.stream.session import (
    PIECE_BYTES,
    PreambleAssembler,
    preamble_datagrams,
    sending_order,
    symbol_lengths,
)
from tidegate.errors import TidegateError

rows = st.lists(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES), min_size=1, max_size=40)


def as_array(items: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(items), np.uint8).reshape(len(items), HEADER_BYTES).copy()


@given(rows, st.data())
def test_headers_of_any_content_and_length_are_judged_without_an_exception(items, data):
    raw = as_array(items)
    lengths = data.draw(st.lists(st.integers(0, 70_000), min_size=len(items), max_size=len(items)))
    if data.draw(st.booleans()):  # ours as far as magic and checksum go
        view_headers(raw)["magic"] = int.from_bytes(b"TGS1", "little")
        view_headers(raw)["checksum"] = crc32c_headers(raw)
    good, faults = check_headers(raw, np.array(lengths))
    assert faults.total + good.sum() == len(items)
    for row, length, is_good in zip(items, lengths, good, strict=True):
        assert not is_good or length >= HEADER_BYTES, row


@given(rows)
def test_the_checksum_of_an_array_is_that_of_each_header(items):
    assert crc32c_headers(as_array(items)).tolist() == [crc32c(row[:28]) for row in items]


@given(
    st.lists(st.tuples(st.integers(0, 254), st.integers(0, 2**32 - 1)), min_size=1, max_size=30),
    st.integers(0, 2**32 - 1),
)
def test_what_is_built_is_taken_and_one_changed_bit_is_not(places, running):
    symbols, blocks = (np.array(column, np.int64) for column in zip(*places, strict=True))
    raw = build_headers(
        Kind.DATA, b"\xff" * 8, len(places), first_running=running, lengths=1440, part=1, symbols=symbols, blocks=blocks
    )
    lengths = np.full(len(places), 1472)
    assert check_headers(raw, lengths)[0].all() and raw.shape == (len(places), HEADER.itemsize)
    raw[0, running % HEADER_BYTES] ^= 1 << (running % 8)
    assert not check_headers(raw, lengths)[0][0]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(-2, 70), st.integers(-2, 70), st.integers(0, 1500)), max_size=300)
)
def test_pieces_of_any_kind_make_no_preamble_and_no_growth(pieces):
    assembler = PreambleAssembler(tags=3)
    for tag, piece, count, length in pieces:
        found = assembler.add(bytes([tag]) * 8, piece, count, bytes(length))
        assert found is None
        assert len(assembler._open) + len(assembler._buffers) == 3
        assert all(len(known.lengths) <= 64 for known in assembler._open.values())
        assert all(len(known.buffer) == 64 * PIECE_BYTES for known in assembler._open.values())


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=20_000), st.randoms(use_true_random=False))
def test_a_preamble_comes_together_from_any_order_with_repeats(preamble, random):
    datagrams = list(preamble_datagrams(preamble)) * 2
    random.shuffle(datagrams)
    assembler = PreambleAssembler()
    found = [
        assembler.add(data[8:16], int.from_bytes(data[16:20], "little"), data[26], data[HEADER_BYTES:])
        for data in datagrams
    ]
    assert preamble in found


@given(st.binary(max_size=1500))
def test_a_heartbeat_of_any_bytes_is_a_value_or_one_of_our_errors(data):
    for candidate in (data, b"TGH1" + len(data).to_bytes(2, "little") + bytes(98) + data):
        with contextlib.suppress(TidegateError):
            parse_heartbeat(read_heartbeat_frame(candidate))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(0, 10**5), st.integers(1, 10**6), st.integers(0, 10**9)),
    st.sampled_from([512, 1416, 1440, 8936, 65472]),
    st.one_of(
        st.builds(lambda value: {"redundancy": value}, st.floats(0, 4)),
        st.builds(lambda value: {"expected_loss": value}, st.floats(0, 0.3)),
    ),
    st.integers(0, 10**7),
    st.integers(8 << 20, 1 << 30),
)
def test_whatever_is_asked_for_a_code_is_found_and_its_groups_hold_every_symbol_once(
    lengths, size, wish, burst, memory
):
    parts = plan_stream_parts(lengths, size, burst_bytes=burst, memory=memory, **wish)
    bears_burst(parts, burst)
    assert len(span_groups(full_spans(parts))) == sum(part.group_count for part in parts[:2]) * 2 + parts[2].group_count
    for length, part in zip(lengths, parts, strict=True):
        assert part.length == length and part.symbol_size <= max(64, size) and part.group_max_bytes <= 48 << 20
        for group in {0, part.group_count - 1} if part.group_count else ():
            order = sending_order(part, group, part.source_count)
            assert len({tuple(row) for row in order.tolist()}) == part.group_record_count(group)
            lost = part.group_source_counts(group)
            total = symbol_lengths(part, group, order)[order[:, 1] < np.array(lost)[order[:, 0]]].sum()
            assert total == part.group_extent(group)[1]
