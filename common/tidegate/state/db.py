"""The state of a root: one SQLite file, and transactions over it.

A transaction that ended without an exception is on the disk (WAL, ``synchronous=FULL``); one that did not has left
nothing. `Transaction.queue` puts a ledger entry into the outbox of the same transaction, so a change of state and
the record of it are there together or not at all. No error of sqlite3 leaves this module.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tidegate import clock
from tidegate.errors import BusyError, DiskFullError, HostError, StateDamagedError, StateError, TidegateError
from tidegate.files import SYNCS, host_error, sync_folder
from tidegate.ledger.entries import ClockStatus, Entry
from tidegate.state.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from tidegate.units import KIB

BUSY_WAIT_SECONDS = 30.0
SHARED_MEMORY_BYTES = 32 * KIB  # the first piece of the -shm file, which SQLite makes before anything else
Value = str | int | bytes | None

_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_HOST_HINT = 'run it as the user whom the root belongs to; "tidegate doctor" looks at its disk'
_HOST = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}


class Transaction:
    """One open transaction of a `State`; its end is the ``with`` block's end."""

    __slots__ = ("_clock_status", "_connection", "_path", "_writes")

    def __init__(self, connection: sqlite3.Connection, path: Path, clock_status: ClockStatus, writes: bool) -> None:
        self._connection = connection
        self._path = path
        self._clock_status = clock_status
        self._writes = writes

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, all of them."""
        with _translated(self._path):
            return self._connection.execute(sql, values).fetchall()

    def queue(self, entry: Entry) -> str:
        """Put `entry` into the outbox; returns its event id.

        Without an attempt of its own the entry gets the next one of its subject and step. One with an attempt that
        is queued or recorded already is dropped: the same event, told twice.
        """
        if not self._writes:
            raise StateError(f"{self._path}: an entry was queued in a transaction that only reads")
        stamped = self._stamp(entry)
        self.execute(
            "INSERT OR IGNORE INTO outbox (event_id, step_key, attempt, entry, queued_at) VALUES (?, ?, ?, ?, ?)",
            (stamped.event_id, stamped.step_key, stamped.attempt, stamped.to_bytes(), clock.now()),
        )
        return stamped.event_id

    def _stamp(self, entry: Entry) -> Entry:
        """`entry` with what only the state knows: whether the clock counts, and which attempt this is."""
        attempt = entry.attempt or self._next_attempt(entry.step_key)
        return replace(entry, clock=entry.clock or self._clock_status, attempt=attempt)

    def _next_attempt(self, step_key: str) -> int:
        ((highest,),) = self.execute("SELECT max(attempt) FROM outbox WHERE step_key = ?", (step_key,))
        return (highest or 0) + 1


class State:
    """state.db of one root, opened and brought to the newest schema. Threads may share it; they take turns."""

    def __init__(
        self, path: Path, *, clock_trusted: bool = False, busy_wait_seconds: float = BUSY_WAIT_SECONDS
    ) -> None:
        """Open `path`, creating it where it is missing (its folder must be there).

        Raises StateDamagedError for a file that is damaged or no database, StateError for one of a newer version.
        """
        self.path = path
        self._clock_status = ClockStatus.TRUSTED if clock_trusted else ClockStatus.UNTRUSTED
        self._turn = threading.RLock()
        self._open = False
        _create(path)
        with _translated(path):
            # check_same_thread: `_turn` lets one thread in at a time
            self._connection = sqlite3.connect(
                path, timeout=busy_wait_seconds, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> "State":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._turn:
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that may write. Others wait for it; raises BusyError when the wait is over."""
        with self._begun("BEGIN IMMEDIATE", writes=True) as transaction:
            yield transaction

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one state of the database and waits for nobody."""
        with self._begun("BEGIN DEFERRED", writes=False) as transaction:
            yield transaction

    @contextlib.contextmanager
    def _begun(self, begin: str, *, writes: bool) -> Iterator[Transaction]:
        with self._turn:
            if self._open:
                raise StateError(f"{self.path}: a transaction was begun inside of another")
            self._execute(begin)
            self._open = True
            try:
                yield Transaction(self._connection, self.path, self._clock_status, writes)
                self._execute("COMMIT" if writes else "ROLLBACK")
                SYNCS.count += writes  # SQLite syncs its log once a commit
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._open = False

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # what went wrong first is what is told
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _execute(self, sql: str) -> None:
        with _translated(self.path):
            self._connection.execute(sql)

    def _prepare(self) -> None:
        self._execute("PRAGMA journal_mode = WAL")
        self._execute(f"PRAGMA synchronous = {'FULL' if SYNCS.enabled else 'OFF'}")
        if self._number("user_version") != SCHEMA_VERSION:
            self._migrate()

    def _number(self, pragma: str) -> int:
        with _translated(self.path):
            return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    def _migrate(self) -> None:
        """Bring the schema to this version, in one transaction: a crash leaves the old schema or the new one."""
        with self._begun("BEGIN IMMEDIATE", writes=True) as transaction:
            version = self._number("user_version")  # again, now that nobody else can change it
            application = self._number("application_id")
            if version > SCHEMA_VERSION:
                raise StateError(
                    f"{self.path}: has schema version {version}, this Tidegate knows up to {SCHEMA_VERSION}",
                    hint="use the newer Tidegate that wrote it",
                )
            has_tables = transaction.execute("SELECT 1 FROM sqlite_master LIMIT 1")
            if application != APPLICATION_ID and (version or has_tables):
                raise StateDamagedError(f"{self.path}: is a database of another program")
            for step in MIGRATIONS[version:]:
                for statement in step:
                    transaction.execute(statement)
            self._execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _create(path: Path) -> None:
    """An empty file of mode 0600 where there is none: SQLite takes it for an empty database."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise host_error(error, f"creating {path}") from None
    os.close(fd)
    sync_folder(path.parent)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _as_state_error(path, error) from None


def _as_state_error(path: Path, error: sqlite3.Error) -> TidegateError:
    """What happened to the database, as one of our errors."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest says where
    if code in _FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path.parent)):
        return DiskFullError(f"{path}: no space left", hint="make room and run the same command again")
    if code in _BUSY:
        return BusyError(f"{path}: another Tidegate command holds it", hint="wait for it to end, and try again")
    if code in _DAMAGED:
        return StateDamagedError(f"{path}: {error}")
    if code in _HOST:
        return HostError(f"{path}: {error}", hint=_HOST_HINT)
    return StateError(f"{path}: {error}")


def _is_full(folder: Path) -> bool:
    """Whether there is no room for SQLite's own files: it calls that an I/O error, and says no more."""
    with contextlib.suppress(OSError):
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize < SHARED_MEMORY_BYTES
    return False
