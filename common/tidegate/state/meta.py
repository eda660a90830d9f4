"""Single values of the state, and the trusted floor of time.

The high side has no network time. The *floor* is a time that is certainly over: it rises with signed times of creation
and with a clock that is marked good, never by more than seven days at a step, so that no wrong clock, ours or theirs,
can stop everything for good. Times are seconds since 1970.
"""

from dataclasses import dataclass

from tidegate.errors import StateError
from tidegate.state.db import Transaction

FLOOR_STEP_SECONDS = 7 * 24 * 3600  # trust-and-ledger: seven days
_FLOOR = "time.floor"


@dataclass(frozen=True, slots=True)
class FloorChange:
    """The floor before and after; `is_capped` where the time given lay further ahead than one step."""

    before: int | None
    after: int
    is_capped: bool


def get_meta(tx: Transaction, key: str) -> str | None:
    rows = tx.execute("SELECT value FROM meta WHERE key = ?", (key,))
    return rows[0][0] if rows else None


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


def known_time(tx: Transaction, good_clock: int | None) -> int | None:
    """What expiry is judged by: the later of floor and clock. `good_clock` is None where the clock does not count."""
    times = [time for time in (floor(tx), good_clock) if time is not None]
    return max(times) if times else None


def is_ahead(tx: Transaction, created: int, good_clock: int | None) -> bool:
    """Whether a time of creation lies more than one step beyond what is known. Nothing is ahead of nothing."""
    known = known_time(tx, good_clock)
    return known is not None and created > known + FLOOR_STEP_SECONDS


def raise_floor(tx: Transaction, *, created: int | None = None, good_clock: int | None = None) -> FloorChange:
    """Raise the floor to the later of the two, by one step at most; the first time that is known sets it.

    `created` is signed and verified, `good_clock` the own clock where it counts. The floor never falls.
    """
    given = max(time for time in (created, good_clock, floor(tx)) if time is not None)
    before = floor(tx)
    after = given if before is None else min(given, before + FLOOR_STEP_SECONDS)
    if after != before:
        set_meta(tx, _FLOOR, str(after))
    return FloorChange(before, after, is_capped=given > after)
