"""Bundles over a stream on loopback: the real socket and reader, every kind of bad luck, and what comes of it."""

import json
import os
import random
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from diode import Diode
from listening import free_port, listening, send_to
from made_bundles import content
from made_streams import MadeSession, heartbeat, make_session, many_groups, renumbered
from receiver_world import HighSide, LowSide, SignedBundle, signer
from two_sides import tidegate_command
from waiting import wait_until

from tidegate.carrier.stream.header import Kind
from tidegate.carrier.stream.session import control_datagram, preamble_datagrams
from tidegate.errors import HostError
from tidegate.ledger.checkpoint import sign_checkpoint
from tidegate_receiver.intake.outcomes import OutcomeKind
from tidegate_receiver.listener import opening
from tidegate_receiver.listener import session as listener_session
from tidegate_receiver.listener.status import link_status

BLOBS = [content(1, 1_700_000), content(2, 90_000), b"small", content(3, 300_000)]


@pytest.fixture
def bundle(low: LowSide) -> SignedBundle:
    return low.bundle(BLOBS)


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
    low: LowSide, high: HighSide, bundle: SignedBundle, diode: Diode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_session, "END_GRACE_SECONDS", 20)  # the machine may stand still
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


def test_what_the_kernel_dropped_is_not_counted_as_lost_on_the_wire(
    low: LowSide, high: HighSide, bundle: SignedBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "WANTED_BUFFER_BYTES", 64 << 10)
    datagrams = list(many_groups(low, bundle).datagrams())
    with listening(high) as listener:
        listener.send(datagrams[:50])
        listener.wait_for(lambda: listener.counts.datagrams == 50)
        os.kill(listener.worker.reader_pid, signal.SIGSTOP)
        listener.send(datagrams[50:-10])
        os.kill(listener.worker.reader_pid, signal.SIGCONT)
        seen = 0
        while listener.counts.datagrams != seen:  # the buffer is empty again
            seen = listener.counts.datagrams
            time.sleep(0.5)
        listener.send(datagrams[-10:])
        listener.wait_for_bundles(1)
        counts = listener.counts
        assert counts.lost_in_kernel == len(datagrams) - counts.datagrams > 0
        assert counts.lost_on_wire == 0


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


def test_a_bundle_that_is_here_costs_a_header(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    with listening(high) as listener:
        listener.send(many_groups(low, bundle).datagrams())
        listener.wait_for_bundles(1)
        taken = listener.counts.symbols_taken
        for _ in range(3):
            listener.send(many_groups(low, bundle).datagrams())
        listener.wait_for(lambda: listener.counts.repeated > 1000)
        assert listener.counts.symbols_taken == taken
        assert len(listener.outcomes) == 1
    assert high.events().count("duplicate") == 0


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


def test_several_senders_of_several_channels_at_once_all_arrive(low: LowSide, tmp_path: Path) -> None:
    lows = (low, LowSide("mill"), LowSide("yard"))
    site = HighSide.make(tmp_path / "site", *lows)
    blobs = [[content(30 + number, 400_000)] for number in range(3)]
    bundles = [sender.bundle(item) for sender, item in zip(lows, blobs, strict=True)]
    streams = [list(many_groups(sender, item).datagrams()) for sender, item in zip(lows, bundles, strict=True)]
    with listening(site) as listener:
        senders = [threading.Thread(target=send_to, args=(listener.port, stream)) for stream in streams]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        outcomes = listener.wait_for_bundles(3)
        assert listener.counts.sessions_opened == 3 and listener.counts.lost_on_wire == 0
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.RECEIVED}
    assert {outcome.channel_name for outcome in outcomes} == {"plant", "mill", "yard"}
    assert all(site.holds(item, blob) for item, blob in zip(bundles, blobs, strict=True))


def test_four_sessions_of_a_key_are_under_way_and_the_others_wait_for_their_turn(low: LowSide, high: HighSide) -> None:
    bundles = [low.bundle([content(40 + number, 200_000)], sequence=number) for number in range(1, 7)]
    streams = [list(many_groups(low, item).datagrams()) for item in bundles]
    with listening(high) as listener:
        for stream in streams:
            listener.send(stream[:60])
            listener.wait_for(lambda: listener.counts.sessions_opened + listener.counts.sessions_put_off > 0)
            time.sleep(0.2)
        assert listener.counts.sessions_opened == 4 and listener.counts.sessions_put_off >= 2
        for stream in streams:
            listener.send(stream[60:])
        listener.wait_for_bundles(4)
        for stream in streams[4:]:
            listener.send(stream)
        # One that waited may have got its turn in the middle of its datagrams, and was then first incomplete.
        listener.wait_for(
            lambda: sum(outcome.kind is OutcomeKind.RECEIVED for outcome in listener.outcomes) == len(bundles)
        )
    assert all(high.holds(item, [content(40 + number, 200_000)]) for number, item in enumerate(bundles, 1))


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


def test_heartbeats_count_once_and_their_silence_is_an_entry(low: LowSide, high: HighSide) -> None:
    with listening(high) as listener:
        listener.send([heartbeat(low, 5), heartbeat(low, 5), heartbeat(low, 4)])
        listener.wait_for(lambda: listener.counts.heartbeats == 1 and listener.counts.heartbeats_refused == 1)
        listener.wait_for(lambda: not listener.worker.status.heartbeats["plant/north"]["alive"])
    with listening(high) as listener:
        listener.send([heartbeat(low, 5), heartbeat(low, 6)])
        listener.wait_for(lambda: listener.counts.heartbeats == 1 and listener.counts.heartbeats_refused == 1)
    assert [event for event in high.events() if "heartbeat" in event] == ["heartbeat-lost", "heartbeat-regained"]


def test_a_ledger_that_heartbeats_tell_in_two_ways_is_an_alarm_before_any_bundle(low: LowSide, high: HighSide) -> None:
    def note(root: bytes) -> str:
        return sign_checkpoint("plant/low", 7, root, low.keys["ledger"]).data.decode()

    with listening(high) as listener:
        listener.send([heartbeat(low, 1, checkpoint=note(bytes(32))), heartbeat(low, 2, checkpoint=note(bytes(32)))])
        listener.wait_for(lambda: listener.counts.heartbeats == 2)
        assert high.events() == []
        listener.send([heartbeat(low, 3, checkpoint=note(b"1" * 32)), heartbeat(low, 4, checkpoint="no note")])
        listener.wait_for(lambda: listener.counts.heartbeats == 4)
    assert high.events() == ["ledger-alarm/ledger-fork"]
    assert {path.name for path in (high.root / "evidence").glob("*/*")} == {"remembered", "received"}


def test_a_link_that_falls_silent_while_no_listener_runs_is_told_by_the_next_one(low: LowSide, high: HighSide) -> None:
    with listening(high) as listener:
        listener.send([heartbeat(low, 1)])
        listener.wait_for(lambda: listener.counts.heartbeats == 1)
    with listening(high, at=listener.port) as again:
        assert again.worker.status.heartbeats["plant/north"]["number"] == 1
        again.wait_for(lambda: not again.worker.status.heartbeats["plant/north"]["alive"])
    with listening(high, at=listener.port) as third:
        assert not third.worker.status.heartbeats["plant/north"]["alive"]
        third.send([heartbeat(low, 2)])
        third.wait_for(lambda: bool(third.worker.status.heartbeats["plant/north"]["alive"]))
    assert [event for event in high.events() if "heartbeat" in event] == ["heartbeat-lost", "heartbeat-regained"]


def test_heartbeats_of_a_stranger_by_thousands_do_not_keep_the_real_one_out(low: LowSide, high: HighSide) -> None:
    stranger = signer("somebody else")
    flood = [heartbeat(low, number, carrier=stranger) for number in range(1, 3001)]
    with listening(high) as listener:
        for start in range(0, len(flood), 60):
            listener.send(flood[start : start + 60])
            time.sleep(0.005)
            if start == 2400:
                listener.send([heartbeat(low, 1)])
        listener.wait_for(lambda: listener.counts.heartbeats == 1)
        assert listener.counts.heartbeats_refused > 1000


def test_a_link_whose_key_was_rotated_is_not_silent(low: LowSide, high: HighSide) -> None:
    with listening(high) as listener:
        listener.send([heartbeat(low, 1)])
        listener.wait_for(lambda: listener.counts.heartbeats == 1)
        second = low.add_carrier_key("second carrier", "ada")
        listener.send(preamble_datagrams(low.chain.to_bytes()))
        listener.wait_for(lambda: listener.worker.speakers.chains()[low.chain.channel_id].newest.version == 2)
        until = time.monotonic() + 5
        number = 0
        while time.monotonic() < until:
            number += 1
            listener.send([heartbeat(low, number, carrier=second)])
            time.sleep(0.3)
        assert listener.worker.status.heartbeats["plant/north"]["alive"]
        assert listener.counts.heartbeats == number + 1
    assert not [event for event in high.events() if "heartbeat" in event]


def test_whoever_sends_other_bytes_under_a_tag_does_not_keep_its_announcement_or_heartbeat_out(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    datagrams = list(many_groups(low, bundle).datagrams())
    beat = heartbeat(low, 1)
    tags = {item[8:16]: Kind.ANNOUNCEMENT for item in datagrams} | {beat[8:16]: Kind.HEARTBEAT}
    with listening(high) as listener:
        for content in (b"x" * 700, b"", b"x" * 1500, b"TGA1" + bytes(600)):
            listener.send([control_datagram(kind, tag, content) for tag, kind in tags.items()])
        listener.wait_for(
            lambda: listener.counts.announcements_refused >= 4 and listener.counts.heartbeats_refused >= 4
        )
        listener.send([beat, *datagrams])
        assert listener.wait_for_bundles(1)[0].kind is OutcomeKind.RECEIVED
        assert listener.counts.heartbeats == 1


def test_a_reader_is_gone_when_its_listener_is(high: HighSide) -> None:
    with listening(high) as listener:
        reader = listener.worker.reader_pid
        assert Path(f"/proc/{reader}").exists()
    assert not Path(f"/proc/{reader}").exists()
    assert os.getpid() != reader


def test_a_listener_whose_reader_is_killed_says_so_and_ends(high: HighSide) -> None:
    with pytest.raises(HostError, match="reads the socket ended: signal 9"), listening(high) as listener:
        os.kill(listener.worker.reader_pid, signal.SIGKILL)
        listener.wait_for(lambda: listener.worker.status.stopped)


def test_preambles_in_pieces_out_of_order_still_lead_on(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    for number in range(3):
        low.add_release_key(f"key {number}", f"holder-{number}")
    pieces = list(preamble_datagrams(low.chain.to_bytes()))
    assert len(pieces) > 1
    with listening(high) as listener:
        listener.send([*reversed(pieces), *pieces])
        listener.wait_for(lambda: listener.worker.speakers.chains()[low.chain.channel_id].newest.version == 4)


def test_link_status_tells_what_came_and_where_it_was_lost(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    with listening(high) as listener:
        datagrams = list(many_groups(low, bundle).datagrams())
        listener.send([heartbeat(low, 1, interval=60, sequence=192), *datagrams[:100], *datagrams[103:]])
        (outcome,) = listener.wait_for_bundles(1)
        listener.wait_for(lambda: bool(link_status(high.workspace())))
        address = str(listener.worker.opened.address)
    (link,) = link_status(high.workspace())
    assert not link.is_well, "nobody listens any more"
    assert f"{address}: nobody listens" in link.lines[0]
    assert outcome.name in link.lines[0]
    assert "lost: 3 on the wire, 0 in the kernel" in "\n".join(link.lines)
    assert "number 1; bundles were sent up to number 192" in "\n".join(link.lines)
    assert f'tidegate_link_bundles_received_total{{link="{address}"}} 1\n' in link.metrics
    assert link.facts["counts"]["heartbeats"] == 1  # type: ignore[index]


def test_link_status_bears_a_file_of_another_version(high: HighSide) -> None:
    folder = high.workspace().folder("links")
    for name, text in (("a", "{}"), ("b", "[1]"), ("c", "no JSON")):
        (folder / f"{name}.json").write_text(text)
        (folder / f"{name}.prom").write_text("")
    links = link_status(high.workspace())
    assert len(links) == 3
    assert not any(link.is_well for link in links)


def test_junk_at_full_rate_is_bounded_and_the_next_session_arrives(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    chance = random.Random(9)
    kinds = [chance.randbytes(1400) for _ in range(50)]
    kinds += [control_datagram(Kind.ANNOUNCEMENT, chance.randbytes(8), chance.randbytes(900)) for _ in range(50)]
    kinds += [control_datagram(Kind.DATA, chance.randbytes(8), bytes(1440)) for _ in range(500)]
    kinds += [control_datagram(Kind.TRUST, chance.randbytes(8), bytes(1400), block=0) for _ in range(50)]
    with listening(high) as listener:
        before = _resident_kib()
        listener.send((kinds[number % len(kinds)] for number in range(40_000)), at_once=10_000)
        listener.wait_for(lambda: listener.counts.junk_magic > 1000)
        assert _resident_kib() - before < 32 * 1024
        assert not listener.worker.sessions.by_tag
        listener.send(many_groups(low, bundle).datagrams())
        assert listener.wait_for_bundles(1)[0].kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def _resident_kib() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])


def test_a_listener_that_is_killed_leaves_no_reader_and_the_next_one_goes_on(
    low: LowSide, high: HighSide, bundle: SignedBundle
) -> None:
    port = free_port()
    datagrams = list(many_groups(low, bundle).datagrams())
    first = _start(high, port)
    readers = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    send_to(port, datagrams[: len(datagrams) * 2 // 3])
    wait_until(lambda: high.state_of(bundle) == "receiving")
    first.kill()
    first.communicate()
    wait_until(lambda: not any(Path(f"/proc/{reader}").exists() for reader in readers))
    assert len(readers) == 1
    second = _start(high, port)
    send_to(port, many_groups(low, bundle).datagrams())
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, out + err
    assert "received" in out
    assert high.holds(bundle, BLOBS)


def _start(high: HighSide, port: int) -> "subprocess.Popen[str]":
    """The installed command, once it listens."""
    arguments = ["--root", str(high.root), "receive", f"udp://127.0.0.1:{port}", "--bundles", "1"]
    started = subprocess.Popen(
        [*tidegate_command(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    status = high.root / "links" / f"127.0.0.1_{port}.json"
    wait_until(lambda: status.is_file() and json.loads(status.read_text())["pid"] == started.pid)
    return started


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("udp://192.0.2.77:5300",), 2, "no interface of this host has 192.0.2.77"),
        (("udp://somewhere:5300",), 2, "names are not looked up"),
        (("udp://127.0.0.1:5300", "/tmp"), 2, "a stream is received alone"),
        (("--bundles", "1", "/tmp"), 2, "are for streams"),
    ],
)
def test_wrong_words_are_told_by_name(high: HighSide, arguments: tuple[str, ...], code: int, said: str) -> None:
    command = [*tidegate_command(), "--root", str(high.root), "receive", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_a_port_that_is_taken_is_told(high: HighSide) -> None:
    with listening(high) as listener:
        command = [*tidegate_command(), "--root", str(high.root), "receive", f"udp://127.0.0.1:{listener.port}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == HostError.exit_code
    assert "the port is taken" in done.stderr
