"""`tidegate outbox` as people use it: a folder, a link over loopback, and a plain reader at its other end."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stream_reader import StreamReader
from two_sides import Answer, Sides
from waiting import wait_until

from tidegate.carrier.announcement import read_announcement_frame
from tidegate.carrier.stream.header import Kind
from tidegate.carrier.stream.heartbeat import parse_heartbeat, read_heartbeat_frame, verify_heartbeat
from tidegate.trust.checks import verify_announcement
from tidegate.trust.root import parse_chain

QUIET = ("--heartbeat", "0s", "--canary", "0s", "--mtu", "1500", "--json")
LIST = "tidegate: 1\nfiles:\n  - path: {path}\n    name: {name}\n"


@pytest.fixture
def sides(tmp_path):
    made = Sides.make(tmp_path)
    (tmp_path / "outbox").mkdir()
    return made


def put_list(sides: Sides, name: str, where: str = "", **how: int) -> Path:
    folder = sides.make_files(name, **how)
    target = sides.folder / "outbox" / where
    target.mkdir(exist_ok=True)
    path = target / f"{name}.yaml"
    path.write_text(LIST.format(path=folder, name=name))
    return path


def drain(sides: Sides, reader: StreamReader, *options: str) -> Answer:
    words = ("--to", reader.address, "--until-empty", *QUIET, *options)
    return sides.low.good("outbox", "run", sides.folder / "outbox", *words)


@contextmanager
def running(sides: Sides, reader: StreamReader, *options: str) -> Iterator["subprocess.Popen[str]"]:
    words = ("--to", reader.address, *QUIET, *options)
    process = sides.low.start("outbox", "run", sides.folder / "outbox", *words)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        process.said = [json.loads(line) for line in out.splitlines() if line.startswith("{")]  # type: ignore[attr-defined]
        assert process.returncode in {0, -9}, err


def names(reader: StreamReader) -> list[int]:
    """Numbers of the bundles in the order in which their sessions came."""
    return [session.announcement.sequence for session in reader.sessions.values()]


def test_lists_and_bundles_of_the_folder_are_sent_and_put_away(sides):
    put_list(sides, "manuals")
    packed = sides.pack("docs")
    (bundle,) = sides.low.spooled()
    with StreamReader() as reader:
        sides.low.good("outbox", "add", packed, "--to", reader.address)
        closing = drain(sides, reader).objects[-1]
        reader.finish()
        assert closing["sent"] == 2 and closing["arrival"] == "unknown"
        assert sorted(names(reader)) == [1, 2]
    assert [path.name for path in (sides.folder / "outbox" / "done").iterdir()] == ["manuals.yaml"]
    assert sides.low.states() == ["sent", "sent"]
    assert "arrival of what was sent is unknown" in sides.low.good("outbox", "list").out
    assert bundle


def test_a_bundle_file_that_is_put_down_is_sent_and_one_of_others_is_put_aside(sides):
    sides.pack("docs")
    (name,) = (sides.low.root / "spool").glob("*.tgb")
    (sides.folder / "outbox" / "mine.tgb").write_bytes(name.read_bytes())
    (sides.folder / "outbox" / "junk.tgb").write_bytes(b"no bundle")
    (sides.folder / "outbox" / "wrong.yaml").write_text("tidegate: 1\nfiles:\n  - path: ./nowhere\n")
    (sides.folder / "outbox" / "mistyped.yaml").write_text("tidegate 1\nfiles:\n  - path: ./docs\n")
    (sides.folder / "outbox" / "deployment.yaml").write_text("kind: Deployment\n")
    (sides.folder / "outbox" / "notes.txt").write_text("left alone")
    with StreamReader() as reader:
        answer = drain(sides, reader)
        assert answer.objects[-1]["sent"] == 1
    assert "tidegate: warning: wrong.yaml: cannot be sent: " in answer.err and "sent: tidegate" not in answer.err
    failed = sides.folder / "outbox" / "failed"
    rejected = {"junk.tgb", "wrong.yaml", "mistyped.yaml", "deployment.yaml"}
    assert {path.name for path in failed.iterdir()} == rejected | {f"{name}.error.txt" for name in rejected}
    assert 'begins with "tidegate: 1"' in (failed / "mistyped.yaml.error.txt").read_text()
    assert "nowhere" in (failed / "wrong.yaml.error.txt").read_text()
    assert (sides.folder / "outbox" / "notes.txt").is_file()


def test_an_urgent_bundle_overtakes_a_large_one_between_groups(sides):
    large = sides.pack("large", size=40_000_000, count=1)
    with StreamReader() as reader:
        sides.low.good("outbox", "add", large, "--to", reader.address)
        sides.pack("urgent", size=1000, count=1)
        with running(sides, reader, "--rate", "60mbit", "--burst", "1ms"):
            wait_until(lambda: any(len(session.groups()) > 3 for session in list(reader.sessions.values())))
            sides.low.good("outbox", "add", "2", "--urgent", "--to", reader.address)
            wait_until(
                lambda: len(reader.sessions) >= 2 and all(len(s.ends) >= 3 for s in list(reader.sessions.values()))
            )
        reader.finish()
        big, small = reader.sessions.values()
        assert (big.announcement.sequence, small.announcement.sequence) == (1, 2)
        assert big.part(2) and small.part(2)
    sent = [
        entry["sequence"] for entry in sides.low.entries() if entry["event"] == "send" and entry["outcome"] == "done"
    ]
    assert sent == [2, 1]


def test_hold_cancel_first_and_list_order_the_queue(sides):
    with StreamReader() as reader:
        for number in range(4):
            sides.pack(f"docs{number}", size=2000, count=1, seed=number + 10)
            sides.low.good("outbox", "add", str(number + 1), "--to", reader.address)
        sides.low.good("outbox", "hold", "1")
        sides.low.good("outbox", "cancel", "2")
        sides.low.good("outbox", "first", "4")
        listed = {item["bundle"][-1]: item for item in sides.low.good("outbox", "list", "--json").objects[:-1]}
        assert {key: item["state"] for key, item in listed.items()} == {
            "1": "held", "2": "cancelled", "3": "waiting", "4": "waiting"
        }  # fmt: skip
        drain(sides, reader)
        sides.low.good("outbox", "release", "1")
        drain(sides, reader)
        reader.finish()
        assert names(reader) == [4, 3, 1]
        sides.low.fails(18, "outbox", "hold", "3")


def test_a_bundle_that_is_cancelled_while_it_is_sent_stops_with_its_group(sides):
    large = sides.pack("large", size=30_000_000, count=1)
    with StreamReader() as reader:
        sides.low.good("outbox", "add", large, "--to", reader.address)
        with running(sides, reader, "--rate", "40mbit", "--burst", "1ms"):
            wait_until(lambda: any(len(session.groups()) > 2 for session in list(reader.sessions.values())))
            sides.low.good("outbox", "cancel", large)
            wait_until(lambda: sides.low.events()[-1:] == ["send partial"])
        reader.finish()
        (session,) = reader.sessions.values()
        assert not session.ends


def test_idle_time_repeats_the_newest_first_with_other_symbols(sides):
    with StreamReader() as reader:
        for number in range(2):
            sides.pack(f"docs{number}", size=30_000, count=1, seed=number + 10)
            sides.low.good("outbox", "add", str(number + 1), "--to", reader.address)
        drain(sides, reader)
        with running(sides, reader, "--repeat-every", "1s", "--rate", "1gbit"):
            wait_until(lambda: len(reader.sessions) >= 5)
        reader.finish()
        numbers = names(reader)
        assert numbers[:2] == [1, 2] and set(numbers[2:4]) == {1, 2}
        sessions = list(reader.sessions.values())
        # The last session may have been cut off before its content.
        starts = [next(symbol for part, _, symbol in session.order if part == 2) for session in sessions[:3]]
        assert starts[0] == 0 and starts[2] == sessions[2].announcement.parts[2].source_count
    # repeats are no events: the ledger has each bundle once
    assert [entry["outcome"] for entry in sides.low.entries() if entry["event"] == "send"] == ["begun", "done"] * 2


def test_a_runner_that_was_killed_goes_on_with_the_group_that_it_was_in(sides):
    large = sides.pack("large", size=20_000_000, count=1)
    options = ("--rate", "80mbit", "--burst", "1ms")
    with StreamReader() as reader:
        sides.low.good("outbox", "add", large, "--to", reader.address)
        with running(sides, reader, *options) as process:
            wait_until(lambda: any((2, 1) in session.groups() for session in list(reader.sessions.values())))
            process.kill()
            process.wait()
        before = next(iter(reader.sessions.values())).groups()
        sent = next(item for item in drain(sides, reader, *options).objects if item["outcome"] == "sent")
        reader.finish()
        second = list(reader.sessions.values())[1]
        assert sent["resumed_at"] >= len(before) - 2
        assert second.groups()[0] in before[-2:]


def test_resend_lets_bundles_wait_again_by_number_and_by_time(sides):
    with StreamReader() as reader:
        for number in range(3):
            sides.pack(f"docs{number}", size=2000, count=1, seed=number + 10)
            sides.low.good("outbox", "add", str(number + 1), "--to", reader.address)
        drain(sides, reader)
        assert sides.low.good("outbox", "resend", "1-2", "--json").objects[-1]["outcome"] == "waiting"
        drain(sides, reader)
        sides.low.good("outbox", "resend", "--since", "1h")
        drain(sides, reader)
        reader.finish()
        assert names(reader) == [1, 2, 3, 1, 2, 1, 2, 3]
        assert "nothing to do" in sides.low.good("outbox", "resend", "--since", "2099-01-01").out
        sides.low.fails(3, "outbox", "resend", "9")
        sides.low.fails(2, "outbox", "resend")


def test_pieces_are_resent_as_the_groups_that_hold_them(sides):
    with StreamReader() as reader:
        sides.pack("large", size=30_000_000, count=1)
        sides.low.good("outbox", "add", "1", "--to", reader.address)
        options = ("--rate", "2gbit", "--burst", "1ms", "--until-empty")
        drain(sides, reader, *options)
        sides.low.good("outbox", "resend", "1:1")
        drain(sides, reader, *options)
        reader.finish()
        first, second = reader.sessions.values()
        assert (2, 0) in second.groups() and len(second.groups()) < len(first.groups())


def test_heartbeats_and_a_canary_keep_an_idle_link_alive(sides):
    with StreamReader() as reader:
        words = ("--heartbeat", "1s", "--canary", "1d")
        with running(sides, reader, *words):
            wait_until(
                lambda: reader.kinds[Kind.HEARTBEAT] >= 3 and any(s.ends for s in list(reader.sessions.values()))
            )
        with running(sides, reader, *words):
            seen = reader.kinds[Kind.HEARTBEAT]
            wait_until(lambda: reader.kinds[Kind.HEARTBEAT] > seen)
        reader.finish()
        with sides.low.workspace() as workspace:
            chain = workspace.trust.own_channel()
        frames = [read_heartbeat_frame(data) for data in reader.heartbeats]
        for frame in frames:
            verify_heartbeat(frame, chain)
        beats = [parse_heartbeat(frame) for frame in frames]
        numbers = [beat.number for beat in beats]
        assert numbers == sorted(set(numbers)) and numbers[0] == 1
        assert beats[-1].interval_seconds == 1 and beats[-1].sequence == 1 and beats[-1].checkpoint
        assert len(reader.sessions) == 1  # one canary a day


def test_a_carrier_key_that_is_rotated_while_a_runner_works_signs_what_it_sends_from_then_on(sides):
    with StreamReader() as reader:
        words = ("--heartbeat", "1s")
        with running(sides, reader, *words):
            wait_until(lambda: reader.kinds[Kind.HEARTBEAT] >= 2)
            sides.low.good("keys", "rotate", "carrier")
            seen = len(reader.heartbeats)
            wait_until(lambda: len(reader.heartbeats) > seen + 1)
            with sides.low.workspace() as workspace:
                chain = workspace.trust.own_channel()
            assert parse_chain(reader.preambles[-1]).newest == chain.newest, "an idle link brings the new root too"
            verify_heartbeat(read_heartbeat_frame(reader.heartbeats[-1]), chain)
            sides.low.good("outbox", "add", sides.pack("docs", size=1000, count=1), "--to", reader.address)
            wait_until(lambda: any(session.ends for session in list(reader.sessions.values())))
        reader.finish()
        (session,) = reader.sessions.values()
        verify_announcement(read_announcement_frame(session.announced), chain)


def test_only_one_runner_serves_a_link(sides):
    with StreamReader() as reader, running(sides, reader):
        wait_until((sides.folder / "outbox" / "done").is_dir)
        answer = sides.low.fails(74, "outbox", "run", sides.folder / "outbox", "--to", reader.address, *QUIET)
        assert "already" in answer.err
        bundle = sides.pack("docs", size=1000, count=1)
        assert "already" in sides.low.fails(74, "send", bundle, reader.address, "--mtu", "1500").err


def test_a_runner_that_could_not_begin_is_not_the_usual_link(sides):
    sides.low.fails(2, "outbox", "run", "./nowhere", "--to", "udp://127.0.0.1:9")
    bundle = sides.pack("docs", size=1000, count=1)
    assert "no outbox has run" in sides.low.fails(2, "outbox", "add", bundle).err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("run", "./nowhere", "--to", "udp://127.0.0.1:9"), 2, "no such folder"),
        (("add", "1"), 18, "no bundle"),
        (("resend", "1"), 2, "no outbox has run"),
        (("run", "./outbox", "--to", "udp://127.0.0.1:9", "--heartbeat", "2h"), 2, "heartbeat"),
    ],
)
def test_what_cannot_be_done_is_told(sides, words, code, text):
    answer = sides.low.fails(code, "outbox", *words)
    assert text in answer.err
