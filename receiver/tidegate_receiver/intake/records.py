"""What receiving writes down: rows of the state and entries of the ledger, always together in one transaction."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tidegate.bundle.manifest import Manifest, VoidNumber
from tidegate.carrier.announcement import Announcement
from tidegate.clock import parse_time
from tidegate.errors import TidegateError, reason_of
from tidegate.ledger.entries import Entry, Event, KeyHolder, Medium, Outcome, PreviousBundle, Target, entry
from tidegate.names import bundle_name
from tidegate.state.bundles import BundleRow, BundleState, bundles_by_number, get_bundle, list_bundles, put_bundle
from tidegate.state.channels import ensure_channel, get_channel, note_sequence
from tidegate.state.db import Transaction
from tidegate.state.jobs import JobState, begin_job, end_job, find_job
from tidegate.state.names import begin_epoch, list_names
from tidegate_receiver.intake.numbering import HELD, read_void, void_detail
from tidegate_receiver.intake.outcomes import event_of
from tidegate_receiver.intake.verification import History, Judgement, VerifiedAnnouncement, VerifiedManifest
from tidegate_receiver.reassembly.filling import FillReport
from tidegate_receiver.trusted_time import note_time, read_time

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

JOB_KIND = "receive"
SIDE = "high"
#: states in which a bundle is whole here, so that another copy of it has nothing to add
WHOLE = (BundleState.QUARANTINED, BundleState.LOADED, BundleState.WAITING, BundleState.DENIED)
#: states in which the content lies in quarantine
IN_QUARANTINE = (BundleState.QUARANTINED, BundleState.WAITING)
#: in a bundle's detail: it came over a stream, and what is not whole of it is kept for fewer days
STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Subject:
    """The bundle at hand as far as it is known, and the medium that it came on; None for a stream."""

    verified: VerifiedAnnouncement
    medium: Medium | None
    signed: VerifiedManifest | None = None

    def entry(self, event: Event, outcome: Outcome = Outcome.DONE, **more: Any) -> Entry:
        """An entry about this bundle."""
        announcement, root = self.verified.announcement, self.verified.chain.newest
        facts: dict[str, Any] = {
            "bundle": announcement.bundle_id,
            "bundle_name": announcement.name,
            "channel": announcement.channel,
            "channel_name": root.name,
            "epoch": announcement.epoch,
            "sequence": announcement.sequence,
            "medium": self.medium,
        }
        if self.signed is not None:
            facts |= _signed_facts(self.signed)
        return entry(event, **{"subject": announcement.name, "step": event, "outcome": outcome, **facts, **more})


def _signed_facts(signed: VerifiedManifest) -> dict[str, Any]:
    manifest = signed.manifest
    previous = manifest.previous
    return {
        "audience": manifest.audience,
        "classification": manifest.classification,
        "signers": tuple(KeyHolder(signer.holder, signer.key_id) for signer in signed.signers),
        "previous": PreviousBundle(previous.bundle_id, previous.sequence) if previous else None,
        "size": manifest.content_size,
        "kinds": tuple(sorted({artifact.kind for artifact in manifest.artifacts})),
        "names": tuple(artifact.name for artifact in manifest.artifacts),
    }


# --- reading ----------------------------------------------------------------------------------


def read_history(tx: Transaction, announcement: Announcement | Manifest, workspace: "Workspace") -> History:
    """What the checks ask of this side's memory."""
    row = get_channel(tx, announcement.channel)
    counts = row is not None and row.epoch == announcement.epoch  # a new epoch begins counting anew
    void = read_void(tx, announcement.channel, announcement.epoch)
    same = (
        other.bundle_id
        for other in bundles_by_number(tx, announcement.channel, announcement.sequence)
        if other.state is not BundleState.REFUSED and epoch_of(other) == announcement.epoch
    )
    time = read_time(tx, workspace)
    return History(
        site=workspace.settings.sites[0],
        highest_sequence=row.highest_sequence if row is not None and counts else 0,
        floor_sequence=row.floor_sequence if row is not None and counts else 0,
        same_number=tuple(same),
        known_time=time.known,
        created_limit=time.created_limit,
        void={number: item.bundle_id for number, item in void.items()},
    )


def epoch_of(row: BundleRow) -> int:
    return int(row.detail.get("epoch", 1))


def names_set_by_newer(tx: Transaction, manifest: Manifest) -> tuple[str, ...]:
    """The artifacts' names that a bundle of a higher number has set, or brought and not yet set."""
    newer = {row.name for row in list_names(tx, manifest.channel) if row.sequence > manifest.sequence}
    for row in list_bundles(tx, channel_id=manifest.channel, states=HELD):
        if row.sequence > manifest.sequence and epoch_of(row) == manifest.epoch:
            newer.update(str(artifact.get("name")) for artifact in row.artifacts)
    return tuple(artifact.name for artifact in manifest.artifacts if artifact.name in newer)


# --- writing ----------------------------------------------------------------------------------


def make_row(subject: Subject, state: BundleState, detail: dict[str, Any]) -> BundleRow:
    """The bundle's row; only of a bundle whose manifest is signed."""
    signed = subject.signed
    assert signed is not None, "nothing is written of a bundle before its signatures hold"
    manifest, announcement = signed.manifest, subject.verified.announcement
    folder = "quarantine" if state in IN_QUARANTINE else "spool"
    return BundleRow(
        bundle_id=announcement.bundle_id,
        channel_id=manifest.channel,
        sequence=manifest.sequence,
        side=SIDE,
        state=state,
        created=parse_time(manifest.created),
        size=sum(part.length for part in announcement.parts),
        content_size=manifest.content_size,
        expires=parse_time(manifest.expires) if manifest.expires else None,
        path=str(PurePosixPath(folder) / announcement.bundle_id),
        artifacts=tuple(
            {key: getattr(item, key) for key in ("name", "kind", "media_type", "digest", "size")}
            for item in manifest.artifacts
        ),
        previous=manifest.previous.bundle_id if manifest.previous else None,
        detail={
            "epoch": manifest.epoch,
            "channel_name": manifest.channel_name,
            "signers": [signer.holder for signer in signed.signers],
            **detail,
        },
    )


def record_begin(tx: Transaction, subject: Subject) -> None:
    """The content begins to come: the bundle is known from now on, and its number is taken."""
    announcement = subject.verified.announcement
    begin_job(tx, JOB_KIND, announcement.bundle_id, step="content")
    before = get_bundle(tx, announcement.bundle_id)
    partial = (BundleState.INCOMPLETE, BundleState.RECEIVING)  # the latter: it was killed on the way
    detail = dict(before.detail) if before is not None and before.state in partial else {}
    detail.pop(STREAM, None)
    if subject.medium is None:
        detail[STREAM] = True
    put_bundle(tx, make_row(subject, BundleState.RECEIVING, detail))


def record_received(
    tx: Transaction,
    workspace: "Workspace",
    subject: Subject,
    judgement: Judgement,
    filled: FillReport,
    detail: dict[str, Any],
    counts: dict[str, int],
) -> None:
    """The bundle is in quarantine: its row, the channel's number, the floor of time, and all entries of it.

    One that is ahead waits: it moves no number and no time before somebody admits it (`admission`).
    """
    signed = subject.signed
    assert signed is not None
    lost, mended = filled.symbols_missing, filled.symbols_mended
    stored = sum(part.length for part in subject.verified.announcement.parts)
    tx.queue(subject.entry(Event.RECEIVE, counts=counts, stored=stored, symbols_lost=lost, symbols_mended=mended))
    if mended:
        tx.queue(subject.entry(Event.MEND, symbols_lost=lost, symbols_mended=mended, names=()))
    tx.queue(subject.entry(Event.QUARANTINE, manifest_digest=f"sha256:{subject.verified.announcement.bundle_id}"))
    ahead = judgement.ahead
    if ahead is not None:
        put_bundle(tx, make_row(subject, BundleState.WAITING, {**detail, "waits_for": ahead.message}))
        tx.queue(subject.entry(Event.AHEAD, Outcome.BEGUN, reason=ahead.reason, detail=ahead.message, names=()))
    else:
        for made in note_taken(tx, workspace, signed.manifest, judgement, detail):
            tx.queue(subject.entry(**made))
        put_bundle(tx, make_row(subject, BundleState.QUARANTINED, {**detail, "void": void_detail(signed.manifest)}))
    _end_job(tx, subject, JobState.DONE)


def note_taken(
    tx: Transaction, workspace: "Workspace", manifest: Manifest, judgement: Judgement, detail: dict[str, Any]
) -> list[dict[str, Any]]:
    """A bundle counts from now on: move the channel's number and the floor of time.

    The entries that follow from it, each as the facts by which it differs from the bundle's others.
    """
    known = read_void(tx, manifest.channel, manifest.epoch)
    before = get_channel(tx, manifest.channel)
    if before is not None and before.epoch < manifest.epoch:
        begin_epoch(tx, manifest.channel)
    ensure_channel(tx, manifest.channel, manifest.channel_name, manifest.epoch)
    note_sequence(tx, manifest.channel, manifest.sequence)
    note_time(tx, workspace, parse_time(manifest.created))
    made: list[dict[str, Any]] = []
    if judgement.is_late:
        late_names = tuple(detail.get("late_names", ()))
        made.append({"event": Event.LATE, "detail": _late_text(detail), "names": late_names})
    for item in manifest.void or ():
        told = known.get(item.sequence)
        if told is None or told.reason != item.reason:
            made.append(_void_facts(manifest.channel, item))
    if judgement.gap is not None:
        first, last = judgement.gap
        missing = f"number {first}" if first == last else f"numbers {first} to {last}"
        made.append({"event": Event.GAP, "detail": f"{missing} have not come", "names": ()})
    return made


def _void_facts(channel_id: str, item: VoidNumber) -> dict[str, Any]:
    """The low side's word that a number will not come, or that its bundle is taken back."""
    name = bundle_name(channel_id, item.sequence)
    return {
        "event": Event.DISCARD if item.reason is None else Event.WITHDRAW,
        "subject": name,
        "names": (),
        "detail": item.reason or "the low side says that it will not come",
        "bundle": item.bundle_id,
        "bundle_name": name,
        "sequence": item.sequence,
        "previous": None,
    }


def _late_text(detail: dict[str, Any]) -> str:
    count = len(detail.get("late_names", ()))
    return f"newer bundles came before; {count} names do not move back"


def record_duplicate(tx: Transaction, subject: Subject) -> None:
    tx.queue(subject.entry(Event.DUPLICATE, Outcome.NOTHING))


def record_failure(
    tx: Transaction,
    subject: Subject,
    error: TidegateError,
    state: BundleState | None,
    detail: dict[str, Any],
    evidence: tuple[Target, ...] = (),
) -> None:
    """The one entry of an error, and the row's new state where the bundle is known.

    Of a fork the entry lists both bundle_ids, each with the place of its papers.
    """
    event, outcome = event_of(error)
    facts: dict[str, Any] = {"reason": reason_of(error), "detail": error.message, "targets": evidence}
    if detail.get("chunks"):
        facts["counts"] = {"chunks": detail["chunks"], "chunks_done": detail["chunks_done"]}
    if state is not None and subject.signed is not None:
        facts_kept = {"reason": facts["reason"], "error": error.message}
        if evidence:
            facts_kept["evidence"] = [item.place for item in evidence]
        row = make_row(subject, state, {**detail, **facts_kept})
        put_bundle(tx, row)
        _end_job(tx, subject, JobState.FAILED)
    tx.queue(subject.entry(event, outcome, **facts))


def _end_job(tx: Transaction, subject: Subject, state: JobState) -> None:
    job = find_job(tx, JOB_KIND, subject.verified.announcement.bundle_id)
    if job is not None:
        end_job(tx, job.id, state)


def with_manifest(subject: Subject, signed: VerifiedManifest) -> Subject:
    return replace(subject, signed=signed)
