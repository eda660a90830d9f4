"""Datagrams of any content and length, as the kernel may have laid them into the ring: no exception, no growth."""

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_slots import SLOTS, lay

from tidegate.carrier.stream.header import HEADER_BYTES, Kind, build_headers
from tidegate_receiver.listener.batches import RingView
from tidegate_receiver.listener.ring import SLOT_BYTES, Ring


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 65507),
            st.one_of(st.just(0), st.integers(1, 65535)),
            st.sampled_from([0, 0, 0x20, 0x7FFFFFFF, -1]),
            st.one_of(st.none(), st.integers(0, 2**32 - 1)),
            st.binary(max_size=64),
        ),
        min_size=1,
        max_size=SLOTS,
    )
)
def test_any_slots_end_in_a_batch(slots: list[tuple[int, int, int, int | None, bytes]]) -> None:
    ring = Ring.create(SLOTS)
    os.close(ring.fd)  # the mapping stays
    for number, (length, segment, flags, drops, start) in enumerate(slots):
        lay(ring, number, (start * (length // max(1, len(start)) + 1))[:length], segment, flags=flags, drops=drops)
    view = RingView(ring)
    batch = view.batch(0, len(slots))
    count = len(batch.lengths)
    assert count == len(batch.raw) == len(batch.slots) == len(batch.places) == len(batch.good)
    assert (batch.lengths >= 0).all()
    ends = batch.places * batch.segments + batch.lengths
    assert (ends <= SLOT_BYTES).all()
    assert int(batch.lengths.sum()) <= sum(length for length, *_ in slots)
    for item in range(min(count, 20)):
        view.payload(
            int(batch.slots[item]), int(batch.places[item]), int(batch.segments[item]), int(batch.lengths[item])
        )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(64, 1440), st.integers(0, 1439), st.integers(0, SLOTS - 1))
def test_datagrams_that_the_kernel_merged_are_told_apart(count: int, size: int, last: int, slot: int) -> None:
    size = size // 8 * 8
    last = min(last, size)
    lengths = np.full(count, size)
    lengths[-1] = last
    headers = build_headers(Kind.DATA, b"12345678", count, lengths=lengths, part=2, blocks=np.arange(count))
    data = b"".join(
        header.tobytes() + bytes([number]) * int(length)
        for number, (header, length) in enumerate(zip(headers, lengths, strict=True))
    )
    ring = Ring.create(SLOTS)
    os.close(ring.fd)  # the mapping stays
    lay(ring, slot, data, (size + HEADER_BYTES) if count > 1 else 0, drops=3)
    view = RingView(ring)
    batch = view.batch(slot, 1)
    assert batch.good.all()
    assert batch.drops == 3
    assert batch.header["block"].tolist() == list(range(count))
    assert (batch.lengths - HEADER_BYTES).tolist() == lengths.tolist()
    item = count - 1
    payload = view.payload(slot, item, int(batch.segments[item]), int(batch.lengths[item]))
    assert bytes(payload) == bytes([item % 256]) * last
