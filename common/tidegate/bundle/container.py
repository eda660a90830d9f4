"""A bundle as a file, ``.tgb``: read its parts at any offset, or write one in a single pass.

The writer takes the chunks as they come, appends head, cover and preamble, and writes the header last: a file whose
header holds is a file that was finished. What lies at an offset is left to `header`, `manifest`, `tables` and `cover`.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from tidegate.bundle.cover import Piece, parse_cover
from tidegate.bundle.header import HEADER_BYTES, Extent, Header, align, build_header, parse_header
from tidegate.bundle.manifest import Manifest, parse_manifest
from tidegate.bundle.tables import Tables, parse_tables
from tidegate.errors import DigestError, DiskFullError, FormatError
from tidegate.files import host_error, read_all_at, sync_fd, sync_folder, write_all_at
from tidegate.names import bundle_name

COVER, HEAD, CHUNKS = 0, 1, 2


class BundleFile:
    """An open ``.tgb`` file. Use as a context manager; reading is positional, so threads may share it."""

    def __init__(self, path: Path, fd: int, header: Header, preamble: bytes) -> None:
        self.path = path
        self.header = header
        self.preamble = preamble
        self._fd = fd
        self._cover: bytes | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open `path` and check its header, its length and that its gaps are zero.

        Raises FormatError for a file that is no whole bundle, HostError where it cannot be read.
        """
        path = Path(path)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise host_error(error, "opening a bundle") from None
        try:
            header = parse_header(_read(fd, Extent(0, HEADER_BYTES)))
            _check_file(fd, header)
            return cls(path, fd, header, _read(fd, header.preamble))
        except BaseException:
            os.close(fd)
            raise

    @property
    def bundle_id(self) -> str:
        return self.header.bundle_id

    @property
    def part_lengths(self) -> tuple[int, int, int]:
        cover, head, chunks = self.header.parts
        return (cover.length if self._cover is None else len(self._cover), head.length, chunks.length)

    def with_cover(self, cover: bytes) -> Self:
        """This bundle under another cover, which must carry its signatures; the file stays as it is."""
        self._cover = cover
        return self

    @property
    def manifest_length(self) -> int:
        return self.header.manifest_length

    @property
    def file_length(self) -> int:
        return self.header.file_length

    def read_into(self, part: int, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes of `part` from `offset`; the range must lie within the part."""
        length = self.part_lengths[part]
        if not 0 <= offset <= offset + len(view) <= length:
            raise ValueError(f"part {part} has {length} bytes, asked for {offset}+{len(view)}")
        if part == COVER and self._cover is not None:
            view[:] = self._cover[offset : offset + len(view)]
            return
        extent = self.header.parts[part]
        _read_into(self._fd, extent.offset + offset, view)

    def read_part(self, part: int) -> bytes:
        """The whole of part 0 or 1; part 2 is read in pieces with `read_into`."""
        if part == CHUNKS:
            raise ValueError("part 2 is read in pieces")
        if part == COVER and self._cover is not None:
            return self._cover
        return _read(self._fd, self.header.parts[part])

    def manifest_bytes(self) -> bytes:
        """The manifest's bytes, which the bundle_id of the header names. Raises DigestError."""
        data = _read(self._fd, Extent(self.header.head.offset, self.manifest_length))
        if (found := sha256(data).hexdigest()) != self.bundle_id:
            raise DigestError(f"bundle {self.bundle_id[:16]}: the manifest's SHA-256 is {found} (B-25)")
        return data

    def manifest(self) -> Manifest:
        """The manifest. Whoever needs to know who signed it verifies the cover's signatures first."""
        return parse_manifest(self.manifest_bytes())

    def tables(self) -> Tables:
        """The tables after every check of the format."""
        return parse_tables(self.read_part(HEAD), self.manifest_length, self.manifest(), self.header.chunks.length)

    def cover(self) -> tuple[Piece, ...]:
        return parse_cover(self.read_part(COVER))

    @property
    def name(self) -> str:
        manifest = self.manifest()
        return bundle_name(manifest.channel, manifest.sequence)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class BundleWriter:
    """Write a ``.tgb`` file: chunks in order, then `finish`. Errors of the disk come as DiskFullError or HostError.

    Of `max_bytes` chunks are not written beyond (a quota).
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.chunks_length = 0
        self._written = 0  # of chunks that were not left out
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise host_error(error, "making a bundle") from None

    def append_chunk(self, stored: bytes | bytearray | memoryview) -> None:
        """The stored bytes of the next chunk."""
        if self.max_bytes is not None and self._written + len(stored) > self.max_bytes:
            raise DiskFullError(
                f"{self.path.parent}: the quota leaves {self.max_bytes} bytes, and the bundle is larger",
                hint='"tidegate cleanup --remove" removes bundles that were confirmed; or raise quota_bytes',
            )
        self._write(HEADER_BYTES + self.chunks_length, stored)
        self.chunks_length += len(stored)
        self._written += len(stored)

    def skip_chunk(self, length: int) -> None:
        """Leave a hole in place of the next chunk's `length` stored bytes (`tidegate.hollow`)."""
        self.chunks_length += length

    def finish(self, manifest: bytes, tables: Sequence[bytes | memoryview], cover: bytes, preamble: bytes) -> str:
        """Write head, cover, preamble and header, sync, close; the bundle_id."""
        chunks = Extent(HEADER_BYTES, self.chunks_length)
        head = Extent(align(chunks.end), len(manifest) + sum(len(table) for table in tables))
        cover_at = Extent(align(head.end), len(cover))
        preamble_at = Extent(align(cover_at.end), len(preamble))
        bundle_id = sha256(manifest).hexdigest()
        offset = head.offset
        for data in (manifest, *tables):
            self._write(offset, data)
            offset += len(data)
        self._write(cover_at.offset, cover)
        self._write(preamble_at.offset, preamble)
        header = Header(cover_at, head, chunks, len(manifest), bundle_id, preamble_at)
        self._write(0, build_header(header))
        try:
            os.ftruncate(self._fd, header.file_length)
            sync_fd(self._fd)
        except OSError as error:
            raise host_error(error, f"writing {self.path}") from None
        self.close()
        return bundle_id

    def _write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        try:
            write_all_at(self._fd, view, offset)
        except OSError as error:
            raise host_error(error, f"writing {self.path}") from None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def abandon(self) -> None:
        """Close and remove what was written so far."""
        self.close()
        self.path.unlink(missing_ok=True)


def publish_bundle(temporary: Path, final: Path) -> None:
    """Give a finished bundle its name, durably."""
    try:
        temporary.rename(final)
        sync_folder(final.parent)
    except OSError as error:
        raise host_error(error, f"writing {final}") from None


def _check_file(fd: int, header: Header) -> None:
    """B-22 and B-23: the gaps between the parts are zero, and the file ends with its last part."""
    size = os.fstat(fd).st_size
    if size != header.file_length:
        raise FormatError(f"bundle file: {size} bytes, its header speaks of {header.file_length} (B-23)")
    for extent in (*header.parts, header.preamble):
        end = min(align(extent.end), size)
        if extent.end < end and any(_read(fd, Extent(extent.end, end - extent.end))):
            raise FormatError(f"bundle file: the gap after {extent.end} is not zero (B-22)")


def _read(fd: int, extent: Extent) -> bytes:
    """`extent` of the file, whose length was compared with a limit before."""
    buffer = bytearray(extent.length)
    _read_into(fd, extent.offset, memoryview(buffer))
    return bytes(buffer)


def _read_into(fd: int, offset: int, view: memoryview) -> None:
    try:
        count = read_all_at(fd, view, offset)
    except OSError as error:
        raise host_error(error, "reading a bundle") from None
    if count < len(view):
        raise FormatError(f"bundle file: ends at {offset + count}, expected {offset + len(view)} (B-23)")
