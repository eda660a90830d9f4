"""The high end of a stream for tests of the sender: takes datagrams off a socket and puts parts together, simply.

It is written from docs/format/stream.md for being looked at, not for speed, and checks everything that a sender could
do wrong: headers, running numbers, which groups and symbols came, and that mended parts are the bundle's own.
"""

import contextlib
import socket
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from tidegate.carrier.announcement import Announcement, parse_announcement, read_announcement_frame
from tidegate.carrier.frames import tag_of
from tidegate.carrier.stream.header import HEADER_BYTES, Kind, check_headers, view_headers
from tidegate.carrier.stream.session import PreambleAssembler
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec


@dataclass
class ReadSession:
    """What came of one session: its announcement, and for each (part, block) the symbols by index."""

    announcement: Announcement
    #: the announcement's bytes
    announced: bytes = b""
    symbols: dict[tuple[int, int], dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    #: (part, block, symbol) in the order of arrival
    order: list[tuple[int, int, int]] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def part(self, number: int) -> bytes:
        """The part, mended; raises AssertionError where it cannot be."""
        geometry = self.announcement.geometry(number)
        buffer, codec = GroupBuffer(geometry), GroupCodec(geometry)
        pieces = []
        for group in range(geometry.group_count):
            buffer.bind(group)
            for position, block in enumerate(geometry.group_blocks(group)):
                for symbol, data in self.symbols[number, block].items():
                    buffer.slot(position, symbol)[: len(data)] = data
                    buffer.present[position, symbol] = True
            report = codec.mend(buffer)
            assert report.is_whole, f"part {number}, group {group}: {report.lost_blocks}"
            pieces.append(bytes(buffer.source_view()))
        return b"".join(pieces)

    def groups(self) -> list[tuple[int, int]]:
        """(part, group) in the order in which they came, without repeats in a row."""
        found = [(part, block // self.announcement.parts[part].interleave) for part, block, _ in self.order]
        return [group for at, group in enumerate(found) if at == 0 or found[at - 1] != group]


class StreamReader:
    """Reads in a thread of its own until it is closed."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET, *, ready: socket.socket | None = None) -> None:
        """`ready` is a socket that is bound already, in another network namespace for example."""
        self.socket = ready or socket.socket(family, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)
        if ready is None:
            self.socket.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.socket.settimeout(0.1)
        self.port = self.socket.getsockname()[1]
        self.sessions: dict[bytes, ReadSession] = {}
        self.preambles: list[bytes] = []
        self.heartbeats: list[bytes] = []
        self.bad = 0
        self.kinds: Counter[Kind] = Counter()
        self.sizes: Counter[int] = Counter()
        self._assembler = PreambleAssembler()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> "StreamReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
        self.socket.close()

    @property
    def address(self) -> str:
        host = self.socket.getsockname()[0]
        return f"udp://[{host}]:{self.port}" if ":" in host else f"udp://{host}:{self.port}"

    def finish(self) -> None:
        """Wait until nothing more comes."""
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        while True:
            try:
                data = self.socket.recv(70_000)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            self.take(data)

    def take(self, data: bytes) -> None:
        raw = np.frombuffer(data[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0"), np.uint8).reshape(1, -1)
        good, _ = check_headers(raw, np.array([len(data)]))
        if not good.all():
            self.bad += 1
            return
        header, payload = view_headers(raw)[0], data[HEADER_BYTES:]
        kind, tag = Kind(int(header["kind"])), data[8:16]
        self.kinds[kind] += 1
        self.sizes[len(data)] += 1
        if kind is Kind.TRUST:
            preamble = self._assembler.add(tag, int(header["block"]), int(header["pieces"]), payload)
            self.preambles += [preamble] if preamble else []
        elif kind is Kind.HEARTBEAT:
            self.heartbeats.append(payload)
        else:
            self._take_of_session(kind, tag, header, payload)

    def _take_of_session(self, kind: Kind, tag: bytes, header: np.void, payload: bytes) -> None:
        if kind is Kind.ANNOUNCEMENT and tag not in self.sessions:
            assert tag_of(payload) == tag
            self.sessions[tag] = ReadSession(parse_announcement(read_announcement_frame(payload)), payload)
        session = self.sessions.get(tag)
        if session is None:
            self.bad += 1
            return
        session.running.append(int(header["running"]))
        if kind is Kind.END:
            session.ends.append(int(header["block"]))
        if kind is Kind.DATA:
            part, block, symbol = int(header["part"]), int(header["block"]), int(header["symbol"])
            session.order.append((part, block, symbol))
            session.symbols[part, block][symbol] = payload
