"""The base that return slips confirmed: content of the bundles that every site of the audience is known to hold.

Sticks get lost, so what was sent and not confirmed rides again, and is counted, so that `pack` and `plan` can say how
much that is. A bundle that was voided or withdrawn confirms nothing.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.bundle.digests import column_of
from tidegate.bundle.tables import keys
from tidegate.depot.descriptors import Descriptor
from tidegate.errors import RidesAgainError, TidegateError
from tidegate.slip.numbers import NO_NUMBERS, Numbers
from tidegate.state.bundles import BundleRow
from tidegate.units import format_bytes
from tidegate_sender.packing.base import NO_BASE, Base, Piece, as_required, read_tables
from tidegate_sender.packing.streamed import streamed_numbers
from tidegate_sender.slips.memory import held_by_all
from tidegate_sender.slips.reading import sent_bundles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.config import Settings
    from tidegate.workspace import Workspace
    from tidegate_sender.packing.place import Place


@dataclass(frozen=True, slots=True)
class Riding:
    """Blobs of a new bundle that an earlier one carried, too, which nobody has confirmed. `size` in bytes."""

    count: int = 0
    size: int = 0
    #: the numbers of those bundles
    sequences: Numbers = NO_NUMBERS

    @property
    def words(self) -> str:
        """How much, and why: for the sentence of a report."""
        which = self.sequences.words()
        was = "was" if len(self.sequences) == 1 else "were"
        return f"{format_bytes(self.size)} ride again: {which} {was} sent, and no slip of every site confirms it"


def confirmed_base(workspace: "Workspace", place: "Place", sites: Collection[str]) -> Base:
    """What all of `sites` hold, as far as slips say so, or links are trusted to bring.

    A bundle whose file is gone adds what later ones tell of it.
    """
    with workspace.state.reading() as tx:
        confirmed = held_by_all(tx, place.channel_id, place.epoch, sites)
        sent = sent_bundles(tx, place.channel_id, place.epoch)
    known = {*confirmed, *streamed_numbers(workspace, place, sites, sent)}
    held = {number for number in known if _counts(sent.get(number)) and number < place.sequence}
    if not held:
        return NO_BASE
    pieces: list[Piece] = []
    for number in sorted(held, reverse=True):  # what a later one says stands in place of what an earlier one said
        _add(pieces, workspace, sent[number], held)
    return Base.of(pieces)


def riding_again(workspace: "Workspace", place: "Place", brought: Iterable[Descriptor]) -> Riding:
    """What of `brought` a bundle that was sent carried already."""
    with workspace.state.reading() as tx:
        sent = sent_bundles(tx, place.channel_id, place.epoch)
    wanted = tuple(brought)
    column = column_of([blob.digest for blob in wanted])
    is_again = np.zeros(len(wanted), np.bool_)
    numbers = set()
    for row in sent.values():
        if _counts(row) and row.sequence < place.sequence:
            found = np.isin(column, _carried(workspace, row))
            is_again |= found
            numbers |= {row.sequence} if found.any() else set()
    sizes = np.fromiter((blob.size for blob in wanted), np.uint64, len(wanted))[is_again]
    return Riding(len(sizes), int(sizes.sum()), Numbers.of(numbers))


def check_riding(settings: "Settings", name: str, again: Riding, limit: int | None) -> None:
    """Refuse a bundle that repeats more than was agreed to; `limit` in place of the setting.

    Raises RidesAgainError. Nobody is asked: whoever wants it all the same says so by an option.
    """
    limit = settings.again_max_bytes if limit is None else limit
    if limit and again.size > limit:
        raise RidesAgainError(f"bundle {name}: {again.words}; the limit is {format_bytes(limit)}")


def _counts(row: BundleRow | None) -> bool:
    return row is not None and not row.detail.get("void")


def _add(pieces: list[Piece], workspace: "Workspace", row: BundleRow, held: set[int]) -> None:
    """What a held bundle carried, and what it built on, as far as the bundle that carried that is held too."""
    try:
        _, tables = read_tables(workspace, row)
    except TidegateError:
        return  # what it carried is brought again, or another bundle tells of it
    built_on = tables.required[np.isin(tables.required["sequence"], list(held))]
    pieces += [Piece(built_on, row.bundle_id), Piece(as_required(tables.blobs, row.sequence), row.bundle_id)]


def _carried(workspace: "Workspace", row: BundleRow) -> "NDArray[np.bytes_]":
    """The digests of what a bundle carried, rising."""
    try:
        _, tables = read_tables(workspace, row)
    except TidegateError:
        return np.zeros(0, "S32")
    return keys(tables.blobs)
