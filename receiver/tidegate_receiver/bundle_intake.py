"""One bundle from a medium into quarantine: the steps of `verification`, with what must be opened and written between.

Every step can be killed and done again: the head lies in the spool once it is verified, content is marked chunk by
chunk, the move into quarantine is one rename, and the bundle's row and entries are one transaction after it.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.bundle.header import COVER_MAX_BYTES
from tidegate.bundle.manifest import Manifest, bundle_id
from tidegate.bundle.papers import ANNOUNCEMENT_FILE, CHAIN_FILE, COVER_FILE
from tidegate.bundle.tables import Tables
from tidegate.carrier.announcement import CHUNKS, COVER, HEAD, Announcement
from tidegate.carrier.parts import SymbolSource, read_part
from tidegate.carrier.reader import VolumeReader
from tidegate.config import Settings
from tidegate.errors import (
    BusyError,
    DigestError,
    DiskFullError,
    LimitError,
    MediaError,
    RefusedError,
    StateError,
    TamperedError,
    TidegateError,
    VolumeMissingError,
)
from tidegate.ledger.entries import Medium
from tidegate.report import ProgressCallback
from tidegate.state.bundles import BundleState, get_bundle, list_bundles
from tidegate.state.db import Transaction
from tidegate.trust.root import Chain
from tidegate.units import MIB, format_bytes
from tidegate.workspace import Workspace
from tidegate_receiver.blobs import BlobDigestError
from tidegate_receiver.numbering import code_text
from tidegate_receiver.outcomes import OutcomeKind, ReceiveOutcome, kind_of
from tidegate_receiver.quarantine import lay_down, quarantine_receipt
from tidegate_receiver.reassembly import SAVE_SECONDS, FillReport, Reassembly
from tidegate_receiver.records import (
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
from tidegate_receiver.requirements import missing_sequences
from tidegate_receiver.room import check_quota, check_room, has_room
from tidegate_receiver.sources import CodeSource, SparingSource, join_volumes, sources_by_code
from tidegate_receiver.spool import Spool
from tidegate_receiver.symbol_store import SymbolStore, kept_bytes
from tidegate_receiver.verification import (
    Judgement,
    VerifiedAnnouncement,
    VerifiedManifest,
    judge_manifest,
    verify_manifest_bytes,
    verify_tables,
)
from tidegate_receiver.volume_sets import SetMissing, missing_of, note_volumes

#: a head is mended in memory, before anything of it may be written: 128 MiB are the tables of about 5 TiB of content
HEAD_MEMORY_BYTES = 128 * MIB


@dataclass(frozen=True, slots=True)
class ReceiveOptions:
    """How to receive."""

    dry_run: bool = False
    progress: ProgressCallback | None = None
    save_seconds: float = SAVE_SECONDS


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the medium whose announcement is verified."""

    verified: VerifiedAnnouncement
    reader: VolumeReader


class BundleIntake:
    """Receives one bundle from its volumes on one medium; `run` is called once."""

    def __init__(
        self,
        workspace: Workspace,
        volumes: tuple[Volume, ...],
        others: tuple[Chain, ...],
        medium: Medium,
        options: ReceiveOptions,
    ) -> None:
        self.workspace = workspace
        self.settings: Settings = workspace.settings
        self.volumes = volumes
        self.others = others
        self.options = options
        self.verified = volumes[0].verified
        self.announcement = self.verified.announcement
        self.subject = Subject(self.verified, medium)
        self.spool = Spool(workspace.folder("spool") / self.announcement.bundle_id)
        self.target: Path = workspace.folder("quarantine") / self.announcement.bundle_id
        self.source: SymbolSource = join_volumes(tuple(volume.reader for volume in volumes))
        self.filled = FillReport()
        self.detail: dict[str, Any] = {}
        self.judgement = Judgement(is_late=False, gap=None)
        self.needs: tuple[int, ...] = ()
        self.missing: SetMissing | None = None
        self._started = time.monotonic()

    def run(self) -> ReceiveOutcome:
        """Receive; what goes wrong with this bundle alone is an outcome, what stops everything is raised."""
        try:
            if self._is_whole_already():
                return self._duplicate()
            if self.options.dry_run:
                self._verify_head()
                return self._outcome(OutcomeKind.PLANNED)
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
        if row is None or row.state not in WHOLE:
            return False
        # Somebody may have emptied quarantine by hand: then the bundle is received again.
        return row.state is not BundleState.QUARANTINED or self.target.is_dir()

    def _receive(self) -> ReceiveOutcome:
        self._check_room(sum(part.length for part in self.announcement.parts))
        tables, head, manifest = self._verify_head()
        if not self.target.is_dir():
            self._check_room(manifest.content_size)
            with self.workspace.state.transaction() as tx:
                self._judge(tx, manifest)  # again: another command may have taken the number just now
                self._note_volumes(tx)
                record_begin(tx, self.subject)
            self._fill(tables, manifest)
            self.detail.pop("sets", None)
        lay_down(self.spool, self.target, manifest, head, self.announcement.manifest_length)
        receipt = quarantine_receipt(self.target, tables)
        counts = {name: len(table) for name, table in (("blobs", tables.blobs), ("chunks", tables.chunks))}
        with self.workspace.state.transaction() as tx:
            if self.judgement.is_late:
                self.detail["late_names"] = list(names_set_by_newer(tx, manifest))
            self.detail |= {"late": self.judgement.is_late, "needs": list(self.needs), "receipt": receipt}
            counts |= {"artifacts": len(manifest.artifacts), "volumes": len(self.volumes)}
            record_received(tx, self.subject, self.judgement, self.filled, self.detail, counts)
        # Not drained here: a ledger that cannot be written now is no failure of a bundle that is in quarantine.
        self.spool.remove()
        return self._outcome(OutcomeKind.RECEIVED)

    def _check_room(self, total_bytes: int) -> None:
        what = f"bundle {self.announcement.name}"
        needed = max(0, total_bytes - self.spool.used_bytes())
        check_room(self.spool.folder.parent, needed, what)
        if self.settings.quota_bytes:
            states = (BundleState.RECEIVING, BundleState.INCOMPLETE, BundleState.QUARANTINED)
            with self.workspace.state.reading() as tx:
                rows = list_bundles(tx, states=states)
            taken = sum(row.content_size for row in rows if row.bundle_id != self.announcement.bundle_id)
            check_quota(self.settings.quota_bytes, taken, total_bytes, what)

    def _verify_head(self) -> tuple[Tables, memoryview, Manifest]:
        """Cover and head: from signatures to tables. They lie in the spool afterwards, unless it is a dry run."""
        head = self._read_head()
        cover, signed = self._verify_signatures(bytes(head[: self.announcement.manifest_length]))
        self.subject = with_manifest(self.subject, signed)
        manifest = signed.manifest
        with self.workspace.state.reading() as tx:
            self._judge(tx, manifest)
        tables = verify_tables(head, self.verified, manifest)
        self.needs = self._find_needs(tables)
        if not self.options.dry_run:
            head = self._store_papers(cover, head)
            tables = verify_tables(head, self.verified, manifest)
        return tables, head, manifest

    def _judge(self, tx: Transaction, manifest: Manifest) -> None:
        history = read_history(tx, self.announcement, self.settings)
        site = self.workspace.trust.site_root()
        self.judgement = judge_manifest(manifest, self.announcement.bundle_id, self.verified.chain, site, history)

    def _verify_signatures(self, manifest_bytes: bytes) -> tuple[bytes, VerifiedManifest]:
        """The first cover whose signatures hold for the manifest; covers differ from copy to copy, and one may lie."""
        failure: RefusedError | None = None
        for cover in self._covers():
            try:
                return cover, verify_manifest_bytes(cover, manifest_bytes, self.verified, self.others)
            except RefusedError as error:
                failure = failure or error
        assert failure is not None, "there is a cover, or its absence was raised"
        raise failure

    def _covers(self) -> Iterator[bytes]:
        """The covers of the volumes, then the one that an earlier copy brought."""
        lost: list[VolumeMissingError] = []
        for volume in self.volumes:
            try:
                yield read_part(SparingSource(volume.reader), COVER, COVER_MAX_BYTES)
            except VolumeMissingError as error:
                lost.append(error)
        stored = self.spool.read_file(COVER_FILE, COVER_MAX_BYTES)
        if stored is not None:
            yield stored
        elif len(lost) == len(self.volumes):
            raise lost[0]

    def _read_head(self) -> memoryview:
        """The head in the spool, else that of all copies together, else that of one that is the announced bundle's."""
        length, end = self.announcement.parts[HEAD].length, self.announcement.manifest_length
        if length > HEAD_MEMORY_BYTES:
            raise LimitError(
                f"bundle {self.announcement.name}: manifest and tables of {format_bytes(length)},"
                f" this side takes {format_bytes(HEAD_MEMORY_BYTES)}"
            )
        stored = self.spool.open_head()
        if stored is not None and len(stored) == length and bundle_id(stored[:end]) == self.announcement.bundle_id:
            return stored
        head = read_part(self.source, HEAD, HEAD_MEMORY_BYTES)
        for volume in self.volumes[1:]:
            if bundle_id(head[:end]) == self.announcement.bundle_id:
                break
            with contextlib.suppress(VolumeMissingError):
                head = read_part(SparingSource(volume.reader), HEAD, HEAD_MEMORY_BYTES)
        return memoryview(head)

    def _find_needs(self, tables: Tables) -> tuple[int, ...]:
        if not len(tables.required):
            return ()
        with self.workspace.state.reading() as tx:
            rows = list_bundles(tx, channel_id=self.announcement.channel, states=(BundleState.QUARANTINED,))
        folder = self.target.parent
        quarantined = {row.sequence: folder / row.bundle_id for row in rows}
        return missing_sequences(tables.required, self.workspace.root / "depot", quarantined)

    def _store_papers(self, cover: bytes, head: memoryview) -> memoryview:
        """Keep what is verified, so that another copy need not bring it again; the head as it lies on the disk."""
        if self.target.is_dir():
            return head
        self.spool.create()
        self.spool.save_head(head)
        self.spool.save_file(COVER_FILE, cover)
        self.spool.save_file(ANNOUNCEMENT_FILE, self.verified.frame.data)
        self.spool.save_file(CHAIN_FILE, self.verified.chain.to_whole_bytes())
        stored = self.spool.open_head()
        return head if stored is None else stored

    def _note_volumes(self, tx: Transaction) -> None:
        """Remember which volumes of a set were read, so that the missing ones can be named."""
        row = get_bundle(tx, self.announcement.bundle_id)
        known = row.detail.get("sets", {}) if row is not None else {}
        sets = note_volumes(known, (volume.verified.announcement for volume in self.volumes))
        if sets:
            self.detail["sets"] = sets

    def _fill(self, tables: Tables, manifest: Manifest) -> None:
        made = Reassembly(self.spool, tables, save_seconds=self.options.save_seconds)
        readers = tuple(volume.reader for volume in self.volumes)
        sources = sources_by_code(readers, lambda announcement: self._make_store(announcement, manifest))
        with made as reassembly, self._counted(reassembly, sources):
            self._fill_from_all(reassembly, sources)
            while not reassembly.is_filled or reassembly.verify_blobs():
                if not reassembly.is_filled:
                    raise self._missing_error(reassembly, sources)
                self._fill_from_all(reassembly, sources)
            reassembly.save()

    def _make_store(self, announcement: Announcement, manifest: Manifest) -> SymbolStore:
        def may_keep(needed_bytes: int) -> bool:
            spool = self.spool
            rest = max(0, manifest.content_size - spool.used_bytes()) + needed_bytes
            quota = self.settings.quota_bytes
            return has_room(spool.folder, rest) and (
                not quota or manifest.content_size + kept_bytes(spool.folder) + needed_bytes <= quota
            )

        return SymbolStore(self.spool.folder, announcement.parts[CHUNKS], may_keep)

    def _missing_error(self, reassembly: Reassembly, sources: tuple[CodeSource, ...]) -> TidegateError:
        """What is missing: by the numbers of sticks where they are a set, else by damaged places."""
        refused = sum(source.store.refused_bytes for source in sources if source.store is not None)
        if refused and any(source.is_striped for source in sources):
            return DiskFullError(
                f"bundle {self.announcement.name}: no room to keep {format_bytes(refused)} of this stick",
                hint="make room; or plug in all sticks of the set but the spare ones, and name them in one command",
            )
        geometry = self.announcement.geometry(CHUNKS)
        needed = reassembly.needed_groups(geometry)
        self.missing = missing_of(self.detail.get("sets", {}), self.announcement, needed)
        if self.missing is None:
            return reassembly.missing_error(sources[0], self.filled)
        self.detail["missing_sticks"] = self.missing.text
        done, count = reassembly.progress.chunks_done, len(reassembly.progress.chunks)
        return VolumeMissingError(
            f"bundle {self.announcement.name}: {self.missing.text}; {done} of {count} pieces of content are kept",
            hint=self.missing.hint,
        )

    @contextlib.contextmanager
    def _counted(self, reassembly: Reassembly, sources: tuple[CodeSource, ...]) -> Iterator[None]:
        """Note in the bundle's row how much is there, and how much was damaged, however it ends."""
        try:
            yield
        finally:
            progress = reassembly.progress
            self.detail |= {"chunks_done": progress.chunks_done, "chunks": len(progress.chunks)}
            if any(source.is_striped for source in sources):
                # What a share does not hold is no damage; what its medium did not give is.
                stats = [volume.reader.stats for volume in self.volumes]
                self.filled.symbols_missing = sum(item.records_damaged + item.records_unread for item in stats)

    def _fill_from_all(self, reassembly: Reassembly, sources: tuple[CodeSource, ...]) -> None:
        """All copies together; where one of them lies, each alone, so that an honest one beside it still counts."""
        try:
            for source in sources:
                self.filled.add(reassembly.fill(source, self.options.progress))
        except BlobDigestError:
            raise
        except (DigestError, TamperedError):
            for source in sources:
                if source.store is not None:
                    source.store.forget()  # a lie may have been kept from an earlier medium
            for volume in self.volumes[1:] and self.volumes:
                self._fill_from_one(reassembly, volume)
            if not reassembly.is_filled:
                raise

    def _fill_from_one(self, reassembly: Reassembly, volume: Volume) -> None:
        try:
            self.filled.add(reassembly.fill(SparingSource(volume.reader), self.options.progress))
        except BlobDigestError:
            raise
        except (DigestError, TamperedError):
            return

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
            with self.workspace.state.transaction() as tx:
                record_failure(tx, self.subject, error, state, self.detail)
        return self._outcome(kind_of(error), error)

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
            symbols_missing=self.filled.symbols_missing,
            blocks_mended=self.filled.blocks_mended,
            files_missing=sum(len(volume.reader.missing_files) for volume in self.volumes),
            chunks_done=self.detail.get("chunks_done", 0),
            chunk_count=self.detail.get("chunks", 0),
            is_late=self.judgement.is_late,
            late_names=tuple(self.detail.get("late_names", ())),
            needs=self.needs,
            code=self._code(kind),
            gap=self.judgement.gap,
            missing_volumes=self.missing.volumes if self.missing else (),
            missing_text=self.missing.text if self.missing else "",
            seconds=time.monotonic() - self._started,
        )

    def _code(self, kind: OutcomeKind) -> str:
        """The short code for the office, of a bundle whose content is verified and here."""
        if kind not in {OutcomeKind.RECEIVED, OutcomeKind.DUPLICATE}:
            return ""
        with self.workspace.state.reading() as tx:
            row = get_bundle(tx, self.announcement.bundle_id)
        return code_text(row, self.settings.sites[0]) if row is not None else ""
