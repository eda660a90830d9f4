"""Which list asked for what: a list for each purpose, all on one channel.

A bundle's row keeps, for each list that it was packed from, the names that this list asked for. So a list is held
against itself: what it does not name any more left it, and what another list carries did not. A list goes by its
``name:``, else by its file; what stood on the command line goes by `COMMAND_LINE`.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from tidegate.state.bundles import BundleRow, BundleState, list_bundles

if TYPE_CHECKING:
    from tidegate.workspace import Workspace
    from tidegate_sender.packing.content import Content
    from tidegate_sender.packing.place import Place

COMMAND_LINE = ""
#: of a row's detail
LISTS_KEY = "lists"

#: names of artifacts by the list that asked for them
Lists = Mapping[str, Iterable[str]]


class Asked(Protocol):
    """An artifact; one that some list asked for has `listed` too, the lists that did."""

    @property
    def name(self) -> str: ...


def asked_by(wanted: Iterable[Asked]) -> dict[str, list[str]]:
    """The names by the lists that asked for them."""
    found: dict[str, list[str]] = {}
    for item in wanted:
        for name in getattr(item, "listed", ()) or (COMMAND_LINE,):
            found.setdefault(name, []).append(item.name)
    return found


def lists_of(row: BundleRow) -> dict[str, list[str]]:
    """What the lists of a bundle asked for. Of a row that does not tell: as if all of it stood on a command line."""
    kept = row.detail.get(LISTS_KEY)
    return kept if isinstance(kept, dict) else {COMMAND_LINE: [str(item["name"]) for item in row.artifacts]}


def newest_of(
    workspace: "Workspace", place: "Place", lists: Iterable[str], content: "Content | None" = None
) -> BundleRow | None:
    """The newest bundle of just these lists, unless a later one of others set a name of `content` anew."""
    wanted = set(lists)
    with workspace.state.reading() as tx:
        rows = list_bundles(tx, channel_id=place.channel_id, states=(BundleState.PACKED, BundleState.SENT))
    names = content.names if content is not None else {}
    for row in reversed([row for row in rows if row.detail.get("epoch") == place.epoch]):
        if set(lists_of(row)) == wanted:
            return row
        if any(names.get(str(item["name"]), item["digest"]) != item["digest"] for item in row.artifacts):
            return None
    return None
