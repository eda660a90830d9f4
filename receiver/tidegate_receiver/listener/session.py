"""One session as it comes in: which datagrams are its, where they go, and when a group is done with.

A group of the chunks is handed on when all its symbols are there; or when it can be mended and a later one has begun;
or when two later ones have; or when the session is over. It waits for its repairs also where nothing is missing: they
tell symbols that lie. Groups of cover and head wait for their second coming, at the end of the session. What was handed
on is not taken again. No socket, file or key is used here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.announcement import CHUNKS, PART_NAMES
from tidegate.carrier.stream.header import serial_after, tag_number
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import LimitError
from tidegate.units import format_bytes
from tidegate_receiver.intake.verification import VerifiedAnnouncement
from tidegate_receiver.listener.batches import Batch, Numbers, RingView
from tidegate_receiver.listener.groups import HEADER_BYTES, ArrivingGroup, BufferPool

#: a session in which nothing came for so long is over; its sender may have been killed, or lets others go first
IDLE_SECONDS = 30.0
#: after the sender's last word, where something is lacking: for datagrams that overtook each other, and for a session
#: that is sent twice, whose sender may be late on a busy host
END_GRACE_SECONDS = 0.5
#: how long the worker waits for memory that the intake has
MEMORY_WAIT_SECONDS = 5.0
#: symbols of a later group that tell that no more come of an earlier one; fewer may have overtaken it
BEGUN_SYMBOLS = 64
#: papers of a session lie in memory until its head is read
PAPERS_MAX_BYTES = 64 << 20


@dataclass(slots=True)
class SessionCounts:
    """What came with a session's tag. `sent` is what its end says that there were, 0 before."""

    datagrams: int = 0
    taken: int = 0
    repeated: int = 0  # there already, or of a group that is done with
    foreign: int = 0  # block, symbol, group or length that the session does not have
    no_memory: int = 0
    lost: int = 0  # by running numbers
    sent: int = 0


@dataclass(slots=True)
class _Part:
    """One part: its code, and for each group whether its symbols are wanted."""

    number: int
    geometry: PartGeometry
    wanted: NDArray[np.bool_]
    small: int
    large_blocks: int
    tail: int
    open: dict[int, ArrivingGroup] = field(default_factory=dict)

    def counts_of(self, blocks: Numbers) -> Numbers:
        return np.where(blocks < self.large_blocks, self.small + 1, self.small)


class Session:
    """A verified announcement, and what came of it. `deliver` gets each group of the chunks that is done with."""

    def __init__(
        self,
        verified: VerifiedAnnouncement,
        pool: BufferPool,
        deliver: Callable[[ArrivingGroup], None],
    ) -> None:
        """Raises LimitError for groups or papers larger than this side's memory."""
        self.verified = verified
        self.announcement = verified.announcement
        self.tag = tag_number(verified.frame.tag)
        self.pool = pool
        self.counts = SessionCounts()
        self.parts = tuple(
            _make_part(number, part, self.announcement.spans) for number, part in enumerate(self.announcement.parts)
        )
        self._check_memory()
        self._deliver = deliver
        self._first_running = -1
        self._newest_running = 0
        self._began = self._heard = time.monotonic()
        self._end_heard = 0.0
        self.is_over = False

    def _check_memory(self) -> None:
        for part in self.parts:
            needed = part.geometry.group_max_bytes
            if part.number != CHUNKS:
                needed *= part.geometry.group_count
            limit = (
                self.pool.limit_bytes if part.number == CHUNKS else min(PAPERS_MAX_BYTES, self.pool.limit_bytes // 2)
            )
            if needed > limit:
                raise LimitError(
                    f"bundle {self.announcement.name}: {PART_NAMES[part.number]}: {format_bytes(needed)} of memory"
                    f" needed at once, this side gives {format_bytes(limit)}",
                    hint='raise the setting memory_bytes, or have the low side send with less "--memory"',
                )

    # --- datagrams ----------------------------------------------------------------------------

    def take(self, ring: RingView, batch: Batch, which: Numbers) -> None:
        """Take data of this session: `which` are its datagrams in `batch`, in order."""
        self._heard = time.monotonic()
        self.counts.datagrams += len(which)
        header = batch.header
        self._count_running(header["running"][which])
        parts = header["part"][which]
        for part in self.parts:
            mine = which if (parts == part.number).all() else which[parts == part.number]
            if len(mine):
                self._take_part(part, ring, batch, mine)

    def _count_running(self, running: NDArray[np.uint32]) -> None:
        if self._first_running < 0:
            self._first_running = self._newest_running = int(running[0])
        ahead = int(serial_after(self._newest_running, running).max())
        if ahead > 0:
            self._newest_running += ahead

    def _take_part(self, part: _Part, ring: RingView, batch: Batch, which: Numbers) -> None:
        blocks = batch.header["block"][which].astype(np.int64)
        symbols = batch.header["symbol"][which].astype(np.int64)
        which, blocks, symbols = self._only_own(part, batch, which, blocks, symbols)
        if not len(which):
            return
        groups = blocks // part.geometry.interleave
        wanted = part.wanted[groups]
        if not wanted.all():
            self.counts.repeated += int(np.count_nonzero(~wanted))
            which, blocks, symbols, groups = which[wanted], blocks[wanted], symbols[wanted], groups[wanted]
        # dict.fromkeys: groups in their order of coming, which is the order in which they are done with
        for group in dict.fromkeys(groups.tolist() if len(groups) and groups[0] != groups[-1] else groups[:1].tolist()):
            mine = slice(None) if groups[0] == groups[-1] == group and (groups == group).all() else groups == group
            self._take_group(part, group, ring, batch, which[mine], blocks[mine], symbols[mine])

    def _only_own(
        self, part: _Part, batch: Batch, which: Numbers, blocks: Numbers, symbols: Numbers
    ) -> tuple[Numbers, Numbers, Numbers]:
        """Without what cannot be this session's, S-9 and S-10; what is of no span is merely not wanted."""
        geometry = part.geometry
        counts = part.counts_of(blocks)
        is_last = (blocks == geometry.block_count - 1) & (symbols == counts - 1)
        lengths = np.where(is_last, part.tail, geometry.symbol_size)
        own = (blocks < geometry.block_count) & (symbols < counts + geometry.repair_count)
        own &= batch.lengths[which] - HEADER_BYTES == lengths
        if own.all():
            return which, blocks, symbols
        self.counts.foreign += int(np.count_nonzero(~own))
        return which[own], blocks[own], symbols[own]

    def _take_group(
        self, part: _Part, group: int, ring: RingView, batch: Batch, which: Numbers, blocks: Numbers, symbols: Numbers
    ) -> None:
        arriving = part.open.get(group) or self._open_group(part, group)
        if arriving is None:
            self.counts.no_memory += len(which)
            return
        new = arriving.take(ring, batch, which, blocks, symbols)
        self.counts.taken += new
        self.counts.repeated += len(which) - new
        if part.number == CHUNKS:
            self._close_earlier(part, arriving)
            if arriving.is_complete:
                self._close(part, group)

    def _open_group(self, part: _Part, group: int) -> ArrivingGroup | None:
        buffer = self.pool.acquire(part.geometry)
        if buffer is None:
            buffer = self._wait_for_memory(part)
        if buffer is None:
            return None
        arriving = part.open[group] = ArrivingGroup(part.number, group, buffer)
        return arriving

    def _wait_for_memory(self, part: _Part) -> GroupBuffer | None:
        """Hand on what came first, and let ring and kernel hold what comes until the intake is through.

        That may take a while on a busy host, and is better than to lose it. Where the intake has nothing that it could
        give back, waiting would help nobody.
        """
        until = time.monotonic() + MEMORY_WAIT_SECONDS
        if part.number == CHUNKS and part.open:
            self._close(part, next(iter(part.open)))
        while (left := until - time.monotonic()) > 0 and self.pool.wait(left):
            buffer = self.pool.acquire(part.geometry)
            if buffer is not None:
                return buffer
        return None

    # --- done with ----------------------------------------------------------------------------

    def _close_earlier(self, part: _Part, newest: ArrivingGroup) -> None:
        """Hand on groups of which no more comes, since a later one is on its way."""
        if len(part.open) < 2:
            return
        numbers = list(part.open)
        numbers = numbers[: numbers.index(newest.group)]
        is_here = newest.is_complete or newest.symbol_count >= BEGUN_SYMBOLS
        for place, group in enumerate(numbers):
            is_old = place < len(numbers) - 1
            if newest.is_complete or is_old or (is_here and part.open[group].is_mendable):
                self._close(part, group)

    def _close(self, part: _Part, group: int) -> None:
        part.wanted[group] = False
        arriving = part.open.pop(group)
        self.pool.lend(arriving.buffer)
        self._deliver(arriving)

    def want(self, groups: Numbers) -> None:
        """From now on take only these groups of the chunks: the others are there. Any thread may call it."""
        part = self.parts[CHUNKS]
        mask = np.zeros(len(part.wanted), np.bool_)
        mask[groups] = True
        part.wanted &= mask

    def hear_control(self, running: int) -> None:
        """An announcement or an end of this session came."""
        self.counts.datagrams += 1
        self._count_running(np.array([running], np.uint32))

    def is_silent_for(self, seconds: float) -> bool:
        return time.monotonic() - self._heard >= seconds

    def hear_end(self, sent: int) -> None:
        """The sender says that all is sent, `sent` datagrams. Only a hint."""
        self.counts.sent = sent
        self._end_heard = time.monotonic()

    def check_time(self, now: float) -> bool:
        """Whether the session is over now: nothing more is expected of it."""
        if self._end_heard and now - max(self._end_heard, self._heard) >= END_GRACE_SECONDS:
            return True
        return now - self._heard >= IDLE_SECONDS

    def finish(self) -> None:
        """Hand on whatever is there; the papers' memory stays with whoever reads them."""
        self.is_over = True
        part = self.parts[CHUNKS]
        for group in list(part.open):
            self._close(part, group)
        self.counts.lost = self.losses()

    def losses(self) -> int:
        """Datagrams that did not come, by running numbers; what came twice hides as many."""
        if self._first_running < 0:
            return 0
        expected = max(self.counts.sent, self._newest_running - self._first_running + 1)
        return max(0, expected - self.counts.datagrams)

    @property
    def has_papers(self) -> bool:
        """Whether cover and head are there, or can be mended."""
        return all(self._has_part(part) for part in self.parts if part.number != CHUNKS)

    @staticmethod
    def _has_part(part: _Part) -> bool:
        groups = range(part.geometry.group_count)
        return all(group in part.open and part.open[group].is_mendable for group in groups)

    @property
    def has_all(self) -> bool:
        """Whether nothing more is wanted; after the sender's last word, whether all can be mended."""
        chunks = self.parts[CHUNKS]
        if not self.has_papers:
            return False
        if not self._end_heard:
            return not chunks.wanted.any()
        open_groups = chunks.open.values()
        return int(np.count_nonzero(chunks.wanted)) == len(open_groups) and all(
            arriving.is_mendable for arriving in open_groups
        )

    @property
    def is_ending(self) -> bool:
        """Whether the sender has said that all is sent."""
        return bool(self._end_heard)

    def release_papers(self) -> None:
        """Give the memory of cover and head back."""
        for part in self.parts:
            if part.number != CHUNKS:
                part.wanted[:] = False
                for arriving in part.open.values():
                    self.pool.release(arriving.buffer)
                part.open.clear()


def _make_part(number: int, geometry: PartGeometry, spans: tuple[tuple[int, int, int], ...]) -> _Part:
    wanted = np.zeros(geometry.group_count, np.bool_)
    for part, first, end in spans:
        if part == number:
            wanted[first:end] = True
    small, large_blocks = divmod(geometry.symbol_total, geometry.block_count) if geometry.length else (0, 0)
    tail = geometry.length - (geometry.symbol_total - 1) * geometry.symbol_size if geometry.length else 0
    return _Part(number, geometry, wanted, small, large_blocks, tail)
