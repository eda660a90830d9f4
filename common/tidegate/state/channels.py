"""Channels and their counters: on the low side the next number to give, on the high side the highest one seen."""

from dataclasses import dataclass

from tidegate import clock
from tidegate.errors import StateError
from tidegate.state.db import Transaction


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel. A new epoch of its root resets the counters."""

    channel_id: str
    name: str
    epoch: int = 1
    #: low side: the number that the next bundle gets
    next_sequence: int = 1
    #: high side: the highest number taken; 0 for none
    highest_sequence: int = 0
    #: high side: numbers below are not taken any more
    floor_sequence: int = 0
    updated: int = 0


_COLUMNS = "channel_id, name, epoch, next_sequence, highest_sequence, floor_sequence, updated"


def get_channel(tx: Transaction, channel_id: str) -> ChannelRow | None:
    rows = tx.execute(f"SELECT {_COLUMNS} FROM channels WHERE channel_id = ?", (channel_id,))
    return ChannelRow(*rows[0]) if rows else None


def list_channels(tx: Transaction) -> tuple[ChannelRow, ...]:
    rows = tx.execute(f"SELECT {_COLUMNS} FROM channels ORDER BY name, channel_id")
    return tuple(ChannelRow(*row) for row in rows)


def ensure_channel(tx: Transaction, channel_id: str, name: str, epoch: int) -> ChannelRow:
    """The channel's row, made where it is missing. A newer epoch begins counting anew; an older one is an error."""
    row = get_channel(tx, channel_id)
    if row is None or row.epoch < epoch:
        row = ChannelRow(channel_id, name, epoch, updated=clock.now())
        put_channel(tx, row)
    if row.epoch > epoch:
        raise StateError(f"channel {name}: is in epoch {row.epoch}, and epoch {epoch} was asked for")
    return row


def put_channel(tx: Transaction, row: ChannelRow) -> None:
    tx.execute(
        f"INSERT OR REPLACE INTO channels ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            row.channel_id,
            row.name,
            row.epoch,
            row.next_sequence,
            row.highest_sequence,
            row.floor_sequence,
            row.updated,
        ),
    )


def take_sequence(tx: Transaction, channel_id: str) -> int:
    """Low side: the number for a new bundle; the one after it is next."""
    row = _known(tx, channel_id)
    tx.execute(
        "UPDATE channels SET next_sequence = ?, updated = ? WHERE channel_id = ?",
        (row.next_sequence + 1, clock.now(), channel_id),
    )
    return row.next_sequence


def note_sequence(tx: Transaction, channel_id: str, sequence: int) -> int:
    """High side: a bundle of this number was taken; the highest one by now."""
    highest = max(_known(tx, channel_id).highest_sequence, sequence)
    tx.execute(
        "UPDATE channels SET highest_sequence = ?, updated = ? WHERE channel_id = ?",
        (highest, clock.now(), channel_id),
    )
    return highest


def _known(tx: Transaction, channel_id: str) -> ChannelRow:
    row = get_channel(tx, channel_id)
    if row is None:
        raise StateError(f"channel {channel_id[:16]}: is not in the state")
    return row
