"""Bundles for tests of the receiving side: made in memory, in every form that a sender would never write."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import blake3
import numpy as np
import zstandard

from tidegate.bundle.manifest import (
    Artifact,
    BundleReference,
    Compressor,
    Manifest,
)
from tidegate.bundle.tables import BLOB, CHUNK, REQUIRED, SEGMENT, STORED, ZSTD, Records, Tables, as_bytes
from tidegate.canonical import dumps
from tidegate.carrier.announcement import Announcement
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate.erasure.geometry import PartGeometry

CREATED = "2026-03-01T08:00:00Z"
TYPE = "application/octet-stream"


def content(seed: int, size: int) -> bytes:
    """`size` bytes, the same for the same seed; half of them compress well."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, size // 2 + 1, dtype=np.uint8).tobytes()
    return (noise + b"tidegate " * (size // 9 + 1))[:size]


@dataclass(frozen=True)
class Body:
    """Tables and stored chunks of some blobs."""

    tables: Tables
    chunks: bytes

    @property
    def table_bytes(self) -> bytes:
        return b"".join(bytes(as_bytes(table)) for table in self.tables.all())


def make_body(blobs: list[bytes], *, chunk_bytes: int = 4096, required: Records | None = None) -> Body:
    """Blobs one after another, in the order given, cut into chunks of `chunk_bytes` of content."""
    distinct = list(dict.fromkeys(blobs))
    stream = b"".join(distinct)
    stored, rows, offset = [], [], 0
    compressor = zstandard.ZstdCompressor(level=3)
    for start in range(0, len(stream), chunk_bytes):
        raw = stream[start : start + chunk_bytes]
        frame = compressor.compress(raw)
        data, codec = (frame, ZSTD) if len(frame) < len(raw) else (raw, STORED)
        rows.append((offset, len(data), len(raw), codec, b"", blake3.blake3(data).digest()))
        stored.append(data)
        offset += len(data)
    tables = _tables(distinct, chunk_bytes, rows, np.zeros(0, REQUIRED) if required is None else required)
    return Body(tables, b"".join(stored))


def _tables(blobs: list[bytes], chunk_bytes: int, rows: list[tuple[object, ...]], required: Records) -> Tables:
    starts, at = {}, 0
    for blob in blobs:
        starts[blob] = at
        at += len(blob)
    segments: list[tuple[int, int, int, int, int]] = []
    records = []
    for blob in sorted(blobs, key=lambda item: sha256(item).digest()):
        first, position, end = len(segments), starts[blob], starts[blob] + len(blob)
        while position < end:
            chunk, inside = divmod(position, chunk_bytes)
            length = min(chunk_bytes - inside, end - position)
            segments.append((1, 0, chunk, inside, length))
            position += length
        records.append((sha256(blob).digest(), len(blob), first, len(segments) - first))
    return Tables(np.array(records, BLOB), np.array(segments, SEGMENT), np.array(rows, CHUNK), required)


@dataclass(frozen=True)
class MadeBundle:
    """A bundle's three parts, and what stands in its manifest."""

    facts: Manifest
    manifest_bytes: bytes
    body: Body
    cover: bytes

    def manifest(self) -> Manifest:
        return self.facts

    @property
    def bundle_id(self) -> str:
        return sha256(self.manifest_bytes).hexdigest()

    @property
    def head(self) -> bytes:
        return self.manifest_bytes + self.body.table_bytes

    @property
    def parts(self) -> tuple[bytes, bytes, bytes]:
        return (self.cover, self.head, self.body.chunks)

    @property
    def part_lengths(self) -> tuple[int, int, int]:
        return (len(self.cover), len(self.head), len(self.body.chunks))

    @property
    def manifest_length(self) -> int:
        return len(self.manifest_bytes)

    def read_into(self, part: int, offset: int, view: memoryview) -> None:
        view[:] = self.parts[part][offset : offset + len(view)]


def make_manifest(body: Body, blobs: list[bytes], *, channel: str, **changes: object) -> Manifest:
    """A manifest that fits `body`; each of the blobs is an artifact of its own unless `artifacts` says otherwise."""
    artifacts = tuple(
        Artifact(f"files/blob-{number:03d}", "files", TYPE, f"sha256:{sha256(blob).hexdigest()}", len(blob))
        for number, blob in enumerate(dict.fromkeys(blobs))
    )
    sequence = changes.get("sequence", 1)
    assert isinstance(sequence, int)
    previous = BundleReference("ab" * 32, sequence - 1) if sequence > 1 else None
    facts = {"channel": channel, "chunks_length": len(body.chunks), "artifacts": artifacts, "previous": previous}
    return manifest_for(body.tables, **{**facts, "created": CREATED, **changes})


def manifest_for(tables: Tables, /, **changes: object) -> Manifest:
    """A manifest that fits `tables`, the first of its channel and of no artifacts; `changes` are fields of it."""
    made = Manifest(
        format=1,
        critical=(),
        channel="7f3a" * 16,
        channel_name="plant",
        epoch=1,
        sequence=1,
        created="2026-01-31T08:00:00Z",
        audience=("plant-7",),
        base=(),
        compressor=Compressor("zstd", "1.5.7", 3),
        chunk_digest="blake3-256",
        chunks_length=int(tables.chunks["stored"].sum()),
        content_size=int(tables.blobs["size"].sum()),
        tables=tables.entries(),
        artifacts=(),
        removed=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def manifest_bytes(manifest: Manifest) -> bytes:
    """The bytes as they are, also of a manifest that no reader would take."""
    return dumps(manifest)


@dataclass
class MemorySource:
    """Symbols of a bundle's parts, as a carrier would give them. `lost` are (part, block, symbol)."""

    announcement: Announcement
    parts: tuple[bytes, bytes, bytes]
    lost: set[tuple[int, int, int]] = field(default_factory=set)
    absent_groups: set[tuple[int, int]] = field(default_factory=set)
    #: called with the buffer of a group once its symbols are there: lies, delays, kills
    tamper: Callable[[int, int, GroupBuffer], None] | None = None
    groups_read: list[tuple[int, int]] = field(default_factory=list)

    def groups(self, part: int) -> tuple[int, ...]:
        count = self.announcement.geometry(part).group_count
        return tuple(group for group in range(count) if (part, group) not in self.absent_groups)

    def read_group(self, part: int, group: int, buffer: GroupBuffer) -> None:
        self.groups_read.append((part, group))
        geometry = self.announcement.geometry(part)
        before = buffer.present.copy()
        offset, length = geometry.group_extent(group)
        buffer.source_view()[:] = self.parts[part][offset : offset + length]
        GroupCodec(geometry, threads=1).encode(buffer)
        if self.tamper is not None:
            self.tamper(part, group, buffer)
        for position, block in enumerate(geometry.group_blocks(group)):
            for symbol in range(geometry.block_source_count(block) + geometry.repair_count):
                if (part, block, symbol) in self.lost and not before[position, symbol]:
                    buffer.slot(position, symbol)[:] = b"\xee" * geometry.symbol_size
                    buffer.present[position, symbol] = False


def make_announcement(
    bundle: MadeBundle, *, source_count: int = 8, repair_count: int = 2, interleave: int = 2, **changes: object
) -> Announcement:
    """An announcement over the whole bundle in small symbols."""
    geometries = tuple(
        PartGeometry(length, source_count, repair_count, 4096, interleave) for length in bundle.part_lengths
    )
    made = Announcement(
        format=1,
        critical=(),
        carrier="media",
        channel=bundle.facts.channel,
        epoch=bundle.facts.epoch,
        sequence=bundle.facts.sequence,
        bundle_id=bundle.bundle_id,
        manifest_length=bundle.manifest_length,
        parts=geometries,  # type: ignore[arg-type]
        set="00112233445566ff",
        volume=1,
        spans=tuple((part, 0, geometry.group_count) for part, geometry in enumerate(geometries) if geometry.length),
        file_bytes=16 << 20,
    )
    return replace(made, **changes)  # type: ignore[arg-type]
