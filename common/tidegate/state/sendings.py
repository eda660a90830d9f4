"""What goes over a link, and what went: one row for each bundle and link. The low side's queue and its memory in one.

A row is WAITING until its first whole sending is over and SENT from then on; to send it again is to let it wait again.
That it arrived stands nowhere here: no link can say so.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from tidegate import clock
from tidegate.errors import StateError
from tidegate.state.db import Transaction


class SendingState(StrEnum):
    """Where a sending stands."""

    WAITING = "waiting"
    HELD = "held"
    SENT = "sent"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Priority(IntEnum):
    """What goes first."""

    URGENT = 0
    NORMAL = 1
    BULK = 2


@dataclass(frozen=True, slots=True)
class Sending:
    """One bundle on one link. Times are seconds since 1970.

    `pieces` are ranges [from, to) of the bundle's chunks that are wanted, none for all. `passes` counts whole sendings,
    which tells the next one with which symbols to begin.
    """

    bundle_id: str
    link: str
    state: SendingState = SendingState.WAITING
    priority: Priority = Priority.NORMAL
    place: int = 0
    pieces: tuple[tuple[int, int], ...] = ()
    passes: int = 0
    queued: int = 0
    sent: int | None = None
    last: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


_COLUMNS = "bundle_id, link, state, priority, place, pieces, passes, queued, sent, last, detail"


def put_sending(tx: Transaction, sending: Sending) -> None:
    """Write the row, in place of the one of the same bundle and link."""
    tx.execute(
        f"INSERT OR REPLACE INTO sendings ({_COLUMNS}) VALUES ({', '.join('?' * 11)})",
        (
            sending.bundle_id,
            sending.link,
            sending.state,
            int(sending.priority),
            sending.place,
            json.dumps(sending.pieces),
            sending.passes,
            sending.queued or clock.now(),
            sending.sent,
            sending.last,
            json.dumps(sending.detail),
        ),
    )


def get_sending(tx: Transaction, bundle_id: str, link: str) -> Sending | None:
    rows = _select(tx, "WHERE bundle_id = ? AND link = ?", (bundle_id, link))
    return rows[0] if rows else None


def list_sendings(
    tx: Transaction, *, link: str | None = None, states: Iterable[SendingState] = ()
) -> tuple[Sending, ...]:
    """Sendings in the order in which they go: by priority, then place; of one link or all, in `states` or any."""
    wanted = tuple(states)
    rows = _select(tx, "WHERE ? IS NULL OR link = ?", (link, link))
    return tuple(row for row in rows if not wanted or row.state in wanted)


def next_waiting(tx: Transaction, link: str) -> Sending | None:
    """What goes first of that which waits for a link."""
    rows = _select(tx, "WHERE link = ? AND state = ?", (link, SendingState.WAITING), limit=1)
    return rows[0] if rows else None


def highest_sequence(tx: Transaction, link: str, channel_id: str, epoch: int) -> int:
    """The highest number of one epoch of a channel that went over a link whole; 0 for none."""
    ((highest,),) = tx.execute(
        "SELECT max(bundles.sequence) FROM sendings JOIN bundles USING (bundle_id) WHERE link = ? AND sent IS NOT NULL"
        " AND channel_id = ? AND coalesce(json_extract(bundles.detail, '$.epoch'), 1) = ?",
        (link, channel_id, epoch),
    )
    return highest or 0


def next_place(tx: Transaction) -> int:
    """A place behind all others."""
    ((highest,),) = tx.execute("SELECT max(place) FROM sendings")
    return (highest or 0) + 1


def first_place(tx: Transaction) -> int:
    """A place before all others."""
    ((lowest,),) = tx.execute("SELECT min(place) FROM sendings")
    return (lowest or 0) - 1


def links_of(tx: Transaction, bundle_id: str) -> tuple[str, ...]:
    """The links over which the bundle was sent at least once, whole."""
    rows = tx.execute("SELECT link FROM sendings WHERE bundle_id = ? AND sent IS NOT NULL ORDER BY link", (bundle_id,))
    return tuple(row[0] for row in rows)


def _select(tx: Transaction, where: str, values: tuple[str | None, ...], *, limit: int = -1) -> tuple[Sending, ...]:
    order = "ORDER BY priority, place, bundle_id"
    rows = tx.execute(f"SELECT {_COLUMNS} FROM sendings {where} {order} LIMIT {limit}", values)
    return tuple(_from_columns(row) for row in rows)


def _from_columns(columns: tuple[Any, ...]) -> Sending:
    bundle_id, link, state, priority, place, pieces, passes, queued, sent, last, detail = columns
    try:
        return Sending(
            bundle_id,
            link,
            SendingState(state),
            Priority(priority),
            place,
            tuple((int(first), int(end)) for first, end in json.loads(pieces)),
            passes,
            queued,
            sent,
            last,
            json.loads(detail),
        )
    except (ValueError, TypeError) as error:
        raise StateError(f"sending of {bundle_id[:16]}: its row contradicts itself: {error}") from None
