"""One session on its way: the thread that sends, and one beside it that makes the next group ready.

    preamble and announcement … group, announcement, group, announcement … announcement, three ends

`steps` yields after every group, so that whoever runs several sessions may let another one go first, or stop: what was
sent is known by group, and a later session sends the rest. When the link goes down, what went out since it was last
seen up counts as not sent.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.carrier.announcement import Announcement, build_announcement
from tidegate.carrier.frames import tag_of
from tidegate.carrier.spans import span_groups
from tidegate.carrier.stream.header import HEADER_BYTES, RUNNING_MODULUS, Kind
from tidegate.carrier.stream.parts import bears_burst
from tidegate.carrier.stream.session import ENDS, control_datagram, first_symbol_of_pass, preamble_datagrams
from tidegate.errors import LinkDownError
from tidegate_sender.stream.groups import BundleParts, GroupMaker, GroupTask, ReadyGroup
from tidegate_sender.stream.link import Link, SegmentationLostError
from tidegate_sender.stream.messages import Control
from tidegate_sender.stream.pacing import TokenBucket

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer

REPEAT_SECONDS = 1.0  # preamble and announcement are sent again after so much sending
BATCH_SECONDS = 0.0005  # of the rate: what one system call sends
MESSAGE_SECONDS = 0.002  # of the rate: what one message holds, which leaves the host in one piece
#: at the beginning preamble and announcement come this often within a burst, until so many bursts are out: what is
#: sent before a receiver knows the session is lost to it, and a burst may have taken the first ones
OPENING_PER_BURST, OPENING_BURSTS = 8, 2
OPENING_LEAST = 8  # datagrams between them
LINK_LOOK_SECONDS = 0.25
LINK_WAIT_STEP_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class SignedSession:
    """An announcement with its signed bytes, and what goes before it."""

    announcement: Announcement
    data: bytes
    tag: bytes
    preamble: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """A group was sent: so many of the session's groups are out, and so many bytes of IP packets."""

    done: int
    total: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class Bearing:
    """How a session is sent: which pass it is (others send other symbols first), and the burst that it has to bear."""

    pass_number: int = 0
    burst_bytes: int = 0
    burst_seconds: float = 0.0


class LinkPatience:
    """What is done while a link is down: wait, at most `seconds`; None for as long as it takes, 0 not at all."""

    def __init__(
        self,
        seconds: float | None = 0,
        *,
        tell: Callable[[str], None] = lambda _text: None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._seconds = seconds
        self._is_over = is_over
        self._tell = tell
        self._since: float | None = None

    def wait(self, error: LinkDownError) -> None:
        """Wait a moment, or raise `error` where it has been long enough."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            if self._seconds != 0:
                self._tell(f"{error.message}; waiting for it")
        if self._is_over() or (self._seconds is not None and now - self._since >= self._seconds):
            raise error
        time.sleep(LINK_WAIT_STEP_SECONDS)

    def is_up(self) -> None:
        """The link works."""
        if self._since is not None:
            self._tell("the link is up again")
        self._since = None


class SessionSender:
    """Sends one session over a link. Close it when it is left before its end."""

    def __init__(
        self,
        link: Link,
        bucket: TokenBucket,
        bundle: BundleParts,
        session: SignedSession,
        bearing: Bearing,
        patience: LinkPatience | None = None,
    ) -> None:
        self._link, self._bucket = link, bucket
        self._session, self._bearing = session, bearing
        self._patience = patience or LinkPatience()
        self._maker = GroupMaker(bundle, session.announcement, session.tag)
        self._helper = ThreadPoolExecutor(1, "tidegate-group")
        self._running = 0
        self._trust_running = 0
        self._unannounced = 0.0
        #: bytes that are still to be sent with announcements close to each other
        self._opening = 0
        self._sent_bytes = 0
        self._looked = 0.0
        #: groups that were out when the link was last seen up
        self._safe = 0
        self.groups = span_groups(session.announcement.spans)
        self.is_sent_twice = bool(bearing.burst_bytes) and not bears_burst(
            session.announcement.parts, bearing.burst_bytes
        )

    def close(self) -> None:
        self._helper.shutdown(wait=True, cancel_futures=True)

    def steps(self) -> Iterator[Step]:
        """Send; yields after each group of the session, a second sending not counted."""
        try:
            yield from self._send_groups(self._bearing.pass_number, counts=True)
            if self.is_sent_twice:
                time.sleep(self._bearing.burst_seconds)
                for _ in self._send_groups(self._bearing.pass_number + 1, counts=False):
                    pass
        finally:
            self.close()

    def _send_groups(self, pass_number: int, *, counts: bool) -> Iterator[Step]:
        at, self._safe = 0, 0
        while True:
            try:
                for done in self._send_from(at, pass_number):
                    at = done
                    if counts:
                        yield Step(done, len(self.groups), self._sent_bytes)
                self._send_end()
                self._link.check_up()
            except SegmentationLostError:
                continue
            except LinkDownError as error:
                self._wait_for_link(error)
                at = self._safe
            else:
                return

    def _send_from(self, at: int, pass_number: int) -> Iterator[int]:
        """Send the groups from number `at` on; yields how many are out after each."""
        self._unannounced = REPEAT_SECONDS  # the preamble goes first
        self._opening = 0 if self.is_sent_twice else OPENING_BURSTS * self._bearing.burst_bytes
        total = len(self.groups)
        ready = self._prepare(at, pass_number) if at < total else None
        try:
            while ready is not None:
                group, ready = ready.result(), None
                try:
                    ready = self._prepare(at + 1, pass_number) if at + 1 < total else None
                    self._send_group(group)
                finally:
                    group.release()
                at += 1
                if self._is_seen_up():
                    self._safe = at
                yield at
        finally:
            self._discard(ready)

    def _discard(self, ready: "Future[ReadyGroup] | None") -> None:
        if ready is not None and not ready.cancel():
            ready.result().release()

    def _wait_for_link(self, error: LinkDownError) -> None:
        while True:
            self._patience.wait(error)
            try:
                self._link.reopen()
                self._link.check_up()
            except LinkDownError as again:
                error = again
            else:
                self._patience.is_up()
                return

    def _is_seen_up(self) -> bool:
        now = time.monotonic()
        if now - self._looked < LINK_LOOK_SECONDS:
            return False
        self._looked = now
        self._link.check_up()
        return True

    # --- making ready -------------------------------------------------------------------------

    def _prepare(self, at: int, pass_number: int) -> "Future[ReadyGroup]":
        part, group = self.groups[at]
        geometry = self._session.announcement.geometry(part)
        count = geometry.group_record_count(group)
        datagram = geometry.symbol_size + HEADER_BYTES
        rate = self._bucket.rate
        first_running = self._running
        controls, numbered = self._controls(count, datagram, rate)
        task = GroupTask(
            part,
            group,
            first_symbol_of_pass(geometry, pass_number),
            first_running,
            controls,
            numbered,
            max(datagram, int(rate * MESSAGE_SECONDS)),
            self._link.segmentation,
        )
        self._running = (first_running + count + sum(numbered)) % RUNNING_MODULUS
        return self._helper.submit(self._maker.make, task)

    def _controls(self, count: int, datagram: int, rate: int) -> tuple[tuple[Control, ...], tuple[int, ...]]:
        """What goes among the datagrams of a group: an announcement before it, the preamble too once a second.

        Both more often in the first bursts of a sending.
        """
        controls, numbered = [], []
        position, running = 0, self._running
        while position < count:
            datagrams: list[bytes] = []
            if self._unannounced >= REPEAT_SECONDS:
                datagrams += self._preamble()
                self._unannounced = 0.0
            datagrams.append(self._announcement(running))
            controls.append(Control(position, tuple(datagrams)))
            numbered.append(1)
            left = max(1, int((REPEAT_SECONDS - self._unannounced) * rate / datagram))
            if self._opening > 0:
                left = min(left, self._opening_step(datagram))
            step = min(left, count - position)
            self._opening -= step * datagram
            self._unannounced += step * datagram / rate
            if step == left:
                self._unannounced = REPEAT_SECONDS
            position += step
            running += 1 + step
        return tuple(controls), tuple(numbered)

    def _opening_step(self, datagram: int) -> int:
        return max(OPENING_LEAST, self._bearing.burst_bytes // OPENING_PER_BURST // datagram)

    def _preamble(self) -> tuple[bytes, ...]:
        datagrams = preamble_datagrams(self._session.preamble, first_running=self._trust_running)
        self._trust_running += len(datagrams)
        return datagrams

    def _announcement(self, running: int) -> bytes:
        session = self._session
        return control_datagram(Kind.ANNOUNCEMENT, session.tag, session.data, running=running % RUNNING_MODULUS)

    # --- sending ------------------------------------------------------------------------------

    def _send_group(self, group: ReadyGroup) -> None:
        before = self._link.sent_bytes
        self._link.send(group.messages, self._bucket.spend, max(1, int(self._bucket.rate * BATCH_SECONDS)))
        self._sent_bytes += self._link.sent_bytes - before

    def _send_end(self) -> None:
        session, datagrams = self._session, [self._announcement(self._running)]
        self._running += 1
        for _ in range(ENDS):
            running = self._running % RUNNING_MODULUS
            datagrams.append(control_datagram(Kind.END, session.tag, running=running, block=running))
            self._running += 1
        before = self._link.sent_bytes
        self._link.send_datagrams(tuple(datagrams), self._bucket.spend)
        self._sent_bytes += self._link.sent_bytes - before


def sign_session(announcement: Announcement, signer: "Signer", preamble: bytes) -> SignedSession:
    """Sign `announcement` with the carrier key."""
    data = build_announcement(announcement, signer)
    return SignedSession(announcement, data, tag_of(data), preamble)
