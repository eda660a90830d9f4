"""Promote a bundle: from quarantine into the depot, onto a stage, and where somebody asked to have it.

    every check (`promotion_plan`)
    ─► `promote begun` ─► blobs: quarantine to depot, checked ─► stage ─► names, state, `promote`, `load`
    ─► for a target: `load begun` ─► item by item ─► `load`

Every step can be done again, so a load that was killed is run again and goes on: blobs that are there stay, a stage
is named last, the state changes in one transaction with its entries, and a target's items are counted in a job.
One load at a time: what a name points to is decided under one lock.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import BlobDamagedError, LedgerError, TidegateError
from tidegate.files import locked
from tidegate.ledger.entries import Event, Outcome
from tidegate.report import ProgressCallback
from tidegate.state.bundles import BundleState, set_bundle_state
from tidegate.state.db import Transaction
from tidegate.state.jobs import advance_job, begin_job, end_job
from tidegate.state.names import set_name_if_newer
from tidegate.workspace import Workspace
from tidegate_receiver.loaders.items import LoadedItem, Loader, LoadItem, load_all
from tidegate_receiver.promotion_entries import discovery_entry, failure_entry, plan_entry, stage_entry, target_entry
from tidegate_receiver.promotion_plan import Plan, find_row, plan_load
from tidegate_receiver.quarantine import QuarantinedBundle, empty_quarantine
from tidegate_receiver.release import Releaser
from tidegate_receiver.stages import put_on_stage, stage_folder, stage_lacks

#: in stages/; whoever changes what stages and depot name, or removes from them, holds it
LOAD_LOCK = ".load.lock"
_LOCK_WAIT_SECONDS = 10.0
_CHECK_THREADS = 2  # hashlib releases the GIL


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did, or under a dry run would do."""

    bundle_id: str
    bundle_name: str
    channel_name: str
    stage: str
    promoted: bool  # False: the bundle was promoted before
    items: tuple[LoadedItem, ...]  # at `target`, or on the stage where there is none
    target: str | None = None
    #: names that a newer bundle has set: they stay where they are
    kept_names: tuple[str, ...] = ()
    #: names that the low side no longer carries; nothing is removed here
    removed: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def nothing_to_do(self) -> bool:
        return not self.promoted and not any(item.changed for item in self.items)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for item in self.items for note in item.notes)


def load(
    workspace: Workspace,
    bundle: str,
    *,
    to: str | None = None,
    dry_run: bool = False,
    releaser: Releaser = Releaser.PERSON,
    progress: ProgressCallback | None = None,
) -> LoadReport:
    """Promote `bundle` (a name, a number, digits of its id) and load it to `to`: a registry, a folder, or nowhere else.

    Raises BundleUnknownError, NotReleasedError, LoadError, RequiredMissingError, NameTakenError, UnsafePathError,
    RegistryError, BlobDamagedError, BlobMissingError, DiskFullError. What failed is in the ledger, and nothing is half
    loaded: run the same command again.
    """
    if dry_run:
        plan = plan_load(workspace, bundle, to, releaser)
        changes_all = plan.is_new or plan.loader is not None  # what a target has is asked for when it is loaded
        lacking = plan.places if changes_all else stage_lacks(stage_folder(workspace), plan.places)
        items = tuple(LoadedItem(item.name, item.place, item.root.digest, item.place in lacking) for item in plan.items)
        return replace(_report(workspace, plan, items, promoted=plan.is_new), dry_run=True)
    workspace.begin()
    try:
        with _alone(workspace):
            return _load(workspace, bundle, to, releaser, progress)
    finally:
        workspace.finish()


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    busy = "another load is under way on this root"
    return locked(workspace.folder("stages") / LOAD_LOCK, busy=busy, wait_seconds=_LOCK_WAIT_SECONDS)


def _load(
    workspace: Workspace, bundle: str, to: str | None, releaser: Releaser, progress: ProgressCallback | None
) -> LoadReport:
    row = find_row(workspace, bundle)
    try:
        plan = plan_load(workspace, row.bundle_id, to, releaser)
        promoted = plan.is_new
        if promoted:
            _promote(workspace, plan, progress)
        items = _stage_items(workspace, plan, is_new=promoted)
        if plan.loader is not None:
            items = _load_to_target(workspace, plan, plan.loader, progress)
    except LedgerError:
        raise  # what cannot be recorded cannot be recorded as failed
    except TidegateError as error:
        with workspace.state.transaction() as tx:
            tx.queue(failure_entry(row, to or workspace.settings.stage, error))
        raise
    return _report(workspace, plan, items, promoted=promoted)


def _report(workspace: Workspace, plan: Plan, items: tuple[LoadedItem, ...], *, promoted: bool) -> LoadReport:
    return LoadReport(
        bundle_id=plan.row.bundle_id,
        bundle_name=plan.row.name,
        channel_name=plan.papers.manifest.channel_name,
        stage=workspace.settings.stage,
        promoted=promoted,
        items=items,
        target=plan.loader.target if plan.loader else None,
        kept_names=plan.kept,
        removed=plan.papers.manifest.removed,
    )


# --- quarantine to depot to stage -------------------------------------------------------------


def _promote(workspace: Workspace, plan: Plan, progress: ProgressCallback | None) -> None:
    """Take the bundle's content into the depot, name it on the stage, and only then call it loaded."""
    with workspace.state.transaction() as tx:
        job = begin_job(tx, "load", plan.row.bundle_id, step="promote")
        _queue_verdicts(tx, plan)
        tx.queue(plan_entry(plan, Event.PROMOTE, Outcome.BEGUN, "promote"))
    workspace.finish()  # a stage's index is an effect outside: what begins is in the ledger first
    _fill_depot(workspace.depot, plan, progress)
    put_on_stage(stage_folder(workspace), workspace.depot, plan.places)
    with workspace.state.transaction() as tx:
        for item in plan.items:
            set_name_if_newer(tx, plan.row.channel_id, item.name, plan.row.sequence, item.root.digest)
        set_bundle_state(tx, plan.row.bundle_id, BundleState.LOADED, detail={"stage": workspace.settings.stage})
        tx.queue(plan_entry(plan, Event.PROMOTE, Outcome.DONE, "promote"))
        tx.queue(stage_entry(plan, workspace.settings.stage))
        end_job(tx, job.id)
    empty_quarantine(plan.quarantine.folder)


def _fill_depot(depot: Depot, plan: Plan, progress: ProgressCallback | None) -> None:
    """Every blob of the bundle, read and compared once more, and the names.

    Quarantine to depot is the border that matters, and weeks may lie between the two: a byte that a disk, or somebody,
    changed meanwhile is found here and not by who runs it. Links, so nothing is copied on one file system.
    """
    depot.remove_abandoned()
    total, done = plan.papers.content_size, 0
    with depot.commit() as commit, ThreadPoolExecutor(_CHECK_THREADS) as pool:
        for size in pool.map(lambda blob: _adopt(commit, plan.quarantine, blob), plan.papers.blobs):
            done += size
            if progress is not None:
                progress(done, total, "checking content")
        for item in plan.items:
            commit.reference(item.name, item.root)


def _adopt(commit: BlobCommit, quarantine: QuarantinedBundle, blob: Descriptor) -> int:
    if not commit.has(blob.digest, blob.size):
        try:
            commit.adopt(quarantine.layout.blob_path(blob.digest), blob.digest)
        except BlobDamagedError as error:
            hint = f"it was whole when it was received: remove {quarantine.folder} and receive the bundle again"
            raise BlobDamagedError(error.message, hint=hint) from None
    return blob.size


def _stage_items(workspace: Workspace, plan: Plan, *, is_new: bool) -> tuple[LoadedItem, ...]:
    """The artifacts on the stage; puts back what somebody removed from it."""
    if not is_new:
        empty_quarantine(plan.quarantine.folder)  # what a crash after the last transaction left
    lacking = stage_lacks(stage_folder(workspace), plan.places)
    if lacking:
        with workspace.state.transaction() as tx:
            tx.queue(plan_entry(plan, Event.LOAD, Outcome.BEGUN, f"load {workspace.settings.stage}"))
        workspace.finish()
        put_on_stage(stage_folder(workspace), workspace.depot, lacking)
        with workspace.state.transaction() as tx:
            tx.queue(stage_entry(plan, workspace.settings.stage))
    return tuple(
        LoadedItem(item.name, item.place, item.root.digest, is_new or item.place in lacking, plan.sizes[item.name])
        for item in plan.items
    )


# --- a target ---------------------------------------------------------------------------------


def _load_to_target(
    workspace: Workspace, plan: Plan, loader: Loader, progress: ProgressCallback | None
) -> tuple[LoadedItem, ...]:
    """One artifact after the other; a job counts those that are done, so that a killed load goes on behind them."""
    step = f"load {loader.target}"
    with workspace.state.transaction() as tx:
        job = begin_job(tx, "load", f"{plan.row.bundle_id} {loader.target}", step=step)
        if not plan.is_new:
            _queue_verdicts(tx, plan)
        tx.queue(plan_entry(plan, Event.LOAD, Outcome.BEGUN, step))
    workspace.finish()
    before = _done_before(job.cursor, plan.asked)
    loaded = list(before)
    total, done = sum(plan.sizes[item.name] for item in plan.asked), sum(plan.sizes[item.name] for item in before)
    with loader:
        rest = plan.asked[len(before) :]
        for item, found in zip(rest, load_all(loader, rest), strict=True):
            loaded.append(found)
            with workspace.state.transaction() as tx:
                advance_job(tx, job.id, step=step, cursor=_cursor(loaded))
                if loaded[-1].found_by:
                    tx.queue(discovery_entry(plan, loader.target, loaded[-1]))
            done += plan.sizes[item.name]
            if progress is not None:
                progress(done, total, "loading")
    with workspace.state.transaction() as tx:
        tx.queue(target_entry(plan, step, loaded))
        end_job(tx, job.id)
    return tuple(loaded)


def _queue_verdicts(tx: Transaction, plan: Plan) -> None:
    """What was found of the images' signatures, before anything of it is loaded."""
    if plan.provenance:
        tx.queue(plan_entry(plan, Event.PROVENANCE, Outcome.DONE, "provenance", provenance=plan.provenance))


def _cursor(loaded: list[LoadedItem]) -> dict[str, Any]:
    """What is done, with what the outcome will have to say of it."""
    return {
        "done": [
            {
                "name": item.name,
                "place": item.place,
                "digest": item.digest,
                "changed": item.changed,
                "size_bytes": item.size_bytes,
                "notes": list(item.notes),
                "found_by": item.found_by,
            }
            for item in loaded
        ]
    }


def _done_before(cursor: dict[str, Any], items: tuple[LoadItem, ...]) -> tuple[LoadedItem, ...]:
    """The items that an interrupted load finished, as far as they are the first ones of this load too."""
    done = []
    for item, facts in zip(items, cursor.get("done", ()), strict=False):
        if facts["name"] != item.name:
            break
        done.append(LoadedItem(**{**facts, "notes": tuple(facts["notes"])}))
    return tuple(done)
