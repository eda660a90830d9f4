"""Names that left the list: listed in the manifest, never implied.

What a bundle does not name is not gone; what it lists as *removed* the low side no longer carries. The high side says
so and removes nothing. A bundle that told of it may be lost, so that everything since the last bundle that all sites
confirmed is told again. Where something that was asked for could not be had nobody knows what left the list: then
nothing is listed, and the names are kept for the next bundle (`untold`).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tidegate.state.bundles import BundleState, list_bundles
from tidegate_sender.slips.memory import held_by_all

if TYPE_CHECKING:
    from tidegate.workspace import Workspace
    from tidegate_sender.packing.records import Place


def removed_names(
    workspace: "Workspace", place: "Place", sites: Iterable[str], names: Iterable[str]
) -> tuple[str, ...]:
    """The names of earlier bundles that `names`, those of the next one, lack; sorted.

    Asked are the bundle before, all that `sites` have not confirmed since, and the newest one that they have.
    """
    with workspace.state.reading() as tx:
        living = list_bundles(tx, channel_id=place.channel_id, states=(BundleState.PACKED, BundleState.SENT))
        confirmed = held_by_all(tx, place.channel_id, place.epoch, sites)
    earlier = [row for row in living if row.detail.get("epoch") == place.epoch and row.sequence < place.sequence]
    carried: set[str] = set()
    for row in reversed(earlier):
        carried.update(str(item["name"]) for item in row.artifacts)
        carried.update(map(str, row.detail.get("untold", ())))
        if row.sequence in confirmed:
            break
        carried.update(map(str, row.detail.get("removed", ())))
    return tuple(sorted(carried.difference(names), key=str.encode))
