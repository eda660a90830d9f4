"""The outbox: entries that are committed with their change of state and wait for the ledger, in the order of commits.

Rows stay after they are recorded, without the entry's bytes: they count the attempts of a step, and lead from an event
to its number in the ledger. Also here: the newest checkpoint that the state remembers. Written by
`Transaction.queue` and by the recorder (ledger/recorder.py), which leaves no row out and keeps their order.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.state.db import Transaction
from tidegate.state.meta import get_meta, set_meta

_CHECKPOINT = "ledger.checkpoint"


@dataclass(frozen=True, slots=True)
class WaitingEntry:
    """An entry that the ledger does not hold yet."""

    id: int
    event_id: str
    data: bytes


def count_waiting(tx: Transaction) -> int:
    ((count,),) = tx.execute("SELECT count(*) FROM outbox WHERE ledger_index IS NULL")
    return int(count)


def waiting_entries(tx: Transaction, *, limit: int, limit_bytes: int) -> tuple[WaitingEntry, ...]:
    """The oldest waiting entries: at most `limit`, about `limit_bytes` together, and at least one if there are any."""
    rows = tx.execute("SELECT id, length(entry) FROM outbox WHERE ledger_index IS NULL ORDER BY id LIMIT ?", (limit,))
    last, total = 0, 0
    for row_id, length in rows:
        total += length
        if last and total > limit_bytes:
            break
        last = row_id
    rows = tx.execute(
        "SELECT id, event_id, entry FROM outbox WHERE ledger_index IS NULL AND id <= ? ORDER BY id", (last,)
    )
    return tuple(WaitingEntry(*row) for row in rows)


def mark_recorded(tx: Transaction, numbers: Iterable[tuple[int, int]]) -> None:
    """Mark rows as recorded; `numbers` are pairs of a row's id and its entry's number in the ledger."""
    for row_id, number in numbers:
        tx.execute("UPDATE outbox SET ledger_index = ?, entry = NULL WHERE id = ?", (number, row_id))


def adopt_recorded(tx: Transaction, event_id: str, number: int) -> None:
    """Know an entry of the ledger that this state does not: it was put back to a time before. Attempts count on."""
    step_key, _, attempt = event_id.rpartition("/")
    tx.execute(
        "INSERT INTO outbox (event_id, step_key, attempt, entry, queued_at, ledger_index) VALUES (?, ?, ?, NULL, 0, ?)"
        " ON CONFLICT (event_id) DO UPDATE SET ledger_index = excluded.ledger_index, entry = NULL",
        (event_id, step_key, int(attempt), number),
    )


def number_of_event(tx: Transaction, event_id: str) -> int | None:
    """The number of an event's entry in the ledger; None where it waits or is not known."""
    rows = tx.execute("SELECT ledger_index FROM outbox WHERE event_id = ?", (event_id,))
    return rows[0][0] if rows else None


def remember_checkpoint(tx: Transaction, note: bytes) -> None:
    set_meta(tx, _CHECKPOINT, note.decode("utf-8"))


def remembered_checkpoint(tx: Transaction) -> bytes | None:
    """The newest checkpoint of the own ledger that a drain has finished with, as the signed note it was."""
    text = get_meta(tx, _CHECKPOINT)
    return None if text is None else text.encode("utf-8")
