"""A session as a source of symbols: what the intake of media reads, fed from the wire.

Cover and head lie in memory when the intake begins. Groups of the chunks come in their own time, each in memory of its
own, which goes back to the pool when the intake asks for the next one.
"""

import threading
from collections import deque
from collections.abc import Collection, Iterator

import numpy as np

from tidegate.carrier.announcement import CHUNKS, Announcement
from tidegate.erasure.buffer import GroupBuffer
from tidegate_receiver.listener.groups import ArrivingGroup, BufferPool
from tidegate_receiver.listener.session import Session


class WireSource:
    """What one session gave and still gives. `put` and `end` are the worker's, the rest is the intake's thread's."""

    files_missing = 0

    def __init__(self, pool: BufferPool) -> None:
        self.pool = pool
        self.session: Session | None = None
        self._arrived: deque[ArrivingGroup] = deque()
        self._changed = threading.Condition()
        self._is_over = False

    # --- the worker's side --------------------------------------------------------------------

    def put(self, arriving: ArrivingGroup) -> None:
        """A group of the chunks is done with."""
        with self._changed:
            self._arrived.append(arriving)
            self._changed.notify()

    def end(self) -> None:
        """No more groups come."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    @property
    def has_arrived(self) -> bool:
        """Whether a group waits to be taken."""
        return bool(self._arrived)

    def papers_came(self) -> None:
        """Whoever keeps groups for want of the papers may look again."""
        with self._changed:
            self._changed.notify()

    # --- what the intake asks of any copy -------------------------------------------------------

    @property
    def announcement(self) -> Announcement:
        assert self.session is not None, "the worker ties the two together"
        return self.session.announcement

    @property
    def symbols_damaged(self) -> int:
        return 0

    def groups(self, part: int) -> tuple[int, ...]:
        assert self.session is not None
        if part != CHUNKS:
            return tuple(sorted(self.session.parts[part].open))
        spans = (range(first, end) for number, first, end in self.announcement.spans if number == CHUNKS)
        return tuple(sorted(set().union(*spans)))

    def read_group(
        self, part: int, group: int, buffer: GroupBuffer, *, repairs: bool = True, sources: bool = True
    ) -> None:
        """Groups of cover and head. Those of the chunks are not read but come (`arrivals`)."""
        assert self.session is not None
        arriving = self.session.parts[part].open.get(group) if part != CHUNKS else None
        if arriving is not None:
            buffer.memory[:] = arriving.buffer.memory
            buffer.present[:] = arriving.buffer.present

    # --- groups as they come ------------------------------------------------------------------

    def arrivals(self, groups: Collection[int]) -> Iterator[GroupBuffer]:
        """Each of `groups` that comes, until all came or the session is over; a buffer is good until the next one."""
        assert self.session is not None
        left = set(groups)
        self.session.want(np.array(sorted(left), np.int64))
        while left and (arriving := self._next()) is not None:
            try:
                if arriving.group in left:
                    left.discard(arriving.group)
                    yield arriving.buffer
            finally:
                self.pool.release(arriving.buffer)

    def arrivals_without_papers(self) -> Iterator[GroupBuffer]:
        """Groups that come before cover and head do, until these do or the session is over."""
        assert self.session is not None
        while not self.session.has_papers and (arriving := self._next(or_papers=True)) is not None:
            try:
                yield arriving.buffer
            finally:
                self.pool.release(arriving.buffer)

    def _next(self, *, or_papers: bool = False) -> ArrivingGroup | None:
        assert self.session is not None
        with self._changed:
            while not self._arrived:
                if self._is_over or (or_papers and self.session.has_papers):
                    return None
                self._changed.wait()
            return self._arrived.popleft()

    def close(self) -> None:
        """Give all memory back; what still comes is not wanted."""
        assert self.session is not None
        self.session.want(np.array([], np.int64))
        with self._changed:
            while self._arrived:
                self.pool.release(self._arrived.popleft().buffer)
