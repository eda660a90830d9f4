"""Names that left their list: listed in the manifest, never implied.

What a bundle does not name is not gone; what it lists as *removed* the low side no longer carries. The high side says
so and removes nothing. Each list is held against what it asked for before (`lists`), and what any list still carries is
not listed. A bundle that told of it may be lost, so that everything since the last bundle that all sites confirmed is
told again. Where something that was asked for could not be had nobody knows what left the list: then nothing is listed,
and the names are kept for the next bundle (`untold`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.state.bundles import BundleState, list_bundles
from tidegate_sender.packing.lists import LISTS_KEY, Lists, lists_of
from tidegate_sender.slips.memory import held_by_all

if TYPE_CHECKING:
    from tidegate.workspace import Workspace
    from tidegate_sender.packing.place import Place


@dataclass(frozen=True, slots=True)
class Removed:
    """The names that no list carries any more, sorted, and which of them each of the lists had before."""

    names: tuple[str, ...]
    by_list: dict[str, tuple[str, ...]]


def removed_names(workspace: "Workspace", place: "Place", sites: Iterable[str], asked: Lists) -> Removed:
    """What the lists of the next bundle no longer ask for, and what earlier bundles told; `asked` is what they do.

    A list is asked for what it carried in the bundle before, all that `sites` have not confirmed since, and the newest
    one that they have. What the newest bundle of any other list carried is still carried.
    """
    with workspace.state.reading() as tx:
        living = list_bundles(tx, channel_id=place.channel_id, states=(BundleState.PACKED, BundleState.SENT))
        confirmed = held_by_all(tx, place.channel_id, place.epoch, sites)
    earlier = [row for row in living if row.detail.get("epoch") == place.epoch and row.sequence < place.sequence]
    carried: dict[str, set[str]] = {name: set() for name in asked}
    alive = {name for names in asked.values() for name in names}
    told: set[str] = set()
    settled: set[str] = set()  # lists of which a confirmed bundle was met
    others: set[str] = set()
    claimed: set[str] = set()  # names of which it is known which list asked for them
    is_open = True
    for row in reversed(earlier):
        is_confirmed = row.sequence in confirmed
        for name, names in lists_of(row).items():
            if name not in asked:
                alive.update(() if name in others else set(names) - (set() if LISTS_KEY in row.detail else claimed))
                others.add(name)
            elif name not in settled:
                carried[name].update(names)
                settled.update((name,) if is_confirmed else ())
            claimed.update(names if LISTS_KEY in row.detail else ())
        if is_open:
            told.update(map(str, row.detail.get("untold", ())))
            told.update(() if is_confirmed else map(str, row.detail.get("removed", ())))
            is_open = not is_confirmed
    gone = told.union(*carried.values()) - alive
    by_list = {name: tuple(sorted(names & gone, key=str.encode)) for name, names in carried.items()}
    return Removed(tuple(sorted(gone, key=str.encode)), by_list)
