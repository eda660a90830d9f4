"""One bundle from its copies into quarantine: the steps of `verification`, and what is opened and written between.

    copies: verified announcement and a source of symbols each, from a medium, an image or a stream (`copies`)
    ─► papers: cover and head (`bundle_papers`) ─► judged (`verification`) ─► content (`bundle_content`)
    ─► quarantine, one rename ─► row and entries, one transaction (`records`)

Every step can be killed and done again: the head lies in the spool once it is verified, content is marked chunk by
chunk, the move into quarantine is one rename, and the bundle's row and entries are one transaction after it.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.bundle.manifest import Manifest
from tidegate.bundle.papers import ANNOUNCEMENT_FILE, CHAIN_FILE, COVER_FILE, MANIFEST_FILE
from tidegate.bundle.tables import Tables
from tidegate.carrier.announcement import CHUNKS
from tidegate.config import Settings
from tidegate.errors import (
    BusyError,
    DigestError,
    ForkError,
    MediaError,
    RefusedError,
    StateError,
    TamperedError,
    TidegateError,
)
from tidegate.ledger.entries import Medium, Target
from tidegate.ledger.witness_folder import FORK_KEY
from tidegate.ledger.witness_memory import Relation
from tidegate.report import ProgressCallback
from tidegate.state.bundles import BundleState, get_bundle, list_bundles
from tidegate.state.db import Transaction
from tidegate.trust.root import Chain
from tidegate.workspace import Workspace
from tidegate_receiver.intake.bundle_content import ContentFilling
from tidegate_receiver.intake.bundle_papers import read_head, store_papers, verify_covers
from tidegate_receiver.intake.copies import Copy
from tidegate_receiver.intake.evidence import keep_known_papers, keep_papers
from tidegate_receiver.intake.numbering import code_text, is_wanted
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome, kind_of
from tidegate_receiver.intake.quarantine import holds_content, lay_down, quarantine_receipt
from tidegate_receiver.intake.records import (
    IN_QUARANTINE,
    STREAM,
    WHOLE,
    Subject,
    names_set_by_newer,
    read_history,
    record_begin,
    record_duplicate,
    record_failure,
    record_received,
    with_manifest,
)
from tidegate_receiver.intake.requirements import missing_sequences
from tidegate_receiver.intake.room import check_room
from tidegate_receiver.intake.unverified import Standing, check_space
from tidegate_receiver.intake.verification import Judgement, judge_manifest, verify_tables
from tidegate_receiver.intake.volume_sets import note_volumes
from tidegate_receiver.intake.witness import Witnessed, witness_cover
from tidegate_receiver.reassembly.blobs import BlobDigestError
from tidegate_receiver.reassembly.spool import Spool
from tidegate_receiver.reassembly.spooled_content import SAVE_SECONDS


@dataclass(frozen=True, slots=True)
class ReceiveOptions:
    """How to receive."""

    dry_run: bool = False
    progress: ProgressCallback | None = None
    save_seconds: float = SAVE_SECONDS
    #: carve from the device or image, past its file system
    damaged: bool = False
    #: bring the entries into the ledger; else the caller does, for several bundles at once
    drains: bool = True


def take_bundle(
    workspace: Workspace, copies: Sequence[Copy], medium: Medium | None, options: ReceiveOptions
) -> ReceiveOutcome:
    """Take one bundle in from what brings it. Its announcements are verified; `medium` is None where there is none.

    Its entries are in the ledger afterwards, unless `options` leave that to the caller.

    What goes wrong with this bundle alone is the outcome; LedgerError and what else concerns the whole host is raised.
    """
    channel_id = copies[0].verified.chain.channel_id
    others = tuple(chain for chain in workspace.trust.chains() if chain.channel_id != channel_id)
    outcome = BundleIntake(workspace, tuple(copies), others, medium, options).run()
    if not options.dry_run and options.drains:
        workspace.recorder.drain()
    return outcome


class BundleIntake:
    """Receives one bundle from its copies; `run` is called once."""

    def __init__(
        self,
        workspace: Workspace,
        copies: tuple[Copy, ...],
        others: tuple[Chain, ...],
        medium: Medium | None,
        options: ReceiveOptions,
    ) -> None:
        self.workspace = workspace
        self.settings: Settings = workspace.settings
        self.copies = copies
        self.others = others
        self.options = options
        self.verified = copies[0].verified
        self.announcement = self.verified.announcement
        self.subject = Subject(self.verified, medium)
        self.spool = Spool(workspace.folder("spool") / self.announcement.bundle_id)
        self.target: Path = workspace.folder("quarantine") / self.announcement.bundle_id
        self.detail: dict[str, Any] = {STREAM: True} if medium is None else {}
        self.content = ContentFilling(
            copies,
            self.spool,
            self.detail,
            quota_bytes=self.settings.quota_bytes,
            save_seconds=options.save_seconds,
            progress=options.progress,
        )
        self.judgement = Judgement(is_late=False, gap=None)
        self.papers: dict[str, bytes] = {}
        self.needs: tuple[int, ...] = ()
        self.cover = b""
        self.witnessed = Witnessed(Relation.FIRST)
        self._started = time.monotonic()

    def run(self) -> ReceiveOutcome:
        """Receive; what goes wrong with this bundle alone is an outcome, what stops everything is raised."""
        try:
            if self._is_whole_already():
                return self._duplicate()
            if self.options.dry_run:
                self._verify_head()
                return self._outcome(OutcomeKind.PLANNED, self.judgement.ahead)
            with self.spool.locked():
                return self._receive_locked()
        except (RefusedError, MediaError, StateError) as error:
            return self._fail(error)

    def _receive_locked(self) -> ReceiveOutcome:
        try:
            if self._is_whole_already():  # by another command, between the first look and our lock
                return self._duplicate()
            return self._receive()
        except (RefusedError, MediaError, StateError) as error:
            outcome = self._fail(error)
            # Kept is what another copy can go on with: a head whose signatures hold, and content that came with it.
            if self._state_after(error) is BundleState.REFUSED or self.spool.open_head() is None:
                self.spool.remove()
            return outcome

    # --- the steps ----------------------------------------------------------------------------

    def _is_whole_already(self) -> bool:
        with self.workspace.state.reading() as tx:
            row = get_bundle(tx, self.announcement.bundle_id)
            # One that was cleaned up is taken again only where a bundle that waits builds on it.
            if row is not None and row.state is BundleState.CLEANED:
                return not is_wanted(tx, self.workspace.root, row)
        if row is None or row.state not in WHOLE:
            return False
        # Somebody may have emptied quarantine by hand: then the bundle is received again.
        return row.state not in IN_QUARANTINE or holds_content(self.target)

    def _receive(self) -> ReceiveOutcome:
        self._check_room(sum(part.length for part in self.announcement.parts))
        tables, head, manifest = self._verify_head()
        self._witness()
        if not holds_content(self.target):
            self._check_room(manifest.content_size)
            with self.workspace.state.transaction() as tx:
                self._judge(tx, manifest)  # again: another command may have taken the number just now
                self._note_volumes(tx)
                record_begin(tx, self.subject)
            self.content.run(tables, manifest)
            self.detail.pop("sets", None)
        lay_down(self.spool, self.target, manifest, head, self.announcement.manifest_length)
        receipt = quarantine_receipt(self.target, tables)
        counts = {name: len(table) for name, table in (("blobs", tables.blobs), ("chunks", tables.chunks))}
        with self.workspace.state.transaction() as tx:
            if self.judgement.is_late:
                self.detail["late_names"] = list(names_set_by_newer(tx, manifest))
            self.detail |= {"late": self.judgement.is_late, "needs": list(self.needs), "receipt": receipt}
            counts |= {"artifacts": len(manifest.artifacts), "volumes": len(self.copies)}
            record_received(tx, self.workspace, self.subject, self.judgement, self.content.filled, self.detail, counts)
        # Not drained here: a ledger that cannot be written now is no failure of a bundle that is in quarantine.
        self.spool.remove()
        ahead = self.judgement.ahead
        return self._outcome(OutcomeKind.RECEIVED) if ahead is None else self._outcome(OutcomeKind.WAITING, ahead)

    def _check_room(self, total_bytes: int) -> None:
        what = f"bundle {self.announcement.name}"
        needed = max(0, total_bytes - self.spool.used_bytes())
        check_room(self.spool.folder.parent, needed, what)
        standing = Standing.AT_HAND if self.subject.signed is None else Standing.SIGNED
        check_space(self.workspace, self.announcement.bundle_id, total_bytes, what, standing)

    def _verify_head(self) -> tuple[Tables, memoryview, Manifest]:
        """Cover and head: from signatures to tables. They lie in the spool afterwards, unless it is a dry run."""
        head = read_head(self.copies, self.spool)
        manifest_bytes = bytes(head[: self.announcement.manifest_length])
        cover, signed = verify_covers(self.copies, self.spool, manifest_bytes, self.others)
        self.subject = with_manifest(self.subject, signed)
        self.cover = cover
        self.papers = {
            MANIFEST_FILE: manifest_bytes,
            COVER_FILE: cover,
            ANNOUNCEMENT_FILE: self.verified.frame.data,
            CHAIN_FILE: self.verified.chain.to_whole_bytes(),
        }
        manifest = signed.manifest
        with self.workspace.state.reading() as tx:
            self._judge(tx, manifest)
        tables = verify_tables(head, self.verified, manifest)
        self.needs = self._find_needs(tables)
        if not self.options.dry_run and not holds_content(self.target):
            head = store_papers(self.spool, self.verified, cover, head)
            tables = verify_tables(head, self.verified, manifest)
        return tables, head, manifest

    def _witness(self) -> None:
        """Hold the low side's ledger in the cover against what was seen of it. A fork makes the bundle wait."""
        self.witnessed = witness_cover(self.workspace, self.verified.chain, self.subject, self.cover)
        if self.witnessed.alarm is not None:
            self.detail[FORK_KEY] = self.witnessed.alarm.message

    def _judge(self, tx: Transaction, manifest: Manifest) -> None:
        history = read_history(tx, self.announcement, self.workspace)
        site = self.workspace.trust.site_root()
        self.judgement = judge_manifest(manifest, self.announcement.bundle_id, self.verified.chain, site, history)

    def _find_needs(self, tables: Tables) -> tuple[int, ...]:
        if not len(tables.required):
            return ()
        with self.workspace.state.reading() as tx:
            rows = list_bundles(tx, channel_id=self.announcement.channel, states=(BundleState.QUARANTINED,))
        folder = self.target.parent
        quarantined = {row.sequence: folder / row.bundle_id for row in rows}
        return missing_sequences(tables.required, self.workspace.root / "depot", quarantined)

    def _note_volumes(self, tx: Transaction) -> None:
        """Remember which volumes of a set were read, so that the missing ones can be named."""
        row = get_bundle(tx, self.announcement.bundle_id)
        known = row.detail.get("sets", {}) if row is not None else {}
        sets = note_volumes(known, (copy.verified.announcement for copy in self.copies))
        if sets:
            self.detail["sets"] = sets

    # --- how it ends --------------------------------------------------------------------------

    def _duplicate(self) -> ReceiveOutcome:
        if not self.options.dry_run:
            # Left by a process that was killed after the bundle was recorded. Busy: another one is just ending.
            with contextlib.suppress(BusyError), self.spool.locked():
                self.spool.remove()
            with self.workspace.state.transaction() as tx:
                record_duplicate(tx, self.subject)
        return self._outcome(OutcomeKind.DUPLICATE)

    def _fail(self, error: TidegateError) -> ReceiveOutcome:
        if not self.options.dry_run:
            state = self._state_after(error)
            evidence = self._keep_evidence(error) if isinstance(error, ForkError) else ()
            with self.workspace.state.transaction() as tx:
                record_failure(tx, self.subject, error, state, self.detail, evidence)
        return self._outcome(kind_of(error), error)

    def _keep_evidence(self, error: ForkError) -> tuple[Target, ...]:
        """The papers of both bundles, before anything of this one is removed."""
        name = self.announcement.name
        kept = [keep_known_papers(self.workspace, name, other) for other in error.others]
        return (*kept, keep_papers(self.workspace, name, self.announcement.bundle_id, self.papers))

    def _state_after(self, error: TidegateError) -> BundleState | None:
        """Where the bundle stands now; None where nothing is known of it but what a carrier key said."""
        if self.subject.signed is None:
            return None
        if isinstance(error, RefusedError) and not self._is_of_this_copy(error):
            return BundleState.REFUSED
        return BundleState.INCOMPLETE if "chunks" in self.detail else None

    @staticmethod
    def _is_of_this_copy(error: RefusedError) -> bool:
        """Whether only this medium lies, and another copy of the same bundle may be honest."""
        return isinstance(error, DigestError | TamperedError) and not isinstance(error, BlobDigestError)

    def _outcome(self, kind: OutcomeKind, error: TidegateError | None = None) -> ReceiveOutcome:
        signed = self.subject.signed
        return ReceiveOutcome(
            kind=kind,
            name=self.announcement.name,
            bundle_id=self.announcement.bundle_id,
            channel_name=self.verified.chain.newest.name,
            sequence=self.announcement.sequence,
            error=error,
            artifacts=tuple(artifact.name for artifact in signed.manifest.artifacts) if signed else (),
            content_size=signed.manifest.content_size if signed else self.announcement.parts[CHUNKS].length,
            signed_by=tuple(signer.holder for signer in signed.signers) if signed else (),
            symbols_missing=self.content.filled.symbols_missing,
            blocks_mended=self.content.filled.blocks_mended,
            files_missing=sum(copy.source.files_missing for copy in self.copies),
            chunks_done=self.detail.get("chunks_done", 0),
            chunk_count=self.detail.get("chunks", 0),
            is_late=self.judgement.is_late,
            late_names=tuple(self.detail.get("late_names", ())),
            needs=self.needs,
            code=self._code(kind),
            gap=self.judgement.gap,
            missing_volumes=self.content.missing.volumes if self.content.missing else (),
            missing_text=self.content.missing.text if self.content.missing else "",
            ledger=self.witnessed.relation if self.witnessed.size else "",
            warning=self.witnessed.warning,
            alarm=self.witnessed.alarm,
            seconds=time.monotonic() - self._started,
        )

    def _code(self, kind: OutcomeKind) -> str:
        """The short code for the office, of a bundle whose content is verified and here."""
        if kind not in {OutcomeKind.RECEIVED, OutcomeKind.DUPLICATE}:
            return ""
        with self.workspace.state.reading() as tx:
            row = get_bundle(tx, self.announcement.bundle_id)
        return code_text(row, self.settings.sites[0]) if row is not None else ""
