"""Which chunks and blobs of a bundle are verified and on the disk: the one thing a reassembly remembers.

Two bitmaps in one small file, replaced as a whole. It is written only after the content that it speaks of was synced,
so whatever kills the process, the file is a truth of some moment before: what came later is done again, and nothing is
believed that is not there.

    "TGP1"  chunks u32  blobs u32  chunk bits  blob bits  BLAKE3-256 of all before
"""

import struct
from dataclasses import dataclass
from typing import Any, Self

import blake3
import numpy as np
from numpy.typing import NDArray

from tidegate.errors import FormatError

_HEAD = struct.Struct("<4sII")
_MAGIC = b"TGP1"
_DIGEST_BYTES = 32

Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Progress:
    """Flags for every chunk and blob, by number: True where it is verified."""

    chunks: Flags
    blobs: Flags

    @classmethod
    def nothing(cls, chunk_count: int, blob_count: int) -> Self:
        return cls(np.zeros(chunk_count, np.bool_), np.zeros(blob_count, np.bool_))

    @classmethod
    def from_bytes(cls, data: bytes, chunk_count: int, blob_count: int) -> Self:
        """Read the file's bytes; raises FormatError where they are damaged or of another bundle."""
        sizes = [-(-count // 8) for count in (chunk_count, blob_count)]
        if len(data) != _HEAD.size + sum(sizes) + _DIGEST_BYTES:
            raise FormatError(f"progress: {len(data)} bytes do not fit {chunk_count} chunks and {blob_count} blobs")
        if _HEAD.unpack_from(data) != (_MAGIC, chunk_count, blob_count):
            raise FormatError(f"progress: is not of {chunk_count} chunks and {blob_count} blobs")
        if blake3.blake3(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
            raise FormatError("progress: is damaged, its digest differs")
        bits = np.frombuffer(data, np.uint8, sum(sizes), _HEAD.size)
        return cls(_unpack(bits[: sizes[0]], chunk_count), _unpack(bits[sizes[0] :], blob_count))

    def to_bytes(self) -> bytes:
        body = _HEAD.pack(_MAGIC, len(self.chunks), len(self.blobs)) + b"".join(
            np.packbits(flags).tobytes() for flags in (self.chunks, self.blobs)
        )
        return body + blake3.blake3(body).digest()

    @property
    def is_complete(self) -> bool:
        return bool(self.chunks.all() and self.blobs.all())

    @property
    def chunks_done(self) -> int:
        return int(np.count_nonzero(self.chunks))


def _unpack(bits: NDArray[Any], count: int) -> Flags:
    return np.unpackbits(bits, count=count).astype(np.bool_)
