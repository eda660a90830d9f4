"""Single values of the state, and the trusted floor of time.

The high side has no network time. The *floor* is a time that is certainly over: it rises with signed times of creation
and with a clock that is marked good, never by more than seven days at a step, so that no wrong clock, ours or theirs,
can stop everything for good. Where it begins: decision 0016. Times are seconds since 1970.
"""

from dataclasses import dataclass

from tidegate.errors import StateError
from tidegate.state.db import Transaction

FLOOR_STEP_SECONDS = 7 * 24 * 3600  # trust-and-ledger: seven days
_FLOOR = "time.floor"


@dataclass(frozen=True, slots=True)
class FloorChange:
    """The floor before and after; `is_capped` where the time given lay further ahead than one step."""

    before: int
    after: int
    is_capped: bool


def get_meta(tx: Transaction, key: str) -> str | None:
    rows = tx.execute("SELECT value FROM meta WHERE key = ?", (key,))
    return rows[0][0] if rows else None


def list_meta(tx: Transaction, prefix: str) -> tuple[tuple[str, str], ...]:
    """(key, value) of all whose key begins with `prefix`, by key."""
    rows = tx.execute("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix))
    return tuple((row[0], row[1]) for row in rows)


def set_meta(tx: Transaction, key: str, value: str) -> None:
    tx.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def delete_meta(tx: Transaction, key: str) -> None:
    tx.execute("DELETE FROM meta WHERE key = ?", (key,))


def floor(tx: Transaction) -> int | None:
    """The trusted floor; None before anything has set it."""
    text = get_meta(tx, _FLOOR)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise StateError(f"the floor of time is {text!r}, not a number") from None


def raise_floor(
    tx: Transaction, *, start: int, created: int | None = None, good_clock: int | None = None
) -> FloorChange:
    """Raise the floor to the later of the two, by one step at most; `start` is where it stands before the first.

    `created` is signed and verified, `good_clock` the own clock where it counts. The floor never falls here.
    """
    known = floor(tx)
    before = start if known is None else known
    given = max(time for time in (created, good_clock, before) if time is not None)
    after = min(given, before + FLOOR_STEP_SECONDS)
    if after != known:
        set_floor(tx, after)
    return FloorChange(before, after, is_capped=given > after)


def set_floor(tx: Transaction, seconds: int) -> None:
    """Put the floor where people said that it stands; everything else goes through `raise_floor`."""
    set_meta(tx, _FLOOR, str(seconds))
