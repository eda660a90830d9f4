"""A session under datagrams of any field and order: no exception, no growth, and nothing but its own symbols."""

import functools
import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_streams import MadeSession, make_session
from receiver_world import LowSide
from ring_slots import SLOTS, lay

from tidegate.carrier.announcement import CHUNKS, read_announcement_frame
from tidegate.carrier.stream.header import HEADER_BYTES, Kind, build_headers
from tidegate_receiver.intake.verification import VerifiedAnnouncement
from tidegate_receiver.listener.batches import RingView
from tidegate_receiver.listener.groups import ArrivingGroup, BufferPool
from tidegate_receiver.listener.ring import Ring
from tidegate_receiver.listener.session import Session


@functools.cache
def made() -> tuple[MadeSession, LowSide, bytes]:
    low = LowSide()
    bundle = low.bundle([os.urandom(90_000)])
    return make_session(low, bundle), low, bundle.parts[CHUNKS]


def open_session(pool: BufferPool) -> tuple[Session, list[ArrivingGroup]]:
    session, low, _ = made()
    delivered: list[ArrivingGroup] = []
    verified = VerifiedAnnouncement(
        session.announcement,
        read_announcement_frame(session.announced),
        low.chain,
        None,  # type: ignore[arg-type]  # who signed is nothing to a session
    )
    return Session(verified, pool, delivered.append), delivered


fields = st.tuples(
    st.integers(0, 2), st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)), st.integers(0, 254),
    st.integers(0, 2**32 - 1), st.sampled_from([0, 8, 64, 256, 1439, 1440, 1448]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(fields, min_size=1, max_size=SLOTS * 3))
def test_any_fields_are_taken_or_counted(items: list[tuple[int, int, int, int, int]]) -> None:
    pool = BufferPool(8 << 20)
    session, delivered = open_session(pool)
    tag = made()[0].tag
    ring = Ring.create(SLOTS)
    os.close(ring.fd)
    view = RingView(ring)
    for start in range(0, len(items), SLOTS):
        several = items[start : start + SLOTS]
        for slot, (part, block, symbol, running, length) in enumerate(several):
            header = build_headers(
                Kind.DATA, tag, 1, first_running=running, lengths=length, part=part, symbols=symbol, blocks=block
            )
            lay(ring, slot, header.tobytes() + bytes(length), 0)
        batch = view.batch(0, len(several))
        session.take(view, batch, np.flatnonzero(batch.good))
    counts = session.counts
    assert counts.datagrams == len(items)
    assert counts.taken + counts.repeated + counts.foreign + counts.no_memory == len(items)
    session.finish()
    assert pool.used_bytes <= pool.limit_bytes
    assert session.losses() >= 0
    assert len(delivered) <= session.parts[CHUNKS].geometry.group_count


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_symbols_in_any_order_merged_or_single_give_the_same_bytes(random: object, merged: int) -> None:
    session, delivered = open_session(BufferPool(8 << 20))
    data = [item for part, _, group in made()[0].groups[: len(made()[0].groups)] if part == CHUNKS for item in group]
    full = [item for item in data if len(item) == HEADER_BYTES + 1440]
    rest = [item for item in data if len(item) != HEADER_BYTES + 1440]
    random.shuffle(full)  # type: ignore[attr-defined]
    ring = Ring.create(SLOTS)
    os.close(ring.fd)
    view = RingView(ring)
    pieces = [full[at : at + merged] for at in range(0, len(full), merged)] + [[item] for item in rest]
    for start in range(0, len(pieces), SLOTS):
        several = pieces[start : start + SLOTS]
        for slot, piece in enumerate(several):
            lay(ring, slot, b"".join(piece), HEADER_BYTES + 1440 if len(piece) > 1 else 0)
        batch = view.batch(0, len(several))
        assert batch.good.all()
        session.take(view, batch, np.flatnonzero(batch.good))
    (group,) = delivered
    assert bytes(group.buffer.source_view()) == made()[2]
