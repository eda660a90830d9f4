"""A session over loopback: every byte arrives as the format says, whatever way the symbols took through this host."""

import itertools
import socket
import time
from datetime import datetime

import numpy as np
import pytest
from made_volumes import CHANNEL, PREAMBLE, SIGNER, make_bundle
from stream_reader import StreamReader

from tidegate.carrier.stream.address import parse_address
from tidegate.carrier.stream.header import Kind
from tidegate.carrier.stream.parts import plan_stream_parts
from tidegate.carrier.stream.session import StreamFacts, plan_session
from tidegate.errors import HostError, LinkDownError, LinkError, UsageError
from tidegate.routes import route_interface
from tidegate_sender.commands.link_options import LinkWords, open_link
from tidegate_sender.stream.link import Link, SegmentationLostError
from tidegate_sender.stream.messages import Control, group_messages, segments_per_message
from tidegate_sender.stream.pacing import RateSchedule, TokenBucket, format_rate, parse_rate, parse_schedule
from tidegate_sender.stream.session import Bearing, LinkPatience, SessionSender, sign_session


class PartsBundle:
    """What the sender needs of a bundle."""

    def __init__(self, chunks: int) -> None:
        made = make_bundle(chunks)
        self.parts = made.parts
        self.bundle_id, self.manifest_length = made.bundle_id, made.manifest_length
        self.error: HostError | None = None

    def read_into(self, part: int, offset: int, view: memoryview) -> None:
        if self.error:
            raise self.error
        view[:] = self.parts[part][offset : offset + len(view)]


def planned(bundle: PartsBundle, payload: int, **options):
    lengths = tuple(map(len, bundle.parts))
    options = options if "expected_loss" in options else {"redundancy": 0.1, **options}
    facts = StreamFacts(CHANNEL, 1, 192, bundle.bundle_id, bundle.manifest_length)
    return plan_session(facts, plan_stream_parts(lengths, payload, **options))


def send(bundle: PartsBundle, reader: StreamReader, *, mtu: int = 1500, bearing=Bearing(), rate="2gbit", **options):  # noqa: B008
    with Link(parse_address(reader.address), mtu=mtu) as link:
        session = sign_session(planned(bundle, link.symbol_bytes, **options), SIGNER, PREAMBLE)
        bucket = TokenBucket(parse_schedule(rate))
        sender = SessionSender(link, bucket, bundle, session, bearing)
        steps = list(sender.steps())
    reader.finish()
    return steps, sender


@pytest.mark.parametrize("chunks", [0, 1, 1440, 100_000, 3_000_000, 1440 * 220 * 3])
@pytest.mark.parametrize("mtu", [1500, 9000])
def test_a_session_brings_every_byte(chunks, mtu):
    bundle = PartsBundle(chunks)
    with StreamReader() as reader:
        steps, sender = send(bundle, reader, mtu=mtu)
        assert reader.bad == 0 and reader.preambles[0] == PREAMBLE
        (session,) = reader.sessions.values()
        assert tuple(map(session.part, (0, 1, 2))) == bundle.parts
        assert session.running == list(range(len(session.running)))
        assert session.ends == session.running[-3:]
        assert session.groups() == [group for group, _ in itertools.groupby(sender.groups)]
        assert max(reader.sizes) <= mtu - 28
        assert steps[-1].done == steps[-1].total == len(sender.groups)


def test_symbols_that_did_not_arrive_are_mended():
    bundle = PartsBundle(5_000_000)
    with StreamReader() as reader:
        send(bundle, reader, expected_loss=0.05)
        (session,) = reader.sessions.values()
        lost = np.random.default_rng(3)
        for symbols in session.symbols.values():
            for index in list(symbols):
                if lost.random() < 0.05 and len(symbols) > 3:
                    del symbols[index]
        assert session.part(2) == bundle.parts[2]


@pytest.mark.parametrize("way", ["single", "six"])
def test_the_other_ways_through_this_host_bring_the_same(monkeypatch, way):
    if way == "single":
        monkeypatch.setenv("TIDEGATE_NO_SEGMENTATION", "1")
    bundle = PartsBundle(2_000_000)
    with StreamReader(socket.AF_INET6 if way == "six" else socket.AF_INET) as reader:
        send(bundle, reader)
        (session,) = reader.sessions.values()
        assert tuple(map(session.part, (0, 1, 2))) == bundle.parts


def test_a_device_that_cannot_cut_is_served_with_single_datagrams(monkeypatch):
    bundle = PartsBundle(2_000_000)
    real = Link._send_range

    def refuse(self, array, first, last):
        if self.segmentation:
            self._judge(5, is_cut=True)
        real(self, array, first, last)

    monkeypatch.setattr(Link, "_send_range", refuse)
    with StreamReader() as reader:
        send(bundle, reader)
        (session,) = reader.sessions.values()
        assert tuple(map(session.part, (0, 1, 2))) == bundle.parts


def test_a_session_shorter_than_the_burst_is_sent_twice_with_other_symbols_first():
    bundle = PartsBundle(100_000)
    with StreamReader() as reader:
        _, sender = send(bundle, reader, bearing=Bearing(0, 600_000, 0.005), burst_bytes=600_000)
        assert sender.is_sent_twice
        (session,) = reader.sessions.values()
        chunks = [symbol for part, _, symbol in session.order if part == 2]
        assert chunks[0] == 0 and chunks[len(chunks) // 2] == session.announcement.parts[2].source_count
        assert session.running == list(range(len(session.running))) and len(session.ends) == 6


def test_announcement_and_preamble_come_again_after_each_second():
    bundle = PartsBundle(700_000)
    with StreamReader() as reader:
        send(bundle, reader, rate="2mbit")
        assert 3 <= reader.kinds[Kind.TRUST] <= 8
        assert reader.kinds[Kind.ANNOUNCEMENT] >= 6
        (session,) = reader.sessions.values()
        assert session.running == list(range(len(session.running)))


def test_a_session_that_is_left_early_says_how_many_groups_are_out():
    bundle = PartsBundle(20_000_000)
    with StreamReader() as reader, Link(parse_address(reader.address), mtu=1500) as link:
        session = sign_session(planned(bundle, link.symbol_bytes), SIGNER, PREAMBLE)
        sender = SessionSender(link, TokenBucket(parse_schedule("1gbit")), bundle, session, Bearing())
        steps = sender.steps()
        done = [next(steps).done for _ in range(4)]
        steps.close()
        reader.finish()
        assert done == [1, 2, 3, 4]
        (read,) = reader.sessions.values()
        assert read.groups() == list(sender.groups[:4]) and not read.ends


def test_a_disk_that_fails_is_told():
    bundle = PartsBundle(5_000_000)
    bundle.error = HostError("reading a bundle: Input/output error")
    with StreamReader() as reader, pytest.raises(HostError):
        send(bundle, reader)


def test_groups_are_sent_again_from_where_the_link_was_last_seen_up(monkeypatch):
    bundle = PartsBundle(20_000_000)
    looks = iter([None] * 4 + [LinkDownError("down")] * 2 + [None] * 1000)

    def look(self):
        answer = next(looks)
        if answer:
            raise answer

    monkeypatch.setattr(Link, "check_up", look)
    monkeypatch.setattr("tidegate_sender.stream.session.LINK_LOOK_SECONDS", 0)
    monkeypatch.setattr("tidegate_sender.stream.session.LINK_WAIT_STEP_SECONDS", 0)
    told = []
    with StreamReader() as reader, Link(parse_address(reader.address), mtu=1500) as link:
        session = sign_session(planned(bundle, link.symbol_bytes), SIGNER, PREAMBLE)
        bucket = TokenBucket(parse_schedule("2gbit"))
        sender = SessionSender(link, bucket, bundle, session, Bearing(), LinkPatience(None, tell=told.append))
        assert [step.done for step in sender.steps()][:6] == [1, 2, 3, 4, 5, 6]
        reader.finish()
        (read,) = reader.sessions.values()
        assert tuple(map(read.part, (0, 1, 2))) == bundle.parts
        assert told == ["down; waiting for it", "the link is up again"]


def test_whoever_does_not_wait_gets_the_error():
    with pytest.raises(LinkDownError):
        LinkPatience(0).wait(LinkDownError("down"))


# --- messages ---------------------------------------------------------------------------------


def test_messages_hold_each_datagram_once_and_a_short_one_ends_its_message():
    lengths = np.full(100, 1440)
    lengths[61] = 7
    headers = np.zeros((100, 32), np.uint8)
    made = group_messages(
        headers, np.arange(100).astype(np.uint64), lengths, (Control(0, (b"a", b"bb")), Control(50, (b"c",))), 44
    )
    assert made.datagrams_of.tolist() == [1, 1, 44, 6, 1, 12, 38]
    assert made.bytes_of.tolist() == [1, 2, 44 * 1472, 6 * 1472, 1, 11 * 1472 + 39, 38 * 1472]
    assert (made.messages["controllen"] > 0).tolist() == [False, False, True, True, False, True, True]


def test_messages_are_as_long_as_the_kernel_takes_and_short_at_a_low_rate():
    assert segments_per_message(1472, segmentation=True, most_bytes=10**9) == 44
    assert segments_per_message(8968, segmentation=True, most_bytes=10**9) == 7
    assert segments_per_message(65504, segmentation=True, most_bytes=10**9) == 1
    assert segments_per_message(1472, segmentation=True, most_bytes=4000) == 2
    assert segments_per_message(1472, segmentation=False, most_bytes=10**9) == 1


# --- link ---------------------------------------------------------------------------------------


def test_a_link_knows_its_interface_and_mtu():
    with Link(parse_address("udp://127.0.0.1:9")) as link:
        assert link.interface == "lo" and link.mtu >= 65535 and link.segmentation
    assert route_interface(parse_address("udp://[::1]:9")) == "lo"


def test_a_rate_is_always_in_force_and_the_kernel_knows_it():
    address = parse_address("udp://127.0.0.1:9")
    for rate, bytes_a_second in ((None, 125_000_000), ("80mbit", 10_000_000), ("8mbit,22:00-06:00=16mbit", 2_000_000)):
        link, schedule = open_link(address, LinkWords(rate=rate))
        with link:
            assert schedule.highest == bytes_a_second  # lo says no speed: 1 Gbit/s
            assert paced(link) == bytes_a_second
            link.reopen()
            assert paced(link) == bytes_a_second


def paced(link):
    return int.from_bytes(link._socket.getsockopt(socket.SOL_SOCKET, 47, 8), "little")


def test_an_mtu_that_the_way_does_not_have_is_refused():
    with pytest.raises(LinkError, match="70000"):
        Link(parse_address("udp://127.0.0.1:9"), mtu=70000)


def test_a_port_that_nobody_has_open_is_no_error():
    with Link(parse_address("udp://127.0.0.1:9"), mtu=1500) as link:
        for _ in range(5):
            link.send_datagrams((b"x" * 40,), lambda _count: None)
        assert link.sent_datagrams == 5 and link.sent_bytes == 5 * 68


@pytest.mark.parametrize(
    ("number", "kind"),
    [(100, LinkDownError), (101, LinkDownError), (113, LinkDownError), (1, LinkError), (90, LinkError)],
)
def test_failures_of_sending_have_names(number, kind):
    with Link(parse_address("udp://127.0.0.1:9")) as link, pytest.raises(kind) as caught:
        link._judge(number, is_cut=False)
    assert caught.value.hint


def test_a_full_queue_is_waited_for_and_a_device_that_cannot_cut_is_told(monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with Link(parse_address("udp://127.0.0.1:9")) as link:
        link._judge(105, is_cut=False)
        assert waited == [0.001]
        with pytest.raises(SegmentationLostError):
            link._judge(5, is_cut=True)
        assert not link.segmentation and "cannot cut" in link.why_no_segmentation


# --- pacing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [("9gbit", 1_125_000_000), ("1 Gbit/s", 125_000_000), ("500mbit", 62_500_000), ("100MB", 100_000_000),
     ("1.5MB/s", 1_500_000), ("64kbps", 64_000), ("2g", 250_000_000)],
)  # fmt: skip
def test_a_rate_is_understood(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "fast", "10", "-1gbit", "7999bit", "1gbit,22:00=1gbit", "1gbit,25:00-06:00=2gbit"]
)
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(UsageError):
        parse_schedule(text)


def test_a_schedule_holds_by_time_of_day_also_over_midnight():
    schedule = parse_schedule("1gbit,22:00-06:00=9gbit,12:00-13:00=2gbit")
    at = {hour: schedule.at(datetime(2026, 1, 31, hour)) * 8 // 10**9 for hour in (0, 5, 6, 12, 13, 22)}
    assert at == {0: 9, 5: 9, 6: 1, 12: 2, 13: 1, 22: 9}
    assert schedule.highest == parse_rate("9gbit")


def test_the_bucket_holds_the_rate_and_makes_up_for_late_sleeps():
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds + 0.0007

    bucket = TokenBucket(RateSchedule(1_000_000), clock=lambda: now[0], sleep=sleep)
    for _ in range(1000):
        bucket.spend(10_000)
    assert 9.9 <= now[0] <= 10.1


def test_the_bucket_does_not_save_up_while_nothing_is_sent():
    now, slept = [0.0], []
    bucket = TokenBucket(RateSchedule(1_000_000), clock=lambda: now[0], sleep=slept.append)
    now[0] = 1000.0
    bucket.spend(10_000)
    bucket.spend(10_000)
    assert slept == [pytest.approx(0.005)]


def test_rates_are_shown_in_bits():
    assert format_rate(1_125_000_000) == "9 Gbit/s" and format_rate(187_500) == "1.5 Mbit/s"
