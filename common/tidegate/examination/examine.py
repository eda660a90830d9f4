"""Examine a ``.tgb`` file or a medium: the order of checks of a receiver, without its state and its disk.

Signatures are judged by the pinned channel where this host trusts it, else by the root that the bundle carries. `deep`
reads every byte and compares every chunk with its signed digest.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tidegate.bundle.container import CHUNKS, BundleFile
from tidegate.bundle.cover import find_signatures, parse_cover
from tidegate.bundle.header import COVER_MAX_BYTES, HEAD_MAX_BYTES, MANIFEST_MAX_BYTES
from tidegate.bundle.manifest import Manifest, bundle_id, parse_manifest
from tidegate.bundle.papers import (
    CHAIN_FILE,
    CHAIN_MAX_BYTES,
    COVER_FILE,
    MANIFEST_FILE,
    PAPERS_FOLDER,
    TABLES_FILE,
)
from tidegate.bundle.tables import Tables, parse_tables
from tidegate.carrier.announcement import COVER, HEAD, Announcement, parse_announcement
from tidegate.carrier.found import FoundVolume
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.parts import read_part
from tidegate.carrier.reader import VolumeReader
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate.errors import (
    BlobDamagedError,
    ChannelUnknownError,
    DigestError,
    FormatError,
    LimitError,
    MediumLostError,
    TidegateError,
    VolumeMissingError,
)
from tidegate.examination.blob_check import count_damaged_blobs, read_bytes
from tidegate.examination.chunk_check import ChunkCheck
from tidegate.examination.findings import Damage, Examination, MediumExamination, Refusal, Trust, Wholeness
from tidegate.hollow import open_bundle
from tidegate.text import printable
from tidegate.trust.checks import check_channel, verify_announcement, verify_manifest
from tidegate.trust.envelope import join, parse_detached
from tidegate.trust.root import Chain, VerifiedSigner, continue_chain, parse_chain, read_chain_id
from tidegate.trust.store import TrustStore
from tidegate.trust.words import fingerprint_words
from tidegate.units import MIB, format_bytes

READ_BYTES = 16 * MIB
#: manifest and tables, read into memory: what a receiver takes, unless the channel is pinned here
HEAD_UNPINNED_MAX_BYTES = 128 * MIB
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Examiner:
    """How to examine: by which trust (None: only what is carried), and whether to read everything."""

    trust: TrustStore | None
    deep: bool
    progress: Progress = lambda _done, _total, _phase: None

    def examine_file(self, path: Path) -> Examination:
        """A ``.tgb`` file. Raises what a receiver would raise."""
        with open_bundle(path) as bundle:
            chain, trust = self._judge(bundle.preamble)
            _check_head(bundle.part_lengths[HEAD], trust)
            head = bundle.read_part(HEAD)
            opened = _open_body(bundle.read_part(COVER), head, bundle.manifest_length, bundle.bundle_id, chain)
            tables = parse_tables(head, bundle.manifest_length, opened.manifest, bundle.part_lengths[CHUNKS])
            wholeness, lost = Wholeness.UNREAD, 0
            if self.deep:
                lost = self._check_file_chunks(bundle, tables)
                wholeness = Wholeness.DAMAGED if lost else Wholeness.WHOLE
            return _examination(
                path, "file", opened, chain, trust, wholeness, Damage(lost_chunks=lost), bundle.file_length
            )

    def examine_medium(self, folder: Path) -> MediumExamination:
        """Everything of ours on a medium; what cannot be examined is listed with its error."""
        contents = find_volumes(folder)
        bundles, refusals = [], []
        for found in contents.volumes:
            first = next(iter(found.files.values())).path
            try:
                bundles.append(self._examine_volume(found, first.parent))
            except MediumLostError:
                raise
            except TidegateError as error:
                refusals.append(Refusal(printable(first.parent), error.message, error.hint, error.exit_code))
        return MediumExamination(tuple(bundles), tuple(refusals), contents.strangers, contents.damaged)

    def examine_papers(self, folder: Path, depot: Path) -> Examination:
        """A bundle that was received: its papers in `folder`, its blobs in the quarantine beside them or in `depot`."""
        papers = folder / PAPERS_FOLDER
        chain, trust = self._judge(read_bytes(papers / CHAIN_FILE, CHAIN_MAX_BYTES))
        manifest_bytes = read_bytes(papers / MANIFEST_FILE, MANIFEST_MAX_BYTES)
        head = manifest_bytes + read_bytes(papers / TABLES_FILE, HEAD_MAX_BYTES)
        cover = read_bytes(papers / COVER_FILE, COVER_MAX_BYTES)
        opened = _open_body(cover, head, len(manifest_bytes), folder.name, chain)
        tables = parse_tables(head, len(manifest_bytes), opened.manifest, opened.manifest.chunks_length)
        wholeness, lost = Wholeness.UNREAD, 0
        if self.deep:
            lost = count_damaged_blobs(tables, (folder, depot), self.progress)
            wholeness = Wholeness.DAMAGED if lost else Wholeness.WHOLE
        damage = Damage(lost_blobs=lost)
        size = opened.manifest.content_size if self.deep else len(head)
        return _examination(folder, "host", opened, chain, trust, wholeness, damage, size)

    def _judge(self, preamble: bytes | None, channel: str | None = None) -> tuple[Chain, Trust]:
        """The chain that signatures are judged by, and whether this host trusts it."""
        stored = None
        if self.trust is not None:
            wanted = read_chain_id(preamble) if preamble else channel
            stored = self.trust.get(wanted) if wanted else None
        if stored is not None:
            return (continue_chain(stored, preamble) if preamble else stored), Trust.PINNED
        if not preamble:
            raise ChannelUnknownError(
                "the channel's root on the medium cannot be read, and none of its keys is pinned here"
            )
        return parse_chain(preamble), Trust.CARRIED

    def _examine_volume(self, found: FoundVolume, folder: Path) -> Examination:
        claimed = parse_announcement(found.frame)  # only its channel is used before the signature is checked
        chain, trust = self._judge(found.preamble, claimed.channel)
        verify_announcement(found.frame, chain)
        announcement = parse_announcement(found.frame)
        check_channel(chain, announcement.channel, announcement.epoch, f"bundle {announcement.name}")
        _check_head(announcement.parts[HEAD].length, trust)
        reader = VolumeReader(found, announcement)
        head = read_part(reader, HEAD, HEAD_MAX_BYTES)
        cover = read_part(reader, COVER, COVER_MAX_BYTES)
        opened = _open_body(cover, head, announcement.manifest_length, announcement.bundle_id, chain)
        tables = parse_tables(head, announcement.manifest_length, opened.manifest, announcement.parts[CHUNKS].length)
        missing = tuple(f"file {place.number}" for place in reader.missing_files)
        wholeness, lost = Wholeness.UNREAD, 0
        if self.deep:
            lost = self._check_volume_chunks(reader, announcement, tables)
            wholeness = _wholeness(reader, lost, missing)
        records = reader.stats.records_damaged + reader.stats.records_unread
        damage = Damage(records=records, lost_chunks=lost, missing_files=missing)
        found_here = _examination(folder, "medium", opened, chain, trust, wholeness, damage, reader.stats.bytes_read)
        if not announcement.is_one_of_several:
            return found_here
        return replace(found_here, volume=announcement.volume, volumes=announcement.volumes)

    def _check_file_chunks(self, bundle: BundleFile, tables: Tables) -> int:
        total = bundle.part_lengths[CHUNKS]
        memory = memoryview(bytearray(min(READ_BYTES, total)))
        with ChunkCheck(tables) as check:
            for offset in range(0, total, READ_BYTES):
                view = memory[: min(READ_BYTES, total - offset)]
                bundle.read_into(CHUNKS, offset, view)
                check.feed(offset, view)
                self.progress(offset + len(view), total, "reading")
            return check.wrong

    def _check_volume_chunks(self, reader: VolumeReader, announcement: Announcement, tables: Tables) -> int:
        geometry = announcement.geometry(CHUNKS)
        here = set(reader.groups(CHUNKS))
        if not geometry.group_count:
            return 0
        if announcement.is_striped:  # no chunk is whole on a share: what can be said is whether its records are
            reader.check(lambda done, total: self.progress(done, total, "reading"))
            return 0
        buffer, codec = GroupBuffer(geometry), GroupCodec(geometry)
        with ChunkCheck(tables) as check:
            for group in range(geometry.group_count):
                buffer.bind(group)
                if group in here:
                    reader.read_group(CHUNKS, group, buffer)
                codec.mend(buffer)
                offset, length = geometry.group_extent(group)
                check.feed(offset, buffer.source_view(), buffer.missing_extents())
                self.progress(offset + length, geometry.length, "reading")
        return check.wrong - _chunks_elsewhere(announcement, tables)


def _chunks_elsewhere(announcement: Announcement, tables: Tables) -> int:
    """Chunks that do not lie on this volume, or not wholly: they are on others of its set."""
    geometry = announcement.geometry(CHUNKS)
    starts = tables.chunks["offset"].astype(np.int64)
    ends = starts + tables.chunks["stored"]
    is_here = np.zeros(len(starts), np.bool_)
    for part, first, end in announcement.spans:
        if part == CHUNKS:
            low, (offset, length) = geometry.group_extent(first)[0], geometry.group_extent(end - 1)
            is_here |= (starts >= low) & (ends <= offset + length)
    return int(np.count_nonzero(~is_here))


def _check_head(length: int, trust: Trust) -> None:
    """Whoever brings a channel of their own signs whatever lengths they like."""
    if trust is not Trust.PINNED and length > HEAD_UNPINNED_MAX_BYTES:
        raise LimitError(
            f"manifest and tables of {format_bytes(length)}; of a channel that is not pinned here"
            f" {format_bytes(HEAD_UNPINNED_MAX_BYTES)} are looked at"
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A manifest whose signatures hold."""

    manifest: Manifest
    bundle_id: str
    signers: tuple[VerifiedSigner, ...]
    envelope: bytes


def _open_body(cover: bytes, head: bytes, manifest_length: int, expected_id: str, chain: Chain) -> _Opened:
    """Signatures over the manifest's bytes, its id, and only then its fields."""
    if manifest_length > len(head):
        raise FormatError(f"the manifest of {manifest_length} bytes is longer than the head of {len(head)}")
    data = head[:manifest_length]
    signatures = find_signatures(parse_cover(cover))
    signers = verify_manifest(signatures, data, chain)
    found_id = bundle_id(data)
    if found_id != expected_id:
        raise DigestError(f"the manifest's SHA-256 is {found_id}, announced was {expected_id}")
    manifest = parse_manifest(data)
    check_channel(chain, manifest.channel, manifest.epoch, f"bundle {manifest.name}")
    if manifest.channel_name != chain.newest.name:
        raise FormatError(
            f"bundle {manifest.name}: says channel {manifest.channel_name}, its root says {chain.newest.name}"
        )
    return _Opened(manifest, found_id, signers, join(parse_detached(signatures), data))


def _wholeness(reader: VolumeReader, lost: int, missing: tuple[str, ...]) -> Wholeness:
    if lost:
        return Wholeness.DAMAGED
    stats = reader.stats
    damaged = stats.records_damaged or stats.records_unread or stats.index_blocks_damaged or missing
    return Wholeness.REPAIRABLE if damaged else Wholeness.WHOLE


def _examination(
    source: Path,
    carrier: str,
    opened: _Opened,
    chain: Chain,
    trust: Trust,
    wholeness: Wholeness,
    damage: Damage,
    bytes_read: int,
) -> Examination:
    return Examination(
        source=printable(source),
        carrier=carrier,
        bundle_id=opened.bundle_id,
        manifest=opened.manifest,
        signers=opened.signers,
        trust=trust,
        fingerprint=fingerprint_words(chain.channel_id),
        wholeness=wholeness,
        damage=damage,
        bytes_read=bytes_read,
        envelope=opened.envelope,
    )


def raise_for_damage(examination: Examination) -> None:
    """`verify`'s verdict as an exit code: damage that cannot be repaired is an error."""
    if examination.wholeness is Wholeness.DAMAGED:
        damage = examination.damage
        files = f"; missing: {', '.join(damage.missing_files)}" if damage.missing_files else ""
        if damage.lost_blobs:
            raise BlobDamagedError(
                f"bundle {examination.manifest.name}: {damage.lost_blobs} blobs on this host are missing or damaged",
                hint="receive the medium again, or have the low side send the bundle again",
            )
        raise VolumeMissingError(
            f"bundle {examination.manifest.name}: {damage.lost_chunks} chunks cannot be repaired from"
            f" {examination.source}{files}"
        )
