"""What ``load --direct`` brought, and no run asked for lately: a store of its own, from which nothing is served.

It only spares the next run bringing the same again. So a name goes when its last load is old, and with the names what
they alone reach; what a killed run left goes after a day.
"""

import contextlib
from typing import TYPE_CHECKING

from tidegate.depot.graph import walk
from tidegate.depot.store import Depot, Garbage
from tidegate.errors import LedgerError, TidegateError
from tidegate.retention import NOTHING, Cleanup, Goes, Kind, Limits, Stays, changed_at, file_bytes, removal_entry
from tidegate.state.placements import list_placements, list_targets
from tidegate.text import printable
from tidegate_receiver.promotion.direct import CHANNEL, FOLDER

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

#: a run that was killed goes on with what it had brought
UNNAMED_DAYS = 1


def clean_direct(workspace: "Workspace", limits: Limits, *, remove: bool) -> Cleanup:
    """The caller holds the lock of loading when `remove` is set: no direct run is under way."""
    folder = workspace.root / FOLDER
    if not (folder / "index.json").is_file():
        return NOTHING
    depot = Depot(folder, create=False)
    try:
        with depot.alone() if remove else contextlib.nullcontext():
            return _clean(workspace, depot, limits, remove=remove)
    except LedgerError:
        raise  # what cannot be recorded does not happen
    except TidegateError as error:
        why = f"{printable(error.message, 200)}; the folder may be removed when no direct load runs"
        return Cleanup((), (Stays(FOLDER, why, 0),))


def _clean(workspace: "Workspace", depot: Depot, limits: Limits, *, remove: bool) -> Cleanup:
    references, loaded = depot.references(), _last_loads(workspace)
    otherwise = changed_at(depot.folder / "index.json")  # brought, and not loaded: the load failed
    ages = {name: limits.days_since(loaded.get(name, otherwise)) for name in references}
    old = [name for name in references if limits.is_over(loaded.get(name, otherwise))]
    kept = {blob.digest for name, root in references.items() if name not in old for blob in walk(depot, root)}
    named = {blob.digest for name in old for blob in walk(depot, references[name])}
    least = min(UNNAMED_DAYS, limits.keep_days)
    rest = [
        digest
        for digest in depot.digests()
        if digest not in kept and (digest in named or limits.is_over(changed_at(depot.blob_path(digest)), least))
    ]
    size = sum(file_bytes(depot.blob_path(digest)) for digest in rest)
    garbage = Garbage(depot.abandoned(), tuple(rest), size)
    kept_size = sum(file_bytes(depot.blob_path(digest)) for digest in kept)
    stays = (Stays(FOLDER, "a direct load brought it: the next one need not", kept_size),) if kept else ()
    if not old and not rest and not garbage.temporaries:
        return Cleanup((), stays)
    why = f"{len(old)} names that no direct load asked for since, and {len(rest)} blobs"
    item = Goes(Kind.DIRECT, FOLDER, why, size, max((ages[name] for name in old), default=0))
    if remove:
        with workspace.state.transaction() as tx:
            tx.queue(removal_entry(item, names=tuple(old), counts={"blobs": len(rest)}))
        depot.set_references(dict.fromkeys(old))
        depot.remove_garbage(garbage)
    return Cleanup((item,), stays)


def _last_loads(workspace: "Workspace") -> dict[str, int]:
    """When each name was last put anywhere by a direct load."""
    found: dict[str, int] = {}
    with workspace.state.reading() as tx:
        for target in list_targets(tx):
            for row in list_placements(tx, target):
                if row.channel_id == CHANNEL:
                    found[row.name] = max(found.get(row.name, 0), row.loaded)
    return found
