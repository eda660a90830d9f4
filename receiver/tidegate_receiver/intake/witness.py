"""The receiver as witness of the low side's ledger: what rides in a cover is held against what was seen before.

    cover ─► what of it holds (`ledger.riding`) ─► judged against the memory (`witness_memory`)
    ─► entries into the copy (`log_copy`), or both sides of a fork into evidence/ ─► memory and entries, one transaction

The content of a bundle is vouched for by its release keys, whatever its cover says: nothing here refuses a bundle. A
fork makes it wait until a person accepts it. Format and rules: docs/format/witness.md.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.bundle.cover import parse_cover
from tidegate.clock import format_time
from tidegate.errors import FormatError, LedgerDamagedError, LedgerForkError, SignatureError
from tidegate.files import host_error, make_folders, write_durably
from tidegate.ledger.checkpoint import Checkpoint, NoteKey, read_unverified
from tidegate.ledger.cosignature import OwnHead, judge_own, open_cosigned
from tidegate.ledger.entries import Entry, Event, Outcome, entry
from tidegate.ledger.log import Log
from tidegate.ledger.riding import Riding, read_riding
from tidegate.ledger.witness_folder import (
    channel_keys,
    cosigned_path,
    keep_memory,
    load_memory,
    log_copy,
    site_keys,
    taking_in,
)
from tidegate.ledger.witness_memory import Answer, Memory, Relation, judge, put_memory

if TYPE_CHECKING:
    from tidegate.ledger.log_copy import LogCopy
    from tidegate.trust.root import Chain
    from tidegate.workspace import Workspace
    from tidegate_receiver.intake.records import Subject

EVIDENCE_FOLDER = "evidence"


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What became of a cover's ledger. `alarm` is the fork, `warning` what else a person should know."""

    relation: Relation
    size: int = 0
    warning: str = ""
    alarm: LedgerForkError | None = None


def witness_cover(workspace: "Workspace", chain: "Chain", subject: "Subject", cover: bytes) -> Witnessed:
    """Hold a cover's ledger against what was seen, remember it, and record it. Raises HostError, LedgerDamagedError."""
    with taking_in(workspace):
        return _Witnessing(workspace, chain, subject, cover).run()


def earlier_roots(copy: "LogCopy", memory: Memory, checkpoint: Checkpoint | None) -> dict[int, bytes]:
    """What this side's own copy says of a head that comes late, by size."""
    newest = memory.newest
    if checkpoint is None or newest is None or checkpoint.size >= newest.size:
        return {}
    return roots_here(copy, memory, checkpoint)


def roots_here(copy: "LogCopy", memory: Memory, checkpoint: Checkpoint) -> dict[int, bytes]:
    """The root that this side's own entries give at the checkpoint's size; none where they are not all here."""
    try:
        return copy.roots(memory.runs, (checkpoint.size,))
    except LedgerDamagedError:  # no reason to refuse anything; "ledger verify --side low" says what is damaged
        return {}


def keep_evidence(workspace: "Workspace", chain: "Chain", answer: Answer, riding: Riding, cover: bytes = b"") -> None:
    """Keep both checkpoints; of a cover also what shows that they contradict each other, and itself."""
    head, against = answer.head, answer.against
    assert head is not None and against is not None, "a fork has two sides"
    name = f"ledger-{chain.channel_id[:4]}-{head.size}-{head.root[:16]}"
    folder = workspace.root / EVIDENCE_FOLDER / name
    if (folder / ("cover" if cover else "received")).exists():
        return
    unsigned = f"{chain.newest.name}/low\n{against.size}\n{against.root}\n(shown by a proof, not signed)\n"
    files = {"remembered": (against.note or unsigned).encode(), "received": head.note.encode()}
    if cover:
        shown = [f"{proof.size} {b64encode(proof.root).decode()}" for proof in riding.proofs]
        paths = [" ".join(b64encode(node).decode() for node in proof.path) for proof in riding.proofs]
        proofs = "".join(f"{first}\n{path}\n" for first, path in zip(shown, paths, strict=True))
        files |= {"proofs": proofs.encode(), "cover": cover}
    try:
        make_folders(folder, mode=0o700)
        for name, data in files.items():
            write_durably(folder / name, data, mode=0o400)
    except OSError as error:
        raise host_error(error, "keeping evidence") from None


class _Witnessing:
    """One cover, and the facts that every step needs."""

    def __init__(self, workspace: "Workspace", chain: "Chain", subject: "Subject", cover: bytes) -> None:
        self.workspace = workspace
        self.chain = chain
        self.subject = subject
        self.cover = cover
        self.copy = log_copy(workspace, chain.channel_id)
        self.riding: Riding = read_riding(parse_cover(cover), channel_keys(chain.newest))
        self.name = subject.verified.announcement.name
        self.origin = f"{chain.newest.name}/low"

    def run(self) -> Witnessed:
        memory = load_memory(self.workspace, self.chain.channel_id)
        answer = judge(memory, self.riding, self.name, earlier_roots(self.copy, memory, self.riding.checkpoint))
        cosigned = _Cosigned(self.workspace, self.chain)
        made = [*self._entries(memory, answer), *cosigned.take(self.riding.cosignatures)]
        after = answer.memory
        if answer.relation is Relation.FORK:
            keep_evidence(self.workspace, self.chain, answer, self.riding, self.cover)
        elif self.riding.entries is not None:
            runs = self.copy.add(memory, self.riding.entries)
            after = Memory(after.heads, runs, after.forks)
        if made or after != memory:
            with self.workspace.state.transaction() as tx:
                put_memory(tx, self.chain.channel_id, after)
                for item in made:
                    tx.queue(item)
        if after != memory:
            keep_memory(self.workspace, self.chain.channel_id, after)
        return self._witnessed(answer, cosigned.warning)

    # --- what is recorded ---------------------------------------------------------------------

    def _entries(self, memory: Memory, answer: Answer) -> list[Entry]:
        is_fork = answer.relation is Relation.FORK
        if (answer.is_known and not is_fork) or (answer.head is None and not memory.has_come):
            return []
        facts: dict[str, Any] = {"names": (), "detail": self._text(memory, answer)}
        if answer.head is not None:
            facts["counts"] = {"entries": answer.head.size}
        if is_fork:  # one alarm, and an entry for each bundle that waits because of it: a restore asks for them
            event = Event.WITNESSED if answer.is_known else Event.LEDGER_ALARM
            return [self._entry(event, Outcome.FAILED, reason="ledger-fork", **facts)]
        if answer.relation is Relation.UNLINKED:
            return [self._entry(Event.LEDGER_ALARM, Outcome.PARTIAL, reason="unlinked", **facts)]
        return [self._entry(Event.WITNESSED, Outcome.DONE, **facts)]

    def _entry(self, event: Event, outcome: Outcome, **facts: Any) -> Entry:
        return self.subject.entry(event, outcome, **facts)

    def _text(self, memory: Memory, answer: Answer) -> str:
        head, newest = answer.head, memory.newest
        if head is None:
            return "; ".join((f"no checkpoint of {self.origin} that holds came with it", *self.riding.faults))
        parts = [f"ledger {self.origin} of {head.size} entries, root hash {head.root}"]
        if answer.against is not None:
            parts.append(f"contradicts {answer.against.size} entries with root hash {answer.against.root}")
        elif answer.relation is Relation.UNLINKED and newest is not None:
            parts.append(f"nothing shows that it goes on from the {newest.size} entries that were seen")
        elif newest is None:
            parts.append("seen for the first time")
        elif newest.size < head.size:
            parts.append(f"goes on from {newest.size} entries")
        left_out = self.riding.entries.first if self.riding.entries is not None else 0
        if left_out > max((run.end for run in memory.runs), default=0):
            parts.append(f"entries before {left_out} are not here")
        return "; ".join((*parts, *self.riding.faults))

    def _witnessed(self, answer: Answer, warning: str) -> Witnessed:
        size = answer.head.size if answer.head is not None else 0
        if answer.relation is Relation.FORK and answer.head is not None and answer.against is not None:
            alarm = LedgerForkError(
                f"bundle {self.name}: the ledger {self.origin} with {size} entries contradicts"
                f" the one with {answer.against.size} that was seen before"
            )
            return Witnessed(Relation.FORK, size, warning, alarm)
        if answer.relation is Relation.UNLINKED:
            what = f"of {size} entries does not reach back to what was seen" if size else "did not come with it"
            unlinked = f"{self.name}: the low side's ledger {what}; the next bundle may link it up"
            return Witnessed(Relation.UNLINKED, size, "; ".join(filter(None, (unlinked, warning))))
        return Witnessed(answer.relation, size, warning)


class _Cosigned:
    """Co-signatures of this side's own ledger that came up (W-10)."""

    def __init__(self, workspace: "Workspace", chain: "Chain") -> None:
        self.workspace = workspace
        self.chain = chain
        self.warning = ""

    def take(self, notes: tuple[bytes, ...]) -> list[Entry]:
        """Verify and keep the newest one; the entries of what is new."""
        made: list[Entry] = []
        own = site_keys(self.workspace) if notes else ()
        for note in notes:
            try:
                opened = open_cosigned(note, own, channel_keys(self.chain.newest))
            except (FormatError, SignatureError):
                continue  # of another site, of an earlier key, or forged: it says nothing
            made += self._hold(note, *opened)
        return made

    def _hold(self, note: bytes, checkpoint: Checkpoint, key: NoteKey, time: int) -> list[Entry]:
        path = cosigned_path(self.workspace, self.chain.channel_id)
        known = path.read_bytes() if path.is_file() else b""
        if known == note:
            return []
        by = f"{self.chain.newest.name}/low at {format_time(time)}"
        text = f"{checkpoint.size} entries of {checkpoint.origin}, co-signed by {by}"
        judged = judge_own(checkpoint, _own_root(self.workspace, checkpoint.size, key), _size_of(known))
        if judged is OwnHead.REWRITTEN:
            self.warning = f"this side's ledger does not give the head that was co-signed: {text}"
            return [self._entry(Event.LEDGER_ALARM, Outcome.FAILED, reason="rewritten", detail=self.warning)]
        if judged is OwnHead.OLDER:
            return []
        try:
            make_folders(path.parent)
            write_durably(path, note)
        except OSError as error:
            raise host_error(error, f"writing {path}") from None
        return [self._entry(Event.WITNESSED, Outcome.DONE, detail=text, counts={"entries": checkpoint.size})]

    def _entry(self, event: Event, outcome: Outcome, **facts: Any) -> Entry:
        root = self.chain.newest
        own: dict[str, Any] = {"channel": self.chain.channel_id, "channel_name": root.name, "epoch": root.epoch}
        return entry(event, subject=self.workspace.origin, step="cosigned", outcome=outcome, **own, **facts)


def _own_root(workspace: "Workspace", size: int, key: NoteKey) -> bytes | None:
    """The root of the own log at that size; None where it is shorter, or damaged."""
    log = Log(workspace.folder("ledger"), key)
    now = workspace.recorder.checkpoint()
    if now is None or now.size < size:
        return None
    try:
        return log.edge(size, now.size).root()
    except LedgerDamagedError:
        return None


def _size_of(note: bytes) -> int:
    """The size of a kept note; 0 for none, and for one that cannot be read any more."""
    try:
        return read_unverified(note).size
    except FormatError:
        return 0
