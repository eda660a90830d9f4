"""Junk of each kind beside a session, and as fast as it comes. Larger and longer: campaign/test_junk_campaign.py."""

import time
from pathlib import Path

import pytest
from junk import Junk, junk_program, send_junk, write_junk
from listening import Listening, listening
from made_bundles import content
from made_streams import make_session
from receiver_world import HighSide, LowSide

from tidegate_receiver.intake.outcomes import OutcomeKind

BLOBS = [content(1, 3_000_000)]
JUNK_RATE = 20e6


@pytest.mark.parametrize("kind", Junk)
def test_a_session_arrives_beside_junk_of_each_kind(kind: Junk, low: LowSide, high: HighSide, tmp_path: Path) -> None:
    program, path = junk_program(tmp_path), write_junk(kind, tmp_path)
    bundle = low.bundle(BLOBS)
    with listening(high) as listener:
        junk = send_junk(program, path, "127.0.0.1", listener.port, rate=JUNK_RATE, seconds=3)
        listener.wait_for(lambda: listener.counts.datagrams > 1000)
        listener.send(make_session(low, bundle, redundancy=0.3).datagrams(), at_once=20)
        (outcome,) = listener.wait_for_bundles(1)
        sent, _ = junk.communicate(timeout=60)
        assert outcome.kind is OutcomeKind.RECEIVED, outcome.error
        counts = listener.counts
        assert counts.datagrams > int(sent) // 2
        assert counts.sessions_opened == 1
        assert counts.announcements_verified == 1
    assert high.holds(bundle, BLOBS)
    assert sum(event.startswith("refuse/") for event in high.events()) <= 2, "one of each reason"


def test_junk_as_fast_as_it_comes_is_counted_to_the_last_and_the_next_session_arrives(
    low: LowSide, high: HighSide, tmp_path: Path
) -> None:
    program = junk_program(tmp_path)
    bundle = low.bundle(BLOBS)
    with listening(high) as listener:
        total = 0
        for kind in Junk:
            junk = send_junk(program, write_junk(kind, tmp_path), "127.0.0.1", listener.port, rate=0, seconds=0.3)
            sent, _ = junk.communicate(timeout=60)
            total += int(sent)
        session = list(make_session(low, bundle, redundancy=0.3).datagrams())
        # Once the queue is empty: the kernel tells of its losses with the next datagram that it takes.
        listener.wait_for(lambda: _is_quiet(listener))
        listener.send(session, at_once=20)
        assert listener.wait_for_bundles(1)[0].kind is OutcomeKind.RECEIVED
        total += len(session)
        counts = listener.counts
        # It counts buffers, and on loopback a buffer has up to 44 datagrams.
        assert counts.datagrams + counts.lost_in_kernel <= total <= counts.datagrams + 44 * counts.lost_in_kernel
        assert min(counts.junk_magic, counts.unknown_tag, counts.announcements_over_budget) > 0
        assert counts.announcements_verified == 1
    assert high.holds(bundle, BLOBS)


def _is_quiet(listener: Listening) -> bool:
    before = listener.counts.datagrams
    time.sleep(0.2)
    return listener.counts.datagrams == before
