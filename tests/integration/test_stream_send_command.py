"""`tidegate send BUNDLE udp://…` as a person types it, over loopback; the other end is a plain reader."""

import signal
import time

import pytest
from stream_reader import StreamReader
from two_sides import Sides

from tidegate.bundle.container import BundleFile
from tidegate.state.bundles import find_bundle
from tidegate.state.sendings import SendingState, list_sendings


@pytest.fixture
def sides(tmp_path):
    made = Sides.make(tmp_path)
    made.make_files(size=400_000)
    return made


def sendings(sides):
    with sides.low.workspace() as workspace, workspace.state.reading() as tx:
        return list_sendings(tx)


def test_a_bundle_goes_over_a_link_and_nobody_says_that_it_arrived(sides):
    bundle = sides.pack()
    with StreamReader() as reader:
        answer = sides.low.good("send", bundle, reader.address, "--rate", "1gbit", "--mtu", "1500", "--json")
        reader.finish()
        (session,) = reader.sessions.values()
        with sides.low.workspace() as workspace, workspace.state.reading() as tx:
            row = find_bundle(tx, bundle)
            path = workspace.root / row.path
        closing, address = answer.objects[-1], reader.address
        assert closing["arrival"] == "unknown" and "no return slip" in closing["last_slip"]
        assert session.announcement.bundle_id == row.bundle_id
        with BundleFile.open(path) as file:
            assert session.part(1) == file.read_part(1)
            chunks = bytearray(file.part_lengths[2])
            file.read_into(2, 0, memoryview(chunks))
            assert session.part(2) == bytes(chunks)
    sent = [entry for entry in sides.low.entries() if entry["event"] == "send"]
    assert [entry["outcome"] for entry in sent] == ["begun", "done"]
    assert sent[1]["targets"] == [{"name": "link", "place": address}]
    (row,) = sendings(sides)
    assert row.state is SendingState.SENT and row.passes == 1
    assert sides.low.states() == ["sent"]


def test_passes_are_sessions_of_their_own_with_other_symbols_first(sides):
    bundle = sides.pack()
    with StreamReader() as reader:
        sides.low.good(
            "send", bundle, reader.address, "--rate", "1gbit", "--passes", "2", "--mtu", "1500", "--burst", "0s"
        )
        reader.finish()
        first, second = reader.sessions.values()
        starts = [next(symbol for part, _, symbol in session.order if part == 2) for session in (first, second)]
        assert starts == [0, first.announcement.parts[2].source_count]


def test_dry_run_says_what_it_takes_and_bears_and_sends_nothing(sides):
    bundle = sides.pack()
    with StreamReader() as reader:
        (*_, closing) = sides.low.good(
            "send", bundle, reader.address, "--rate", "10mbit", "--expected-loss", "1%", "--dry-run", "--json"
        ).objects
        reader.finish()
        assert not reader.kinds
    assert closing["bears_loss"] >= 0.0099 and closing["wire_bytes"] > closing["content_bytes"]
    assert closing["seconds"] == pytest.approx(closing["wire_bytes"] / 1_250_000, rel=0.05)
    assert sides.low.states() == ["packed"]


def test_a_sender_that_was_killed_goes_on_with_the_group_that_it_was_in(sides):
    bundle = sides.pack("big", size=20_000_000, count=1)
    options = ("--rate", "80mbit", "--mtu", "1500", "--burst", "1ms")
    with StreamReader() as reader:
        process = sides.low.start("send", bundle, reader.address, *options)
        deadline = time.monotonic() + 60
        while not any(session.groups()[-1:] == [(2, 1)] for session in list(reader.sessions.values())):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(0.3)
        (first,) = reader.sessions.values()
        before = first.groups()
        closing = sides.low.good("send", bundle, reader.address, *options, "--json").objects[-1]
        reader.finish()
        second = list(reader.sessions.values())[1]
        # the group that it was in is sent again, and nothing before it
        assert second.groups()[0] in before[-2:] and closing["resumed_at"] >= len(before) - 2
        assert set(before) | set(second.groups()) == {
            (part, group) for part in range(3) for group in range(second.announcement.parts[part].group_count)
        }
    outcomes = [entry["outcome"] for entry in sides.low.entries() if entry["event"] == "send"]
    assert outcomes == ["begun", "begun", "done"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("udp://nowhere",), 2, "no IP address"),
        (("udp://127.0.0.1:9", "--redundancy", "10%", "--expected-loss", "1%"), 2, "two answers"),
        (("udp://127.0.0.1:9", "udp://127.0.0.1:10"), 2, "one link at a time"),
        (("udp://127.0.0.1:9", "--rate", "fast"), 2, "no rate"),
        (("udp://127.0.0.1:9", "--burst", "soon"), 2, "no length of time"),
        (("./stick", "--rate", "1gbit"), 2, "only for a link"),
        (("udp://127.0.0.1:9", "--expected-loss", "60%"), 2, "expected loss"),
    ],
)
def test_what_cannot_be_sent_so_is_refused_before_anything_is_sent(sides, words, code, text):
    bundle = sides.pack()
    answer = sides.low.fails(code, "send", bundle, *words)
    assert text in answer.err
    assert sides.low.states() == ["packed"]
