"""A session as both sides see it: which groups it sends, in which order their symbols go, and the preamble in pieces.

Rules: docs/format/stream.md. No socket is opened and no key is used here.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.announcement import Announcement
from tidegate.carrier.frames import tag_of
from tidegate.carrier.spans import Parts, Span, full_spans
from tidegate.carrier.stream.header import HEADER_BYTES, PIECES_MAX, Kind, build_header, build_headers
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import FormatError

PIECE_BYTES = 1400
PREAMBLE_MAX_BYTES = 65536
ENDS = 3  # how often the end is said


# --- what a session sends -----------------------------------------------------------------------


def stream_announcement(template: Announcement, spans: tuple[Span, ...]) -> Announcement:
    """`template` for a new session that sends `spans`: its `set`, and so its tag, is fresh."""
    return replace(template, set=secrets.token_hex(8), spans=spans)


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What an announcement says of a bundle; the rest is the session's."""

    channel: str
    epoch: int
    sequence: int
    bundle_id: str
    manifest_length: int


def plan_session(facts: StreamFacts, parts: Parts, spans: tuple[Span, ...] | None = None) -> Announcement:
    """The announcement of a new session, ready to be signed by `build_announcement`."""
    return Announcement(
        format=1,
        critical=(),
        carrier="stream",
        channel=facts.channel,
        epoch=facts.epoch,
        sequence=facts.sequence,
        bundle_id=facts.bundle_id,
        manifest_length=facts.manifest_length,
        parts=parts,
        set=secrets.token_hex(8),
        volume=1,
        spans=full_spans(parts) if spans is None else spans,
    )


def sending_order(geometry: PartGeometry, group: int, first_symbol: int = 0) -> NDArray[np.int64]:
    """The symbols of a group in the order of sending, one row each: (position of the block in the group, symbol).

    Record order, turned so that it begins at symbol index `first_symbol` (taken modulo the longest block's symbols).
    """
    order = geometry.record_order(group)
    first = first_symbol % (int(order[-1, 1]) + 1)
    return np.roll(order, -int(np.searchsorted(order[:, 1], first)), axis=0) if first else order


def first_symbol_of_pass(geometry: PartGeometry, number: int) -> int:
    """Where pass `number` (from 0) begins in its blocks, so that early passes together bring different symbols first.

    The second begins with the repairs; the others step on by the golden section, which never comes close to an earlier
    beginning soon.
    """
    if number == 0:
        return 0
    total = geometry.source_count + geometry.repair_count
    return (geometry.source_count + int((number - 1) * 0.6180339887 * total)) % total


def symbol_lengths(geometry: PartGeometry, group: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes of each symbol of `order` as it travels: symbol_size, but for the part's last source, without its fill."""
    lengths = np.full(len(order), geometry.symbol_size, np.int64)
    tail = geometry.length - (geometry.symbol_total - 1) * geometry.symbol_size
    blocks = geometry.group_blocks(group)
    if tail < geometry.symbol_size and blocks[-1] == geometry.block_count - 1:
        last = geometry.block_source_count(blocks[-1]) - 1
        lengths[(order[:, 0] == len(blocks) - 1) & (order[:, 1] == last)] = tail
    return lengths


# --- the preamble in pieces ---------------------------------------------------------------------


def preamble_datagrams(preamble: bytes, *, first_running: int = 0) -> tuple[bytes, ...]:
    """The datagrams of kind trust that carry `preamble`. Raises FormatError for one that is empty or too long."""
    if not 0 < len(preamble) <= PREAMBLE_MAX_BYTES:
        raise FormatError(f"preamble: {len(preamble)} bytes, not within 1 … {PREAMBLE_MAX_BYTES} (S-6)")
    pieces = [preamble[start : start + PIECE_BYTES] for start in range(0, len(preamble), PIECE_BYTES)]
    headers = build_headers(
        Kind.TRUST,
        tag_of(preamble),
        len(pieces),
        first_running=first_running,
        lengths=np.array([len(piece) for piece in pieces]),
        blocks=np.arange(len(pieces)),
        pieces=len(pieces),
    )
    return tuple(header.tobytes() + piece for header, piece in zip(headers, pieces, strict=True))


class PreambleAssembler:
    """Puts preambles together from pieces that come in any order, more than once, or from somebody who lies.

    At most `tags` of them at a time, in as many buffers of 64 KiB that are there from the beginning: what strangers
    send can displace a preamble, never make it grow. The one with the fewest pieces gives way.
    """

    def __init__(self, tags: int = 4) -> None:
        self._buffers = [bytearray(PIECES_MAX * PIECE_BYTES) for _ in range(tags)]
        self._open: OrderedDict[bytes, _Partial] = OrderedDict()

    def add(self, tag: bytes, piece: int, pieces: int, payload: bytes | memoryview) -> bytes | None:
        """Take one piece; the preamble, when with it all are there and their tag is right. Wrong ones are dropped.

        `piece` and `pieces` come from a header that was checked.
        """
        if not self._fits(piece, pieces, len(payload)):
            return None
        partial = self._open.get(tag)
        if partial is None or partial.pieces != pieces:
            partial = self._begin(tag, pieces)
        partial.take(piece, payload)
        if not partial.is_whole:
            return None
        preamble = partial.join()
        self._drop(tag)
        return preamble if tag_of(preamble) == tag else None

    @staticmethod
    def _fits(piece: int, pieces: int, length: int) -> bool:
        if not (0 <= piece < pieces <= PIECES_MAX and 0 < length <= PIECE_BYTES):
            return False
        return piece == pieces - 1 or length == PIECE_BYTES

    def _begin(self, tag: bytes, pieces: int) -> "_Partial":
        self._drop(tag)
        if not self._buffers:
            self._drop(min(self._open, key=lambda known: self._open[known].count))
        partial = self._open[tag] = _Partial(pieces, self._buffers.pop())
        return partial

    def _drop(self, tag: bytes) -> None:
        partial = self._open.pop(tag, None)
        if partial is not None:
            self._buffers.append(partial.buffer)


class _Partial:
    """One preamble on its way."""

    __slots__ = ("buffer", "lengths", "pieces")

    def __init__(self, pieces: int, buffer: bytearray) -> None:
        self.pieces = pieces
        self.buffer = buffer
        self.lengths: dict[int, int] = {}

    def take(self, piece: int, payload: bytes | memoryview) -> None:
        start = piece * PIECE_BYTES
        self.buffer[start : start + len(payload)] = payload
        self.lengths[piece] = len(payload)

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def is_whole(self) -> bool:
        return len(self.lengths) == self.pieces

    def join(self) -> bytes:
        return bytes(self.buffer[: (self.pieces - 1) * PIECE_BYTES + self.lengths[self.pieces - 1]])


def control_datagram(kind: Kind, tag: bytes, payload: bytes = b"", *, running: int = 0, block: int = 0) -> bytes:
    """One datagram of an announcement, a heartbeat or an end."""
    return build_header(kind, tag, len(payload), running=running, block=block) + payload


def split_datagram(data: bytes | memoryview) -> tuple[memoryview, memoryview]:
    """(header, payload) of a datagram that was checked."""
    view = memoryview(data)
    return view[:HEADER_BYTES], view[HEADER_BYTES:]
