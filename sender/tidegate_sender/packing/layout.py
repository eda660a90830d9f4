"""Which bytes go into which chunk: the layout of a bundle, known before a byte is read.

Small blobs are joined into one run that is cut every 4 MiB; every other blob starts a chunk of its own and is cut every
4 MiB. Seen as one line of addresses where chunk n holds nC … (n + 1)C, both are the same arithmetic: small blobs follow
each other, large ones start at a multiple of C. The rule is part of docs/format/bundle.md, "How a sender lays chunks
out", since equal input must give equal bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.header import CHUNKS_MAX_BYTES
from tidegate.bundle.manifest import BLOBS_MAX, CHUNKS_MAX, SEGMENTS_MAX
from tidegate.bundle.tables import BLOB, CHUNK, CHUNK_MAX_BYTES, CHUNK_RANGE, SEGMENT, Records
from tidegate.errors import BlobDamagedError, LimitError
from tidegate.names import hex_of
from tidegate.units import MIB

#: blobs below this size share chunks
SMALL_BELOW_BYTES = MIB
_EMPTY = f"sha256:{sha256(b'').hexdigest()}"


class SizedBlob(Protocol):
    """A blob by its name and its size; an OCI descriptor is one."""

    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Layout:
    """The blobs in the order in which they are read, and the tables as far as they are known before compression."""

    reading: tuple[SizedBlob, ...]
    blobs: Records
    segments: Records
    #: `raw` is set; offset, stored, codec and digest are filled in while packing
    chunks: Records

    @property
    def content_size(self) -> int:
        return sum(blob.size for blob in self.reading)


def lay_out(blobs: Sequence[SizedBlob]) -> Layout:
    """The layout of distinct blobs, given in the order of their artifacts' graphs.

    Raises LimitError for more than one bundle can hold, and BlobDamagedError for an empty blob of a wrong name.
    """
    for blob in blobs:
        if blob.size == 0 and blob.digest != _EMPTY:
            raise BlobDamagedError(f"blob {blob.digest}: has 0 bytes, and that is the name of others")
    small = [blob for blob in blobs if blob.size < SMALL_BELOW_BYTES]
    large = [blob for blob in blobs if blob.size >= SMALL_BELOW_BYTES]
    reading = (*small, *large)
    sizes = np.array([blob.size for blob in reading], np.int64)
    _check_limits(sizes)
    starts = _addresses(sizes, len(small))
    order = np.argsort(_digests(reading).view("S32"), kind="stable")
    counts = _segment_counts(starts, sizes)
    _check_counts(counts)
    segments = _segments(starts[order], sizes[order], counts[order])
    return Layout(reading, _blobs(reading, order, counts), segments, _chunks(segments))


def _addresses(sizes: NDArray[np.int64], small_count: int) -> NDArray[np.int64]:
    """Where each blob starts on the line of addresses."""
    ends = sizes.copy()
    ends[small_count:] = -(-sizes[small_count:] // CHUNK_MAX_BYTES) * CHUNK_MAX_BYTES
    starts = np.zeros(len(sizes), np.int64)
    np.cumsum(ends[: max(small_count - 1, 0)], out=starts[1:small_count])
    base = -(-int(sizes[:small_count].sum()) // CHUNK_MAX_BYTES) * CHUNK_MAX_BYTES
    large = ends[small_count:]
    starts[small_count:] = base + np.cumsum(large) - large
    return starts


def _segment_counts(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    last = np.maximum(starts + sizes - 1, starts)
    counts: NDArray[np.int64] = np.where(sizes > 0, last // CHUNK_MAX_BYTES - starts // CHUNK_MAX_BYTES + 1, 0)
    return counts


def _segments(starts: NDArray[np.int64], sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> Records:
    """The segments of blobs that come in the order of the blobs table."""
    segments = np.zeros(int(counts.sum()), SEGMENT)
    firsts = np.cumsum(counts) - counts
    nth = np.arange(len(segments)) - np.repeat(firsts, counts)
    start, end = np.repeat(starts, counts), np.repeat(starts + sizes, counts)
    where = start // CHUNK_MAX_BYTES + nth
    low = np.maximum(start, where * CHUNK_MAX_BYTES)
    high = np.minimum(end, (where + 1) * CHUNK_MAX_BYTES)
    segments["kind"] = CHUNK_RANGE
    segments["where"] = where
    segments["offset"] = low - where * CHUNK_MAX_BYTES
    segments["length"] = high - low
    return segments


def _blobs(reading: Sequence[SizedBlob], order: NDArray[np.intp], counts: NDArray[np.int64]) -> Records:
    blobs = np.zeros(len(reading), BLOB)
    blobs["sha256"] = _digests(reading)[order]
    blobs["size"] = np.array([blob.size for blob in reading], np.uint64)[order]
    blobs["segment_count"] = counts[order]
    blobs["first_segment"] = np.cumsum(counts[order]) - counts[order]
    return blobs


def _chunks(segments: Records) -> Records:
    raw = np.zeros(int(segments["where"].max()) + 1 if len(segments) else 0, np.uint64)
    np.add.at(raw, segments["where"], segments["length"])
    chunks = np.zeros(len(raw), CHUNK)
    chunks["raw"] = raw
    return chunks


def _digests(blobs: Sequence[SizedBlob]) -> NDArray[np.void]:
    return np.frombuffer(b"".join(bytes.fromhex(hex_of(blob.digest)) for blob in blobs), "V32")


def _check_limits(sizes: NDArray[np.int64]) -> None:
    total = sum(sizes.tolist())
    if len(sizes) > BLOBS_MAX or total > CHUNKS_MAX_BYTES:
        raise LimitError(
            f"{len(sizes)} blobs of {total} bytes, one bundle holds {BLOBS_MAX} of {CHUNKS_MAX_BYTES}",
            hint="pack fewer artifacts at a time",
        )


def _check_counts(counts: NDArray[np.int64]) -> None:
    total = int(counts.sum())
    # Each chunk has at least one segment, so the limit on chunks is kept with it.
    if total > min(SEGMENTS_MAX, CHUNKS_MAX):
        raise LimitError(f"{total} segments, one bundle holds {SEGMENTS_MAX}", hint="pack fewer artifacts at a time")
