"""Let in, or turn away, what waits: a bundle whose number or time of creation jumps.

It lies whole in quarantine and counts for nothing. A person who asked the low side admits it: then its number and what
it sets count, as if it had just come; or denies it: its content is removed, its papers stay. Either is an entry with
the key of whoever decided. A fork that was looked into is settled by the same decision.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.bundle.manifest import Manifest
from tidegate.clock import format_time, parse_time
from tidegate.errors import KeyFileError, StateError
from tidegate.ledger.bundle_facts import bundle_facts
from tidegate.ledger.entries import Entry, Event, KeyHolder, Outcome, entry
from tidegate.state.bundles import BundleRow, BundleState, set_bundle_state
from tidegate.state.meta import set_floor
from tidegate.trust.payload import RoleName
from tidegate_receiver.intake.numbering import void_detail
from tidegate_receiver.intake.quarantine import QuarantinedBundle, empty_quarantine
from tidegate_receiver.intake.records import names_set_by_newer, note_taken, read_history
from tidegate_receiver.intake.standing import check_standing, row_of
from tidegate_receiver.intake.verification import judge_manifest
from tidegate_receiver.trusted_time import read_floor

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of a bundle, by whom. `is_new` is False where it was decided so before."""

    row: BundleRow
    is_new: bool
    holder: str
    waits_for: str = ""
    #: where the floor of time stands afterwards, where it was moved to the bundle's time; else None
    floor: int | None = None


def admit(
    workspace: "Workspace", bundle: str, signer: "Signer", reason: str, *, trust_time: bool, dry_run: bool = False
) -> Decision:
    """Let a waiting bundle in. `trust_time`: its time of creation is right, and the floor rises to it at once.

    Raises StateError where it does not wait, what loading raises where it would not be taken today.
    """
    holder = check_approver(workspace, signer)
    row = row_of(workspace, bundle)
    if row.state in (BundleState.QUARANTINED, BundleState.LOADED):
        return Decision(row, is_new=False, holder=holder)
    if row.state is not BundleState.WAITING:
        raise StateError(f"bundle {row.name}: is {row.state}, and waits for nobody")
    quarantined = QuarantinedBundle(workspace.folder("quarantine") / row.bundle_id)
    manifest = quarantined.manifest()
    check_standing(workspace, quarantined, manifest)
    waits_for = str(row.detail.get("waits_for", ""))
    if dry_run:
        return Decision(row, is_new=True, holder=holder, waits_for=waits_for)
    with workspace.recording(), workspace.state.transaction() as tx:
        history = read_history(tx, manifest, workspace)
        chain = workspace.trust.get(manifest.channel)
        assert chain is not None, "its standing was checked"
        judgement = judge_manifest(manifest, row.bundle_id, chain, workspace.trust.site_root(), history)
        detail = {"void": void_detail(manifest), "late": judgement.is_late}
        if judgement.is_late:
            detail["late_names"] = list(names_set_by_newer(tx, manifest))
        made = [_entry(row, manifest, signer, holder, reason, Event.APPROVE, f"admitted: {waits_for}")]
        made += [_follow_up(row, manifest, facts) for facts in note_taken(tx, workspace, manifest, judgement, detail)]
        floor = max(parse_time(manifest.created), read_floor(tx, workspace)) if trust_time else None
        if floor is not None:
            set_floor(tx, floor)
            text = f"the floor of time rises to {format_time(floor)} with bundle {row.name}"
            made.append(_entry(row, manifest, signer, holder, reason, Event.CLOCK_CHANGE, text))
        set_bundle_state(tx, row.bundle_id, BundleState.QUARANTINED, detail=detail)
        for item in made:
            tx.queue(item)
    return Decision(row, is_new=True, holder=holder, waits_for=waits_for, floor=floor)


def deny(workspace: "Workspace", bundle: str, signer: "Signer", reason: str, *, dry_run: bool = False) -> Decision:
    """Turn a waiting bundle away, and remove its content; of one that was refused as a fork: say that it is settled."""
    holder = check_approver(workspace, signer)
    row = row_of(workspace, bundle)
    if row.state is BundleState.DENIED:
        return Decision(row, is_new=False, holder=holder)
    is_fork = row.state is BundleState.REFUSED and row.detail.get("reason") == "fork"
    if row.state is not BundleState.WAITING and not is_fork:
        raise StateError(f"bundle {row.name}: is {row.state}, and waits for nobody")
    if not dry_run:
        with workspace.recording():
            with workspace.state.transaction() as tx:
                set_bundle_state(tx, row.bundle_id, BundleState.DENIED, detail={"denied": reason})
                tx.queue(_entry(row, None, signer, holder, reason, Event.DENY, str(row.detail.get("waits_for", ""))))
            folder = workspace.folder("quarantine") / row.bundle_id
            empty_quarantine(folder)
    return Decision(row, is_new=True, holder=holder, waits_for=str(row.detail.get("waits_for", "")))


def check_approver(workspace: "Workspace", signer: "Signer") -> str:
    """The holder of an approver's key; raises KeyFileError where the site root does not give it that role."""
    site = workspace.trust.site_root()
    key = site.role_keys(RoleName.APPROVER).get(signer.key_id)
    if key is None:
        raise KeyFileError(
            f"key {signer.key_id[:16]}: is not in role approver of {site.label}",
            hint='"tidegate keys list" shows who is',
        )
    return key.holder


def _entry(
    row: BundleRow,
    manifest: Manifest | None,
    signer: "Signer",
    holder: str,
    reason: str,
    event: Event,
    detail: str,
) -> Entry:
    decision = "deny" if event is Event.DENY else "admit"
    return entry(
        event,
        subject=row.name,
        step=event,
        outcome=Outcome.DONE,
        **({"epoch": row.epoch} | bundle_facts(row, manifest)),
        approvers=(KeyHolder(holder, signer.key_id, decision),),
        justification=reason,
        detail=detail or None,
    )


def _follow_up(row: BundleRow, manifest: Manifest, facts: dict[str, object]) -> Entry:
    """What follows from a bundle that counts now: late, void numbers, a gap."""
    event = Event(str(facts["event"]))
    known: dict[str, object] = {
        "subject": row.name,
        "step": event,
        **bundle_facts(row, manifest),
    }
    return entry(**{**known, **facts})  # type: ignore[arg-type]
