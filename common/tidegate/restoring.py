"""Bring a root up to date that was put back to a time before: by its ledger, and the last number that a person knows.

    ledger newer than the state (state.db alone was restored, or is lost)  ─► the state is rebuilt from its entries
    the whole root is older than the world  ─► only a person knows: the last number that was given, or taken

Until then the recorder refuses to write on a state that is older than its ledger, so no number is given twice by
mistake. What each side rebuilds plugs in by the entry-point group ``tidegate.restore``, by role. Decision 0017.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from tidegate.config import Role
from tidegate.errors import UsageError
from tidegate.ledger.entries import Entry, Event, RecordedEntry, entry
from tidegate.slip.numbers import Numbers
from tidegate.state.channels import ChannelRow, ensure_channel, get_channel, put_channel
from tidegate.state.db import Transaction
from tidegate.state.meta import get_meta, set_meta
from tidegate.state.names import begin_epoch
from tidegate.workspace import Workspace

if TYPE_CHECKING:
    from tidegate.trust.root import Chain

_LOST = "restored.lost"
#: numbers that may be lost at once: the window of the other side
LOST_MAX = 1024


@dataclass(slots=True)
class Rebuilt:
    """What rebuilding did. `highest` is the last number of the newest epoch, by channel id."""

    entries_adopted: int = 0
    bundles: int = 0
    names: int = 0
    media: int = 0
    highest: dict[str, int] | None = None


#: rebuilds one side's rows from all entries of its ledger, in one transaction
Rebuild = Callable[[Workspace, Transaction, tuple[RecordedEntry, ...], Rebuilt], None]


def restore(workspace: Workspace, reason: str, *, last: tuple[str, int, int] | None) -> Rebuilt:
    """Rebuild the state from the ledger; `last` is (channel id, epoch, number) that a person knows to be the last.

    Raises LedgerDamagedError where the ledger is older than the state, or damaged; UsageError for a number below what
    is known here already.
    """
    (point,) = entry_points(group="tidegate.restore", name=workspace.settings.role.value)
    rebuild: Rebuild = point.load()
    done = Rebuilt()

    def apply(tx: Transaction, entries: tuple[RecordedEntry, ...]) -> None:
        rebuild(workspace, tx, entries, done)
        if last is not None:
            _confirm(workspace, tx, *last)
            if workspace.settings.role is Role.LOW:  # once more, with the word that the ledger will have
                rebuild(workspace, tx, (*entries, _word(len(entries), *last)), Rebuilt())
        tx.queue(_entry(workspace, reason, done, last))

    done.entries_adopted = workspace.recorder.catch_up(apply)
    workspace.finish()
    return done


def _confirm(workspace: Workspace, tx: Transaction, channel_id: str, epoch: int, number: int) -> None:
    row = enter_epoch(tx, channel_id, workspace.settings.channel or channel_id[:16], epoch)
    is_low = workspace.settings.role is Role.LOW
    before = row.next_sequence - 1 if is_low else row.highest_sequence
    if number < before:
        raise UsageError(
            f"number {number} is said to be the last, and {before} is known here already",
            hint="ask again; a lower number would be given, or taken, twice",
        )
    if number - before > LOST_MAX:
        raise UsageError(
            f"number {number} is more than {LOST_MAX} beyond {before}, the last that is known here",
            hint='ask again; if it is right, "tidegate keys epoch" on the low side begins to count anew',
        )
    if not is_low:
        put_channel(tx, replace(row, highest_sequence=number))


def _word(place: int, channel_id: str, epoch: int, number: int) -> RecordedEntry:
    """What `confirmed_last` will find in the entry of this restore."""
    fields = {"event": Event.RESTORE, "channel": channel_id, "epoch": epoch, "sequence": number}
    return RecordedEntry(place, b"", fields)


def enter_epoch(tx: Transaction, channel_id: str, name: str, epoch: int) -> ChannelRow:
    """The channel's row in this epoch, which may have begun without a bundle of it here: then all is counted anew."""
    known = get_channel(tx, channel_id)
    if known is not None and known.epoch < epoch:
        begin_epoch(tx, channel_id)
    return known if known is not None and known.epoch >= epoch else ensure_channel(tx, channel_id, name, epoch)


def confirmed_last(item: RecordedEntry, chain: "Chain") -> int | None:
    """The last number of the newest epoch that a person gave at an earlier restore; None for any other entry."""
    fields = item.fields or {}
    about = (item.text("event"), fields.get("channel"), fields.get("epoch"))
    last = fields.get("sequence")
    is_it = about == (Event.RESTORE, chain.channel_id, chain.newest.epoch) and isinstance(last, int)
    return last if is_it else None


def lost_numbers(tx: Transaction, channel_id: str, epoch: int) -> Numbers:
    """Low side: numbers that were given before a backup was restored, and of which nothing else is known here."""
    text = get_meta(tx, f"{_LOST}:{channel_id}:{epoch}")
    return Numbers.of(json.loads(text)) if text else Numbers.of(())


def note_lost(tx: Transaction, channel_id: str, epoch: int, numbers: Iterable[int]) -> None:
    set_meta(tx, f"{_LOST}:{channel_id}:{epoch}", json.dumps(sorted(numbers)))


def _entry(workspace: Workspace, reason: str, done: Rebuilt, last: tuple[str, int, int] | None) -> Entry:
    said = f"; the last number is {last[2]}, as a person says" if last is not None else ""
    return entry(
        Event.RESTORE,
        subject=workspace.origin,
        step="restore",
        justification=reason,
        channel=last[0] if last is not None else None,
        epoch=last[1] if last is not None else None,
        sequence=last[2] if last is not None else None,
        counts={"bundles": done.bundles, "names": done.names, "media": done.media},
        detail=f"rebuilt from the ledger: {done.bundles} bundles, {done.names} names, {done.media} media{said}",
    )
