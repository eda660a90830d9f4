"""Who may speak on the wire: preambles that lead channels on, and announcements that a carrier key signed.

Identical bytes are judged once, and not more than 300 signatures a second, whoever sends them. What is refused has an
entry for each reason and hour; the others are counted. Times are monotonic.
"""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from tidegate.carrier.announcement import read_announcement_frame
from tidegate.carrier.frames import FRAME_MAX_BYTES, tag_of
from tidegate.carrier.stream.session import PreambleAssembler
from tidegate.errors import MediaError, RefusedError, TidegateError, TrustError, reason_of
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.trust.root import Chain
from tidegate.workspace import Workspace
from tidegate_receiver.intake.roots import advance_root
from tidegate_receiver.intake.verification import VerifiedAnnouncement, verify_frame, walk_preamble
from tidegate_receiver.listener.counting import LinkCounts
from tidegate_receiver.trusted_time import read_time

#: signatures of announcements a second: of tags that data came with, and of any
EXPECTED_PER_SECOND = 100
VERIFIED_PER_SECOND = 100
#: of heartbeats, and preambles
OTHERS_PER_SECOND = 50
REMEMBERED_TAGS = 4096
TRUST_SECONDS = 5.0  # pinned channels and the known time are read again after it
REFUSAL_SECONDS = 3600.0  # between two entries of one reason


class Budget:
    """So many a second, and no more than a second's worth at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = per_second
        self._at = time.monotonic()

    def spend(self) -> bool:
        """Whether there was one left."""
        now = time.monotonic()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


Item = TypeVar("Item")


class Remembered(Generic[Item]):
    """A bounded set: the oldest goes."""

    def __init__(self, limit: int = REMEMBERED_TAGS) -> None:
        self._limit = limit
        self._items: OrderedDict[Item, None] = OrderedDict()

    def add(self, item: Item) -> None:
        self._items[item] = None
        self._items.move_to_end(item)
        while len(self._items) > self._limit:
            self._items.popitem(last=False)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def clear(self) -> None:
        self._items.clear()


class Speakers:
    """The pinned channels as the wire leads them on."""

    def __init__(self, workspace: Workspace, counts: LinkCounts) -> None:
        self.workspace = workspace
        self.counts = counts
        self._chains: dict[str, Chain] = {}
        self._known_time = 0
        self._read_at = float("-inf")
        self._assembler = PreambleAssembler()
        self._preambles: Remembered[bytes] = Remembered(256)
        self._refused: Remembered[bytes] = Remembered()
        self._budget = Budget(VERIFIED_PER_SECOND)
        self._expected_budget = Budget(EXPECTED_PER_SECOND)
        self._preamble_budget = Budget(OTHERS_PER_SECOND)
        self._heartbeat_budget = Budget(OTHERS_PER_SECOND)
        self._told: dict[str, float] = {}

    def chains(self) -> dict[str, Chain]:
        """The pinned chains by channel; read again from time to time, since people pin and unpin."""
        now = time.monotonic()
        if now - self._read_at >= TRUST_SECONDS:
            known = {key: chain.newest.version for key, chain in self._chains.items()}
            self._chains = {chain.channel_id: chain for chain in self.workspace.trust.chains()}
            with self.workspace.state.reading() as tx:
                self._known_time = read_time(tx, self.workspace).known
            if known != {key: chain.newest.version for key, chain in self._chains.items()}:
                self._refused.clear()
                self._preambles.clear()
            self._read_at = now
        return self._chains

    def take_piece(self, tag: bytes, piece: int, pieces: int, payload: memoryview) -> None:
        """A piece of a preamble. When it is whole its roots are followed and kept."""
        if tag in self._preambles:
            return
        preamble = self._assembler.add(tag, piece, pieces, payload)
        if preamble is None or not self._preamble_budget.spend():
            return
        self._preambles.add(tag)
        try:
            chains = self.chains()
            chain = walk_preamble(preamble, "", chains)
            if chain is not chains[chain.channel_id]:
                self._chains[chain.channel_id] = advance_root(self.workspace, chain, None)
                self._refused.clear()  # what was refused by the older root may be right by this one
        except (RefusedError, TrustError) as error:
            self.counts.preambles_refused += 1
            self._tell(error)

    def verify(self, tag: bytes, data: memoryview, *, is_expected: bool = False) -> VerifiedAnnouncement | None:
        """The announcement in a datagram of `tag`; None where it is refused, or cannot be looked at now.

        `is_expected` says that data of this tag comes: a flood of forged announcements has none, and not its budget.
        """
        if tag in self._refused or len(data) > FRAME_MAX_BYTES or tag_of(data) != tag:
            self.counts.announcements_refused += 1  # no tag is blamed for bytes that are not its own
            return None
        try:
            frame = read_announcement_frame(data)
            chains = self.chains()
            chain = walk_preamble(None, frame.key_id, chains)
            if not (is_expected and self._expected_budget.spend()) and not self._budget.spend():
                self.counts.announcements_over_budget += 1
                return None
            others = tuple(other for other in chains.values() if other.channel_id != chain.channel_id)
            verified = verify_frame(frame, chain, others, self._known_time, carrier="stream")
        except (RefusedError, MediaError, TrustError) as error:
            self._refused.add(tag)
            self.counts.announcements_refused += 1
            self._tell(error)
            return None
        self.counts.announcements_verified += 1
        return verified

    def verify_key(self, key_id: str) -> Chain:
        """The pinned channel that has the carrier key; raises ChannelUnknownError."""
        return walk_preamble(None, key_id, self.chains())

    def spend(self) -> bool:
        """Take one verification of a heartbeat."""
        return self._heartbeat_budget.spend()

    def _tell(self, error: TidegateError) -> None:
        """An entry about something on the wire that nothing vouches for; the first of its reason in an hour."""
        reason, now = reason_of(error), time.monotonic()
        if now - self._told.get(reason, float("-inf")) < REFUSAL_SECONDS:
            return
        self._told[reason] = now
        made = entry(
            Event.REFUSE,
            subject="stream",
            step=Event.REFUSE,
            outcome=Outcome.REFUSED,
            reason=reason,
            detail=error.message,
        )
        with contextlib.suppress(TidegateError), self.workspace.state.transaction() as tx:
            tx.queue(made)
