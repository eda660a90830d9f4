"""Superseded content of the depot and the stages of the high side: who still counts on it, and in which steps it goes.

A blob stays while a name of the depot or of a stage reaches it, a bundle in quarantine builds on it, a baseline that
was given away lists it, or a bundle that slips confirm brought it: the low side counts on *all* content of such a
bundle, and cannot know that a blob of it is gone. So content goes by bundles, in two steps:

    let go: the bundle is old, and half of it or more is superseded ─► slips name it no more, its content stays
    cleaned: the first slip without it was printed `grace_days` ago ─► state `cleaned`, then the blobs that nothing
             else keeps

What is still in use of it rides again, once, with the next bundle that needs it. The papers of the bundle stay.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.baseline import FILE_MAX_BYTES, read_signed
from tidegate.bundle.tables import Records, digest_of
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot, Garbage
from tidegate.errors import BusyError
from tidegate.files import read_limited
from tidegate.retention import Cleanup, Goes, Kind, Limits, Stays, changed_at, clean_depot, file_bytes, removal_entry
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, list_bundles, put_bundle
from tidegate.units import format_bytes
from tidegate_receiver.intake.numbering import LET_GO, LET_GO_TOLD
from tidegate_receiver.intake.quarantine import QuarantinedBundle
from tidegate_receiver.inventory import own_copy

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

#: a bundle is let go when at least this share of its bytes is superseded: the rest of it rides again
SUPERSEDED_SHARE = 0.5
#: clients of a stage may be in the middle of a pull of what was superseded just now
STAGE_DAYS = 1


@dataclass(slots=True)
class _Brought:
    """A loaded bundle with the blobs that it brought and that are in the depot, by digest."""

    row: BundleRow
    blobs: dict[str, int]

    @property
    def size_bytes(self) -> int:
        return sum(self.blobs.values())


@dataclass(slots=True)
class _Depot:
    """What is in the depot, by digest, and who counts on it."""

    sizes: dict[str, int]
    #: reached by a name, needed by a bundle in quarantine, or listed by a baseline
    in_use: set[str]
    brought: list[_Brought] = field(default_factory=list)

    def superseded(self, bundle: _Brought) -> int:
        """Bytes of it that nothing but the bundle itself keeps."""
        return sum(size for digest, size in bundle.blobs.items() if digest not in self.in_use)


def clean_content(workspace: "Workspace", limits: Limits, *, remove: bool) -> Cleanup:
    """Depot, then stages. The caller holds the lock of loading when `remove` is set."""

    def clean(depot: Depot) -> Cleanup:
        with depot.alone() if remove else contextlib.nullcontext():
            found = _clean_depot(workspace, depot, limits, remove=remove)
        return found + _clean_stages(workspace, limits, remove=remove)

    return clean_depot(workspace, clean)


# --- the depot --------------------------------------------------------------------------------


def _clean_depot(workspace: "Workspace", depot: Depot, limits: Limits, *, remove: bool) -> Cleanup:
    look = _look(workspace, depot)
    judged = [(bundle, *_judge(look, bundle, limits)) for bundle in look.brought]
    stays = tuple(Stays(bundle.row.name, why, bundle.size_bytes) for bundle, item, why in judged if item is None)
    is_last = {bundle.row.bundle_id for bundle, item, _ in judged if item is not None and item.kind is Kind.SUPERSEDED}
    kept = look.in_use.union(*(bundle.blobs for bundle in look.brought if bundle.row.bundle_id not in is_last))
    rest = {digest: size for digest, size in look.sizes.items() if digest not in kept}
    garbage = Garbage(depot.abandoned(), tuple(sorted(rest)), sum(rest.values()))
    goes: list[Goes] = []
    for bundle, judgement, _ in judged:
        if judgement is None:
            continue
        # A blob that two of them brought counts for the first.
        size = sum(rest.pop(digest, 0) for digest in bundle.blobs) if judgement.kind is Kind.SUPERSEDED else 0
        goes.append(replace(judgement, size_bytes=size))
        if remove:
            _record_step(workspace, bundle.row, goes[-1], limits)
    if rest or garbage.temporaries:
        why = f"{len(rest)} blobs that no bundle here brought, and what {len(garbage.temporaries)} killed commands left"
        oldest = max((limits.days_since(changed_at(depot.blob_path(digest))) for digest in rest), default=0)
        goes.append(Goes(Kind.DEPOT, "depot", why, sum(rest.values()), oldest))
        if remove:
            _record(workspace, goes[-1], {"blobs": len(rest), "temporaries": len(garbage.temporaries)})
    if remove:
        depot.remove_garbage(garbage)
    return Cleanup(tuple(goes), stays)


def _look(workspace: "Workspace", depot: Depot) -> _Depot:
    """Raises GraphError, HostError, DigestError and their kin where something cannot be read whole."""
    sizes = {digest: file_bytes(depot.blob_path(digest)) for digest in depot.digests()}
    look = _Depot(sizes, set(_reached(workspace, depot)))
    with workspace.state.reading() as tx:
        rows = list_bundles(tx)
    for row in rows:
        papers = QuarantinedBundle(workspace.root / "quarantine" / row.bundle_id)
        if row.state is BundleState.LOADED:
            own = {digest: sizes[digest] for digest in _digests(papers.tables().blobs) if digest in sizes}
            look.brought.append(_Brought(row, own))
        elif papers.folder.is_dir() and row.state not in (BundleState.DENIED, BundleState.CLEANED):
            tables = papers.tables()  # it waits: what it builds on, and what of it a load that was killed brought
            look.in_use.update(_digests(tables.required), _digests(tables.blobs))
    return look


def _reached(workspace: "Workspace", depot: Depot) -> Iterator[str]:
    """Digests that a name reaches, of the depot or of a stage, or that a baseline lists."""
    layouts = [depot, *(Depot(path.parent, create=False) for path in _stage_indexes(workspace))]
    for layout in layouts:
        for root in layout.references().values():
            yield from (blob.digest for blob in walk(layout, root))
    path = own_copy(workspace)
    if path.is_file():
        data = read_limited(path, FILE_MAX_BYTES)
        baseline, _ = read_signed(data, {workspace.settings.sites[0]: workspace.signer("ledger").public})
        yield from (f"sha256:{key.hex()}" for key in baseline.blobs)


def _digests(table: Records) -> Iterator[str]:
    return (digest_of(record) for record in table)


def _judge(look: _Depot, bundle: _Brought, limits: Limits) -> tuple[Goes | None, str]:
    """The next step for a loaded bundle, or why there is none."""
    row, size = bundle.row, bundle.size_bytes
    gain, age = look.superseded(bundle), limits.days_since(row.updated)
    what = f"{format_bytes(gain)} of {format_bytes(size)} superseded"
    told = row.detail.get(LET_GO_TOLD)
    if LET_GO in row.detail:
        if told is None:
            return None, f"let go, {what}: its content stays until a slip was printed"
        if not limits.is_over(float(told), limits.grace_days):
            left = limits.grace_days - limits.days_since(float(told))
            return None, f"let go, {what}: its content stays {left} more {'day' if left == 1 else 'days'}"
        why = f"{what}; slips do not name it since {limits.days_since(float(told))} days; the papers stay"
        return Goes(Kind.SUPERSEDED, row.name, why, gain, age, row.bundle_id), ""
    if not gain:
        return None, "in use: names here reach all of it" if size else "brought nothing that is not here otherwise"
    if gain < SUPERSEDED_SHARE * size:
        return None, f"in use: only {what}"
    if not limits.is_over(row.updated):
        left = limits.keep_days - age
        return None, f"{what}; the low side builds on it {left} more {'day' if left == 1 else 'days'}"
    return Goes(
        Kind.LET_GO, row.name, f"{what}: the next slip does not name it, its content goes later", 0, age, row.bundle_id
    ), ""


def _record_step(workspace: "Workspace", row: BundleRow, item: Goes, limits: Limits) -> None:
    """State and entry of one step. The state before the blobs: what is `cleaned` nobody counts on."""
    with workspace.state.transaction() as tx:
        if get_bundle(tx, row.bundle_id) != row:
            raise BusyError(f"bundle {row.name}: was changed meanwhile")
        if item.kind is Kind.SUPERSEDED:
            detail = {**row.detail, "cleaned": limits.now}
            changed = replace(row, state=BundleState.CLEANED, path=None, detail=detail)
        else:
            changed = replace(row, detail={**row.detail, LET_GO: limits.now})
        put_bundle(tx, changed)
        tx.queue(removal_entry(item, row))


def _record(workspace: "Workspace", item: Goes, counts: dict[str, int]) -> None:
    with workspace.state.transaction() as tx:
        tx.queue(removal_entry(item, counts=counts))


# --- stages -----------------------------------------------------------------------------------


def _stage_indexes(workspace: "Workspace") -> list[Path]:
    return sorted((workspace.root / "stages").glob("*/index.json"))


def _clean_stages(workspace: "Workspace", limits: Limits, *, remove: bool) -> Cleanup:
    """Links in a stage that its index does not reach; the depot keeps the blobs, or let them go before."""
    found = Cleanup((), ())
    for index in _stage_indexes(workspace):
        stage = Depot(index.parent, create=False)
        garbage = stage.garbage()
        name = f"stages/{index.parent.name}"
        if not garbage.blobs and not garbage.temporaries:
            continue
        why = f"{len(garbage.blobs)} blobs that the stage does not offer any more"
        if not limits.is_over(changed_at(index), min(STAGE_DAYS, limits.keep_days)):
            why += ": it was changed today, and somebody may be pulling them"
            found += Cleanup((), (Stays(name, why, garbage.size_bytes),))
            continue
        # Links: what the depot keeps frees nothing here.
        size = sum(file_bytes(path) for path in map(stage.blob_path, garbage.blobs) if path.lstat().st_nlink == 1)
        item = Goes(Kind.STAGE, name, why, size, limits.days_since(changed_at(index)))
        if remove:
            with stage.alone():
                _record(workspace, item, {"blobs": len(garbage.blobs)})
                stage.remove_garbage(garbage)
        found += Cleanup((item,), ())
    return found
