"""The blobs of a bundle as files that fill piece by piece, and their digests, computed as the pieces come.

A blob's file is named by its digest from the start, in a folder that nobody trusts: it counts when its SHA-256 was
compared, which needs no second reading where the pieces came in order. Otherwise, and after a resumption, the file is
read once more at the end.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

from tidegate.bundle.placement import Piece
from tidegate.bundle.tables import Records, digest_of
from tidegate.errors import DigestError
from tidegate.files import host_error, write_all_at
from tidegate.names import hex_of
from tidegate.units import MIB

#: blobs whose digest is under way at one time; of more than these the oldest is read again at the end
OPEN_DIGESTS_MAX = 1024
_FILE_MODE = 0o644
_DONE_MODE = 0o444  # as in a depot: a blob is never changed once it is there
_READ_BYTES = 1 * MIB


class BlobDigestError(DigestError):
    """A blob of verified chunks is not what its name says: the bundle contradicts itself, not the medium."""


class Hasher(Protocol):
    """What hashlib gives."""

    def update(self, data: Any, /) -> None: ...
    def hexdigest(self) -> str: ...


class BlobFiles:
    """The files of the blobs of one bundle. `write` may be called by several threads."""

    def __init__(self, folder: Path, blobs: Records) -> None:
        self.folder = folder
        self.blobs = blobs
        self._folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def digest(self, number: int) -> str:
        """``sha256:…`` of a blob, as it was signed."""
        return digest_of(self.blobs[number])

    def size(self, number: int) -> int:
        return int(self.blobs["size"][number])

    def path(self, number: int) -> Path:
        return self.folder / hex_of(self.digest(number))

    def write(self, piece: Piece, content: memoryview) -> None:
        """Put a piece of a chunk's content into its blob; raises DiskFullError or HostError."""
        data = content[piece.chunk_offset : piece.chunk_offset + piece.length]
        try:
            # One open a piece: 10 µs beside the milliseconds of a chunk, and no handle to keep or to share.
            fd = self._open(piece.blob, os.O_WRONLY | os.O_CREAT)
            try:
                write_all_at(fd, data, piece.blob_offset)
            finally:
                os.close(fd)
        except OSError as error:
            raise host_error(error, "writing received content") from None

    def read_digest(self, number: int) -> str:
        """The hex SHA-256 of what lies in a blob's file now."""
        hasher, buffer = hashlib.sha256(), memoryview(bytearray(_READ_BYTES))
        try:
            fd = self._open(number, os.O_RDWR | os.O_CREAT)  # an empty blob has no piece that would make its file
            try:
                while count := os.readv(fd, [buffer]):
                    hasher.update(buffer[:count])
            finally:
                os.close(fd)
        except OSError as error:
            raise host_error(error, "reading received content") from None
        return hasher.hexdigest()

    def finish(self, number: int) -> None:
        """Nothing is written to this blob any more."""
        os.chmod(hex_of(self.digest(number)), _DONE_MODE, dir_fd=self._folder_fd)

    def remove(self, number: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(hex_of(self.digest(number)), dir_fd=self._folder_fd)

    def _open(self, number: int, flags: int) -> int:
        name = hex_of(self.digest(number))
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE, dir_fd=self._folder_fd)

    def close(self) -> None:
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1


class BlobDigests:
    """SHA-256 of the blobs whose pieces come in order, from their first byte on."""

    def __init__(self, files: BlobFiles) -> None:
        self._files = files
        self._open: dict[int, tuple[Hasher, int]] = {}

    def add(self, piece: Piece, content: memoryview) -> bool:
        """Take the next piece; whether its blob is complete and verified now.

        A piece that does not follow the one before drops the blob: its file is read later. Raises BlobDigestError.
        """
        hasher, expected = self._open.pop(piece.blob, (None, 0))
        if piece.blob_offset != expected:
            return False
        hasher = hasher or self._start()
        hasher.update(content[piece.chunk_offset : piece.chunk_offset + piece.length])
        end = expected + piece.length
        if end < self._files.size(piece.blob):
            self._open[piece.blob] = (hasher, end)
            return False
        check_blob_digest(self._files.digest(piece.blob), hasher.hexdigest())
        return True

    def _start(self) -> Hasher:
        if len(self._open) >= OPEN_DIGESTS_MAX:
            del self._open[next(iter(self._open))]
        return hashlib.sha256()


def check_blob_digest(expected: str, found_hex: str) -> None:
    """Raise BlobDigestError where a blob's bytes are not what its name says."""
    if found_hex != hex_of(expected):
        raise BlobDigestError(f"blob {expected}: its bytes have the digest sha256:{found_hex}")
