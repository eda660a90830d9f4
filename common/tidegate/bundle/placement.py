"""Where the content of each chunk belongs: which range of which blob.

The segments table is written blob by blob; whoever unpacks goes chunk by chunk. `Placement` turns the one order into
the other, over whole columns. It takes tables that `tables.check_tables` has passed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.tables import Tables, chunk_starts


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of a chunk's content, and the place in a blob where it belongs."""

    blob: int
    blob_offset: int
    chunk_offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Placement:
    """The segments in the order of the chunks. `first[n]` to `first[n + 1]` are those of chunk n."""

    first: NDArray[np.int64]
    blob: NDArray[np.uint32]
    blob_offset: NDArray[np.uint64]
    chunk_offset: NDArray[np.uint32]
    length: NDArray[np.uint32]

    @classmethod
    def of(cls, tables: Tables) -> Self:
        """The placement of checked tables; about 28 bytes a segment stay in memory."""
        segments, chunks = tables.segments, tables.chunks
        order = np.argsort(chunk_starts(chunks)[segments["where"]] + segments["offset"])
        owners = np.repeat(np.arange(len(tables.blobs), dtype=np.uint32), tables.blobs["segment_count"])
        return cls(
            first=np.searchsorted(segments["where"][order], np.arange(len(chunks) + 1)),
            blob=owners[order],
            blob_offset=_offsets_in_blobs(tables)[order],
            chunk_offset=segments["offset"][order].astype(np.uint32),
            length=segments["length"][order].astype(np.uint32),
        )

    def pieces(self, chunk: int) -> Iterator[Piece]:
        """The pieces of a chunk in the order of its content; together they are all of it."""
        part = slice(int(self.first[chunk]), int(self.first[chunk + 1]))
        columns = (column[part].tolist() for column in (self.blob, self.blob_offset, self.chunk_offset, self.length))
        return (Piece(*values) for values in zip(*columns, strict=True))


def _offsets_in_blobs(tables: Tables) -> NDArray[np.uint64]:
    """Where each segment starts in its blob."""
    lengths = tables.segments["length"]
    ends = np.cumsum(lengths, dtype=np.uint64)
    before = np.concatenate((np.zeros(1, np.uint64), ends))
    counts = tables.blobs["segment_count"]
    # Blobs of size 0 have no segment; their first_segment may be one past the last, which `before` has too.
    bases = np.repeat(before[tables.blobs["first_segment"]], counts)
    offsets: NDArray[np.uint64] = ends - lengths - bases
    return offsets
