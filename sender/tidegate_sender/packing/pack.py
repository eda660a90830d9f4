"""Pack artifacts of the depot into one signed bundle.

    gather ─► leave out the base ─► lay out ─► read, verify, compress, write ─► tables, manifest, signature ─► state

One file is written, in the spool, in one pass; it gets its name when it is whole and synced, and it counts when one
transaction of the state says so. A pack that is killed leaves a file that nothing names, which the next pack removes.
Content: `packing.content`; base: `packing.base`; layout: `packing.layout`; chunks: `packing.chunks`; numbers and
records: `packing.records`. Format: docs/format/bundle.md.
"""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tidegate.bundle.chunks import compressor
from tidegate.bundle.container import BundleWriter, publish_bundle
from tidegate.bundle.cover import build_cover, signatures_piece
from tidegate.bundle.manifest import BUNDLE_FORMAT, CHUNK_DIGEST, BundleReference, Manifest, build_manifest
from tidegate.bundle.tables import Tables, as_bytes
from tidegate.clock import created_time, format_time
from tidegate.errors import SignatureError, TidegateError, TrustError, UsageError
from tidegate.files import locked
from tidegate.hollow import HOLLOW_ENDING
from tidegate.retention import file_bytes
from tidegate.slip.receipt import receipt_of
from tidegate.state.bundles import BundleRow
from tidegate.trust.checks import check_limits, verify_manifest
from tidegate.trust.envelope import MANIFEST_TYPE, sign_detached
from tidegate.trust.payload import RoleName
from tidegate_sender.packing.base import NO_BASE, Base, Selection, load_base
from tidegate_sender.packing.baseline import add_baselines
from tidegate_sender.packing.body import ProgressCallback, build_body
from tidegate_sender.packing.confirmed import Riding, check_riding, confirmed_base, riding_again
from tidegate_sender.packing.content import Content, Wanted, gather
from tidegate_sender.packing.lists import LISTS_KEY, asked_by, newest_of
from tidegate_sender.packing.place import Place
from tidegate_sender.packing.records import (
    LOCK_FILE,
    bundle_row,
    find_place,
    find_void,
    is_same,
    record_failure,
    record_pack,
    remove_leftovers,
    void_detail,
)
from tidegate_sender.packing.removed import Removed, removed_names
from tidegate_sender.riding import COVER_ENDING, SIZES_KEY, ledger_pieces

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer
    from tidegate.trust.root import Chain, Root, VerifiedSigner
    from tidegate.workspace import Workspace

PART_PREFIX = "packing-"
DAY_SECONDS = 86400
NOTHING_AGAIN = Riding()


class PackOutcome(StrEnum):
    """What became of a request to pack."""

    PACKED = "packed"
    #: the newest bundle was not sent yet; this one has its number now
    REPLACED = "replaced"
    #: the newest bundle has the same artifacts
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What a person chose. None: what the settings say."""

    #: BUNDLE whose content the high side has
    since: str | None = None
    #: days after which the bundle expires, 0 for never
    expire_days: int | None = None
    audience: tuple[str, ...] | None = None
    classification: str | None = None
    #: pack although the newest bundle has the same artifacts
    anyway: bool = False
    #: bring everything, whatever was confirmed
    full: bool = False
    #: bytes of unconfirmed content that may ride again, 0 for no limit
    again_max_bytes: int | None = None
    #: something that was asked for could not be had: what is missing did not leave the list
    is_partial: bool = False
    #: leave out of the file what lies in the depot (`tidegate.hollow`)
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class PackReport:
    """The bundle that was packed, or the newest one where there was nothing to do. Sizes are bytes."""

    outcome: PackOutcome
    bundle_id: str
    name: str
    sequence: int
    path: Path
    #: the ``.tgb`` file
    size: int
    content_size: int
    #: part 2: what the content takes after compression
    stored_size: int
    artifact_count: int
    blob_count: int
    #: what the bundle builds on and does not bring
    required_count: int
    required_size: int
    audience: tuple[str, ...]
    expires: str | None = None
    #: bundle_id of the unsent bundle whose number this one took
    replaced: str | None = None
    #: what was sent before, was not confirmed, and rides again
    again: Riding = NOTHING_AGAIN
    #: numbers that this bundle says are void
    void: tuple[int, ...] = ()
    #: names that left the list, as the manifest lists them
    removed: tuple[str, ...] = ()
    seconds: float = 0.0

    @classmethod
    def of(cls, workspace: "Workspace", row: BundleRow, outcome: PackOutcome) -> Self:
        return cls(
            outcome=outcome,
            bundle_id=row.bundle_id,
            name=row.name,
            sequence=row.sequence,
            path=workspace.root / (row.path or ""),
            size=row.size,
            content_size=row.content_size,
            stored_size=int(row.detail["stored"]),
            artifact_count=len(row.artifacts),
            blob_count=int(row.detail["blobs"]),
            required_count=int(row.detail["required"]),
            required_size=int(row.detail["required_size"]),
            audience=tuple(row.detail["audience"]),
            expires=format_time(row.expires) if row.expires is not None else None,
            removed=tuple(row.detail.get("removed", ())),
        )


def pack(
    workspace: "Workspace",
    wanted: Iterable[Wanted],
    options: PackOptions | None = None,
    progress: ProgressCallback = lambda _done, _total: None,
) -> PackReport:
    """Pack `wanted`, whose blobs are in the depot, and record it.

    Raises UsageError, NameTakenError, BlobMissingError, BlobDamagedError, GraphError, LimitError, DiskFullError,
    TrustError and its kin, and leaves the state as it was.
    """
    workspace.begin()
    spool = workspace.folder("spool")
    with locked(spool / LOCK_FILE, busy="another pack is at work on this root"):
        artifacts = tuple(wanted)
        packing = _Packing(workspace, options or PackOptions(), progress, asked_by(artifacts))
        try:
            return packing.run(artifacts)
        except TidegateError as error:
            record_failure(workspace, packing.place, error)
            raise
        finally:
            workspace.finish()


class _Packing:
    """One run, and the facts that every step needs."""

    def __init__(
        self, workspace: "Workspace", options: PackOptions, progress: ProgressCallback, asked: dict[str, list[str]]
    ) -> None:
        self.workspace = workspace
        self.options = options
        self.progress = progress
        self.spool = workspace.folder("spool")
        #: of the own ledger as it rides along
        self.ledger_size = 0
        self.chain: Chain = workspace.trust.own_channel()
        #: names by the lists that asked for them
        self.asked = asked
        self.place: Place = find_place(workspace.state, self.chain, asked)

    def run(self, wanted: tuple[Wanted, ...]) -> PackReport:
        started = time.monotonic()
        if not wanted:
            raise UsageError("nothing to pack: no artifact was named")
        remove_leftovers(self.workspace, PART_PREFIX)
        signer = self.load_signer()
        content = gather(self.workspace.depot, wanted)
        newest = self.place.newest
        void = find_void(self.workspace.state, self.place)
        is_told = newest is not None and void_detail(void) == newest.detail.get("voids", [])
        before = newest_of(self.workspace, self.place, self.asked, content)
        if before is not None and is_told and not self.options.anyway and is_same(self.workspace, before, content):
            return PackReport.of(self.workspace, before, PackOutcome.NOTHING)
        draft = replace(self.draft_manifest(content), void=void or None)
        selection = self.load_base(draft.audience).split(content.blobs.values())
        again = riding_again(self.workspace, self.place, selection.brought)
        if not self.options.full and self.options.since is None:  # whoever names a base has decided
            check_riding(self.workspace.settings, self.place.name, again, self.options.again_max_bytes)
        row = self.write(draft, selection, signer)
        replaced = self.place.replaced
        outcome = PackOutcome.PACKED if replaced is None else PackOutcome.REPLACED
        report = PackReport.of(self.workspace, row, outcome)
        return replace(
            report,
            replaced=replaced.bundle_id if replaced else None,
            again=again,
            void=tuple(item.sequence for item in void),
            seconds=time.monotonic() - started,
        )

    # --- before anything is written -----------------------------------------------------------

    def load_signer(self) -> "Signer":
        """The release key, held to the root before work is spent on what it could not sign."""
        signer = self.workspace.signer("release")
        root: Root = self.chain.newest
        if signer.key_id not in root.role_keys(RoleName.RELEASE) or signer.key_id in root.revoked_ids:
            raise SignatureError(
                f"key {signer.key_id[:16]} is not a release key of {root.label}",
                hint='"tidegate keys list" shows the keys of this host and their roles',
            )
        threshold = root.roles[RoleName.RELEASE].threshold
        if threshold > 1:
            raise TrustError(f"{root.label}: {threshold} holders must sign a manifest, and one key is here")
        return signer

    def load_base(self, audience: tuple[str, ...]) -> Base:
        """Nothing, what a person named, or what all sites of the audience are known to hold or had from the start."""
        if self.options.full:
            return NO_BASE
        if self.options.since is None:
            return add_baselines(self.workspace, confirmed_base(self.workspace, self.place, audience), audience)
        from tidegate.lookup import resolve_bundle

        row = resolve_bundle(self.workspace, self.options.since).row
        if row is None:
            raise UsageError(f"{self.options.since}: this root did not pack that bundle")
        place = self.place
        return load_base(self.workspace, row, channel=place.channel_id, epoch=place.epoch, below=place.sequence)

    def draft_manifest(self, content: Content) -> Manifest:
        """The manifest with everything that is known before the chunks are written."""
        created = created_time()
        days = self.workspace.settings.expire_days if self.options.expire_days is None else self.options.expire_days
        previous = self.place.previous
        audience = self.audience()
        nothing = Tables.empty().entries()
        return Manifest(
            format=BUNDLE_FORMAT,
            critical=(),
            channel=self.place.channel_id,
            channel_name=self.place.channel_name,
            epoch=self.place.epoch,
            sequence=self.place.sequence,
            created=format_time(created),
            audience=audience,
            base=(),
            compressor=compressor(),
            chunk_digest=CHUNK_DIGEST,
            chunks_length=0,
            content_size=0,
            tables=nothing,
            artifacts=content.artifacts,
            removed=() if self.options.is_partial else self.left_names(audience).names,
            previous=BundleReference(previous.bundle_id, previous.sequence) if previous else None,
            expires=format_time(created + days * DAY_SECONDS) if days > 0 else None,
            classification=self.options.classification,
        )

    def left_names(self, audience: tuple[str, ...]) -> Removed:
        """What the lists asked for earlier, and nobody asks for now."""
        return removed_names(self.workspace, self.place, audience, self.asked)

    def list_facts(self, audience: tuple[str, ...]) -> dict[str, Any]:
        """What the row keeps of the lists. What could not be had is still asked for, and told of by a later bundle."""
        if not self.options.is_partial:
            return {LISTS_KEY: self.asked, "untold": []}
        left = self.left_names(audience)
        lists = {name: [*names, *left.by_list[name]] for name, names in self.asked.items()}
        return {LISTS_KEY: lists, "untold": list(left.names)}

    def audience(self) -> tuple[str, ...]:
        """The sites that the bundle is for; all must be sites of the channel."""
        sites = self.chain.newest.sites or ()
        audience = tuple(sorted(set(self.options.audience or self.workspace.settings.sites or sites)))
        strangers = [name for name in audience if name not in sites]
        if strangers or not audience:
            raise UsageError(
                f"site {', '.join(strangers) or '(none)'}: channel {self.chain.newest.name} is for {', '.join(sites)}"
            )
        return audience

    # --- writing ------------------------------------------------------------------------------

    def write(self, draft: Manifest, selection: Selection, signer: "Signer") -> BundleRow:
        """Write, name and record the bundle. Whatever goes wrong, no file of it stays."""
        writer = BundleWriter(self.spool / f"{PART_PREFIX}{secrets.token_hex(8)}", max_bytes=self.quota_left())
        final = None
        try:
            manifest, tables = self.write_chunks(writer, draft, selection)
            bundle_id, signers = self.finish_file(writer, manifest, tables, signer)
            ending = HOLLOW_ENDING if self.options.hollow else ".tgb"
            path = Path("spool", f"{manifest.name}-{bundle_id[:8]}{ending}")
            row = bundle_row(manifest, bundle_id, path, writer.path.stat().st_size, selection.required_size)
            shown = [self.ledger_size] if self.ledger_size else []
            facts = {"receipt": self.receipt(bundle_id, tables), SIZES_KEY: shown, **self.list_facts(manifest.audience)}
            row = replace(row, detail={**row.detail, **facts})
            final = self.workspace.root / path
            final.with_suffix(COVER_ENDING).unlink(missing_ok=True)  # of a copy that was never written
            publish_bundle(writer.path, final)
            record_pack(self.workspace, self.place, manifest, row, signers)
        except BaseException:
            writer.abandon()
            self.withdraw(final)
            raise
        return row

    def write_chunks(self, writer: BundleWriter, draft: Manifest, selection: Selection) -> tuple[Manifest, Tables]:
        """Bring the content into the file; the manifest with its counts and digests."""
        check_limits(self.chain.newest, replace(draft, content_size=selection.brought_size))
        draft = replace(draft, base=selection.base_ids)
        return build_body(
            draft,
            selection.brought,
            selection.required,
            self.workspace.depot,
            writer,
            self.progress,
            hollow=self.options.hollow,
        )

    def finish_file(
        self, writer: BundleWriter, manifest: Manifest, tables: Tables, signer: "Signer"
    ) -> tuple[str, tuple["VerifiedSigner", ...]]:
        """Sign, and write what follows the chunks; the bundle_id and who signed."""
        data = build_manifest(manifest)
        envelope = sign_detached(data, MANIFEST_TYPE, (signer,))
        # As the high side will ask it: what is refused there must not leave this side.
        signers = verify_manifest(envelope, data, self.chain)
        pieces, self.ledger_size = ledger_pieces(self.workspace, manifest.audience, manifest.chunks_length)
        cover = build_cover((signatures_piece(envelope), *pieces))
        parts = [as_bytes(table) for table in tables.all()]
        return writer.finish(data, parts, cover, self.chain.to_bytes()), signers

    def receipt(self, bundle_id: str, tables: Tables) -> str:
        """What only the content gives: the code that the high side will show is compared with it."""
        digests = tables.blobs["sha256"].tobytes()
        keys = [digests[at : at + 32] for at in range(0, len(digests), 32)]
        return receipt_of(bundle_id, keys, tables.blobs["size"].tolist(), self.read_blob)

    def read_blob(self, digest: str, offset: int, length: int) -> bytes:
        with self.workspace.depot.open_blob(digest) as file:
            file.seek(offset)
            return file.read(length)

    def quota_left(self) -> int | None:
        """Bytes that the quota leaves beside what lies in the spool; None where there is no quota."""
        quota = self.workspace.settings.quota_bytes
        if not quota:
            return None
        used = sum(file_bytes(path) for path in self.spool.iterdir() if path.is_file())
        return max(0, quota - used)

    def withdraw(self, final: Path | None) -> None:
        """Remove a bundle that got its name and was not recorded, unless it is the very bundle that was there."""
        replaced = self.place.replaced
        if final is not None and (replaced is None or replaced.path != f"spool/{final.name}"):
            final.unlink(missing_ok=True)
