"""Datagrams, heartbeats, and sessions put together from them (stream.md)."""

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from second_reader import ground
from second_reader.announcement import Announcement, Frame, parse_announcement, read_frame
from second_reader.erasure import mend
from second_reader.ground import RefusedError, is_hex, is_int, is_list, is_name, is_text, is_time, need
from second_reader.trust import holds, pae

HEARTBEAT = "application/vnd.tidegate.heartbeat.v1+json"
TRUST, ANNOUNCED, DATA, LIFE, END = range(1, 6)
HEADER = struct.Struct("<4sBBBB8sIIHHI")
LARGEST_SYMBOL, LARGEST_PREAMBLE, PIECE = 65472, 65536, 1400
_MOST_EARLY = 256
_LINK = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C of RFC 3720: reflected, start and end inverted."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


class Datagram(NamedTuple):
    kind: int
    part: int
    symbol: int
    tag: bytes
    block: int
    running: int
    pieces: int
    payload: bytes


def read_datagram(data: bytes) -> Datagram:
    """Section Datagram, S-1 to S-6."""
    need(len(data) >= HEADER.size and data[:4] == b"TGS1", "S-1", "magic")
    _, kind, part, symbol, zero, tag, block, running, length, pieces, checksum = HEADER.unpack_from(data)
    need(crc32c(data[:28]) == checksum, "S-5", "checksum")
    need(TRUST <= kind <= END, "S-2", f"kind {kind}")
    need(zero == 0, "S-3", "zero")
    need((part <= 2 and symbol <= 254) if kind == DATA else (part, symbol) == (0, 0), "S-3", "part or symbol")
    need(kind in (TRUST, DATA, END) or block == 0, "S-3", "block")
    need(kind == TRUST or pieces == 0, "S-3", "pieces")
    need(kind != END or length == 0, "S-3", "an end with a payload")
    payload = data[HEADER.size :]
    need(length == len(payload) <= LARGEST_SYMBOL, "S-4", "length is not exactly what follows")
    if kind == TRUST:
        need(1 <= pieces <= 64 and block < pieces, "S-6", "pieces")
        need(length == PIECE or (block == pieces - 1 and 0 < length < PIECE), "S-6", "length of a piece")
    return Datagram(kind, part, symbol, tag, block, running, pieces, payload)


def write_datagram(datagram: Datagram) -> bytes:
    kind, part, symbol, tag, block, running, pieces, payload = datagram
    head = HEADER.pack(b"TGS1", kind, part, symbol, 0, tag, block, running, len(payload), pieces, 0)[:28]
    return head + struct.pack("<I", crc32c(head)) + payload


def parse_session(data: bytes) -> Announcement:
    """An announcement of a stream; its signature was verified before."""
    found = parse_announcement(data)
    need(found.body["carrier"] == "stream", "S-7", "the announcement of a medium")
    need(found.body["volume"] == 1 and not {"file_bytes", "volumes"} & set(found.body), "S-7", "fields of a medium")
    need(all(part.symbol_size <= LARGEST_SYMBOL for part in found.parts), "S-7", "a symbol fits into no datagram")
    need(all(part.group_count <= 2**20 for part in found.parts), "S-12", "too many groups in a part")
    return found


def read_heartbeat(data: bytes, public_keys: Mapping[str, bytes]) -> dict[str, Any]:
    """Section Payloads, Heartbeat: frame, signature, and only then the payload."""
    frame = read_frame(data, b"TGH1", "S-11")
    public = public_keys.get(frame.key_id)
    need(public is not None and holds(public, frame.signature, pae(HEARTBEAT, frame.payload)), "S-11", "signature")
    body = ground.parse_object(frame.payload, "S-11", "heartbeat")
    form = ground.field(body, "format", is_int(-ground.LARGEST_INTEGER), "S-11")
    need(form == 1, "S-11", f"format {form}", "feature-unknown")
    critical = ground.field(body, "critical", is_list(is_name, 0, 16), "S-11")
    need(not critical, "S-11", f"unknown features {critical}", "feature-unknown")
    forms: dict[str, Callable[[Any], bool]] = {
        "channel": is_hex(32),
        "epoch": is_int(1, 2**31 - 1),
        "link": lambda value: isinstance(value, str) and _LINK.fullmatch(value) is not None,
        "number": is_int(1),
        "time": is_time,
        "interval_seconds": is_int(1, 3600),
        "sequence": is_int(0),
    }
    for name, is_right in forms.items():
        ground.field(body, name, is_right, "S-11")
    ground.field(body, "checkpoint", is_text(1400), "S-11", optional=True)
    return body


@dataclass
class Session:
    """One sending of parts or groups of them; symbols in any order."""

    announcement: Announcement
    symbols: dict[tuple[int, int], dict[int, bytes]] = field(default_factory=dict)

    def take(self, datagram: Datagram) -> None:
        """One symbol (S-9, S-10)."""
        _, part, symbol, _, block, _, _, payload = datagram
        geometry = self.announcement.parts[part]
        need(block < geometry.block_count, "S-10", "a block that is not there")
        sources = geometry.sources_of(block)
        need(symbol < sources + geometry.repair_count, "S-10", "a symbol that is not there")
        group = block // geometry.interleave
        spans = self.announcement.spans
        need(any(one == part and start <= group < stop for one, start, stop in spans), "S-10", "a group of no span")
        size = geometry.symbol_size
        last = symbol < sources and geometry.first_symbol(block) + symbol == geometry.symbol_count - 1
        right = geometry.length - (geometry.symbol_count - 1) * size if last else size
        need(len(payload) == right, "S-9", "the length of a symbol")
        self.symbols.setdefault((part, block), {})[symbol] = payload.ljust(size, b"\0")

    def parts(self) -> list[bytes]:
        """Parts 0, 1 and 2 of a session that sends all of them."""
        found = []
        for number, geometry in enumerate(self.announcement.parts):
            sources: list[bytes] = []
            for block in range(geometry.block_count):
                present = self.symbols.get((number, block), {})
                try:
                    sources += mend(present, geometry.sources_of(block), geometry.repair_count)
                except RefusedError as error:
                    raise RefusedError(error.rule, f"part {number}, block {block}: too few symbols") from None
            found.append(b"".join(sources)[: geometry.length])
        return found


@dataclass
class Link:
    """What came over one link. `verify` refuses a frame that no carrier key which counts has signed."""

    verify: Callable[["Link", Frame], None]
    sessions: dict[bytes, Session] = field(default_factory=dict)
    preambles: dict[bytes, bytes] = field(default_factory=dict)
    heartbeats: list[bytes] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    received: Counter[bytes] = field(default_factory=Counter)
    sent: dict[bytes, int] = field(default_factory=dict)
    _pieces: dict[tuple[bytes, int], dict[int, bytes]] = field(default_factory=dict)
    _early: list[Datagram] = field(default_factory=list)

    def take(self, data: bytes) -> None:
        """One datagram; nothing is ever answered."""
        try:
            datagram = read_datagram(data)
            self.received[datagram.tag] += 1
            self._sort(datagram)
        except RefusedError as error:
            self.ignored.append(error.rule)

    def take_all(self, datagrams: Iterable[bytes]) -> "Link":
        for data in datagrams:
            self.take(data)
        return self

    def lost(self, tag: bytes) -> int:
        """What an end lets a reader count; it counts itself too."""
        return self.sent[tag] - self.received[tag]

    def _sort(self, datagram: Datagram) -> None:
        tag, payload = datagram.tag, datagram.payload
        if datagram.kind == TRUST:
            self._take_piece(datagram)
        elif datagram.kind == ANNOUNCED:
            need(ground.blake(payload)[:8] == tag, "S-8", "the tag of an announcement")
            if tag not in self.sessions:
                self.verify(self, read_frame(payload))
                self.sessions[tag] = Session(parse_session(payload))
                early, self._early = self._early, []
                for one in early:
                    self._sort(one)
        elif datagram.kind == DATA and tag in self.sessions:
            self.sessions[tag].take(datagram)
        elif datagram.kind == DATA and len(self._early) < _MOST_EARLY:
            self._early.append(datagram)
        elif datagram.kind == LIFE:
            need(ground.blake(payload)[:8] == tag, "S-11", "the tag of a heartbeat")
            self.heartbeats.append(payload)
        elif datagram.kind == END:
            self.sent[tag] = max(self.sent.get(tag, 0), datagram.block + 1)

    def _take_piece(self, datagram: Datagram) -> None:
        found = self._pieces.setdefault((datagram.tag, datagram.pieces), {})
        found[datagram.block] = datagram.payload
        if len(found) == datagram.pieces:
            preamble = b"".join(found[i] for i in range(datagram.pieces))
            need(len(preamble) <= LARGEST_PREAMBLE, "S-6", "the preamble is too long")
            need(ground.blake(preamble)[:8] == datagram.tag, "S-6", "the tag of the preamble")
            self.preambles[datagram.tag] = preamble
