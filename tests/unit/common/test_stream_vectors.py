"""The vectors of docs/format/stream.md, made without Tidegate's code, judged by it; its sender makes the same bytes."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from stream_reader import StreamReader

from tidegate import errors
from tidegate.carrier.announcement import parse_announcement, read_announcement_frame
from tidegate.carrier.stream.header import HEADER_BYTES, check_headers
from tidegate.carrier.stream.heartbeat import parse_heartbeat, read_heartbeat_frame
from tidegate.trust.envelope import ANNOUNCEMENT_TYPE, HEARTBEAT_TYPE, pae
from tidegate.trust.keys import FileSigner, verify
from tidegate_sender.stream.groups import GroupMaker, GroupTask
from tidegate_sender.stream.messages import IOVEC

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "stream"
EXPECTED = json.loads((VECTORS / "expected.json").read_text())


def of_kind(kind: str) -> list[str]:
    return [name for name, facts in EXPECTED.items() if facts["kind"] == kind]


def read(name: str) -> bytes:
    return (VECTORS / EXPECTED[name]["file"]).read_bytes()


def datagrams(stored: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(stored):
        (length,) = struct.unpack_from("<H", stored, at)
        found.append(stored[at + 2 : at + 2 + length])
        at += 2 + length
    return found


@pytest.mark.parametrize("name", of_kind("datagram"))
def test_a_datagram_is_taken_or_ignored_as_its_rule_says(name):
    data = read(name)
    raw = np.frombuffer(data[:HEADER_BYTES].ljust(HEADER_BYTES, b"\xaa"), np.uint8).reshape(1, -1)
    good, faults = check_headers(raw, np.array([len(data)]))
    assert ("ok" if good.all() else "ignored") == EXPECTED[name]["answer"]
    assert faults.total == 1 - good.sum()


@pytest.mark.parametrize("name", of_kind("announcement") + of_kind("heartbeat"))
def test_a_frame_is_read_or_refused_as_its_rule_says(name):
    facts, data = EXPECTED[name], read(name)
    is_heartbeat = facts["kind"] == "heartbeat"

    def take():
        frame = (read_heartbeat_frame if is_heartbeat else read_announcement_frame)(data)
        kind = HEARTBEAT_TYPE if is_heartbeat else ANNOUNCEMENT_TYPE
        verify(bytes.fromhex(facts["key"]), pae(kind, frame.payload), frame.signature)
        return (parse_heartbeat if is_heartbeat else parse_announcement)(frame)  # type: ignore[operator]

    if facts["answer"] == "ok":
        take()
    else:
        with pytest.raises(getattr(errors, facts["answer"]), match=facts["rule"]):
            take()


def session_parts() -> list[bytes]:
    stored, at, found = (VECTORS / "session.parts").read_bytes(), 0, []
    for length in EXPECTED["ok_session"]["lengths"]:
        found.append(stored[at : at + length])
        at += length
    return found


def test_the_session_brings_its_parts():
    with StreamReader() as reader:
        for data in datagrams(read("ok_session")):
            reader.take(data)
        (session,) = reader.sessions.values()
        assert [session.part(number) for number in range(3)] == session_parts()
        assert len(reader.preambles) == 1 and reader.bad == 0


class _Parts:
    def read_into(self, part: int, offset: int, view: memoryview) -> None:
        view[:] = session_parts()[part][offset : offset + len(view)]


def test_the_sender_makes_the_same_bytes():
    stored = datagrams(read("ok_session"))
    frame = read_announcement_frame(read("ok_announcement"))
    announcement = parse_announcement(frame)
    assert FileSigner(bytes(range(32)), "x").key_id == frame.key_id
    maker, running, made = GroupMaker(_Parts(), announcement, frame.tag), 0, []
    for part, first, end in announcement.spans:
        for group in range(first, end):
            task = GroupTask(part, group, 0, running + 1, (), (), 1472, segmentation=False)
            ready = maker.make(task)
            made += _bytes_of(ready.messages)
            running += 1 + len(ready.messages)
            ready.release()
    assert made == [data for data in stored if data[4] == 3]


def _bytes_of(array) -> list[bytes]:
    """What the kernel would send: each message's pieces, from where they lie in memory."""
    import ctypes

    found = []
    for message in array.messages:
        raw = ctypes.string_at(int(message["iov"]), int(message["iovlen"]) * IOVEC.itemsize)
        vectors = np.frombuffer(raw, IOVEC)
        found.append(b"".join(ctypes.string_at(int(item["base"]), int(item["length"])) for item in vectors))
    return found
