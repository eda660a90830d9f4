"""The four tables behind the manifest: blobs, segments, chunks, required.

Fixed-width records as numpy structured arrays over the bytes that were read, never copied. Every rule is checked over
whole columns, in slices where a temporary would grow with the table, so that tables at their limits take seconds.
Counts and lengths are compared before a table is touched, its SHA-256 before a record is read. Format:
docs/format/bundle.md, "Tables" (B-10 to B-19).
"""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.header import CHUNKS_MAX_BYTES
from tidegate.bundle.manifest import Manifest, TableEntries, TableEntry
from tidegate.errors import DigestError, FormatError
from tidegate.units import MIB

CHUNK_MAX_BYTES = 4 * MIB
STORED, ZSTD = 0, 1  # codecs
CHUNK_RANGE = 1  # the one kind of segment

BLOB = np.dtype([("sha256", "V32"), ("size", "<u8"), ("first_segment", "<u4"), ("segment_count", "<u4")])
SEGMENT = np.dtype([("kind", "<u2"), ("flags", "<u2"), ("where", "<u4"), ("offset", "<u8"), ("length", "<u8")])
CHUNK = np.dtype(
    [("offset", "<u8"), ("stored", "<u4"), ("raw", "<u4"), ("codec", "u1"), ("zero", "V7"), ("digest", "V32")]
)
REQUIRED = np.dtype([("sha256", "V32"), ("size", "<u8"), ("sequence", "<u8")])

NAMES = ("blobs", "segments", "chunks", "required")
RECORDS = (BLOB, SEGMENT, CHUNK, REQUIRED)

Records = NDArray[np.void]
_SLICE = 1 << 18  # records looked at together: temporaries of a few MiB


@dataclass(frozen=True, slots=True)
class Tables:
    """The four tables; the arrays are read-only views where they were parsed from bytes."""

    blobs: Records
    segments: Records
    chunks: Records
    required: Records

    @classmethod
    def empty(cls) -> Self:
        """Tables without records."""
        return cls(*(np.zeros(0, record) for record in RECORDS))

    def entries(self) -> TableEntries:
        """Counts and digests, as the manifest lists them."""
        return TableEntries(*(TableEntry(len(table), sha256(as_bytes(table)).hexdigest()) for table in self.all()))

    def all(self) -> tuple[Records, Records, Records, Records]:
        return (self.blobs, self.segments, self.chunks, self.required)

    def find_blob(self, digest: str) -> int | None:
        """The number of a blob (``sha256:…``) in the blobs table."""
        return _find(self.blobs, digest)

    def find_required(self, digest: str) -> int | None:
        """The number of a blob (``sha256:…``) in the required table."""
        return _find(self.required, digest)


def as_bytes(table: Records) -> memoryview:
    """The bytes of a table, not copied."""
    return np.ascontiguousarray(table).view(np.uint8).data.cast("B") if len(table) else memoryview(b"")


def chunks_between(chunks: Records, first: int, end: int) -> range:
    """The chunks that have bytes in [first, end) of part 2, of which there is at least one byte."""
    starts = chunks["offset"]
    # By hand: searchsorted would copy the whole column for each group.
    lowest = bisect.bisect_right(starts, first) - 1
    return range(lowest, bisect.bisect_left(starts, end, lo=lowest))


def digest_of(record: Any) -> str:
    """``sha256:…`` of a record of the blobs or the required table."""
    return f"sha256:{record['sha256'].tobytes().hex()}"


def keys(table: Records) -> NDArray[np.bytes_]:
    """The digests as a column that sorts and compares bytewise, not copied."""
    return table["sha256"].view("S32")


def parse_tables(head: bytes | memoryview, manifest_length: int, manifest: Manifest, chunks_length: int) -> Tables:
    """The tables that follow the manifest in `head`, after every rule of the format.

    `head` is the whole of part 1 (bytes, or a view of a mapped file), `chunks_length` the length of part 2 by what
    carries the bundle. Raises FormatError naming the rule, and DigestError for a table that was not signed.
    """
    tables = split_tables(head, manifest_length, manifest.tables)
    if chunks_length != manifest.chunks_length:
        raise FormatError(f"chunks: {chunks_length} bytes, the manifest says {manifest.chunks_length} (B-16)")
    for name, table, entry in zip(NAMES, tables.all(), _listed(manifest.tables), strict=True):
        if (found := sha256(as_bytes(table)).hexdigest()) != entry.sha256:
            raise DigestError(f"table {name}: SHA-256 {found}, the manifest says {entry.sha256} (B-24)")
    check_tables(manifest, tables)
    return tables


def split_tables(head: bytes | memoryview, manifest_length: int, entries: TableEntries) -> Tables:
    """Views of the four tables; only lengths are compared (B-10). Nothing in them is checked yet."""
    listed = _listed(entries)
    expected = manifest_length + sum(
        entry.count * record.itemsize for entry, record in zip(listed, RECORDS, strict=True)
    )
    if len(head) != expected:
        raise FormatError(f"head: {len(head)} bytes, manifest and tables need {expected} (B-10)")
    arrays = []
    offset = manifest_length
    for entry, record in zip(listed, RECORDS, strict=True):
        arrays.append(np.frombuffer(head, record, entry.count, offset) if entry.count else np.zeros(0, record))
        offset += entry.count * record.itemsize
    return Tables(*arrays)


def check_tables(manifest: Manifest, tables: Tables) -> None:
    """B-9 and B-11 to B-19. Each check relies on those before it: ranges are known before anything is added up."""
    _check_sorted("blobs", tables.blobs, "B-11")
    _check_sorted("required", tables.required, "B-19")
    _check_chunks(tables.chunks, manifest.chunks_length)
    _check_segments(tables.segments, tables.chunks)
    _check_blobs(tables.blobs, tables.segments, manifest.content_size)
    _check_cover(tables.segments, tables.chunks)
    _check_required(tables, manifest.sequence)
    _check_roots(manifest, tables)


def chunk_starts(chunks: Records) -> NDArray[np.uint64]:
    """Where each chunk's content would start if all were joined; one more than there are chunks."""
    return _sums(chunks["raw"])


def _listed(entries: TableEntries) -> tuple[TableEntry, TableEntry, TableEntry, TableEntry]:
    return (entries.blobs, entries.segments, entries.chunks, entries.required)


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, start + _SLICE) for start in range(0, count, _SLICE))


def _sums(column: NDArray[Any]) -> NDArray[np.uint64]:
    """Sums of all values before each place, and of all. The callers' limits keep them below 2^64."""
    sums = np.zeros(len(column) + 1, np.uint64)
    np.cumsum(column, dtype=np.uint64, out=sums[1:])
    return sums


def _refuse(table: str, start: int, wrong: NDArray[np.bool_], what: str) -> None:
    """Raise for the first record of a slice that is wrong."""
    if wrong.any():
        raise FormatError(f"table {table}: record {start + int(np.argmax(wrong))}: {what}")


def _check_sorted(name: str, table: Records, rule: str) -> None:
    column = keys(table)
    for part in _slices(len(table) - 1):
        before, after = column[:-1][part], column[1:][part]
        _refuse(name, part.start + 1, before >= after, f"does not follow the digest before it ({rule})")


def _check_chunks(chunks: Records, chunks_length: int) -> None:
    """B-16 and B-17."""
    total = 0
    for part in _slices(len(chunks)):
        slice_ = chunks[part]
        stored, raw, codec = slice_["stored"], slice_["raw"], slice_["codec"]
        _refuse("chunks", part.start, codec > ZSTD, "codec is unknown (B-17)")
        _refuse("chunks", part.start, (raw == 0) | (raw > CHUNK_MAX_BYTES), "raw is not 1 … 4194304 (B-17)")
        _refuse("chunks", part.start, stored == 0, "stored is zero (B-16)")
        _refuse(
            "chunks", part.start, (codec == STORED) & (stored != raw), "stored and raw differ without a frame (B-17)"
        )
        _refuse("chunks", part.start, (codec == ZSTD) & (stored >= raw), "a frame that saves nothing (B-17)")
        _refuse("chunks", part.start, _zero_bytes(slice_), "bytes that must be zero are not (B-17)")
        sums = _sums(stored)
        _refuse("chunks", part.start, slice_["offset"] != sums[:-1] + np.uint64(total), "offset leaves a gap (B-16)")
        total += int(sums[-1])
    if total != chunks_length:
        raise FormatError(f"table chunks: {total} stored bytes, part 2 has {chunks_length} (B-16)")


def _zero_bytes(chunks: Records) -> NDArray[np.bool_]:
    """Where the seven padding bytes are not all zero."""
    rows = np.ascontiguousarray(chunks).view(np.uint8).reshape(len(chunks), CHUNK.itemsize)
    wrong: NDArray[np.bool_] = (rows[:, 17:24] != 0).any(axis=1)
    return wrong


def _check_segments(segments: Records, chunks: Records) -> None:
    """B-14, and that each segment lies within its chunk (B-15)."""
    raw_sizes = chunks["raw"].astype(np.uint64)
    for part in _slices(len(segments)):
        slice_ = segments[part]
        where, offset, length = slice_["where"], slice_["offset"], slice_["length"]
        _refuse_kind(part.start, slice_["kind"])
        _refuse("segments", part.start, slice_["flags"] != 0, "flags are not zero (B-14)")
        _refuse("segments", part.start, length == 0, "length is zero (B-13)")
        _refuse("segments", part.start, where >= len(chunks), f"chunk is not one of {len(chunks)} (B-15)")
        raw = raw_sizes[where]
        # Compared in this order, so that nothing is added that could pass 2^64.
        _refuse("segments", part.start, (offset >= raw) | (length > raw), "lies outside of its chunk (B-15)")
        _refuse("segments", part.start, offset + length > raw, "lies outside of its chunk (B-15)")


def _refuse_kind(start: int, kind: NDArray[np.uint16]) -> None:
    wrong = kind != CHUNK_RANGE
    if wrong.any():
        at = int(np.argmax(wrong))
        raise FormatError(f"table segments: record {start + at}: kind {int(kind[at])} is not known (B-14)")


def _check_blobs(blobs: Records, segments: Records, content_size: int) -> None:
    """B-12 and B-13. The segments are within their chunks, so their sum is below 2^45."""
    firsts = _sums(blobs["segment_count"])
    lengths = _sums(segments["length"])
    for part in _slices(len(blobs)):
        slice_ = blobs[part]
        low, high = firsts[:-1][part], firsts[1:][part]
        _refuse("blobs", part.start, slice_["first_segment"] != low, "first_segment leaves a gap (B-12)")
        _refuse("blobs", part.start, high > len(segments), f"has segments beyond {len(segments)} (B-12)")
        sizes = lengths[high] - lengths[low]
        _refuse("blobs", part.start, slice_["size"] != sizes, "segments do not add up to the size (B-13)")
    if int(firsts[-1]) != len(segments):
        raise FormatError(f"table segments: {len(segments)} records, the blobs have {int(firsts[-1])} (B-12)")
    if int(lengths[-1]) != content_size:
        raise FormatError(f"table blobs: {int(lengths[-1])} bytes, the manifest says {content_size} (B-10)")


def _check_cover(segments: Records, chunks: Records) -> None:
    """B-15: joined in the order of the chunks, the segments leave no gap and do not overlap."""
    starts = chunk_starts(chunks)
    places = starts[segments["where"]]
    places += segments["offset"]
    order = np.argsort(places)
    ends = np.cumsum(segments["length"][order], dtype=np.uint64)
    places = places[order]
    wrong = np.empty(len(places), np.bool_)
    wrong[:1] = places[:1] != 0
    wrong[1:] = places[1:] != ends[:-1]
    if wrong.any():
        number = int(order[int(np.argmax(wrong))])
        raise FormatError(f"table segments: record {number}: leaves a gap or an overlap in a chunk (B-15)")
    covered = int(ends[-1]) if len(ends) else 0
    if covered != int(starts[-1]):
        raise FormatError(f"table segments: cover {covered} bytes, the chunks hold {int(starts[-1])} (B-15)")


def _check_required(tables: Tables, sequence: int) -> None:
    """B-19."""
    blob_keys = keys(tables.blobs)
    for part in _slices(len(tables.required)):
        slice_ = tables.required[part]
        _refuse("required", part.start, slice_["size"] > CHUNKS_MAX_BYTES, "size is above 4 TiB (B-19)")
        _refuse("required", part.start, slice_["sequence"] >= sequence, f"sequence is not below {sequence} (B-19)")
        wanted = keys(slice_)
        if len(blob_keys):
            at = np.minimum(np.searchsorted(blob_keys, wanted), len(blob_keys) - 1)
            _refuse("required", part.start, blob_keys[at] == wanted, "is brought by this bundle too (B-19)")


def _check_roots(manifest: Manifest, tables: Tables) -> None:
    """B-9: the root of every artifact is brought or required, in the size that the manifest says."""
    for artifact in manifest.artifacts:
        for table in (tables.blobs, tables.required):
            at = _find(table, artifact.digest)
            if at is not None:
                size = int(table["size"][at])
                break
        else:
            raise FormatError(f"manifest: artifact {artifact.name!r}: {artifact.digest} is in no table (B-9)")
        if size != artifact.size:
            raise FormatError(
                f"manifest: artifact {artifact.name!r}: {artifact.size} bytes, the table says {size} (B-9)"
            )


def _find(table: Records, digest: str) -> int | None:
    if not len(table):
        return None
    key = np.array([bytes.fromhex(digest.removeprefix("sha256:"))], "S32")
    column = keys(table)
    at = int(np.searchsorted(column, key)[0])
    return at if at < len(table) and column[at] == key[0] else None
