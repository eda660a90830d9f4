"""The sessions that are under way, by tag: opened by verified announcements, closed by their end or by silence.

At most four for a key in which data comes, and one for a bundle: another session of the same bundle waits until the
first is over, since it announces itself again every second. Tags that are done with cost a look-up and nothing more.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegate import clock
from tidegate.carrier.announcement import CHUNKS
from tidegate.carrier.stream.header import DATAGRAM_MAX_BYTES, HEADER_BYTES, tag_number
from tidegate.errors import LimitError
from tidegate.state.bundles import BundleState, get_bundle, note_detail
from tidegate.workspace import Workspace
from tidegate_receiver.intake.outcomes import OutcomeKind
from tidegate_receiver.intake.quarantine import holds_content
from tidegate_receiver.intake.records import IN_QUARANTINE, WHOLE, Subject, record_duplicate
from tidegate_receiver.intake.verification import VerifiedAnnouncement
from tidegate_receiver.listener.batches import Batch, Numbers, RingView
from tidegate_receiver.listener.counting import LinkCounts
from tidegate_receiver.listener.expected import ExpectedTags
from tidegate_receiver.listener.groups import BufferPool
from tidegate_receiver.listener.session import Session
from tidegate_receiver.listener.source import WireSource
from tidegate_receiver.listener.speakers import Remembered
from tidegate_receiver.listener.taking import Taken, Takers, has_head

SESSIONS_OF_A_KEY = 4
#: beside them, sessions of a key in which no data came yet
EMPTY_OF_A_KEY = 16
#: a session of the same bundle takes over from one that was silent for so long
SILENT_SECONDS = 0.5
DUPLICATE_SECONDS = 24 * 3600.0  # between two entries that a bundle came again
#: in a bundle's detail: when the last of these was written
TOLD = "told_again"
#: a session that this host could not take (disk full, quota) is tried again after so long, if it still comes
FAILED_SECONDS = 60.0
#: of tags in one batch that are looked up one by one
DISTINCT_MAX = 64
#: sessions that are all here and wait for a thread
WAITING_MAX = 4096

#: datagrams that the kernel merges at most (UDP_GRO_CNT_MAX)
MERGED_MAX = 64

_DONE = {OutcomeKind.RECEIVED, OutcomeKind.WAITING, OutcomeKind.DUPLICATE, OutcomeKind.REFUSED}


@dataclass(slots=True)
class _Open:
    """A session, what the intake reads of it, and whether it has been given to one."""

    session: Session
    source: WireSource
    is_submitted: bool = False
    papers_told: bool = False
    #: whether the head lies in the spool since an earlier session
    has_head: bool = False
    #: what the kernel's buffer had lost when the session was opened
    kernel_before: int = 0

    @property
    def has_data(self) -> bool:
        """Whether anything came but announcements."""
        counts = self.session.counts
        return bool(counts.taken or counts.repeated or counts.no_memory)


class Sessions:
    """All sessions of a listener. Used by the worker's thread alone."""

    def __init__(
        self, workspace: Workspace, pool: BufferPool, takers: Takers, counts: LinkCounts, tell: Callable[[str], None]
    ) -> None:
        self.workspace = workspace
        self.pool = pool
        self.takers = takers
        self.counts = counts
        self.tell = tell
        self.by_tag: dict[int, _Open] = {}
        self._done: Remembered[int] = Remembered()
        self._duplicates: dict[str, float] = {}
        self._put_off: dict[int, float] = {}
        self.expected = ExpectedTags()
        #: whether the kernel may merge datagrams (UDP_GRO)
        self.is_merged = True

    # --- announcements ------------------------------------------------------------------------

    def knows(self, tag: int) -> bool:
        """Whether an announcement of `tag` has nothing new to say."""
        if tag in self.by_tag or tag in self._done:
            return True
        until = self._put_off.get(tag)
        if until is not None and time.monotonic() >= until:
            del self._put_off[tag]
            return False
        return until is not None

    def open(self, verified: VerifiedAnnouncement) -> None:
        """Begin a session, unless its bundle is here, or too many are under way."""
        announcement = verified.announcement
        tag = tag_number(verified.frame.tag)
        is_expected = tag in self.expected
        self.expected.forget(tag)
        if self._is_whole(announcement.bundle_id):
            self._done.add(tag)
            self._note_duplicate(verified)
            return
        if not self._has_room_for(verified, is_expected=is_expected):
            self.counts.sessions_put_off += 1
            return
        source = WireSource(self.pool)
        try:
            session = source.session = Session(verified, self.pool, source.put)
        except LimitError as error:
            self._done.add(tag)
            self.tell(error.message)
            return
        is_begun = has_head(self.workspace, announcement.bundle_id)
        self.by_tag[tag] = _Open(session, source, has_head=is_begun, kernel_before=self.counts.lost_in_kernel)
        self.counts.sessions_opened += 1

    def _is_whole(self, bundle_id: str) -> bool:
        with self.workspace.state.reading() as tx:
            row = get_bundle(tx, bundle_id)
        if row is None or row.state not in (*WHOLE, BundleState.CLEANED):
            return False
        return row.state not in IN_QUARANTINE or holds_content(self.workspace.folder("quarantine") / bundle_id)

    def _has_room_for(self, verified: VerifiedAnnouncement, *, is_expected: bool) -> bool:
        same = [item for item in self.by_tag.values() if self._is_of(item, verified)]
        for item in same:
            if item.session.is_silent_for(SILENT_SECONDS) or (is_expected and not item.has_data):
                self._finish(item)  # its end was lost, its sender stopped, or somebody plays its announcement back
        if any(item.session.tag in self.by_tag for item in same):
            return False
        receiving = [item for item in self.by_tag.values() if not item.session.is_over and not item.session.is_ending]
        of_key = [item for item in receiving if item.session.verified.frame.key_id == verified.frame.key_id]
        # Announcements that somebody recorded open sessions too, in which nothing comes: they take nobody's place.
        empty = [item for item in of_key if not item.has_data]
        if len(empty) >= EMPTY_OF_A_KEY:
            self._finish(empty[0])
        return len(of_key) - len(empty) < SESSIONS_OF_A_KEY and len(self.by_tag) < WAITING_MAX

    @staticmethod
    def _is_of(item: _Open, verified: VerifiedAnnouncement) -> bool:
        return item.session.announcement.bundle_id == verified.announcement.bundle_id

    def _note_duplicate(self, verified: VerifiedAnnouncement) -> None:
        """One entry a bundle and day, none on the day it came: repeats in idle time come by the hundred.

        The bundle's row remembers it, so that a listener that is started again and again tells no more.
        """
        bundle_id, now = verified.announcement.bundle_id, time.monotonic()
        if now - self._duplicates.get(bundle_id, float("-inf")) < DUPLICATE_SECONDS:
            return
        self._remember(bundle_id)
        self.counts.bundles_duplicate += 1
        with self.workspace.state.transaction() as tx:
            row = get_bundle(tx, bundle_id)
            if row is None or 0 <= clock.now() - int(row.detail.get(TOLD, row.updated)) < DUPLICATE_SECONDS:
                return
            note_detail(tx, bundle_id, **{TOLD: clock.now()})
            record_duplicate(tx, Subject(verified, None))

    def _remember(self, bundle_id: str) -> None:
        if len(self._duplicates) >= WAITING_MAX:
            self._duplicates.pop(next(iter(self._duplicates)))
        self._duplicates[bundle_id] = time.monotonic()

    # --- datagrams ----------------------------------------------------------------------------

    def take_data(self, ring: RingView, batch: Batch, which: Numbers) -> None:
        """Give data to its sessions: `which` are the datagrams of kind data whose headers hold."""
        tags = batch.header["tag"][which]
        distinct = tags[:1] if (tags == tags[0]).all() else np.unique(tags)
        left = len(which)
        for tag, item in self._receiving(distinct):
            mine = which if len(distinct) == 1 else which[tags == tag]
            left -= len(mine)
            item.session.take(ring, batch, mine)
            self._submit_if_ready(item)
        if left:
            self._count_others(tags)

    def _receiving(self, distinct: Numbers) -> list[tuple[int, _Open]]:
        """The open sessions among so many tags, however many tags strangers made up."""
        if len(distinct) <= len(self.by_tag):
            found = ((int(tag), self.by_tag.get(int(tag))) for tag in distinct.tolist())
        else:
            there = np.array(list(self.by_tag), np.uint64)
            found = ((int(tag), self.by_tag[int(tag)]) for tag in there[np.isin(there, distinct)].tolist())
        return [(tag, item) for tag, item in found if item is not None and not item.session.is_over]

    def _count_others(self, tags: Numbers) -> None:
        """What is of no session under way: repeats of what is here, or strangers."""
        receiving = [tag for tag, item in self.by_tag.items() if not item.session.is_over]
        others = tags[~np.isin(tags, np.array(receiving, np.uint64))]
        distinct, counts = np.unique(others, return_counts=True)
        if len(distinct) > DISTINCT_MAX:  # strangers: no look at each
            known = np.isin(distinct, np.array([*self.by_tag, *self._done, *self._put_off], np.uint64))
        else:
            known = np.array([self.knows(tag) for tag in distinct.tolist()], np.bool_)
        self.expected.note(distinct[~known], counts[~known])
        self.counts.repeated += int(counts[known].sum())
        self.counts.unknown_tag += int(counts[~known].sum())

    def awaited(self) -> NDArray[np.uint64]:
        """Tags whose announcements and ends are looked at before others: of open sessions, and of data without one."""
        return np.concatenate([np.array(list(self.by_tag), np.uint64), self.expected.tags()])

    def hear_control(self, tag: int, running: int) -> None:
        """An announcement or an end of `tag` came: it has a running number as data has."""
        item = self.by_tag.get(tag)
        if item is not None and not item.session.is_over:
            item.session.hear_control(running)

    def hear_end(self, tag: int, sent: int) -> None:
        item = self.by_tag.get(tag)
        if item is not None and not item.session.is_over:
            item.session.hear_end(sent)
            self._submit_if_ready(item)

    def _submit_if_ready(self, item: _Open) -> None:
        if not item.is_submitted and (item.has_head or item.session.has_papers or item.source.has_arrived):
            self._submit(item)
        elif item.is_submitted and not item.papers_told and item.session.has_papers:
            item.papers_told = True
            item.source.papers_came()
        if item.session.has_all:
            self._finish(item)

    def _submit(self, item: _Open) -> None:
        item.is_submitted = True
        self.takers.submit(item.source)

    # --- time, and the end --------------------------------------------------------------------

    def check_time(self) -> None:
        """Close what is over."""
        now = time.monotonic()
        for item in list(self.by_tag.values()):
            if not item.session.is_over and item.session.check_time(now):
                self._finish(item)

    def _finish(self, item: _Open) -> None:
        if item.session.is_over:
            return
        item.session.finish()
        item.source.end()
        counts = item.session.counts
        self.counts.lost_on_wire += max(0, counts.lost - self._lost_in_kernel(item))
        self.counts.symbols_taken += counts.taken
        self.counts.repeated += counts.repeated
        self.counts.foreign += counts.foreign
        self.counts.lost_for_memory += counts.no_memory
        if not item.is_submitted:
            if counts.taken:
                self._submit(item)
            else:
                self._forget(item)

    def _lost_in_kernel(self, item: _Open) -> int:
        """How many gaps the kernel's losses may explain: it counts what it had merged as one."""
        size = item.session.announcement.parts[CHUNKS].symbol_size + HEADER_BYTES
        merged = max(1, min(MERGED_MAX, DATAGRAM_MAX_BYTES // size)) if self.is_merged else 1
        return (self.counts.lost_in_kernel - item.kernel_before) * merged

    def _forget(self, item: _Open) -> None:
        item.session.release_papers()
        self.by_tag.pop(item.session.tag, None)

    def settle(self, taken: Taken) -> None:
        """The intake is through with a session."""
        item = self.by_tag.get(taken.tag)
        if item is None:
            return
        self._finish(item)
        self._forget(item)
        if taken.outcome is not None and taken.outcome.kind in _DONE:
            self._done.add(taken.tag)
            self._remember(taken.outcome.bundle_id)  # its second pass and first repeats are no news
        elif taken.outcome is not None and taken.outcome.kind is OutcomeKind.FAILED:
            if len(self._put_off) >= WAITING_MAX:
                self._put_off.pop(next(iter(self._put_off)))
            self._put_off[taken.tag] = time.monotonic() + FAILED_SECONDS

    def finish_all(self) -> None:
        """The listener ends: whoever waits for more gets told that there is none."""
        for item in list(self.by_tag.values()):
            self._finish(item)

    def describe(self) -> list[dict[str, object]]:
        """For `link status`."""
        return [
            {
                "bundle": item.session.announcement.name,
                "bundle_id": item.session.announcement.bundle_id,
                "length": item.session.announcement.parts[CHUNKS].length,
                "datagrams": item.session.counts.datagrams,
                "lost": item.session.losses(),
                "is_over": item.session.is_over,
            }
            for item in self.by_tag.values()
        ]
