"""A hollow bundle: a ``.tgb`` in a root's spool whose large stored chunks are left out and read from the depot.

    ROOT/spool/7f3a-0192-1c2d3e4f.hollow.tgb     header, head, cover, compressed and mixed chunks; holes for the rest
    ROOT/depot/blobs/sha256/…                    what the holes stand for, kept as long as the bundle may be sent again

It has the lengths, the tables and the bundle_id of the whole bundle; a hole is a chunk that is stored as it is and is
one piece of one blob. Whoever carries a bundle reads the whole one: a chunk out of the depot is compared with its
signed digest before a byte of it is handed on. It saves writing the content twice. Reasons:
docs/decisions/0028-hollow-bundles.md.
"""

import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.chunks import verify_chunk
from tidegate.bundle.container import CHUNKS, BundleFile
from tidegate.bundle.header import Header
from tidegate.bundle.placement import Piece, Placement
from tidegate.bundle.tables import CHUNK_MAX_BYTES, STORED, Records, Tables, chunks_between, digest_of
from tidegate.errors import BlobDamagedError, BlobMissingError, DigestError
from tidegate.files import host_error, read_all_at
from tidegate.names import hex_of

HOLLOW_ENDING = ".hollow.tgb"


def open_bundle(path: str | Path) -> BundleFile:
    """The bundle file at `path`, whole or hollow. Raises as `BundleFile.open`."""
    return (HollowBundle if Path(path).name.endswith(HOLLOW_ENDING) else BundleFile).open(path)


def chunks_of_one_piece(segments: Records, chunk_count: int) -> NDArray[np.bool_]:
    """bool[chunks]: whether all of the chunk is one piece of one blob."""
    is_one: NDArray[np.bool_] = np.bincount(segments["where"], minlength=chunk_count) == 1
    return is_one


class HollowBundle(BundleFile):
    """An open hollow bundle; `read_into` answers as the whole one would.

    It raises BlobMissingError and BlobDamagedError where the depot does not hold any more what was packed.
    """

    def __init__(self, path: Path, fd: int, header: Header, preamble: bytes) -> None:
        super().__init__(path, fd, header, preamble)
        self._blobs_folder = path.absolute().parent.parent / "depot" / "blobs" / "sha256"
        self._lock = threading.Lock()
        self._local = threading.local()
        self._holes: _Holes | None = None

    def read_into(self, part: int, offset: int, view: memoryview) -> None:
        if part != CHUNKS or not view:
            super().read_into(part, offset, view)
            return
        holes, done = self._find_holes(), 0
        for chunk in holes.within(offset, offset + len(view)):
            start, end = holes.extent(chunk)
            first, last = max(start, offset), min(end, offset + len(view))
            super().read_into(part, offset + done, view[done : first - offset])
            done = last - offset
            self._read_hole(holes, chunk, first - start, view[first - offset : done])
        super().read_into(part, offset + done, view[done:])

    def _read_hole(self, holes: "_Holes", chunk: int, skip: int, view: memoryview) -> None:
        """Fill `view` from byte `skip` of a chunk on; compared before, or now, wholly."""
        start, end = holes.extent(chunk)
        length = end - start
        if holes.is_verified[chunk]:
            self._read_blob(holes, chunk, skip, view)
        elif len(view) == length:
            self._read_chunk(holes, chunk, view)
        else:
            whole = self._memory()[:length]
            self._read_chunk(holes, chunk, whole)
            view[:] = whole[skip : skip + len(view)]

    def _find_holes(self) -> "_Holes":
        with self._lock:
            if self._holes is None:
                self._holes = _Holes(self.tables())
            return self._holes

    def _memory(self) -> memoryview:
        """Room for one chunk, of this thread."""
        if not hasattr(self._local, "memory"):
            self._local.memory = memoryview(bytearray(CHUNK_MAX_BYTES))
        memory: memoryview = self._local.memory
        return memory

    def _read_chunk(self, holes: "_Holes", chunk: int, view: memoryview) -> None:
        """Read a chunk wholly, and compare it. Raises BlobDamagedError."""
        self._read_blob(holes, chunk, 0, view)
        try:
            verify_chunk(chunk, view, holes.tables.chunks[chunk]["digest"].tobytes())
        except DigestError:
            raise self._damaged(holes.blob(chunk), "are not those that were packed") from None
        holes.is_verified[chunk] = True

    def _read_blob(self, holes: "_Holes", chunk: int, skip: int, view: memoryview) -> None:
        piece = holes.piece(chunk)
        digest, at = holes.blob(chunk), piece.blob_offset + skip
        try:
            fd = os.open(self._blobs_folder / hex_of(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BlobMissingError(
                f"bundle {self.bundle_id[:16]}: blob {digest}: not in the depot", hint="collect the artifact again"
            ) from None
        except OSError as error:
            raise host_error(error, f"opening blob {digest}") from None
        try:
            count = read_all_at(fd, view, at)
        except OSError as error:
            raise host_error(error, f"reading blob {digest}") from None
        finally:
            os.close(fd)
        if count < len(view):
            raise self._damaged(digest, f"end before {at + len(view)}")

    def _damaged(self, digest: str, what: str) -> BlobDamagedError:
        return BlobDamagedError(
            f"bundle {self.bundle_id[:16]}: blob {digest}: its bytes in the depot {what}",
            hint="the disk under the depot may be failing; remove the blob and collect the artifact again",
        )


class _Holes:
    """The chunks that a hollow bundle leaves out, and where their bytes lie."""

    def __init__(self, tables: Tables) -> None:
        chunks = tables.chunks
        self.tables = tables
        self._placement = Placement.of(tables)
        self._is_hole = (chunks["codec"] == STORED) & chunks_of_one_piece(tables.segments, len(chunks))
        self.is_verified = bytearray(len(chunks))

    def within(self, first: int, end: int) -> list[int]:
        """The holes with bytes in [first, end)."""
        return [chunk for chunk in chunks_between(self.tables.chunks, first, end) if self._is_hole[chunk]]

    def extent(self, chunk: int) -> tuple[int, int]:
        """Where the chunk begins and ends in part 2."""
        start = int(self.tables.chunks["offset"][chunk])
        return start, start + int(self.tables.chunks["stored"][chunk])

    def piece(self, chunk: int) -> Piece:
        (piece,) = self._placement.pieces(chunk)
        return piece

    def blob(self, chunk: int) -> str:
        """``sha256:…`` of the blob that the chunk is a piece of."""
        return digest_of(self.tables.blobs[self.piece(chunk).blob])
