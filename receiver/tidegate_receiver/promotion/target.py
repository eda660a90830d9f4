"""Load a bundle's artifacts to one target: item by item, each recorded, so that a killed load goes on behind them."""

from typing import Any

from tidegate.ledger.entries import Event, Outcome
from tidegate.report import ProgressCallback
from tidegate.state.db import Transaction
from tidegate.state.jobs import advance_job, begin_job, end_job
from tidegate.state.placements import STAGE, Placement, put_placements
from tidegate.workspace import Workspace
from tidegate_receiver.loaders.harbor import create_projects, projects_of
from tidegate_receiver.loaders.items import LEFT_OUT, LoadedItem, LoadItem, load_all
from tidegate_receiver.promotion.destinations import TargetPlan
from tidegate_receiver.promotion.entries import discovery_entry, plan_entry, target_entry
from tidegate_receiver.promotion.plan import Plan


def load_to_target(
    workspace: Workspace, plan: Plan, target: TargetPlan, progress: ProgressCallback | None
) -> tuple[LoadedItem, ...]:
    """One artifact after the other; a job counts those that are done."""
    loader, asked = target.loader, target.items
    step = f"load {loader.target}"
    with workspace.state.transaction() as tx:
        job = begin_job(tx, "load", f"{plan.row.bundle_id} {loader.target}", step=step)
        if not plan.is_new:
            queue_verdicts(tx, plan)
        tx.queue(plan_entry(plan, Event.LOAD, Outcome.BEGUN, step))
    workspace.finish()
    _make_projects(workspace, plan, target)
    before = _done_before(job.cursor, asked)
    loaded = list(before)
    total, done = sum(plan.sizes[item.name] for item in asked), sum(plan.sizes[item.name] for item in before)
    with loader:
        rest = asked[len(before) :]
        for item, found in zip(rest, load_all(loader, rest), strict=True):
            loaded.append(found)
            with workspace.state.transaction() as tx:
                advance_job(tx, job.id, step=step, cursor=_cursor(asked, loaded))
                if found.found_by:
                    tx.queue(discovery_entry(plan, loader.target, found))
                if found.place != LEFT_OUT:
                    put_placements(tx, (_placement(plan, loader.target, item, found.place, found.digest),))
            done += plan.sizes[item.name]
            if progress is not None:
                progress(done, total, "loading")
    with workspace.state.transaction() as tx:
        tx.queue(target_entry(plan, step, loaded))
        end_job(tx, job.id)
    return tuple(loaded)


def stage_placements(plan: Plan, stage: str) -> tuple[Placement, ...]:
    """The bundle's artifacts on the stage."""
    target = f"{STAGE}{stage}"
    return tuple(_placement(plan, target, item, item.place, item.root.digest) for item in plan.items)


def _placement(plan: Plan, target: str, item: LoadItem, place: str, digest: str) -> Placement:
    row = plan.row
    return Placement(
        target, row.channel_id, item.name, place, digest, item.root.digest, item.kind, item.expect, row.bundle_id
    )


def _make_projects(workspace: Workspace, plan: Plan, target: TargetPlan) -> None:
    """Projects that are missing are created where the settings of the target say how, each with an entry."""
    if not target.settings.projects:
        return
    host = target.target.partition("/")[0]
    names = projects_of(target.target, target.items)
    made = create_projects(host, names, workspace.registries.access, public=target.settings.projects_public)
    with workspace.state.transaction() as tx:
        for name in made:
            step = f"project {host} {name}"
            tx.queue(plan_entry(plan, Event.LOAD, Outcome.DONE, step, detail=f"created project {name}"))


def queue_verdicts(tx: Transaction, plan: Plan) -> None:
    """What was found of the images' signatures, before anything of it is loaded."""
    if plan.provenance:
        tx.queue(plan_entry(plan, Event.PROVENANCE, Outcome.DONE, "provenance", provenance=plan.provenance))


def _cursor(items: tuple[LoadItem, ...], loaded: list[LoadedItem]) -> dict[str, Any]:
    """What is done, with what the outcome will have to say of it."""
    return {
        "done": [
            {
                "wanted": wanted.place,
                "name": item.name,
                "place": item.place,
                "digest": item.digest,
                "changed": item.changed,
                "size_bytes": item.size_bytes,
                "notes": list(item.notes),
                "found_by": item.found_by,
            }
            for wanted, item in zip(items, loaded, strict=False)
        ]
    }


def _done_before(cursor: dict[str, Any], items: tuple[LoadItem, ...]) -> tuple[LoadedItem, ...]:
    """The items that an interrupted load finished, as far as they are the first ones of this load too."""
    done = []
    for item, facts in zip(items, cursor.get("done", ()), strict=False):
        if facts["name"] != item.name or facts.get("wanted", item.place) != item.place:
            break
        known = {name: value for name, value in facts.items() if name != "wanted"}
        done.append(LoadedItem(**{**known, "notes": tuple(facts["notes"])}))
    return tuple(done)
