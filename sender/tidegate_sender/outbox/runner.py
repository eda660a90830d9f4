"""The runner of an outbox: one loop in which whatever is most urgent sends its next group.

    folder ─► intake ─► queue ─┐
                               ├─► the most urgent sending ─► one group ─► again
        what was sent ─► repeats ┘        heartbeats in between

A more urgent bundle overtakes between two groups: the one that was under way stays open and goes on behind it. What was
under way at a kill goes on with its group at the next start (`stream.delivery.Cursor`). A link that is down is waited
for.
"""

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tidegate.carrier.stream.session import preamble_datagrams
from tidegate.errors import BundleUnknownError, LinkDownError, LinkError, TidegateError
from tidegate.lookup import FoundBundle, bundle_path
from tidegate.state.bundles import get_bundle
from tidegate.state.sendings import SendingState, get_sending, next_waiting, put_sending
from tidegate_sender.delivery import preamble_of
from tidegate_sender.outbox.carrier_key import CarrierKey
from tidegate_sender.outbox.folder import OutboxFolder
from tidegate_sender.outbox.intake import Intake
from tidegate_sender.outbox.pulse import Canary, Pulse, PulseOptions
from tidegate_sender.outbox.queue import OPEN, remember_link
from tidegate_sender.outbox.repeats import Retention, repeat_round
from tidegate_sender.stream.delivery import BundleSending, Sent, StreamOptions
from tidegate_sender.stream.link import Link
from tidegate_sender.stream.pacing import TokenBucket
from tidegate_sender.stream.session import LinkPatience, Step

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

FOLDER_SECONDS = 1.0  # between looks at the folder
QUEUE_SECONDS = 0.25  # between looks at the queue while something is sent
IDLE_SECONDS = 0.5
REPEAT_LOOK_SECONDS = 5.0
OPEN_MAX = 2  # sendings under way at once, each with its groups in memory
FAULT_WAIT_SECONDS = 5.0  # after this host refused to send, before it is tried again


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How a runner works. `until_empty`: end when nothing waits, without repeats."""

    stream: StreamOptions
    retention: Retention = field(default_factory=Retention)
    pulse: PulseOptions = field(default_factory=PulseOptions)
    until_empty: bool = False


@dataclass(slots=True)
class RunnerReport:
    """What a runner did: bundles sent, repeats, heartbeats."""

    sent: int = 0
    repeats: int = 0
    heartbeats: int = 0
    failed: int = 0
    sent_bytes: int = 0


@dataclass(slots=True)
class _Open:
    """A sending under way."""

    sending: BundleSending
    steps: Generator[Step, None, None]


class Runner:
    """Runs one outbox over one link until `stop` is set."""

    def __init__(
        self,
        workspace: "Workspace",
        folder: OutboxFolder,
        link: Link,
        options: RunnerOptions,
        *,
        tell: Callable[[str], None] = lambda _text: None,
        warn: Callable[[str], None] = lambda _text: None,
        on_sent: Callable[[Sent, bool], None] = lambda _sent, _is_repeat: None,
        stop: threading.Event | None = None,
    ) -> None:
        self._workspace, self._folder, self._link, self._options = workspace, folder, link, options
        self._name = str(link.address)
        self._warn, self._on_sent = warn, on_sent
        self.stop = stop or threading.Event()
        self._key = CarrierKey(workspace)
        self._bucket = TokenBucket(options.stream.schedule)
        self._intake = Intake(workspace, folder, self._name, tell, warn)
        self._pulse = Pulse(workspace, self._name, self._key.now, options.pulse)
        self._canary = Canary(workspace, self._name, options.pulse)
        self._patience = LinkPatience(None, tell=warn, is_over=self.stop.is_set)
        self._open: dict[str, _Open] = {}
        self._wanted: str | None = None
        self._round: tuple[str, ...] = ()
        self._folder_at = self._queue_at = self._round_at = 0.0
        self._is_faulty = False
        self.report = RunnerReport()

    def run(self) -> RunnerReport:
        """Work until stopped, or until nothing waits. Raises what no waiting mends (a full disk, a broken state)."""
        self._folder.prepare()
        remember_link(self._workspace, self._name)
        try:
            while not self.stop.is_set():
                if not self._turn():
                    break
        finally:
            self._intake.close()
            for key in list(self._open):
                self._close(key)
        return self.report

    def _turn(self) -> bool:
        """One round of the loop; False when there is nothing more to do and that is the end."""
        self._look_into_folder()
        try:
            if self._is_faulty:
                self._probe()
            self._beat()
            key, is_repeat = self._choose()
            if key is not None:
                self._advance(key, is_repeat=is_repeat)
                return True
        except LinkDownError as error:
            self._wait_for_link(error)
            return True
        except LinkError as error:
            self._tell_fault(error)
            return True
        if self._options.until_empty and not self._intake.is_busy and self._folder.is_empty:
            return False
        self.stop.wait(self._idle_seconds())
        return True

    # --- what comes next ----------------------------------------------------------------------

    def _look_into_folder(self) -> None:
        now = time.monotonic()
        if now - self._folder_at < FOLDER_SECONDS:
            return
        self._folder_at = now
        if self._canary.is_due():
            self._canary.put_down(self._folder.path)
        if self._intake.look():
            self._queue_at = 0.0

    def _choose(self) -> tuple[str | None, bool]:
        """The bundle whose group goes next, and whether it is a repeat."""
        now = time.monotonic()
        if now - self._queue_at >= QUEUE_SECONDS:
            self._queue_at = now
            with self._workspace.state.reading() as tx:
                waiting = next_waiting(tx, self._name)
                known = {key: get_sending(tx, key, self._name) for key in self._open}
            self._wanted = waiting.bundle_id if waiting is not None else None
            self._drop_cancelled({key for key, row in known.items() if row is None or row.state not in OPEN})
        if self._wanted is not None:
            return self._wanted, False
        return (None if self._options.until_empty else self._next_repeat(now)), True

    def _drop_cancelled(self, keys: set[str]) -> None:
        """End sendings that a person has cancelled meanwhile."""
        for key in keys:
            sending = self._open[key].sending
            if not sending.is_repeat:
                self._close(key)
                sending.cancel()

    def _next_repeat(self, now: float) -> str | None:
        for key, known in self._open.items():
            if known.sending.is_repeat:
                return key
        if not self._round and now - self._round_at >= REPEAT_LOOK_SECONDS:
            self._round_at = now
            self._round = repeat_round(self._workspace, self._name, self._options.retention)
        if not self._round:
            return None
        first, *rest = self._round
        self._round = tuple(rest)
        return first

    def _idle_seconds(self) -> float:
        due = self._pulse.due_in()
        return min(IDLE_SECONDS, due) if due is not None else IDLE_SECONDS

    # --- sending ------------------------------------------------------------------------------

    def _advance(self, key: str, *, is_repeat: bool) -> None:
        """Send the next group of a bundle, opening it where it is not open yet."""
        known = self._open.get(key)
        if known is not None and known.sending.is_repeat and not is_repeat:
            self._close(key)
            known = None
        try:
            if known is None:
                known = self._begin(key, is_repeat=is_repeat)
            next(known.steps)
        except StopIteration:
            self._finish(key)
        except LinkError:
            self._close(key)
            raise
        except TidegateError as error:
            self._fail(key, error)

    def _begin(self, key: str, *, is_repeat: bool) -> _Open:
        while len(self._open) >= OPEN_MAX:
            self._close(next(iter(self._open)))
        with self._workspace.state.reading() as tx:
            row, waiting = get_bundle(tx, key), get_sending(tx, key, self._name)
        if row is None:
            raise BundleUnknownError(f"bundle {key[:16]}: is not in the state any more")
        if not is_repeat:
            self._workspace.begin()
        sending = BundleSending(
            self._workspace,
            FoundBundle(key, row, bundle_path(self._workspace, row)),
            self._link,
            self._bucket,
            self._options.stream,
            pieces=waiting.pieces if waiting is not None and not is_repeat else (),
            is_repeat=is_repeat,
            patience=self._patience,
            signer=self._key.now(),
        )
        sending.__enter__()
        known = self._open[key] = _Open(sending, sending.steps())
        return known

    def _finish(self, key: str) -> None:
        sending = self._open[key].sending
        self._close(key)
        assert sending.result is not None, "it came to its end"
        self.report.sent_bytes += sending.result.sent_bytes
        if sending.is_repeat:
            self.report.repeats += 1
        else:
            self.report.sent += 1
            self._queue_at = 0.0
        self._on_sent(sending.result, sending.is_repeat)

    def _close(self, key: str) -> None:
        known = self._open.pop(key, None)
        if known is not None:
            known.steps.close()
            known.sending.__exit__(None, None, None)

    def _fail(self, key: str, error: TidegateError) -> None:
        """A bundle that cannot be sent gives way to the others."""
        known = self._open.get(key)
        self._close(key)
        if known is not None and known.sending.is_repeat:
            return
        self.report.failed += 1
        self._queue_at = 0.0
        self._warn(f"bundle {known.sending.name if known else key[:16]}: cannot be sent: {error.message}")
        with self._workspace.state.transaction() as tx:
            sending = get_sending(tx, key, self._name)
            if sending is not None and sending.state is SendingState.WAITING:
                put_sending(tx, replace(sending, state=SendingState.FAILED, detail={"why": error.message}))

    # --- the link -----------------------------------------------------------------------------

    def _beat(self) -> None:
        datagrams = self._pulse.datagrams()
        if datagrams:
            self._link.check_up()
            self._link.send_datagrams(datagrams, self._bucket.spend)
            self._patience.is_up()
            self.report.heartbeats += 1

    def _probe(self) -> None:
        """Try a refusing host with something harmless, so that the ledger is not filled with sendings that failed."""
        self._link.reopen()
        self._link.send_datagrams(preamble_datagrams(preamble_of(self._workspace)), self._bucket.spend)
        self._is_faulty = False

    def _wait_for_link(self, error: LinkDownError) -> None:
        try:
            self._patience.wait(error)
            self._link.reopen()
            self._link.check_up()
        except LinkDownError:
            return
        self._patience.is_up()

    def _tell_fault(self, error: LinkError) -> None:
        """This host refuses: somebody has to mend it, and then it goes on."""
        if not self._is_faulty:
            self._warn(f"{error.message}; trying again until it goes")
        self._is_faulty = True
        self.stop.wait(FAULT_WAIT_SECONDS)
