"""Random access to the members of a tar on the disk, plain or compressed, and to tars that lie inside of it.

Nothing is unpacked by its name: a member is looked up by the words of a manifest, and read from where it lies. A
compressed file is decompressed once into a nameless temporary file, no further than `UNPACKED_FACTOR` times its size.
"""

import io
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from tidegate.errors import CollectError, FormatError, UnsafePathError
from tidegate.files import host_error
from tidegate.tars import MemberKind, read_members
from tidegate.units import MIB
from tidegate_sender.collect.tree import named_error

MEMBERS_MAX = 200_000
LINKS_MAX = 16  # from one to the next
UNPACKED_FACTOR = 100
UNPACKED_FREE_BYTES = 64 * MIB
_PIECE = 1 * MIB
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class ArchiveError(CollectError):
    """A tar of images is damaged, hostile, or of no kind that is known here."""

    exit_code = CollectError.exit_code


@dataclass(frozen=True, slots=True)
class Region:
    """`length` bytes at `offset` of an open file."""

    file: BinaryIO
    offset: int
    length: int

    def pieces(self) -> Iterator[bytes]:
        """The bytes in order. Raises ArchiveError where the file ends early."""
        done = 0
        while done < self.length:
            piece = os.pread(self.file.fileno(), min(_PIECE, self.length - done), self.offset + done)
            if not piece:
                raise ArchiveError("the file became shorter while it was read")
            yield piece
            done += len(piece)

    def read(self, max_bytes: int, what: str) -> bytes:
        if self.length > max_bytes:
            raise ArchiveError(f"{what}: {self.length} bytes, the limit is {max_bytes}")
        return b"".join(self.pieces())

    @property
    def head(self) -> bytes:
        return os.pread(self.file.fileno(), min(4, self.length), self.offset)


class _RegionFile(io.RawIOBase):
    """A region as a file of its own, for the reader of headers."""

    def __init__(self, region: Region) -> None:
        self._region, self._place = region, 0

    def read(self, count: int = -1) -> bytes:
        left = max(self._region.length - self._place, 0)
        count = left if count < 0 else min(count, left)
        data = os.pread(self._region.file.fileno(), count, self._region.offset + self._place)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        self._place = offset
        return offset

    def tell(self) -> int:
        return self._place


class Archive:
    """The members of one tar by path; links inside of it are followed."""

    def __init__(self, region: Region, what: str) -> None:
        self.what = what
        self.files: dict[str, Region] = {}
        self._links: dict[str, str] = {}
        try:
            self._read(region)
        except (FormatError, UnsafePathError) as error:
            raise ArchiveError(error.message) from None

    def _read(self, region: Region) -> None:
        members = read_members(cast("BinaryIO", _RegionFile(region)), region.length, self.what)
        for count, member in enumerate(members):
            if count >= MEMBERS_MAX:
                raise ArchiveError(f"{self.what}: more than {MEMBERS_MAX} members")
            if member.kind is MemberKind.LINK:
                self._links[member.name] = member.target
            elif member.kind is MemberKind.FILE:
                if member.name in self.files:
                    raise ArchiveError(f"{self.what}: {member.name[:200]!r} is there twice")
                self.files[member.name] = Region(region.file, region.offset + member.offset, member.size)

    def find(self, name: str) -> Region | None:
        """The file called `name`, or None. A link leads to another member, and never out of the tar."""
        for _ in range(LINKS_MAX):
            if name in self.files:
                return self.files[name]
            if name not in self._links:
                return None
            name = _joined(name, self._links[name])
        raise ArchiveError(f"{self.what}: {name[:200]!r}: a link to a link to a link …")

    def member(self, name: str) -> Region:
        """Raises ArchiveError where there is none."""
        region = self.find(name)
        if region is None:
            raise ArchiveError(f"{self.what}: {name[:200]!r} is not in it")
        return region


def _joined(name: str, target: str) -> str:
    parts: list[str] = [] if target.startswith("/") else name.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


@contextmanager
def open_region(path: Path) -> Iterator[Region]:
    """The file at `path` as a region. Raises CollectError."""
    try:
        if path.exists() and not path.is_file():
            raise ArchiveError(f"{path}: is no file")  # a FIFO would hang
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise named_error(error, path) from None
    with file:
        yield Region(cast("BinaryIO", file), 0, os.fstat(file.fileno()).st_size)


@contextmanager
def unpacked(region: Region, what: str) -> Iterator[Region]:
    """The region itself, or what it decompresses to (gzip, zstd). Raises ArchiveError, DiskFullError."""
    if not region.head.startswith((_GZIP, _ZSTD)):
        yield region
        return
    limit = UNPACKED_FREE_BYTES + UNPACKED_FACTOR * region.length
    with _temporary(what) as file:
        try:
            size = sum(file.write(piece) for piece in limited(decompressed(region, what), limit, what))
            file.flush()
        except OSError as error:
            raise host_error(error, f"unpacking {what}") from None
        yield Region(cast("BinaryIO", file), 0, size)


def _temporary(what: str) -> AbstractContextManager[IO[bytes]]:
    """On a disk: what is unpacked may be larger than the memory that /tmp often is."""
    folder = os.environ.get("TMPDIR") or ("/var/tmp" if Path("/var/tmp").is_dir() else None)  # noqa: S108
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise host_error(error, f"unpacking {what}") from None


def limited(pieces: Iterator[bytes], limit: int, what: str) -> Iterator[bytes]:
    """`pieces` up to `limit` bytes; more raise ArchiveError."""
    left = limit
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise ArchiveError(f"{what}: unpacks to more than {limit} bytes")
        yield piece


def is_compressed(region: Region) -> str:
    """``gzip``, ``zstd``, or empty."""
    head = region.head
    return "gzip" if head.startswith(_GZIP) else "zstd" if head.startswith(_ZSTD) else ""


def decompressed(region: Region, what: str) -> Iterator[bytes]:
    """What a compressed region holds, in pieces of bounded length. Raises ArchiveError."""
    return _gunzipped(region, what) if is_compressed(region) == "gzip" else _unzstd(region, what)


def _gunzipped(region: Region, what: str) -> Iterator[bytes]:
    """Several gzip members one after the other are one stream, as everywhere."""
    engine = zlib.decompressobj(wbits=31)
    try:
        for piece in region.pieces():
            rest = piece
            while rest:
                if engine.eof:
                    engine = zlib.decompressobj(wbits=31)
                yield engine.decompress(rest, _PIECE)
                rest = engine.unused_data if engine.eof else engine.unconsumed_tail
        while not engine.eof and (tail := engine.decompress(engine.unconsumed_tail, _PIECE)):
            yield tail
    except zlib.error as error:
        raise ArchiveError(f"{what}: is no gzip: {error}") from None
    if not engine.eof:
        raise ArchiveError(f"{what}: ends early")


def _unzstd(region: Region, what: str) -> Iterator[bytes]:
    import zstandard

    source = cast("BinaryIO", _RegionFile(region))
    try:
        with zstandard.ZstdDecompressor(max_window_size=128 * MIB).stream_reader(
            source, read_across_frames=True, closefd=False
        ) as reader:
            while piece := reader.read(_PIECE):
                yield piece
    except (zstandard.ZstdError, OSError) as error:
        raise ArchiveError(f"{what}: is no zstd: {error}") from None
