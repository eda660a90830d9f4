"""Collect and load in one place that reaches both registries: no bundle, no medium, the same checks and entries.

    collect (as `pack` does, expectations verified) ─► this site's keys ─► places free ─► targets would take it
    ─► for each target: `load begun` ─► item by item ─► `load`

What was brought lies in a depot of its own, ``direct/``, so that it meets nothing that came over the gap; a run that
was killed brings and sends only what is missing. Stages are not touched: they show what crossed.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from tidegate.depot.store import Depot
from tidegate.direct import DirectCollection, find_collector
from tidegate.errors import LedgerError, NameTakenError, TidegateError, UsageError, reason_of
from tidegate.files import locked
from tidegate.ledger.entries import Entry, Event, Outcome, Provenance, Target, entry
from tidegate.provenance.attachments import ATTACHMENT
from tidegate.registry.reference import place_of
from tidegate.report import ProgressCallback
from tidegate.state.placements import Placement, put_placements
from tidegate.workspace import Workspace
from tidegate_receiver.loaders.harbor import create_projects, projects_of
from tidegate_receiver.loaders.items import LEFT_OUT, LoadedItem, LoadItem, load_all
from tidegate_receiver.promotion.destinations import TargetPlan, plan_targets
from tidegate_receiver.promotion.promotion import LOAD_LOCK, LoadReport, TargetReport
from tidegate_receiver.promotion.provenance import check_provenance

CHANNEL = "direct"
FOLDER = "direct"


def load_directly(
    workspace: Workspace,
    what: Sequence[str],
    *,
    to: Sequence[str] = (),
    asked: bool = False,
    progress: ProgressCallback | None = None,
) -> tuple[LoadReport, tuple[tuple[str, TidegateError], ...]]:
    """Bring what `what` names and load it to every target; the report, and what could not be brought.

    Raises UsageError without a target, the first failure where nothing could be brought, ProvenanceError,
    NameTakenError, and what a single target raises. What failed is in the ledger.
    """
    if not to and not asked:
        raise UsageError("--direct needs a target", hint="name it with --to, or let the list ask for it with --asked")
    workspace.begin()
    try:
        with _alone(workspace):
            return _run(workspace, what, tuple(to), progress, asked=asked)
    finally:
        workspace.finish()


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    return locked(workspace.folder("stages") / LOAD_LOCK, busy="another load is under way on this root")


def _run(
    workspace: Workspace, what: Sequence[str], to: tuple[str, ...], progress: ProgressCallback | None, *, asked: bool
) -> tuple[LoadReport, tuple[tuple[str, TidegateError], ...]]:
    depot = Depot(workspace.folder(FOLDER))
    found = _collect(workspace, what, depot, progress or (lambda _done, _total, _phase: None))
    try:
        items = _items(found)
        verdicts = check_provenance(workspace.settings, depot, items)
        if verdicts:
            _record(workspace, Event.PROVENANCE, "provenance", Outcome.DONE, provenance=verdicts)
        planned = plan_targets(workspace, CHANNEL, items, depot, to=to, asked=asked)
    except LedgerError:
        raise
    except TidegateError as error:
        verdicts = tuple(Provenance(*verdict) for verdict in getattr(error, "verdicts", ()))
        _failed(workspace, ", ".join(to) or "asked", error, provenance=verdicts or None)
        raise
    if not planned.targets:
        raise UsageError("no target: the list asks for none that the settings have", hint="name one with --to")
    alone = len(planned.targets) == 1
    reports = tuple(_load(workspace, target, progress, alone=alone) for target in planned.targets)
    return (
        LoadReport(
            bundle_id="",
            bundle_name="direct",
            channel_name=CHANNEL,
            stage="",
            promoted=False,
            items=tuple(item for report in reports for item in report.items),
            target=", ".join(report.target for report in reports),
            targets=reports,
            unknown_targets=planned.unknown,
        ),
        found.failures,
    )


def _collect(workspace: Workspace, what: Sequence[str], depot: Depot, progress: ProgressCallback) -> DirectCollection:
    try:
        found = find_collector()(workspace, what, depot, progress)
    except TidegateError as error:
        reason, detail = reason_of(error), error.message
        _record(workspace, Event.COLLECT, "collect", Outcome.FAILED, reason=reason, detail=detail)
        raise
    failures = "; ".join(f"{label}: {error.message}" for label, error in found.failures)
    outcome = Outcome.DONE if not failures else Outcome.PARTIAL if found.artifacts else Outcome.FAILED
    _record(
        workspace,
        Event.COLLECT,
        "collect",
        outcome,
        names=tuple(item.name for item in found.artifacts),
        size=sum(item.size_bytes for item in found.artifacts),
        counts={"artifacts": len(found.artifacts), "failures": len(found.failures)},
        detail=failures or None,
        provenance=tuple(Provenance(item.name, item.verdict) for item in found.artifacts if item.verdict) or None,
    )
    if not found.artifacts:
        raise found.failures[0][1]
    return found


def _items(found: DirectCollection) -> tuple[LoadItem, ...]:
    """As they would be loaded from a bundle: attachments first, no two in one place."""
    items = [
        LoadItem(item.name, item.kind, place_of(item.name), item.root, item.expect, item.load)
        for item in found.artifacts
    ]
    taken: dict[str, LoadItem] = {}
    for item in items:
        other = taken.setdefault(item.place, item)
        if other.root.digest != item.root.digest:
            raise NameTakenError(f"both {other.name} and {item.name} would be {item.place}")
    return tuple(sorted(items, key=lambda item: item.kind != ATTACHMENT))


def _load(workspace: Workspace, target: TargetPlan, progress: ProgressCallback | None, *, alone: bool) -> TargetReport:
    step = f"load {target.target}"
    try:
        if target.error is not None:
            raise target.error
        _record(workspace, Event.LOAD, step, Outcome.BEGUN, counts={"artifacts": len(target.items)})
        loaded = tuple(_load_items(workspace, target, progress))
    except LedgerError:
        raise
    except TidegateError as error:
        _failed(workspace, target.target, error)
        if alone:
            raise
        return TargetReport(target.target, error=error)
    targets = tuple(Target(item.name, item.place, item.digest) for item in loaded)
    outcome = Outcome.DONE if any(item.changed for item in loaded) else Outcome.NOTHING
    stored = sum(item.size_bytes for item in loaded)
    notes = "; ".join(note for item in loaded for note in item.notes) or None
    _record(workspace, Event.LOAD, step, outcome, targets=targets, stored=stored, detail=notes)
    return TargetReport(target.target, loaded)


def _load_items(workspace: Workspace, target: TargetPlan, progress: ProgressCallback | None) -> list[LoadedItem]:
    if target.settings.projects:
        host = target.target.partition("/")[0]
        names = projects_of(target.target, target.items)
        public = target.settings.projects_public
        for name in create_projects(host, names, workspace.registries.access, public=public):
            _record(workspace, Event.LOAD, f"project {host} {name}", Outcome.DONE, detail=f"created project {name}")
    loaded = []
    with target.loader as loader:
        for item, found in zip(target.items, load_all(loader, target.items), strict=True):
            loaded.append(found)
            with workspace.state.transaction() as tx:
                root = item.root.digest
                row = (target.target, CHANNEL, item.name, found.place, found.digest, root, item.kind, item.expect, "")
                if found.place != LEFT_OUT:
                    put_placements(tx, (Placement(*row),))
                if found.found_by:
                    outcome = Outcome.DONE if found.changed else Outcome.NOTHING
                    tx.queue(_entry(Event.LOAD, f"discover {target.target} {item.name}", outcome, workspace, found))
            if progress is not None:
                progress(len(loaded), len(target.items), "loading")
    return loaded


def _entry(event: Event, step: str, outcome: Outcome, workspace: Workspace, found: LoadedItem) -> Entry:
    place = Target(found.name, found.place, found.digest)
    detail = f"found by {found.found_by}"
    return entry(event, subject=workspace.origin, step=step, outcome=outcome, targets=(place,), detail=detail)


def _failed(workspace: Workspace, place: str, error: TidegateError, **facts: Any) -> None:
    reason = reason_of(error)
    step = f"load {place}"
    _record(workspace, Event.LOAD_FAILED, step, Outcome.FAILED, reason=reason, detail=error.message, **facts)


def _record(workspace: Workspace, event: Event, step: str, outcome: Outcome, **facts: Any) -> None:
    with workspace.state.transaction() as tx:
        tx.queue(entry(event, subject=workspace.origin, step=step, outcome=outcome, channel_name=CHANNEL, **facts))
    workspace.finish()
