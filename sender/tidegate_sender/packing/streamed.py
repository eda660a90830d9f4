"""What went over links counts as base too: it is repeated in idle time, so it need not ride again.

A number counts when it was sent whole over as many links as the bundle has sites (a link leads to one site), its file
is still here for repeats and resends, and no site's slip says that it is missing.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tidegate.lookup import bundle_path
from tidegate.state.sendings import links_of
from tidegate_sender.slips.memory import get_confirmed

if TYPE_CHECKING:
    from tidegate.state.bundles import BundleRow
    from tidegate.workspace import Workspace
    from tidegate_sender.packing.place import Place


def streamed_numbers(
    workspace: "Workspace", place: "Place", sites: Iterable[str], sent: dict[int, "BundleRow"]
) -> set[int]:
    """The numbers of `sent` that links are trusted to bring to all of `sites`."""
    wanted = tuple(sites)
    if not wanted:
        return set()
    with workspace.state.reading() as tx:
        missing = {
            number for site in wanted for number in get_confirmed(tx, place.channel_id, place.epoch, site).missing
        }
        found = {
            number
            for number, row in sent.items()
            if number not in missing and len(links_of(tx, row.bundle_id)) >= len(wanted)
        }
    return {number for number in found if (path := bundle_path(workspace, sent[number])) and path.is_file()}
