"""The first 4096 bytes of a `.tgb` file: where each part lies, and which bundle it is.

The header is a table of extents with a digest of its own; it vouches for nothing. A reader takes the lengths from
here and compares the manifest's SHA-256 with `bundle_id`. Layout: docs/format/bundle.md, "The .tgb file". No file is
opened here.
"""

import struct
from dataclasses import dataclass

import blake3

from tidegate.errors import FormatError
from tidegate.units import MIB, TIB

HEADER_BYTES = 4096
ALIGNMENT = 4096
MAGIC = b"TGB1"
CONTAINER_FORMAT = 1
PREAMBLE_MAX_BYTES = 65536
COVER_MAX_BYTES = 16 * MIB
MANIFEST_MAX_BYTES = 16 * MIB
CHUNKS_MAX_BYTES = 4 * TIB
#: manifest, and the four tables at their limits of 2^22, 2^23, 2^24 and 2^22 records
HEAD_MAX_BYTES = MANIFEST_MAX_BYTES + (2**22) * 48 + (2**23) * 24 + (2**24) * 56 + (2**22) * 48

_FIELDS = struct.Struct("<4sI7Q32sI4xQ")
_DIGEST_AT = 4064


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes in a file."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a `.tgb` file says."""

    cover: Extent
    head: Extent
    chunks: Extent
    manifest_length: int
    bundle_id: str
    preamble: Extent

    @property
    def parts(self) -> tuple[Extent, Extent, Extent]:
        return (self.cover, self.head, self.chunks)

    @property
    def file_length(self) -> int:
        return max(HEADER_BYTES, *(extent.end for extent in (*self.parts, self.preamble)))


def align(offset: int) -> int:
    """The next multiple of 4096."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def build_header(header: Header) -> bytes:
    """The 4096 bytes of `header`."""
    fields = _FIELDS.pack(
        MAGIC,
        CONTAINER_FORMAT,
        *(value for part in header.parts for value in (part.offset, part.length)),
        header.manifest_length,
        bytes.fromhex(header.bundle_id),
        header.preamble.length,
        header.preamble.offset,
    )
    body = fields.ljust(_DIGEST_AT, b"\0")
    return body + blake3.blake3(body).digest()


def parse_header(data: bytes) -> Header:
    """The header in `data`, exactly 4096 bytes. Raises FormatError for whatever breaks B-20 to B-23."""
    if len(data) != HEADER_BYTES:
        raise FormatError(f"bundle file: the header has {len(data)} of {HEADER_BYTES} bytes (B-20)")
    if data[:4] != MAGIC:
        raise FormatError(f"bundle file: starts with {data[:4].hex()}, not with {MAGIC.hex()} (B-20)")
    if blake3.blake3(data[:_DIGEST_AT]).digest() != data[_DIGEST_AT:]:
        raise FormatError("bundle file: the header is damaged, its digest differs (B-20)")
    _, version, *numbers, bundle_id, preamble_length, preamble_offset = _FIELDS.unpack_from(data)
    if version != CONTAINER_FORMAT:
        raise FormatError(f"bundle file: format {version}, this version reads {CONTAINER_FORMAT} (B-20)")
    if any(data[100:104]) or any(data[_FIELDS.size : _DIGEST_AT]):
        raise FormatError("bundle file: bytes of the header that must be zero are not (B-20)")
    header = Header(
        cover=Extent(numbers[0], numbers[1]),
        head=Extent(numbers[2], numbers[3]),
        chunks=Extent(numbers[4], numbers[5]),
        manifest_length=numbers[6],
        bundle_id=bundle_id.hex(),
        preamble=Extent(preamble_offset, preamble_length),
    )
    _check_lengths(header)
    _check_places(header)
    return header


def _check_lengths(header: Header) -> None:
    limits = (
        ("cover", header.cover.length, COVER_MAX_BYTES),
        ("head", header.head.length, HEAD_MAX_BYTES),
        ("chunks", header.chunks.length, CHUNKS_MAX_BYTES),
        ("manifest", header.manifest_length, min(MANIFEST_MAX_BYTES, header.head.length)),
        ("preamble", header.preamble.length, PREAMBLE_MAX_BYTES),
    )
    for name, length, limit in limits:
        if length > limit:
            raise FormatError(f"bundle file: {name} of {length} bytes, the limit is {limit} (B-21)")


def _check_places(header: Header) -> None:
    """B-22: parts follow each other, each at the first multiple of 4096 that is free."""
    expected = HEADER_BYTES
    for extent in sorted((*header.parts, header.preamble), key=lambda extent: (extent.offset, extent.length)):
        if extent.offset != expected:
            raise FormatError(f"bundle file: a part starts at {extent.offset}, expected {expected} (B-22)")
        expected = align(extent.end)
