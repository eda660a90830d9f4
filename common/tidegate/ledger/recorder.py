"""The one writer of a ledger: moves entries from the state's outbox into the log.

It alone holds the ledger's key. A drain takes the waiting entries in their order, writes them with one checkpoint, and
marks them; what a crash between the two left is recognised and marked. Nothing is appended to a log that is damaged,
rolled back, or not the one that the state remembers. Rules L-16 to L-23 of docs/format/ledger.md.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tidegate.errors import (
    DiskFullError,
    FormatError,
    LedgerBusyError,
    LedgerDamagedError,
    SignatureError,
    StateOldError,
)
from tidegate.files import host_error, locked
from tidegate.ledger.checkpoint import Checkpoint, NoteKey, open_checkpoint
from tidegate.ledger.entries import RecordedEntry, read_entry
from tidegate.ledger.log import LOCK_NAME, Log
from tidegate.ledger.merkle import EMPTY_ROOT, Edge
from tidegate.ledger.writer import Head, append, write_checkpoint
from tidegate.state.db import State, Transaction
from tidegate.state.outbox import (
    WaitingEntry,
    adopt_recorded,
    count_waiting,
    mark_recorded,
    remember_checkpoint,
    remembered_checkpoint,
    waiting_entries,
)
from tidegate.trust.keys import Signer
from tidegate.units import MIB

LOCK_WAIT_SECONDS = 30.0
BATCH_ENTRIES = 8192
BATCH_BYTES = 16 * MIB
FREE_MIN_BYTES = 4 * MIB  # on the ledger's file system, before anything is begun

_EMPTY = Checkpoint("", 0, EMPTY_ROOT)


class Recorder:
    """The writer of the log in `folder`. One object a process; the lock keeps processes apart."""

    def __init__(
        self, folder: Path, state: State, signer: Signer, origin: str, *, wait_seconds: float = LOCK_WAIT_SECONDS
    ) -> None:
        """Raises FormatError for an origin that cannot be a key's name. Opens nothing yet."""
        self.log = Log(folder, NoteKey(origin, signer.public))
        self._state = state
        self._signer = signer
        self._wait_seconds = wait_seconds
        self._head: Head | None = None

    @property
    def key(self) -> NoteKey:
        """What an auditor needs; ``str(key)`` is the verifier key as text."""
        return self.log.key

    def drain(self) -> int:
        """Bring every waiting entry into the ledger; their number.

        Raises LedgerDamagedError, LedgerBusyError, DiskFullError or HostError; the entries then go on waiting.
        """
        with self._state.reading() as tx:
            if not count_waiting(tx):
                return 0
        with self._writing():
            return self._drain(self._reconcile())

    def check(self) -> None:
        """Refuse to begin what could not be recorded: raises what `drain` raises, also where nothing waits."""
        with self._writing():
            _check_room(self.log.folder)
            self._drain(self._reconcile())

    def catch_up(self, apply: Callable[[Transaction, tuple[RecordedEntry, ...]], None]) -> int:
        """Let a state that was put back to a time before know the whole ledger; how many entries it did not know.

        `apply` gets all entries of the log, in the transaction in which they become known. Raises LedgerDamagedError
        where the log is damaged, or does not go on from what the state remembers.
        """
        with self._writing():
            head = self._load_head()
            remembered, there = self._remembered(), head.checkpoint or _EMPTY
            self._refuse_other(there, remembered)
            entries = tuple(read_entry(number, data) for number, data in self.log.raw_entries(there.size))
            waiting = self._recorded_since(remembered.size, there.size)
            with self._state.transaction() as tx:
                mark_recorded(tx, waiting)
                for item in entries[remembered.size :]:
                    if event_id := item.text("event_id"):
                        adopt_recorded(tx, event_id, item.number)
                apply(tx, entries)
                if head.checkpoint is not None:
                    remember_checkpoint(tx, head.checkpoint.data)
        return there.size - remembered.size - len(waiting)

    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint, verified; None before the first entry."""
        return self.log.checkpoint()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        folder = self.log.folder
        busy = f"{folder}: another Tidegate command writes the ledger"
        try:
            with locked(folder / LOCK_NAME, busy=busy, wait_seconds=self._wait_seconds, error=LedgerBusyError):
                yield
        except OSError as error:
            raise host_error(error, "writing the ledger") from None

    def _drain(self, head: Head) -> int:
        total = 0
        while batch := self._waiting():
            new = append(self.log, head, (item.data for item in batch), self._signer)
            self._mark(new, [(item.id, head.size + place) for place, item in enumerate(batch)])
            self._head = head = new
            total += len(batch)
        return total

    def _waiting(self) -> tuple[WaitingEntry, ...]:
        with self._state.reading() as tx:
            return waiting_entries(tx, limit=BATCH_ENTRIES, limit_bytes=BATCH_BYTES)

    def _mark(self, head: Head, numbers: list[tuple[int, int]]) -> None:
        if head.checkpoint is None:
            return
        with self._state.transaction() as tx:
            mark_recorded(tx, numbers)
            remember_checkpoint(tx, head.checkpoint.data)

    # --- before anything is written -----------------------------------------------------------

    def _reconcile(self) -> Head:
        """The log's head, proven to go on from what the state remembers; marks what a crash left unmarked."""
        head = self._load_head()
        remembered = self._remembered()
        there = head.checkpoint or _EMPTY
        self._refuse_other(there, remembered)
        if there.size > remembered.size:
            write_checkpoint(self.log.folder, there)  # its rename may not be on the disk yet
            recorded = self._recorded_since(remembered.size, there.size)
            if len(recorded) < there.size - remembered.size:
                raise StateOldError(
                    f"{self._state.path}: knows {remembered.size} entries of the ledger, and it has {there.size}"
                )
            self._mark(head, recorded)
        return head

    def is_behind(self) -> bool:
        """Whether the log has entries that the state does not know: it was put back from a backup, or is lost."""
        there, known = self.log.checkpoint() or _EMPTY, self._remembered().size
        return there.size > known and len(self._recorded_since(known, there.size)) < there.size - known

    def _load_head(self) -> Head:
        """The end of the log, checked against its signed checkpoint; from memory where nobody else has written."""
        checkpoint = self.log.checkpoint()
        if self._head is not None and self._head.checkpoint == checkpoint:
            return self._head
        edge = Edge() if checkpoint is None else self.log.edge(checkpoint.size, checkpoint.size)
        if checkpoint is not None and edge.root() != checkpoint.root:
            raise LedgerDamagedError(
                f"{self.log.folder}: the tiles give the root hash {edge.root().hex()[:16]}…"
                f" at size {checkpoint.size}, the checkpoint says {checkpoint.root.hex()[:16]}…"
            )
        self._head = Head(checkpoint, edge, self.log.tail(edge))
        return self._head

    def _remembered(self) -> Checkpoint:
        with self._state.reading() as tx:
            note = remembered_checkpoint(tx)
        if note is None:
            return _EMPTY
        try:
            return open_checkpoint(note, self.key, what="the checkpoint in the state")
        except (FormatError, SignatureError) as error:
            raise LedgerDamagedError(f"{self._state.path}: {error}") from None

    def _refuse_other(self, there: Checkpoint, remembered: Checkpoint) -> None:
        """Raises LedgerDamagedError unless the log is the remembered one, or goes on from it."""
        if there.size < remembered.size:
            raise LedgerDamagedError(
                f"{self.log.folder}: was rolled back: it has {there.size} entries,"
                f" the state remembers a checkpoint of {remembered.size}"
            )
        same_size = there.size == remembered.size
        root = there.root if same_size else self.log.edge(remembered.size, there.size).root()
        if root != remembered.root:
            raise LedgerDamagedError(
                f"{self.log.folder}: was rewritten: at size {remembered.size} its root hash is {root.hex()[:16]}…,"
                f" the state remembers {remembered.root.hex()[:16]}…"
            )

    def _recorded_since(self, start: int, size: int) -> list[tuple[int, int]]:
        """(row, number) of the waiting entries that the log holds from `start` on, found by their bytes."""
        with self._state.reading() as tx:
            waiting = {item.data: item.id for item in waiting_entries(tx, limit=-1, limit_bytes=2**62)}
        return [(waiting[data], number) for number, data in self.log.raw_entries(size, start=start) if data in waiting]


def _check_room(folder: Path) -> None:
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free < FREE_MIN_BYTES:
        raise DiskFullError(
            f"{folder}: {free} bytes are free, {FREE_MIN_BYTES} are needed to record what happens",
            hint="make room and run the same command again",
        )
