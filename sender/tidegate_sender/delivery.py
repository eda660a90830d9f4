"""Send a bundle: write it to a medium, with an entry before the effect and one after it.

A medium is outside the root: ``write … begun`` is in the ledger, synced, before the first byte goes out, and the
outcome after it. When the write succeeded the bundle counts as sent, and its number is used up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.carrier.announcement import Announcement
from tidegate.errors import BundleUnknownError, TidegateError, UsageError
from tidegate.ledger.bundle_facts import bundle_facts
from tidegate.ledger.entries import Entry, Event, Medium, Outcome, entry
from tidegate.lookup import FoundBundle
from tidegate.media.register import tracked_medium
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, set_bundle_state
from tidegate.workspace import Workspace
from tidegate_sender.media.writing import WriteEstimate, WriteOutcome, WriteReport, estimate_write, write_volume
from tidegate_sender.riding import make_cover, open_carried
from tidegate_sender.slips.reading import was_sent

if TYPE_CHECKING:
    from tidegate.bundle.manifest import Manifest

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How a bundle is written to a medium."""

    redundancy: float
    sync: bool = True
    read_back: bool = True


@dataclass(frozen=True, slots=True)
class VolumePart:
    """One volume of a set. `completes`: with it the whole set is written."""

    plan: Announcement
    completes: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """What `send` did: the bundle, the medium, and the writer's report; `facts`, `carries` and `notes` are those of the
    media register."""

    bundle: str
    bundle_id: str
    medium: Path
    report: WriteReport
    facts: Medium
    carries: dict[str, Any]
    notes: tuple[str, ...] = ()


def estimate_delivery(
    workspace: Workspace, found: FoundBundle, medium: Path, options: SendOptions, *, measure: bool
) -> WriteEstimate:
    """What sending will take; with `measure` 8 MiB are written, synced and removed to learn the medium's speed."""
    with open_carried(found) as bundle:
        return estimate_write(
            bundle,
            medium,
            preamble=preamble_of(workspace),
            redundancy=options.redundancy,
            read_back=options.read_back,
            measure=measure,
        )


def deliver(
    workspace: Workspace,
    found: FoundBundle,
    medium: Path,
    facts: Medium,
    options: SendOptions,
    progress: Progress,
    part: VolumePart | None = None,
) -> Delivery:
    """Write the bundle, or one volume of a set, to `medium`; it counts as sent once the set is complete.

    Raises MediaError and its kin; the ledger has the outcome in any case.
    """
    row = found.row
    if row is None:
        raise BundleUnknownError(f"bundle {found.bundle_id[:16]}: this root did not pack it")
    make_cover(workspace, found)
    with open_carried(found) as bundle, tracked_medium(workspace, medium, facts) as tracked:
        facts, manifest = tracked.facts, bundle.manifest()
        counts = {"volume": part.plan.volume} if part is not None else None
        _begin(workspace, row, manifest, facts, counts)
        try:
            report = write_volume(
                bundle,
                medium,
                signer=workspace.signer("carrier"),
                preamble=preamble_of(workspace),
                redundancy=options.redundancy,
                sync=options.sync,
                read_back=options.read_back,
                progress=progress,
                plan=part.plan if part is not None else None,
            )
        except BaseException as error:
            message = error.message if isinstance(error, TidegateError) else type(error).__name__
            _record(workspace, row, manifest, facts, Event.WRITE, Outcome.FAILED, detail=message, counts=counts)
            raise
        tracked.carries = _label_facts(row, manifest, report, part)
    _record_sent(workspace, row, manifest, facts, report, part)
    return Delivery(row.name, row.bundle_id, medium, report, facts, tracked.carries, tuple(tracked.notes))


def _label_facts(row: BundleRow, manifest: "Manifest", report: WriteReport, part: VolumePart | None) -> dict[str, Any]:
    """What stands on the label of a medium. How many sticks a set has is known when it is striped or complete."""
    volume, volumes = report.announcement.volume, report.announcement.volumes
    if part is None or (volumes is None and part.completes):
        volumes = volume
    return {
        "bundle": row.name,
        "bundle_id": row.bundle_id,
        "volume": volume,
        "volumes": volumes,
        "sites": list(manifest.audience),
        "classification": manifest.classification,
        "channel": manifest.channel_name,
    }


def preamble_of(workspace: Workspace) -> bytes:
    """The channel's root as it is now: a bundle packed before a rotation still carries the newest root."""
    return workspace.trust.own_channel().to_bytes()


def _entry(row: BundleRow, manifest: "Manifest", facts: Medium, event: Event, outcome: Outcome, **more: Any) -> Entry:
    return entry(
        event,
        subject=row.name,
        step=event,
        outcome=outcome,
        **bundle_facts(row, manifest),
        audience=manifest.audience,
        medium=facts,
        **more,
    )


def _begin(
    workspace: Workspace, row: BundleRow, manifest: "Manifest", facts: Medium, counts: dict[str, int] | None
) -> None:
    """From here on the number is used up: a write that is killed late may leave a whole copy on the medium, and the
    same number packed again would then be a fork."""
    with workspace.state.transaction() as tx:
        tx.queue(_entry(row, manifest, facts, Event.WRITE, Outcome.BEGUN, counts=counts))
        current = get_bundle(tx, row.bundle_id)
        if current is None or (current.state is BundleState.DISCARDED and not was_sent(current)):
            raise UsageError(f"bundle {row.name}: was discarded meanwhile, and its number is the next one's")
        set_bundle_state(tx, row.bundle_id, current.state, detail={"write_begun": True})
    workspace.recorder.drain()


def _record(
    workspace: Workspace,
    row: BundleRow,
    manifest: "Manifest",
    facts: Medium,
    event: Event,
    outcome: Outcome,
    **more: Any,
) -> None:
    with workspace.state.transaction() as tx:
        tx.queue(_entry(row, manifest, facts, event, outcome, **more))
    workspace.recorder.drain()


def _record_sent(
    workspace: Workspace,
    row: BundleRow,
    manifest: "Manifest",
    facts: Medium,
    report: WriteReport,
    part: VolumePart | None,
) -> None:
    counts = {"volume": part.plan.volume} if part is not None else None
    outcome = Outcome.NOTHING if report.outcome is WriteOutcome.ALREADY_THERE else Outcome.DONE
    with workspace.state.transaction() as tx:
        tx.queue(_entry(row, manifest, facts, Event.WRITE, outcome, stored=report.volume_bytes, counts=counts))
        if report.read_back.value != "skipped":
            tx.queue(_entry(row, manifest, facts, Event.READ_BACK, Outcome.DONE, detail=report.read_back.value))
        if part is not None and not part.completes:
            outcome = Outcome.PARTIAL
        tx.queue(_entry(row, manifest, facts, Event.SEND, outcome, stored=report.volume_bytes, counts=counts))
        current = get_bundle(tx, row.bundle_id)
        if outcome is not Outcome.PARTIAL and current is not None and current.state is BundleState.PACKED:
            set_bundle_state(tx, row.bundle_id, BundleState.SENT)
    workspace.recorder.drain()
