"""Groups of symbols on their way in: their memory, within one bound, and where each symbol belongs.

`BufferPool` is the one place that memory for symbols comes from; who gets it first when it is short:
docs/operating/diode.md. `ArrivingGroup` puts whole arrays of payloads to their places.
"""

import itertools
import threading

import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.geometry import PartGeometry
from tidegate_receiver.listener.batches import Batch, Numbers, RingView

HEADER_BYTES = 32


class BufferPool:
    """Group buffers of at most `limit_bytes` together, used again for groups of the same shape."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0  # in use and free ones
        self._free: list[GroupBuffer] = []
        self._lent: set[int] = set()
        self._lock = threading.Lock()
        self._released = threading.Condition(self._lock)

    def acquire(self, geometry: PartGeometry) -> GroupBuffer | None:
        """A buffer for groups of `geometry`, or None where all memory is in use."""
        with self._lock:
            for buffer in reversed(self._free):
                if buffer.geometry == geometry:
                    self._free.remove(buffer)
                    return buffer
            needed = geometry.group_max_bytes
            while self._free and self.used_bytes + needed > self.limit_bytes:
                self.used_bytes -= self._free.pop(0).nbytes
            if self.used_bytes + needed > self.limit_bytes:
                return None
            self.used_bytes += needed
        return GroupBuffer(geometry)

    def lend(self, buffer: GroupBuffer) -> None:
        """`buffer` goes to the intake, which will release it in its own time."""
        with self._lock:
            self._lent.add(id(buffer))

    def release(self, buffer: GroupBuffer) -> None:
        with self._lock:
            self._lent.discard(id(buffer))
            self._free.append(buffer)
            self._released.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until the intake releases a buffer; False where it has none, or needs longer."""
        with self._lock:
            return bool(self._lent) and self._released.wait(seconds)


class ArrivingGroup:
    """One group of one part of a session, being filled."""

    def __init__(self, part: int, group: int, buffer: GroupBuffer) -> None:
        buffer.bind(group)
        geometry = buffer.geometry
        self.part = part
        self.group = group
        self.buffer = buffer
        self.first_block = geometry.group_blocks(group)[0]
        self.counts: Numbers = np.array(buffer.source_counts, np.int64)
        self._rows: NDArray[np.uint8] = buffer.rows
        self.record_total = geometry.group_record_count(group)

    def take(self, ring: RingView, batch: Batch, which: Numbers, blocks: Numbers, symbols: Numbers) -> int:
        """Put the payloads of the datagrams `which` to their places; those that are there already are left alone.

        The caller has checked that all blocks and symbols are this group's, and the lengths. How many were new.
        """
        positions = blocks - self.first_block
        fresh = ~self.buffer.present[positions, symbols]
        if not fresh.all():
            which, positions, symbols = which[fresh], positions[fresh], symbols[fresh]
            if not len(which):
                return 0
        before = np.count_nonzero(self.buffer.present)
        self.buffer.present[positions, symbols] = True
        targets = self.buffer.slot_numbers(positions, symbols)
        size = self.buffer.geometry.symbol_size
        whole = batch.lengths[which] == size + HEADER_BYTES
        if whole.all():
            self._scatter(ring, batch, which, targets)
        else:
            self._scatter(ring, batch, which[whole], targets[whole])
            for item, target in zip(which[~whole].tolist(), targets[~whole].tolist(), strict=True):
                self._put_short(ring, batch, item, target)
        return int(np.count_nonzero(self.buffer.present) - before)

    def _put_short(self, ring: RingView, batch: Batch, item: int, target: int) -> None:
        """The last source symbol of a part, which comes without its zero fill."""
        length = int(batch.lengths[item])
        data = ring.payload(int(batch.slots[item]), int(batch.places[item]), int(batch.segments[item]), length)
        row = self._rows[target]
        row[: len(data)] = data
        row[len(data) :] = 0

    def _scatter(self, ring: RingView, batch: Batch, which: Numbers, targets: Numbers) -> None:
        """Copy whole symbols: run of slots by run of slots, each by one assignment."""
        if not len(which):
            return
        slots, places = batch.slots[which], batch.places[which]
        starts = np.concatenate(([0], np.flatnonzero(np.diff(slots)) + 1))
        ends = np.append(starts[1:], len(slots))
        size = self.buffer.geometry.symbol_size
        counts, slot, first = ends - starts, slots[starts], places[starts]
        is_dense = places[ends - 1] - first + 1 == counts
        segments = batch.segments[which][starts]
        breaks = (
            (np.diff(slot) != 1)
            | (np.diff(counts) != 0)
            | (np.diff(first) != 0)
            | (np.diff(segments) != 0)
            | ~is_dense[1:]
            | ~is_dense[:-1]
        )
        edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(starts)]
        for begin, end in itertools.pairwise(edges):
            part = slice(int(starts[begin]), int(ends[end - 1]))
            run, each, at = end - begin, int(counts[begin]), int(first[begin])
            segment = int(segments[begin])
            if is_dense[begin]:
                view = ring.view(int(slot[begin]), run, each, segment, at * segment + HEADER_BYTES, size)
                self._rows[targets[part].reshape(run, each)] = view
            else:
                last = int(places[part][-1])
                view = ring.view(int(slot[begin]), 1, last + 1, segment, HEADER_BYTES, size)
                self._rows[targets[part]] = view[0, places[part]]

    @property
    def symbol_count(self) -> int:
        return int(np.count_nonzero(self.buffer.present))

    @property
    def is_complete(self) -> bool:
        """Whether every symbol is there, repairs too."""
        return self.symbol_count == self.record_total

    @property
    def is_mendable(self) -> bool:
        """Whether every block has as many symbols as it needs."""
        return bool((self.buffer.present.sum(axis=1) >= self.counts).all())
