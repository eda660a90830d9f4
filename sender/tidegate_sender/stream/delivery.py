"""Send one bundle over a link: entries before and after, a cursor on the way, and what the state remembers of it.

``send … begun`` is in the ledger, synced, before the first datagram goes out. Behind every group a small file says
which groups are out, so that a sender that was killed goes on with the group that it was in: a new session, for the
groups that are left, of the same code. That something arrived is never said: a link cannot know.
"""

import contextlib
import json
from collections.abc import Generator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tidegate import clock
from tidegate.bundle.container import CHUNKS, BundleFile
from tidegate.carrier.spans import Parts, Span, full_spans, partial_spans, remaining_spans
from tidegate.carrier.stream.parts import GROUPS_IN_MEMORY, plan_stream_parts
from tidegate.carrier.stream.session import StreamFacts, plan_session
from tidegate.errors import BundleUnknownError, TidegateError, UsageError
from tidegate.files import locked
from tidegate.ledger.bundle_facts import bundle_facts
from tidegate.ledger.entries import Entry, Event, Outcome, Target, entry
from tidegate.lookup import FoundBundle
from tidegate.pieces import ChunkRange
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, set_bundle_state
from tidegate.state.sendings import Priority, Sending, SendingState, get_sending, next_place, put_sending
from tidegate_sender.delivery import preamble_of
from tidegate_sender.resend_plan import groups_of
from tidegate_sender.riding import make_cover, open_carried
from tidegate_sender.slips.reading import was_sent
from tidegate_sender.stream.link import Link
from tidegate_sender.stream.pacing import BUCKET_SECONDS, RateSchedule, TokenBucket
from tidegate_sender.stream.session import MESSAGE_SECONDS, Bearing, LinkPatience, SessionSender, Step, sign_session

if TYPE_CHECKING:
    from tidegate.bundle.manifest import Manifest
    from tidegate.trust.keys import Signer
    from tidegate.workspace import Workspace

DEFAULT_BURST_SECONDS = 0.005
CURSOR_MAX_BYTES = 65536
GROUP_SECONDS = 2.0
#: a gap takes more than its time at the rate: what leaves in one message, and what a late sender makes up for. On fast
#: links that would cost more repair data than it is worth
BURST_MARGIN_MAX_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How bundles go over a link. One of `redundancy` and `expected_loss` is given."""

    schedule: RateSchedule
    redundancy: float | None = 0.1
    expected_loss: float | None = None
    burst_seconds: float = DEFAULT_BURST_SECONDS
    memory_bytes: int = 192 << 20

    @property
    def burst_bytes(self) -> int:
        """The most that goes out within the burst that is to be borne; 0 for none."""
        if not self.burst_seconds:
            return 0
        rate = self.schedule.highest
        margin = (MESSAGE_SECONDS + BUCKET_SECONDS) * rate
        return int(self.burst_seconds * rate + min(margin, BURST_MARGIN_MAX_BYTES))

    def plan(self, lengths: tuple[int, int, int], symbol_bytes: int) -> Parts:
        """The code of each part. On a slow link groups are small: nothing overtakes, and nobody stops, within one."""
        room = int(self.schedule.highest * GROUP_SECONDS) * GROUPS_IN_MEMORY
        return plan_stream_parts(
            lengths,
            symbol_bytes,
            redundancy=self.redundancy,
            expected_loss=self.expected_loss,
            burst_bytes=self.burst_bytes,
            memory=min(self.memory_bytes, room),
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """What one whole sending came to. `sent_bytes` are those of IP packets; `resumed_at` groups were out before."""

    bundle: str
    bundle_id: str
    link: str
    sent_bytes: int
    groups: int
    passes: int
    resumed_at: int


class BundleSending:
    """One sending of a bundle, or of the groups with some of its `pieces`, over an open link. Use as a context manager.

    `steps` does the work; leaving before its end keeps the cursor, so that the next sending goes on there.
    """

    def __init__(
        self,
        workspace: "Workspace",
        found: FoundBundle,
        link: Link,
        bucket: TokenBucket,
        options: StreamOptions,
        *,
        pieces: tuple[tuple[int, int], ...] = (),
        is_repeat: bool = False,
        patience: LinkPatience | None = None,
        signer: "Signer | None" = None,
    ) -> None:
        if found.row is None:
            raise BundleUnknownError(f"bundle {found.bundle_id[:16]}: this root did not pack it")
        self.workspace, self.row, self.link = workspace, found.row, link
        self.is_repeat = is_repeat
        self._bucket, self._options, self._patience = bucket, options, patience
        self._signer = signer
        self._found = found
        self._pieces = pieces
        self._stack = contextlib.ExitStack()
        self._sent_bytes = 0
        # An interrupted repeat is nothing that a sending which a person asked for may go on with.
        self._cursor = Cursor.of(workspace, found.bundle_id, f"{link.address}{' repeat' * is_repeat}")
        self.result: Sent | None = None

    def __enter__(self) -> Self:
        self._bundle = self._stack.enter_context(self._open())
        self._manifest = self._bundle.manifest()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _open(self) -> BundleFile:
        if not self.is_repeat:
            make_cover(self.workspace, self._found)
        return open_carried(self._found)

    @property
    def name(self) -> str:
        return self.row.name

    def steps(self) -> Generator[Step, None, None]:
        """Send; yields after each group. Raises LinkError and its kin; the ledger has the outcome in any case."""
        parts = self._options.plan(self._bundle.part_lengths, self.link.symbol_bytes)
        spans = self._spans(parts)
        resumed = self._cursor.resume(parts, spans)
        passes = self._begin()
        sender = self._sender(parts, remaining_spans(spans, resumed) or spans, passes)
        try:
            for step in sender.steps():
                self._sent_bytes = step.sent_bytes
                self._cursor.advance(parts, spans, resumed + step.done)
                yield replace(step, done=resumed + step.done, total=resumed + step.total)
        except TidegateError as error:
            self._record(Outcome.FAILED, detail=error.message)
            raise
        self._finish(resumed, len(sender.groups), passes)

    def _spans(self, parts: Parts) -> tuple[Span, ...]:
        if not self._pieces:
            return full_spans(parts)
        wanted = [ChunkRange(first, end) for first, end in self._pieces]
        return partial_spans(parts, groups_of(self._bundle.tables().chunks, wanted, parts[CHUNKS]))

    def cancel(self) -> None:
        """Record that the rest of it is not wanted; a later sending begins anew. `steps` has been left."""
        self._record(Outcome.PARTIAL, detail="cancelled")
        self._cursor.clear()

    def _sender(self, parts: Parts, spans: tuple[Span, ...], passes: int) -> SessionSender:
        manifest = self._manifest
        facts = StreamFacts(
            self.row.channel_id, manifest.epoch, self.row.sequence, self.row.bundle_id, self._bundle.manifest_length
        )
        announcement = plan_session(facts, parts, spans)
        session = sign_session(
            announcement, self._signer or self.workspace.signer("carrier"), preamble_of(self.workspace)
        )
        options = self._options
        # A repeat comes again in any case: only a first sending has to bear the burst by itself.
        burst = 0 if self.is_repeat else options.burst_bytes
        bearing = Bearing(passes, burst, options.burst_seconds)
        return SessionSender(self.link, self._bucket, self._bundle, session, bearing, self._patience)

    # --- records ------------------------------------------------------------------------------

    def _begin(self) -> int:
        """The entry before the first byte, and which pass this is. From here on the number is used up."""
        with self.workspace.state.transaction() as tx:
            known = get_sending(tx, self.row.bundle_id, str(self.link.address))
            if self.is_repeat:
                return known.passes if known else 0
            tx.queue(self._entry(Outcome.BEGUN))
            current = get_bundle(tx, self.row.bundle_id)
            if current is None or (current.state is BundleState.DISCARDED and not was_sent(current)):
                raise UsageError(f"bundle {self.name}: was discarded meanwhile, and its number is the next one's")
            set_bundle_state(tx, self.row.bundle_id, current.state, detail={"write_begun": True})
        self.workspace.recorder.drain()
        return known.passes if known else 0

    def _finish(self, resumed: int, groups: int, passes: int) -> None:
        now, link = clock.now(), str(self.link.address)
        with self.workspace.state.transaction() as tx:
            known = get_sending(tx, self.row.bundle_id, link)
            sending = known or Sending(self.row.bundle_id, link, place=next_place(tx), queued=now)
            state = sending.state if self.is_repeat else SendingState.SENT
            put_sending(
                tx,
                replace(
                    sending,
                    state=state,
                    priority=sending.priority if self.is_repeat else Priority.NORMAL,
                    pieces=sending.pieces if self.is_repeat else (),
                    passes=passes + 1,
                    sent=sending.sent or (None if self._pieces else now),
                    last=now,
                ),
            )
            if not self.is_repeat:
                tx.queue(self._entry(Outcome.DONE, stored=self._sent_bytes, counts={"groups": groups}))
                current = get_bundle(tx, self.row.bundle_id)
                if current is not None and current.state is BundleState.PACKED and not self._pieces:
                    set_bundle_state(tx, self.row.bundle_id, BundleState.SENT)
        self._cursor.clear()
        if not self.is_repeat:
            self.workspace.recorder.drain()
        self.result = Sent(self.name, self.row.bundle_id, link, self._sent_bytes, groups, passes + 1, resumed)

    def _record(self, outcome: Outcome, **more: Any) -> None:
        if self.is_repeat:
            return
        with self.workspace.state.transaction() as tx:
            tx.queue(self._entry(outcome, stored=self._sent_bytes, **more))
        self.workspace.recorder.drain()

    def _entry(self, outcome: Outcome, **more: Any) -> Entry:
        return send_entry(self.row, self._manifest, outcome, str(self.link.address), **more)


def send_entry(row: BundleRow, manifest: "Manifest", outcome: Outcome, link: str, **more: Any) -> Entry:
    """The ledger entry of a sending over a link."""
    return entry(
        Event.SEND,
        subject=row.name,
        step="send",
        outcome=outcome,
        **bundle_facts(row, manifest),
        audience=manifest.audience,
        targets=(Target("link", link),),
        **more,
    )


def link_in_use(workspace: "Workspace", link: str) -> contextlib.AbstractContextManager[None]:
    """Hold a link for this process: two senders would go at twice the rate. Raises BusyError."""
    path = workspace.folder("spool") / f".link-{sha256(link.encode()).hexdigest()[:8]}.lock"
    return locked(path, busy=f"something is sent to {link} already, by another command or the outbox")


class Cursor:
    """Which groups of a sending are out: a small file, rewritten behind each group.

    It is not synced: a kill leaves it as it is, and after a power cut a missing or cut one means to begin anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, workspace: "Workspace", bundle_id: str, link: str) -> "Cursor":
        folder = workspace.folder("spool") / "sending"
        folder.mkdir(exist_ok=True, mode=0o700)
        return cls(folder / f"{bundle_id[:16]}-{sha256(link.encode()).hexdigest()[:8]}.json")

    def resume(self, parts: Parts, spans: tuple[Span, ...]) -> int:
        """How many groups of `spans` are out; 0 where another code or other groups were under way, or none."""
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(CURSOR_MAX_BYTES))
            done = int(found["done"]) if found["plan"] == self._plan(parts, spans) else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        total = sum(end - first for _, first, end in spans)
        return done if 0 < done < total else 0

    def advance(self, parts: Parts, spans: tuple[Span, ...], done: int) -> None:
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # without it a killed sender begins anew: no reason to stop now
            fresh.write_text(json.dumps({"plan": self._plan(parts, spans), "done": done}))
            fresh.replace(self._path)

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

    @staticmethod
    def _plan(parts: Parts, spans: tuple[Span, ...]) -> str:
        return sha256(repr((parts, spans)).encode()).hexdigest()
