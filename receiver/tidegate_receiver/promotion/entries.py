"""What promotion writes into the ledger: `promote` and `load`, begun and ended, and loads that failed."""

from typing import Any

from tidegate.errors import TidegateError, reason_of
from tidegate.ledger.bundle_facts import bundle_facts
from tidegate.ledger.entries import Entry, Event, Outcome, Provenance, Target, entry
from tidegate.state.bundles import BundleRow
from tidegate_receiver.loaders.items import LoadedItem
from tidegate_receiver.promotion.plan import Plan


def plan_entry(plan: Plan, event: Event, outcome: Outcome, step: str, **facts: Any) -> Entry:
    """What every entry about this load says, and `facts` in addition or in place of it."""
    return entry(
        event,
        subject=plan.row.name,
        step=step,
        outcome=outcome,
        **{
            **bundle_facts(plan.row, plan.papers.manifest),
            "policy_digest": plan.permission.policy_digest,
            "counts": {"artifacts": len(plan.items), "blobs": len(plan.papers.blobs), "kept_names": len(plan.kept)},
            "size": plan.papers.content_size,
            "kinds": tuple(sorted({item.kind for item in plan.items})),
            "detail": _detail(plan),
            **facts,
        },
    )


def _detail(plan: Plan) -> str:
    release = f"release {plan.permission.release.value}, by {plan.permission.releaser.value}"
    if not plan.kept:
        return release
    return f"{release}; a newer bundle has set {', '.join(plan.kept)}: not moved back"


def stage_entry(plan: Plan, stage: str) -> Entry:
    """The artifacts are on the stage."""
    targets = tuple(Target(item.name, f"{stage}/{item.place}", item.root.digest) for item in plan.items)
    return plan_entry(plan, Event.LOAD, Outcome.DONE, f"load {stage}", targets=targets)


def target_entry(plan: Plan, step: str, loaded: list[LoadedItem]) -> Entry:
    """The artifacts are at the target, or were there already."""
    changed = any(item.changed for item in loaded)
    notes = "; ".join(note for item in loaded for note in item.notes)
    return plan_entry(
        plan,
        Event.LOAD,
        Outcome.DONE if changed else Outcome.NOTHING,
        step,
        targets=tuple(Target(item.name, item.place, item.digest) for item in loaded),
        stored=sum(item.size_bytes for item in loaded),
        detail="; ".join(part for part in (_detail(plan), notes) if part),
    )


def discovery_entry(plan: Plan, target: str, item: LoadedItem) -> Entry:
    """Something that belongs to an image is at the target, and a client that has the image finds it."""
    place = Target(item.name, item.place, item.digest)
    return plan_entry(
        plan,
        Event.LOAD,
        Outcome.DONE if item.changed else Outcome.NOTHING,
        f"discover {target} {item.name}",
        names=(item.name,),
        targets=(place,),
        detail=f"found by {item.found_by}",
    )


def failure_entry(row: BundleRow, place: str, error: TidegateError) -> Entry:
    """A load that did not come to its end; `place` is the stage or the target."""
    return entry(
        Event.LOAD_FAILED,
        subject=row.name,
        step=f"load {place}",
        outcome=Outcome.FAILED,
        **bundle_facts(row),
        reason=reason_of(error),
        detail=error.message,
        provenance=tuple(Provenance(*verdict) for verdict in getattr(error, "verdicts", ())) or None,
    )
