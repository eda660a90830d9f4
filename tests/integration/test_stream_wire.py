"""The sender over a wire of real single packets with losses and no way back, between two network namespaces."""

import subprocess
import time

import pytest
import wire
from stream_reader import ReadSession, StreamReader
from two_sides import Sides

from tidegate.bundle.container import BundleFile
from tidegate.carrier.stream.header import Kind

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(wire.why_not()), reason=wire.why_not() or "there is a wire"),
]
RATE = ("--rate", "100mbit")


@pytest.fixture
def sides(tmp_path):
    return Sides.make(tmp_path)


def send(sides: Sides, link: wire.Wire, bundle: str, *options: str, address: str = ""):
    answer = sides.low.run("send", bundle, address or link.address(), *RATE, *options, "--json", prefix=link.low())
    assert answer.code == 0, answer
    return answer.objects[-1]


def assert_whole(sides: Sides, session: ReadSession) -> None:
    (path,) = (sides.low.root / "spool").glob("*.tgb")
    with BundleFile.open(path) as file:
        chunks = bytearray(file.part_lengths[2])
        file.read_into(2, 0, memoryview(chunks))
        assert session.part(1) == file.read_part(1)
        assert session.part(2) == bytes(chunks)


@pytest.mark.parametrize(
    ("mtu", "words", "loss"),
    [
        (1500, (), {}),
        (9000, (), {}),
        (1500, ("--expected-loss", "1%"), {"loss_percent": 1}),
        (9000, ("--expected-loss", "5%"), {"loss_percent": 5}),
        (1500, (), {"burst": 30, "every": 4000}),  # 5 ms at this rate are 42 datagrams
    ],
)
def test_a_bundle_crosses_and_nothing_comes_back(sides, mtu, words, loss):
    bundle = sides.pack("docs", size=3_000_000, count=1)
    with wire.wire(mtu, **loss) as link, StreamReader(ready=link.high_socket()) as reader:
        closing = send(sides, link, bundle, *words)
        reader.finish()
        counts = link.counts()
        assert closing["mtu"] == mtu and closing["segmentation"]
        assert max(reader.sizes) == mtu - 28 - (mtu - 60) % 8
        (session,) = reader.sessions.values()
        assert_whole(sides, session)
        assert counts.back == 0 and (counts.lost > 0) == bool(loss)
        assert counts.lost + counts.forwarded >= sum(reader.kinds.values())


def test_a_small_bundle_bears_a_gap_as_long_as_itself(sides):
    bundle = sides.pack("docs", size=100_000, count=1)
    # the first 100 of the session, which has about as many, are lost; it comes a second time
    with wire.wire(burst=100, every=100_000) as link, StreamReader(ready=link.high_socket()) as reader:
        send(sides, link, bundle, "--burst", "15ms")
        reader.finish()
        assert link.counts().lost == 100
        (session,) = reader.sessions.values()
        assert_whole(sides, session)


@pytest.mark.parametrize("way", ["six", "multicast"])
def test_other_addresses_lead_there_too(sides, way):
    bundle = sides.pack("docs", size=500_000, count=1)
    family, multicast = (6, False) if way == "six" else (4, True)
    with (
        wire.wire() as link,
        StreamReader(ready=link.high_socket(family=family, multicast=multicast)) as reader,
    ):
        send(sides, link, bundle, address=link.address(family=family, multicast=multicast))
        reader.finish()
        (session,) = reader.sessions.values()
        assert_whole(sides, session)


def test_a_link_that_goes_down_is_waited_for_and_what_went_meanwhile_is_sent_again(sides):
    bundle = sides.pack("docs", size=20_000_000, count=1)
    with wire.wire() as link, StreamReader(ready=link.high_socket()) as reader:
        process = sides.low.start("send", bundle, link.address(), *RATE, "--burst", "1ms", prefix=link.low())
        deadline = time.monotonic() + 60
        while not any((2, 1) in session.groups() for session in list(reader.sessions.values())):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        link.set_low_link(up=False)
        time.sleep(2)
        assert process.poll() is None
        link.set_low_link(up=True)
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        assert "waiting for it" in err and "up again" in err
        reader.finish()
        (session,) = reader.sessions.values()
        assert_whole(sides, session)


def test_an_idle_outbox_outlives_a_link_that_goes_down_and_sends_again(sides):
    folder = sides.folder / "outbox"
    folder.mkdir()
    with wire.wire() as link, StreamReader(ready=link.high_socket()) as reader:
        words = ("--to", link.address(), *RATE, "--heartbeat", "1s", "--canary", "0s")
        process = sides.low.start("outbox", "run", folder, *words, prefix=link.low())
        _wait_for(lambda: reader.kinds[Kind.HEARTBEAT] > 0, process)
        link.set_low_link(up=False)
        time.sleep(3)
        link.set_low_link(up=True)
        before = reader.kinds[Kind.HEARTBEAT]
        _wait_for(lambda: reader.kinds[Kind.HEARTBEAT] > before + 1, process)
        sides.low.good("outbox", "add", sides.pack("docs", size=10_000, count=1))
        _wait_for(lambda: any(session.ends for session in list(reader.sessions.values())), process)
        process.terminate()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "is down; waiting for it" in err and "the link is up again" in err
        reader.finish()
        (session,) = reader.sessions.values()
        assert_whole(sides, session)


def _wait_for(what, process):
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_host_that_lets_nothing_out_is_named(sides):
    bundle = sides.pack("docs", size=10_000, count=1)
    rules = "table inet stop { chain out { type filter hook output priority 0; meta l4proto udp drop; }; }"
    with wire.wire() as link:
        subprocess.run(link.low("nft", rules), check=True)
        answer = sides.low.run("send", bundle, link.address(), *RATE, prefix=link.low())
        assert answer.code == 8 and "does not let it out" in answer.err and "nft list ruleset" in answer.err
    assert sides.low.events()[-1] == "send failed"


def test_no_way_to_the_address_is_named(sides):
    bundle = sides.pack("docs", size=10_000, count=1)
    with wire.wire() as link:
        answer = sides.low.run("send", bundle, "udp://192.0.2.1:5300", *RATE, prefix=link.low())
        assert answer.code == 9 and "unreachable" in answer.err
