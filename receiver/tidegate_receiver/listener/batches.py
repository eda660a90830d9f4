"""Datagrams of many slots as arrays: where each lies, its length, its header. None is looked at alone.

A slot holds what one recvmsg gave: one datagram, or with UDP_GRO several of one size, the last one shorter. So a *run*
of neighbouring slots with one segment size is a block of memory with regular strides, and its payloads are copied to
their places by one assignment.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tidegate.carrier.stream.header import HEADER_BYTES, HeaderFaults, check_headers, view_headers
from tidegate_receiver.listener.ring import (
    CONTROL_BYTES,
    CONTROLLEN_OFFSET,
    FLAGS_OFFSET,
    LENGTH_OFFSET,
    MMSGHDR_BYTES,
    SLOT_BYTES,
    Ring,
)

_SOL_SOCKET, _SO_RXQ_OVFL = 1, 40
_SOL_UDP, _UDP_GRO = 17, 104
_MSG_TRUNC = 0x20
_CMSG_BYTES = 24  # header 16, four bytes of value, filled to 8
_MESSAGE = np.dtype(
    {
        "names": ["controllen", "flags", "length"],
        "formats": ["<u8", "<i4", "<u4"],
        "offsets": [CONTROLLEN_OFFSET, FLAGS_OFFSET, LENGTH_OFFSET],
        "itemsize": MMSGHDR_BYTES,
    }
)
_CMSG = np.dtype([("length", "<u8"), ("level", "<i4"), ("type", "<i4"), ("value", "<u4"), ("fill", "<u4")])

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Datagrams that came together, in the order of coming. All arrays have one item a datagram.

    `slots` are numbers in the ring, `places` which datagram of its slot it is, `lengths` all its bytes; `good` are
    those whose header holds. `drops` is what the kernel says that the socket has lost since it was opened, None where
    it does not say.
    """

    raw: NDArray[np.uint8]
    header: NDArray[Any]
    slots: Numbers
    places: Numbers
    segments: Numbers
    lengths: Numbers
    good: NDArray[np.bool_]
    faults: HeaderFaults
    truncated: int
    drops: int | None


class RingView:
    """The worker's eyes on a ring."""

    def __init__(self, ring: Ring) -> None:
        memory = np.frombuffer(ring.memory, np.uint8)
        count = ring.slot_count
        self.slot_count = count
        messages = memory[ring.headers_offset : ring.headers_offset + count * MMSGHDR_BYTES]
        self._messages = messages.view(_MESSAGE)
        control = memory[ring.control_offset : ring.control_offset + count * CONTROL_BYTES].reshape(count, -1)
        self._notes = tuple(control[:, start : start + _CMSG_BYTES].view(_CMSG)[:, 0] for start in (0, _CMSG_BYTES))
        self.slots = memory[ring.slots_offset : ring.slots_offset + count * SLOT_BYTES].reshape(count, SLOT_BYTES)

    def batch(self, first: int, count: int) -> Batch:
        """The datagrams of `count` filled slots from number `first` on, which do not reach over the ring's end."""
        part = slice(first, first + count)
        messages = self._messages[part]
        segment, drops = self._read_notes(part, messages["controllen"])
        truncated = (messages["flags"] & _MSG_TRUNC) != 0
        length = np.where(truncated, 0, np.minimum(messages["length"], SLOT_BYTES)).astype(np.int64)
        segment = np.where((segment > 0) & (segment < length), segment, length)
        counts = np.where(length > 0, -(-length // np.maximum(segment, 1)), 1)
        slots = np.repeat(np.arange(first, first + count), counts)
        ends = np.cumsum(counts)
        places = np.arange(int(ends[-1])) - np.repeat(ends - counts, counts)
        segments = np.repeat(segment, counts)
        lengths = np.minimum(segments, np.repeat(length, counts) - places * segments)
        raw = self._gather_headers(first, counts, segment)
        good, faults = check_headers(raw, lengths)
        truncated_count = int(np.count_nonzero(truncated))
        return Batch(raw, view_headers(raw), slots, places, segments, lengths, good, faults, truncated_count, drops)

    def _read_notes(self, part: slice, lengths: NDArray[np.uint64]) -> tuple[Numbers, int | None]:
        """Segment sizes, 0 where there is none, and the kernel's newest count of drops."""
        segment = np.zeros(len(lengths), np.int64)
        drops: int | None = None
        for number, notes in enumerate(self._notes):
            note = notes[part]
            there = lengths >= (number + 1) * _CMSG_BYTES - 4  # the last one may come without its fill
            gro = there & (note["level"] == _SOL_UDP) & (note["type"] == _UDP_GRO)
            segment = np.where(gro, note["value"], segment)
            told = there & (note["level"] == _SOL_SOCKET) & (note["type"] == _SO_RXQ_OVFL)
            if told.any():
                drops = int(note["value"][told][-1])
        return segment.astype(np.int64), drops

    def _gather_headers(self, first: int, counts: Numbers, segment: Numbers) -> NDArray[np.uint8]:
        """uint8[datagrams, 32], contiguous; of a datagram shorter than a header the rest is whatever lies behind it."""
        if (counts == 1).all():
            return np.ascontiguousarray(self.slots[first : first + len(counts), :HEADER_BYTES])
        raw = np.empty((int(counts.sum()), HEADER_BYTES), np.uint8)
        at = 0
        segment = np.where(counts == 1, 0, segment)  # single datagrams of any length are one run
        for start, end in runs_of(counts, segment):
            # A last datagram may be shorter than a header and end with its slot: never look beyond the slot.
            each, size = int(counts[start]), int(segment[start])
            rows = raw[at : at + (end - start) * each].reshape(end - start, each, HEADER_BYTES)
            safe = min(each, (SLOT_BYTES - HEADER_BYTES) // max(size, 1) + 1)
            rows[:, :safe] = self.view(first + start, end - start, safe, size, 0, HEADER_BYTES)
            rows[:, safe:] = 0
            at += (end - start) * each
        return raw

    def view(self, first: int, slots: int, places: int, segment: int, offset: int, length: int) -> NDArray[np.uint8]:
        """uint8[slots, places, length]: the same `length` bytes from `offset` on of each datagram of a run."""
        assert (places - 1) * segment + offset + length <= SLOT_BYTES, "a view never leaves its slot"
        origin = self.slots[first : first + slots, offset:]
        return as_strided(origin, (slots, places, length), (SLOT_BYTES, segment, 1), writeable=False)

    def payload(self, slot: int, place: int, segment: int, length: int) -> memoryview:
        """The payload of one datagram of `length` bytes, header included: for the few that are not data."""
        start = place * segment
        return self.slots[slot, start + HEADER_BYTES : start + length].data


def runs_of(counts: Numbers, segments: Numbers) -> Iterator[tuple[int, int]]:
    """[start, end) of neighbours that are alike in both."""
    changes = np.flatnonzero((counts[1:] != counts[:-1]) | (segments[1:] != segments[:-1])) + 1
    edges = [0, *changes.tolist(), len(counts)]
    yield from itertools.pairwise(edges)
