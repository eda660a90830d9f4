"""Which bundle last set each name of a channel. No name moves back: bundles overtake, and sticks lie in bags."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tidegate.errors import ForkError
from tidegate.state.db import Transaction


class NameOutcome(StrEnum):
    """What became of a name that a bundle sets."""

    MOVED = "moved"  # it is new, or an older bundle had set it
    KEPT = "kept"  # a newer bundle has set it: this one came late
    SAME = "same"  # this bundle has set it already


@dataclass(frozen=True, slots=True)
class NameRow:
    """A name, and the bundle's sequence that last set it to `digest`."""

    channel_id: str
    name: str
    sequence: int
    digest: str


_COLUMNS = "channel_id, name, sequence, digest"


def get_name(tx: Transaction, channel_id: str, name: str) -> NameRow | None:
    rows = tx.execute(f"SELECT {_COLUMNS} FROM names WHERE channel_id = ? AND name = ?", (channel_id, name))
    return NameRow(*rows[0]) if rows else None


def list_names(tx: Transaction, channel_id: str) -> tuple[NameRow, ...]:
    """All names of a channel, by name."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM names WHERE channel_id = ? ORDER BY name", (channel_id,))
    return tuple(NameRow(*row) for row in rows)


def judge_name(tx: Transaction, channel_id: str, name: str, sequence: int, digest: str) -> NameOutcome:
    """What `set_name_if_newer` would do; changes nothing."""
    row = get_name(tx, channel_id, name)
    if row is None or row.sequence < sequence:
        return NameOutcome.MOVED
    if row.sequence > sequence:
        return NameOutcome.KEPT
    if row.digest != digest:
        raise ForkError(
            f"{name}: bundle {sequence} of channel {channel_id[:8]} sets it to {row.digest} and to {digest}"
        )
    return NameOutcome.SAME


def set_name_if_newer(tx: Transaction, channel_id: str, name: str, sequence: int, digest: str) -> NameOutcome:
    """High side: let bundle `sequence` set `name`, unless a newer one has.

    Raises ForkError where a bundle of the same number has set it to something else.
    """
    outcome = judge_name(tx, channel_id, name, sequence, digest)
    if outcome is NameOutcome.MOVED:
        _put(tx, channel_id, name, sequence, digest)
    return outcome


def begin_epoch(tx: Transaction, channel_id: str) -> None:
    """High side: the channel counts anew, so any of its bundles may set every name; what they point to stays."""
    tx.execute("UPDATE names SET sequence = 0 WHERE channel_id = ?", (channel_id,))


def set_names(tx: Transaction, channel_id: str, sequence: int, digests: Mapping[str, str]) -> None:
    """Low side: what the newest bundle sets, whatever stood there (a bundle packed again keeps its number)."""
    for name, digest in digests.items():
        _put(tx, channel_id, name, sequence, digest)


def _put(tx: Transaction, channel_id: str, name: str, sequence: int, digest: str) -> None:
    tx.execute(
        f"INSERT INTO names ({_COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT (channel_id, name)"
        " DO UPDATE SET sequence = excluded.sequence, digest = excluded.digest",
        (channel_id, name, sequence, digest),
    )
