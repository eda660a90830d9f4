"""What a session sends and in which order; preambles in pieces; heartbeats; addresses; the choice of the code."""

import random
import socket

import numpy as np
import pytest
from made_volumes import CHANNEL, SIGNER, random_bytes

from tidegate.carrier.announcement import Announcement, build_announcement, parse_announcement, read_announcement_frame
from tidegate.carrier.frames import FRAME_MAX_BYTES, tag_of
from tidegate.carrier.spans import full_spans, partial_spans, remaining_spans, span_groups
from tidegate.carrier.stream.address import packet_bytes, parse_address, symbol_bytes
from tidegate.carrier.stream.header import HEADER_BYTES, check_headers
from tidegate.carrier.stream.heartbeat import Heartbeat, build_heartbeat, parse_heartbeat, read_heartbeat_frame
from tidegate.carrier.stream.parts import bears_burst, borne_burst_bytes, borne_loss, plan_stream_parts
from tidegate.carrier.stream.session import (
    PreambleAssembler,
    StreamFacts,
    first_symbol_of_pass,
    plan_session,
    preamble_datagrams,
    sending_order,
    symbol_lengths,
)
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import CarrierFormatError, FormatError, UsageError

FACTS = StreamFacts(CHANNEL, 1, 192, "ab" * 32, 100)


def session(chunks: int = 10_000_000, **options) -> Announcement:
    return plan_session(FACTS, plan_stream_parts((700, 3000, chunks), 1440, redundancy=0.1, **options))


def test_a_session_is_announced_in_one_datagram_and_read_back():
    announcement = session()
    data = build_announcement(announcement, SIGNER)
    assert len(data) <= 1400
    assert parse_announcement(read_announcement_frame(data)) == announcement


def test_two_sessions_have_different_tags():
    first, second = (read_announcement_frame(build_announcement(session(), SIGNER)).tag for _ in range(2))
    assert first != second


def test_an_announcement_with_symbols_too_large_for_a_datagram_is_refused():
    parts = (*session().parts[:2], PartGeometry(10**6, 10, 2, 65480, 1))
    with pytest.raises(CarrierFormatError, match="S-7"):
        build_announcement(plan_session(FACTS, parts), SIGNER)


def test_an_announcement_with_more_groups_than_a_reader_counts_is_refused():
    parts = (*session().parts[:2], PartGeometry(2**20 * 64 + 1, 1, 1, 64, 1))
    with pytest.raises(CarrierFormatError, match="S-12"):
        build_announcement(plan_session(FACTS, parts), SIGNER)


def test_cover_and_head_stand_at_both_ends():
    parts = session().parts
    assert full_spans(parts) == ((0, 0, 1), (1, 0, 1), (2, 0, parts[2].group_count), (1, 0, 1), (0, 0, 1))
    assert partial_spans(parts, [(1, 2)]) == ((0, 0, 1), (1, 0, 1), (2, 1, 2), (1, 0, 1), (0, 0, 1))


def test_a_part_of_no_bytes_has_no_span():
    assert full_spans(session(0).parts) == ((0, 0, 1), (1, 0, 1), (1, 0, 1), (0, 0, 1))


def test_remaining_spans_leave_out_just_what_was_sent():
    spans = ((0, 0, 1), (1, 0, 2), (2, 0, 5), (1, 0, 2), (0, 0, 1))
    groups = span_groups(spans)
    for done in range(len(groups) + 1):
        assert span_groups(remaining_spans(spans, done)) == groups[done:]


@pytest.mark.parametrize("first", [0, 1, 7, 11, 12, 40])
def test_sending_order_holds_each_symbol_once_from_any_beginning(first):
    geometry = PartGeometry(19 * 64 - 5, 10, 3, 64, 2)
    order = sending_order(geometry, 0, first)
    assert sorted(map(tuple, order)) == sorted(map(tuple, geometry.record_order(0)))
    assert order[0, 1] == first % 13


def test_the_second_pass_sends_the_repairs_first_and_later_ones_others():
    geometry = PartGeometry(10**6, 200, 20, 1440, 8)
    starts = [first_symbol_of_pass(geometry, number) for number in range(8)]
    assert starts[:2] == [0, geometry.source_count]
    assert len(set(starts)) == 8 and max(starts) < 220


def test_only_the_last_source_symbol_of_a_part_travels_short():
    geometry = PartGeometry(19 * 64 - 5, 10, 3, 64, 1)
    lengths = symbol_lengths(geometry, 1, sending_order(geometry, 1))
    assert lengths.tolist() == [64] * 8 + [59] + [64] * 3
    assert symbol_lengths(geometry, 0, sending_order(geometry, 0)).tolist() == [64] * 13


# --- the choice of the code -------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.001, 0.01, 0.05, 0.1])
@pytest.mark.parametrize("length", [1, 1000, 100_000, 10**7, 10**9])
def test_an_expected_loss_is_borne_by_every_part(loss, length):
    for geometry in plan_stream_parts((500, 20_000, length), 1440, expected_loss=loss, burst_bytes=600_000):
        assert borne_loss(geometry.source_count, geometry.repair_count) >= loss * 0.999


@pytest.mark.parametrize("burst", [150_000, 625_000, 5_625_000])
@pytest.mark.parametrize("length", [10**8, 10**9, 10**10 + 7])
def test_every_group_bears_the_burst_also_the_last(burst, length):
    for protection in ({"redundancy": 0.1}, {"expected_loss": 0.001}, {"expected_loss": 0.05}):
        parts = plan_stream_parts((500, 20_000, length), 1440, burst_bytes=burst, **protection)
        assert bears_burst(parts, burst), protection
        assert borne_burst_bytes(parts[2]) >= burst
        assert parts[2].group_max_bytes <= 48 << 20


def test_a_session_shorter_than_the_burst_says_that_it_does_not_bear_it():
    assert not bears_burst(plan_stream_parts((500, 3000, 100_000), 1440, redundancy=0.1, burst_bytes=600_000), 600_000)


def test_cover_and_head_are_protected_where_the_chunks_are_not():
    cover, head, chunks = plan_stream_parts((500, 300_000, 10**6), 1440, redundancy=0)
    assert chunks.repair_count == 0 and head.repair_count >= 16 and cover.repair_count >= 4


def test_memory_bounds_the_groups():
    chunks = plan_stream_parts((1, 1, 10**9), 8936, redundancy=0.1, burst_bytes=10**8, memory=64 << 20)[2]
    assert chunks.group_max_bytes <= 16 << 20


def test_a_stream_is_planned_by_redundancy_or_by_loss_not_both():
    for options in ({}, {"redundancy": 0.1, "expected_loss": 0.1}, {"redundancy": 5}, {"expected_loss": 0.5}):
        with pytest.raises(UsageError):
            plan_stream_parts((1, 1, 1), 1440, **options)


# --- preamble ---------------------------------------------------------------------------------


def taken(datagram: bytes) -> tuple[bytes, int, int, bytes]:
    raw = np.frombuffer(datagram[:HEADER_BYTES], np.uint8).reshape(1, -1)
    good, _ = check_headers(raw, np.array([len(datagram)]))
    assert good.all()
    return datagram[8:16], int.from_bytes(datagram[16:20], "little"), datagram[26], datagram[HEADER_BYTES:]


@pytest.mark.parametrize("length", [1, 1399, 1400, 1401, 2800, 65536])
def test_a_preamble_comes_together_from_pieces_in_any_order(length):
    preamble = random_bytes(length)
    datagrams = list(preamble_datagrams(preamble))
    random.Random(1).shuffle(datagrams)
    assembler = PreambleAssembler()
    answers = [assembler.add(*taken(datagram)) for datagram in datagrams * 2]
    assert answers.count(preamble) == 2
    assert answers[len(datagrams) - 1] == preamble


def test_a_preamble_too_long_is_not_sent():
    for length in (0, 65537):
        with pytest.raises(FormatError, match="S-6"):
            preamble_datagrams(bytes(length))


def test_a_wrong_piece_spoils_a_preamble_only_once():
    preamble = random_bytes(3000)
    pieces = [taken(datagram) for datagram in preamble_datagrams(preamble)]
    assembler = PreambleAssembler()
    tag, number, count, payload = pieces[0]
    assert assembler.add(tag, number, count, payload[::-1]) is None
    assert [assembler.add(*piece) for piece in pieces[1:]] == [None, None]
    assert [assembler.add(*piece) for piece in pieces][-1] == preamble


def test_pieces_of_strangers_displace_no_preamble_that_has_more():
    preamble = random_bytes(3000)
    pieces = [taken(datagram) for datagram in preamble_datagrams(preamble)]
    assembler = PreambleAssembler()
    for piece in pieces[:2]:
        assembler.add(*piece)
    for number in range(100):
        assembler.add(number.to_bytes(8, "little"), 0, 3, bytes(1400))
    assert assembler.add(*pieces[2]) == preamble


def test_the_tag_of_a_preamble_is_of_its_bytes():
    assert tag_of(b"a") != tag_of(b"b")


# --- heartbeats -------------------------------------------------------------------------------


def heartbeat(**changes) -> Heartbeat:
    values = {"link": "diode-1", "number": 7, "time": "2026-01-31T08:00:00Z", "interval_seconds": 60, "sequence": 192}
    return Heartbeat(format=1, critical=(), channel=CHANNEL, epoch=1, **{**values, **changes})


def test_a_heartbeat_is_read_as_it_was_written():
    data = build_heartbeat(heartbeat(checkpoint="low\n12\nroot\n"), SIGNER)
    assert len(data) <= FRAME_MAX_BYTES
    frame = read_heartbeat_frame(data)
    assert frame.key_id == SIGNER.key_id
    assert parse_heartbeat(frame) == heartbeat(checkpoint="low\n12\nroot\n")


@pytest.mark.parametrize(
    "change", [{"link": "A"}, {"link": ""}, {"number": 0}, {"interval_seconds": 3601}, {"time": "x"}]
)
def test_a_heartbeat_that_breaks_a_limit_is_not_made(change):
    with pytest.raises(CarrierFormatError, match="S-11"):
        build_heartbeat(heartbeat(**change), SIGNER)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"TGA1" + data[4:]])
def test_a_damaged_heartbeat_is_refused(damage):
    with pytest.raises(CarrierFormatError, match="S-11"):
        read_heartbeat_frame(damage(build_heartbeat(heartbeat(), SIGNER)))


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown", "multicast"),
    [
        ("udp://10.9.0.2:5300", "udp://10.9.0.2:5300", False),
        ("udp://10.9.0.2", "udp://10.9.0.2:5300", False),
        ("udp://239.1.2.3:7/", "udp://239.1.2.3:7", True),
        ("udp://[fd00::0002]:5300", "udp://[fd00::2]:5300", False),
        ("udp://[ff02::7%lo]:5300", "udp://[ff02::7%lo]:5300", True),
    ],
)
def test_an_address_is_understood(text, shown, multicast):
    address = parse_address(text)
    assert str(address) == shown and address.is_multicast is multicast
    assert address.sockaddr()[1] == address.port


@pytest.mark.parametrize(
    "text",
    ["10.9.0.2:5300", "udp://", "udp://host:5300", "udp://fd00::2:5300", "udp://[10.0.0.1]:1", "udp://1.2.3.4:0",
     "udp://1.2.3.4:65536", "udp://1.2.3.4:5300/x", "udp://[fd00::2", "udp://[fd00::2%nowhere]x"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_an_example(text):
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert "udp://10.9.0.2:5300" in caught.value.hint


def test_a_scope_that_is_no_interface_is_named():
    with pytest.raises(UsageError, match="nowhere"):
        parse_address("udp://[fe80::1%nowhere]:5300").sockaddr()


@pytest.mark.parametrize(
    ("mtu", "family", "size"),
    [(1500, socket.AF_INET, 1440), (1500, socket.AF_INET6, 1416), (9000, socket.AF_INET, 8936),
     (9000, socket.AF_INET6, 8920), (65536, socket.AF_INET, 65472)],
)  # fmt: skip
def test_symbols_fill_the_packet(mtu, family, size):
    assert symbol_bytes(mtu, family) == size
    assert packet_bytes(size, family) <= mtu
