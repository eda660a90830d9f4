"""Promote a bundle: from quarantine into the depot, onto a stage, and where somebody asked to have it.

    every check (`promotion.plan`)
    ─► `promote begun` ─► blobs: quarantine to depot, checked ─► stage ─► names, state, `promote`, `load`
    ─► for a target: `load begun` ─► item by item ─► `load`

Every step can be done again, so a load that was killed is run again and goes on: blobs that are there stay, a stage
is named last, the state changes in one transaction with its entries, and a target's items are counted in a job.
One load at a time: what a name points to is decided under one lock.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import BlobDamagedError, LedgerError, TidegateError
from tidegate.files import locked
from tidegate.ledger.entries import Event, Outcome
from tidegate.report import ProgressCallback
from tidegate.state.bundles import BundleRow, BundleState, set_bundle_state
from tidegate.state.jobs import begin_job, end_job
from tidegate.state.names import set_name_if_newer
from tidegate.state.placements import put_placements
from tidegate.workspace import Workspace
from tidegate_receiver.intake.quarantine import QuarantinedBundle, empty_quarantine
from tidegate_receiver.intake.standing import row_of
from tidegate_receiver.loaders.items import LoadedItem, LoadItem, LookingLoader
from tidegate_receiver.promotion.destinations import TargetPlan
from tidegate_receiver.promotion.entries import failure_entry, plan_entry, stage_entry
from tidegate_receiver.promotion.plan import Plan, plan_load
from tidegate_receiver.promotion.release import Releaser
from tidegate_receiver.promotion.stages import put_on_stage, stage_folder, stage_lacks
from tidegate_receiver.promotion.target import load_to_target, queue_verdicts, stage_placements

#: in stages/; whoever changes what stages and depot name, or removes from them, holds it
LOAD_LOCK = ".load.lock"
_LOCK_WAIT_SECONDS = 10.0
_CHECK_THREADS = 2  # hashlib releases the GIL


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What became of one target: its artifacts, or why there are none."""

    target: str
    items: tuple[LoadedItem, ...] = ()
    error: TidegateError | None = None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did, or under a dry run would do."""

    bundle_id: str
    bundle_name: str
    channel_name: str
    stage: str
    promoted: bool  # False: the bundle was promoted before
    items: tuple[LoadedItem, ...]  # at `target`, or on the stage where there is none
    #: the targets that were loaded to, with a comma between
    target: str | None = None
    #: names that a newer bundle has set: they stay where they are
    kept_names: tuple[str, ...] = ()
    #: names that the low side no longer carries; nothing is removed here
    removed: tuple[str, ...] = ()
    dry_run: bool = False
    targets: tuple[TargetReport, ...] = ()
    #: targets that the list asks for, and that the settings of this side do not have
    unknown_targets: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[TargetReport, ...]:
        return tuple(found for found in self.targets if found.error is not None)

    @property
    def nothing_to_do(self) -> bool:
        return not self.promoted and not self.failures and not any(item.changed for item in self.items)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for item in self.items for note in item.notes)


def load(
    workspace: Workspace,
    bundle: str,
    *,
    to: str | Sequence[str] | None = None,
    asked: bool | None = None,
    dry_run: bool = False,
    releaser: Releaser = Releaser.PERSON,
    progress: ProgressCallback | None = None,
) -> LoadReport:
    """Promote `bundle` (a name, a number, digits of its id) and load it to every target in `to`: registries, folders …

    With `asked` (None: as the settings say) also to every target that its list asks for and the settings know. What
    fails at one target of several is in the report, and the others go on.
    Raises BundleUnknownError, NotReleasedError, LoadError, RequiredMissingError, NameTakenError, UnsafePathError,
    RegistryError, BlobDamagedError, BlobMissingError, DiskFullError. What failed is in the ledger, and nothing is half
    loaded: run the same command again.
    """
    places = (to,) if isinstance(to, str) else tuple(to or ())
    everywhere = (workspace.settings.load_asked and not places) if asked is None else asked
    if dry_run:
        plan = plan_load(workspace, bundle, places, releaser, asked=everywhere)
        return _dry_report(workspace, plan)
    workspace.begin()
    try:
        with _alone(workspace):
            done = _load(workspace, bundle, places, releaser, progress, asked=everywhere)
    finally:
        workspace.finish()
    return done


def _dry_report(workspace: Workspace, plan: Plan) -> LoadReport:
    """What a load would do. A registry is asked what it has; a folder or a tar is looked at when it is loaded."""
    changes_all = plan.is_new or bool(plan.targets)
    lacking = plan.places if changes_all else stage_lacks(stage_folder(workspace), plan.places)
    items = tuple(LoadedItem(item.name, item.place, item.root.digest, item.place in lacking) for item in plan.items)
    targets = tuple(
        TargetReport(
            found.target,
            () if found.error else tuple(_looked_at(found, item) for item in found.items),
            found.error,
        )
        for found in plan.targets
    )
    return replace(_report(workspace, plan, items, targets, promoted=plan.is_new), dry_run=True)


def _looked_at(found: TargetPlan, item: LoadItem) -> LoadedItem:
    if isinstance(found.loader, LookingLoader):
        place, changed = found.loader.place_of(item), not found.loader.is_there(item)
    else:
        place, changed = f"{found.target}: {item.place}", True
    return LoadedItem(item.name, place, item.root.digest, changed=changed)


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    busy = "another load is under way on this root"
    return locked(workspace.folder("stages") / LOAD_LOCK, busy=busy, wait_seconds=_LOCK_WAIT_SECONDS)


def _load(
    workspace: Workspace,
    bundle: str,
    to: tuple[str, ...],
    releaser: Releaser,
    progress: ProgressCallback | None,
    *,
    asked: bool,
) -> LoadReport:
    row = row_of(workspace, bundle)
    try:
        plan = plan_load(workspace, row.bundle_id, to, releaser, asked=asked)
        promoted = plan.is_new
        if promoted:
            _promote(workspace, plan, progress)
        items = _stage_items(workspace, plan, is_new=promoted)
    except LedgerError:
        raise  # what cannot be recorded cannot be recorded as failed
    except TidegateError as error:
        _record_failure(workspace, row, ", ".join(to) or workspace.settings.stage, error)
        raise
    targets = tuple(_load_or_say_why(workspace, plan, target, progress) for target in plan.targets)
    return _report(workspace, plan, items, targets, promoted=promoted)


def _load_or_say_why(
    workspace: Workspace, plan: Plan, target: TargetPlan, progress: ProgressCallback | None
) -> TargetReport:
    """One target of several may fail; a single one fails the command."""
    try:
        if target.error is not None:
            raise target.error
        return TargetReport(target.target, load_to_target(workspace, plan, target, progress))
    except LedgerError:
        raise
    except TidegateError as error:
        _record_failure(workspace, plan.row, target.target, error)
        if len(plan.targets) == 1:
            raise
        return TargetReport(target.target, error=error)


def _record_failure(workspace: Workspace, row: BundleRow, place: str, error: TidegateError) -> None:
    with workspace.state.transaction() as tx:
        tx.queue(failure_entry(row, place, error))


def _report(
    workspace: Workspace,
    plan: Plan,
    items: tuple[LoadedItem, ...],
    targets: tuple[TargetReport, ...],
    *,
    promoted: bool,
) -> LoadReport:
    return LoadReport(
        bundle_id=plan.row.bundle_id,
        bundle_name=plan.row.name,
        channel_name=plan.papers.manifest.channel_name,
        stage=workspace.settings.stage,
        promoted=promoted,
        items=tuple(item for found in targets for item in found.items) if targets else items,
        target=", ".join(found.target for found in targets) or None,
        kept_names=plan.kept,
        removed=plan.papers.manifest.removed,
        targets=targets,
        unknown_targets=plan.unknown_targets,
    )


# --- quarantine to depot to stage -------------------------------------------------------------


def _promote(workspace: Workspace, plan: Plan, progress: ProgressCallback | None) -> None:
    """Take the bundle's content into the depot, name it on the stage, and only then call it loaded."""
    with workspace.state.transaction() as tx:
        job = begin_job(tx, "load", plan.row.bundle_id, step="promote")
        queue_verdicts(tx, plan)
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
        put_placements(tx, stage_placements(plan, workspace.settings.stage))
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
            put_placements(tx, stage_placements(plan, workspace.settings.stage))
    return tuple(
        LoadedItem(item.name, item.place, item.root.digest, is_new or item.place in lacking, plan.sizes[item.name])
        for item in plan.items
    )
