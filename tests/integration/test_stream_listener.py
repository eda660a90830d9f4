"""Bundles over a stream on loopback: the real socket and reader, every kind of bad luck, and what comes of it."""

import os
import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from diode import Diode
from listening import listening
from made_bundles import content
from made_streams import MadeSession, make_session, renumbered
from receiver_world import HighSide, LowSide, SignedBundle, signer

from tidegate.carrier.stream.header import Kind
from tidegate.carrier.stream.heartbeat import Heartbeat, build_heartbeat, heartbeat_tag
from tidegate.carrier.stream.parts import plan_stream_parts
from tidegate.carrier.stream.session import control_datagram, preamble_datagrams
from tidegate.erasure.geometry import PartGeometry
from tidegate_receiver.outcomes import OutcomeKind

BLOBS = [content(1, 1_700_000), content(2, 90_000), b"small", content(3, 300_000)]


@pytest.fixture
def low() -> LowSide:
    return LowSide()


@pytest.fixture
def high(tmp_path: Path, low: LowSide) -> HighSide:
    return HighSide.make(tmp_path / "high", low)


@pytest.fixture
def bundle(low: LowSide) -> SignedBundle:
    return low.bundle(BLOBS)


def in_many_groups(bundle: SignedBundle) -> tuple[PartGeometry, PartGeometry, PartGeometry]:
    """Chunks in small groups: blocks of 40+8 symbols of 1440 bytes, three of them a group."""
    cover, head, chunks = plan_stream_parts(bundle.part_lengths, 1440, redundancy=0.2)
    return cover, head, replace(chunks, source_count=40, repair_count=8, interleave=3)


def many_groups(low: LowSide, bundle: SignedBundle) -> MadeSession:
    made = make_session(low, bundle, parts=in_many_groups(bundle))
    assert made.announcement.parts[2].group_count >= 2
    return made


@pytest.mark.parametrize(
    "diode",
    [
        Diode(),
        Diode(seed=2, loss=0.02),
        Diode(seed=3, repeat=0.3),
        Diode(seed=4, reorder=0.2),
        Diode(seed=5, flip=0.01),
        Diode(seed=6, burst=20, every=400),
        Diode(seed=7, loss=0.01, repeat=0.05, reorder=0.05, flip=0.005),
    ],
    ids=["whole", "loss", "repeats", "reordered", "flipped", "bursts", "everything"],
)
def test_a_bundle_arrives_whole_over_a_bad_way(
    low: LowSide, high: HighSide, bundle: SignedBundle, diode: Diode
) -> None:
    with listening(high) as listener:
        listener.send(diode.carry(many_groups(low, bundle).datagrams()))
        (outcome,) = listener.wait_for_bundles(1)
    assert outcome.kind is OutcomeKind.RECEIVED, outcome.error
    assert high.holds(bundle, BLOBS)
    assert high.spooled() == []
    assert "quarantine" in high.events()


def test_losses_on_the_wire_are_counted_by_running_numbers(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    with listening(high) as listener:
        datagrams = list(many_groups(low, bundle).datagrams())
        gone = set(range(50, 60)) | set(range(200, 205))
        listener.send(item for number, item in enumerate(datagrams) if number not in gone)
        listener.wait_for_bundles(1)
        assert listener.counts.lost_on_wire == len(gone)
        assert listener.counts.lost_in_kernel == 0


def test_a_receiver_that_starts_in_the_middle_takes_the_rest_and_the_next_pass_the_beginning(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    first, second = many_groups(low, bundle), many_groups(low, bundle)
    datagrams = list(first.datagrams())
    with listening(high) as listener:
        listener.send(datagrams[len(datagrams) // 2 :])
        (outcome,) = listener.wait_for_bundles(1)
        assert outcome.kind is OutcomeKind.INCOMPLETE
        assert 0 < outcome.chunks_done < outcome.chunk_count
        listener.send(second.datagrams())
        assert listener.wait_for_bundles(2)[1].kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_what_came_before_a_head_that_is_only_at_the_end_is_kept_and_used(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    made = many_groups(low, bundle)
    places = [number for number, (part, _, _) in enumerate(made.groups) if part == 2]
    made.groups = made.groups[places[0] :]  # cover and head come after the chunks alone
    with listening(high) as listener:
        listener.send(made.datagrams())
        (outcome,) = listener.wait_for_bundles(1)
    assert outcome.kind is OutcomeKind.RECEIVED, outcome.error
    assert high.holds(bundle, BLOBS)


def test_what_came_without_any_head_waits_for_another_session(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    without, rest = many_groups(low, bundle), many_groups(low, bundle)
    without.groups = [item for item in without.groups if item[0] == 2]
    rest.groups = [item for item in rest.groups if item[0] != 2]
    with listening(high) as listener:
        listener.send(without.datagrams())
        (outcome,) = listener.wait_for_bundles(1)
        assert outcome.kind is OutcomeKind.INCOMPLETE
        assert high.spooled() == [bundle.bundle_id]
        listener.send(rest.datagrams())
        assert listener.wait_for_bundles(2)[1].kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_two_sessions_each_with_too_many_losses_make_one_bundle(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    with listening(high) as listener:
        listener.send(Diode(seed=1, loss=0.35).carry(many_groups(low, bundle).datagrams()))
        listener.wait_for_bundles(1)
        for number in range(2, 8):
            if listener.outcomes[-1].kind is OutcomeKind.RECEIVED:
                break
            assert listener.outcomes[-1].kind is OutcomeKind.INCOMPLETE
            listener.send(Diode(seed=number, loss=0.35).carry(many_groups(low, bundle).datagrams()))
            listener.wait_for_bundles(number)
    assert high.holds(bundle, BLOBS)


def test_a_bundle_that_is_here_costs_a_header_and_one_entry(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    with listening(high) as listener:
        listener.send(many_groups(low, bundle).datagrams())
        listener.wait_for_bundles(1)
        taken = listener.counts.symbols_taken
        for _ in range(3):
            listener.send(many_groups(low, bundle).datagrams())
        listener.wait_for(lambda: listener.counts.bundles_duplicate == 1 and listener.counts.repeated > 1000)
        assert listener.counts.symbols_taken == taken
        assert len(listener.outcomes) == 1
    assert high.events().count("duplicate") == 1


def test_several_bundles_interleaved_group_by_group_all_arrive(low: LowSide, high: HighSide) -> None:
    blobs = [[content(10 + number, 400_000)] for number in range(3)]
    bundles = [low.bundle(item, sequence=number) for number, item in enumerate(blobs, 1)]
    streams = [list(many_groups(low, item).datagrams()) for item in bundles]
    mixed = []
    while any(streams):
        for stream in streams:
            mixed += stream[:150]
            del stream[:150]
    with listening(high) as listener:
        listener.send(mixed)
        outcomes = listener.wait_for_bundles(3)
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.RECEIVED}
    assert all(high.holds(item, blob) for item, blob in zip(bundles, blobs, strict=True))


def test_a_listener_that_was_stopped_in_the_middle_goes_on_with_the_next_session(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    datagrams = list(many_groups(low, bundle).datagrams())
    with listening(high) as listener:
        listener.send(datagrams[: len(datagrams) // 2])
        listener.wait_for(lambda: listener.counts.data > 100)
    assert high.state_of(bundle) == "incomplete"
    with listening(high) as listener:
        listener.send(many_groups(low, bundle).datagrams())
        listener.wait_for_bundles(1)
    assert high.holds(bundle, BLOBS)


def test_forged_and_foreign_announcements_open_nothing(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    forged = make_session(low, bundle, carrier=signer("somebody else"))
    foreign = make_session(LowSide("other"), LowSide("other").bundle(BLOBS))
    with listening(high) as listener:
        for made in (forged, foreign):
            listener.send(made.datagrams())
        listener.wait_for(lambda: listener.counts.announcements_refused >= 4 and listener.counts.unknown_tag > 100)
        assert listener.counts.sessions_opened == 0
        listener.send(many_groups(low, bundle).datagrams())
        assert listener.wait_for_bundles(1)[0].kind is OutcomeKind.RECEIVED
    assert sum(event.startswith("refuse/") for event in high.events()) <= 2


def test_junk_of_every_kind_is_counted_by_cause_and_harms_nothing(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    chance = random.Random(8)
    made = many_groups(low, bundle)
    session = list(made.datagrams())
    data = [item for item in session if item[4] == Kind.DATA]
    junk = [chance.randbytes(chance.randrange(0, 1500)) for _ in range(400)]
    junk += [b"TGS1" + chance.randbytes(chance.randrange(28, 1500)) for _ in range(400)]
    junk += [control_datagram(Kind.ANNOUNCEMENT, chance.randbytes(8), chance.randbytes(700)) for _ in range(300)]
    junk += [control_datagram(Kind.DATA, chance.randbytes(8), bytes(1440)) for _ in range(300)]
    junk += [control_datagram(Kind.END, chance.randbytes(8), block=5) for _ in range(100)]
    junk += [control_datagram(Kind.HEARTBEAT, chance.randbytes(8), chance.randbytes(300)) for _ in range(100)]
    junk += [item[:-7] for item in chance.sample(data, 50)] + [item + b"more" for item in chance.sample(data, 50)]
    mixed = list(session)
    for item in junk:
        mixed.insert(chance.randrange(len(mixed)), item)
    with listening(high) as listener:
        count = listener.send(mixed)
        (outcome,) = listener.wait_for_bundles(1)
        listener.wait_for(lambda: listener.counts.datagrams == count)
        counts = listener.counts
    assert outcome.kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)
    assert counts.junk_magic == 400
    assert counts.junk_checksum == 400
    assert counts.junk_length == 100
    assert counts.unknown_tag >= 300


def test_symbols_that_a_session_does_not_have_are_foreign(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    made = many_groups(low, bundle)
    datagrams = list(made.datagrams())
    beyond = [_with_fields(made, part=part, block=10**6, symbol=1) for part in range(3)]
    beyond += [_with_fields(made, part=2, block=0, symbol=200)]
    with listening(high) as listener:
        listener.send([*datagrams[:5], *beyond, *datagrams[5:]])
        assert listener.wait_for_bundles(1)[0].kind is OutcomeKind.RECEIVED
        assert listener.counts.foreign == len(beyond)


def _with_fields(made: MadeSession, *, part: int, block: int, symbol: int) -> bytes:
    raw = bytearray(control_datagram(Kind.DATA, made.tag, bytes(1440)))
    raw[5], raw[6] = part, symbol
    raw[16:20] = struct.pack("<I", block)
    return renumbered(bytes(raw), 7)


def test_right_tag_with_wrong_content_is_a_bounded_named_outcome(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    made = many_groups(low, bundle)
    lies = [
        item[:32] + bytes(len(item) - 32) if item[4] == Kind.DATA and item[5] == 2 and item[6] < 30 else item
        for item in made.datagrams()
    ]
    with listening(high) as listener:
        listener.send(lies)
        (outcome,) = listener.wait_for_bundles(1)
        assert outcome.kind is OutcomeKind.REFUSED, outcome
        assert outcome.error is not None
        listener.send(many_groups(low, bundle).datagrams())
        assert listener.wait_for_bundles(2)[1].kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)
    assert any(event.startswith("verify-failed/") for event in high.events())


def test_a_newer_root_comes_with_the_stream(low: LowSide, high: HighSide) -> None:
    release = low.add_release_key("second", "bea")
    bundle = low.bundle(BLOBS, signers=[release])
    with listening(high) as listener:
        listener.send(many_groups(low, bundle).datagrams())
        assert listener.wait_for_bundles(1)[0].kind is OutcomeKind.RECEIVED
    assert high.events().count("root-change") == 2


def test_a_disk_that_is_too_small_fails_by_name_and_the_next_session_goes_on(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    with listening(high, quota_bytes=100_000) as listener:
        listener.send(many_groups(low, bundle).datagrams())
        (outcome,) = listener.wait_for_bundles(1)
        assert outcome.kind is OutcomeKind.FAILED
        assert "quota" in str(outcome.error)
    with listening(high) as listener:
        listener.send(many_groups(low, bundle).datagrams())
        assert listener.wait_for_bundles(1)[0].kind is OutcomeKind.RECEIVED


def heartbeat(low: LowSide, number: int, *, interval: int = 1) -> bytes:
    beat = Heartbeat(
        format=1,
        critical=(),
        channel=low.chain.channel_id,
        epoch=1,
        link="north",
        number=number,
        time="2026-03-01T08:00:00Z",
        interval_seconds=interval,
        sequence=0,
    )
    frame = build_heartbeat(beat, low.keys["carrier"])
    return control_datagram(Kind.HEARTBEAT, heartbeat_tag(frame), frame)


def test_heartbeats_count_once_and_their_silence_is_an_entry(low: LowSide, high: HighSide) -> None:
    with listening(high) as listener:
        listener.send([heartbeat(low, 5), heartbeat(low, 5), heartbeat(low, 4)])
        listener.wait_for(lambda: listener.counts.heartbeats == 1 and listener.counts.heartbeats_refused == 1)
        listener.wait_for(lambda: not listener.worker.status.heartbeats["plant/north"]["alive"])
    with listening(high) as listener:
        listener.send([heartbeat(low, 5), heartbeat(low, 6)])
        listener.wait_for(lambda: listener.counts.heartbeats == 1 and listener.counts.heartbeats_refused == 1)
    assert [event for event in high.events() if "heartbeat" in event] == ["heartbeat-lost", "heartbeat-regained"]


def test_a_reader_is_gone_when_its_listener_is(high: HighSide) -> None:
    with listening(high) as listener:
        reader = listener.worker.reader_pid
        assert Path(f"/proc/{reader}").exists()
    assert not Path(f"/proc/{reader}").exists()
    assert os.getpid() != reader


def test_preambles_in_pieces_out_of_order_still_lead_on(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    for number in range(3):
        low.add_release_key(f"key {number}", f"holder-{number}")
    pieces = list(preamble_datagrams(low.chain.to_bytes()))
    assert len(pieces) > 1
    with listening(high) as listener:
        listener.send([*reversed(pieces), *pieces])
        listener.wait_for(lambda: listener.worker.speakers.chains()[low.chain.channel_id].newest.version == 4)
