"""What the low side needs no more: files of bundles that arrived, leftovers, collected content that no name reaches.

    bundles: confirmed by every site, or sent and old ─► papers kept ─► row and entry, one transaction ─► file
    depot: what neither a name nor a bundle that waits reaches, and is old ─► entry ─► blobs

Manifest and tables of a bundle stay when its file goes (`papers/<bundle_id>/`): what it carried is the base of later
bundles, and what rides again is counted by it. What waits to be sent is never removed here: `discard` does that.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.bundle.container import COVER, HEAD
from tidegate.bundle.papers import COVER_FILE, MANIFEST_FILE, PAPERS_ROOT, TABLES_FILE
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot, Garbage
from tidegate.errors import BusyError, LedgerError, TidegateError
from tidegate.files import host_error, locked, make_folders, write_durably
from tidegate.lookup import FoundBundle, bundle_path
from tidegate.retention import Cleanup, Goes, Kind, Limits, Stays, changed_at, clean_depot, file_bytes, removal_entry
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, list_bundles, put_bundle
from tidegate.text import printable
from tidegate_sender.packing.pack import PART_PREFIX
from tidegate_sender.packing.records import LOCK_FILE
from tidegate_sender.riding import COVER_ENDING, open_carried
from tidegate_sender.sets.state import find_set
from tidegate_sender.slips.memory import held_by_all

if TYPE_CHECKING:
    from tidegate.state.db import Transaction
    from tidegate.workspace import Workspace

_BUSY = "a pack is at work on this root"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """On one bundle's file: it may go, or why it stays."""

    may_go: bool
    why: str


def clean(workspace: "Workspace", limits: Limits, remove: bool) -> Cleanup:
    """Look, and with `remove` remove what may go. Raises BusyError while a pack is at work."""
    if not remove:
        return _clean_bundles(workspace, limits, remove=False) + _clean_depot(workspace, limits, remove=False)
    with locked(workspace.folder("spool") / LOCK_FILE, busy=_BUSY):
        return _clean_bundles(workspace, limits, remove=True) + _clean_depot(workspace, limits, remove=True)


# --- bundles ----------------------------------------------------------------------------------


def _clean_bundles(workspace: "Workspace", limits: Limits, *, remove: bool) -> Cleanup:
    with workspace.state.reading() as tx:
        rows = list_bundles(tx)
        judged = [(row, _judge(tx, row, limits)) for row in rows]
    goes: list[Goes] = []
    stays: list[Stays] = []
    named: set[Path] = set()
    for row, verdict in judged:
        path = bundle_path(workspace, row)
        if path is None or not path.is_file():
            continue
        named.add(path)
        size = file_bytes(path)
        if not verdict.may_go:
            stays.append(Stays(row.name, verdict.why, size))
            continue
        item = Goes(Kind.BUNDLE_FILE, row.name, verdict.why, size, limits.days_since(row.updated), row.bundle_id)
        try:
            if remove:
                _remove_bundle(workspace, row, path, item, limits)
        except LedgerError:
            raise  # what cannot be recorded does not happen
        except TidegateError as error:
            stays.append(Stays(row.name, f"could not be removed: {printable(error.message, 200)}", size))
        else:
            goes.append(item)
    for path in _leftovers(workspace.root / "spool", named):
        item = _leftover(path, limits)
        if remove:  # under the lock: no pack is at work on it
            _remove_leftover(workspace, path, item)
        elif not item.age_days:
            continue
        goes.append(item)
    return Cleanup(tuple(goes), tuple(stays))


def _judge(tx: "Transaction", row: BundleRow, limits: Limits) -> _Verdict:
    if row.state is BundleState.PACKED:
        return _Verdict(False, f'not sent; "tidegate discard {row.name}" gives its number back')
    if row.state is not BundleState.SENT:
        return _Verdict(True, f"it is {row.state}")
    progress = find_set(tx, row.bundle_id)
    if progress is not None and progress.is_running:
        return _Verdict(False, "a set of it is being written")
    sites = tuple(map(str, row.detail.get("audience", ())))
    confirmed = held_by_all(tx, row.channel_id, int(row.detail.get("epoch", 1)), sites)
    if row.sequence in confirmed:
        return _Verdict(True, f"slips of {', '.join(sites)} confirm it")
    days = limits.days_since(row.updated)
    if limits.is_over(row.updated):
        return _Verdict(True, f"sent, and not confirmed for {days} days: it cannot be sent again then")
    left = limits.keep_days - days
    return _Verdict(False, f"sent, not confirmed: kept for a resend, {left} more {'day' if left == 1 else 'days'}")


def _remove_bundle(workspace: "Workspace", row: BundleRow, path: Path, item: Goes, limits: Limits) -> None:
    """Papers first, then what the state and the ledger say, then the file: killed in between, it is a leftover."""
    keep_papers(workspace, row, path)
    with workspace.state.transaction() as tx:
        current = get_bundle(tx, row.bundle_id)
        if current != row:
            raise BusyError(f"bundle {row.name}: was changed meanwhile")
        put_bundle(tx, replace(row, path=None, detail={**row.detail, "cleaned": limits.now}))
        tx.queue(removal_entry(item, row))
    _unlink(path)
    _unlink(path.with_suffix(COVER_ENDING))  # what rode with its last copy


def keep_papers(workspace: "Workspace", row: BundleRow, path: Path) -> None:
    """Put manifest, tables and cover of the bundle file at `path` beside; once there they are left as they are."""
    folder = workspace.root / PAPERS_ROOT / row.bundle_id
    with open_carried(FoundBundle(row.bundle_id, row, path)) as bundle:
        manifest = bundle.manifest_bytes()
        tables = bundle.read_part(HEAD)[len(manifest) :]
        bundle.tables()  # what does not pass its checks now would be no base later
        cover = bundle.read_part(COVER)
    try:
        make_folders(folder)
        # The manifest last: papers that have one are whole.
        for name, data in ((COVER_FILE, cover), (TABLES_FILE, tables), (MANIFEST_FILE, manifest)):
            if not (folder / name).is_file():
                write_durably(folder / name, data)
    except OSError as error:
        raise host_error(error, "keeping a bundle's papers") from None


def _leftovers(spool: Path, named: set[Path]) -> Iterator[Path]:
    """Parts of killed packs, bundle files that no row names, and covers without a bundle."""
    if not spool.is_dir():
        return
    for path in sorted(spool.iterdir()):
        is_cover = path.suffix == COVER_ENDING and path.with_suffix(".tgb") not in named
        if path.name.startswith(PART_PREFIX) or (path.suffix == ".tgb" and path not in named) or is_cover:
            yield path


def _leftover(path: Path, limits: Limits) -> Goes:
    return Goes(
        Kind.LEFTOVER,
        f"spool/{path.name}",
        "no bundle is there by this file: a command that was killed left it",
        file_bytes(path),
        limits.days_since(changed_at(path)),
    )


def _remove_leftover(workspace: "Workspace", path: Path, item: Goes) -> None:
    with workspace.state.transaction() as tx:
        tx.queue(removal_entry(item))
    _unlink(path)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise host_error(error, f"removing {path}") from None


# --- collected content ------------------------------------------------------------------------


def _clean_depot(workspace: "Workspace", limits: Limits, *, remove: bool) -> Cleanup:
    """Blobs that no name of the depot reaches, and no bundle that may have to be packed again."""

    def clean(depot: Depot) -> Cleanup:
        if not remove:
            return _depot_garbage(workspace, depot, limits)[0]
        with depot.alone():
            found, garbage = _depot_garbage(workspace, depot, limits)
            if found.goes:
                with workspace.state.transaction() as tx:
                    tx.queue(removal_entry(found.goes[0], counts={"blobs": len(garbage.blobs)}))
                depot.remove_garbage(garbage)
            return found

    return clean_depot(workspace, clean)


def _depot_garbage(workspace: "Workspace", depot: Depot, limits: Limits) -> tuple[Cleanup, Garbage]:
    found = depot.garbage(_roots_in_use(workspace, depot))
    old, sizes, ages = [], 0, []
    young = young_size = 0
    for digest in found.blobs:
        path = depot.blob_path(digest)
        if limits.is_over(changed_at(path)):
            old.append(digest)
            sizes += file_bytes(path)
            ages.append(limits.days_since(changed_at(path)))
        else:
            young, young_size = young + 1, young_size + file_bytes(path)
    garbage = Garbage(found.temporaries, tuple(old), sizes)
    goes: tuple[Goes, ...] = ()
    stays: tuple[Stays, ...] = ()
    if old or found.temporaries:
        why = f"{len(old)} blobs that no collected name reaches any more"
        if found.temporaries:
            why += f", and what {len(found.temporaries)} killed commands left"
        goes = (Goes(Kind.DEPOT, "depot", why, sizes, max(ages, default=0)),)
    if young:
        why = f"{young} blobs that no collected name reaches, not {limits.keep_days} days old"
        stays = (Stays("depot", why, young_size),)
    return Cleanup(goes, stays), garbage


def _roots_in_use(workspace: "Workspace", depot: Depot) -> Iterator[Descriptor]:
    """Artifacts of bundles whose content may have to be packed again, as far as they are whole here."""
    with workspace.state.reading() as tx:
        rows = list_bundles(tx, states=(BundleState.PACKED, BundleState.SENT))
    for row in rows:
        if row.state is BundleState.SENT and row.path is None:
            continue
        for item in row.artifacts:
            root = Descriptor(str(item["media_type"]), str(item["digest"]), int(item["size"]))
            with contextlib.suppress(TidegateError):
                if depot.has(root.digest, root.size) and _is_whole(depot, root):
                    yield root


def _is_whole(depot: Depot, root: Descriptor) -> bool:
    from tidegate.depot.graph import walk

    return not depot.missing(walk(depot, root))
