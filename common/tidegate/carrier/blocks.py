"""Labels and index blocks: the 4096-byte blocks that say what a volume file is and what its records must hash to.

Each block ends in a digest over itself, so a damaged one is recognised and ignored (M-4). The digests find damage;
against a forger stand the announcement's signature and the chunk digests. Bytes in, values out.
Layout: docs/format/media.md, "Label" and "Index block".
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

import blake3
import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.header import PREAMBLE_MAX_BYTES
from tidegate.carrier.frames import FRAME_MAX_BYTES
from tidegate.errors import CarrierFormatError

BLOCK_BYTES = 4096
RUN_MAX_RECORDS = 64
FILES_MAX = 999
LABEL_MAGIC = b"TGL1"
INDEX_MAGIC = b"TGI1"

_DIGEST_AT = 4064
_LABEL = struct.Struct("<4sB3s8sHHIII32sH6s")
_INDEX = struct.Struct("<4sI8sHBBHHII")
_BEFORE_AT = _INDEX.size
_ENTRIES_BYTES = RUN_MAX_RECORDS * 16
_AFTER_AT = _BEFORE_AT + _ENTRIES_BYTES
_INDEX_ANNOUNCEMENT_AT = _AFTER_AT + _ENTRIES_BYTES

#: one record as an index block lists it; the digest's 8 bytes are taken as one number, for comparing
ENTRY = np.dtype([("block", "<u4"), ("part", "u1"), ("symbol", "u1"), ("zero", "<u2"), ("digest", "<u8")])
Entries = NDArray[np.void]
NO_ENTRIES: Entries = np.zeros(0, ENTRY)


class Place(IntEnum):
    """At which end of its file a label stands."""

    OPENING = 0
    CLOSING = 1


@dataclass(frozen=True, slots=True)
class Label:
    """What stands at both ends of a volume file."""

    place: Place
    tag: bytes
    file_number: int
    file_count: int
    first_run: int
    run_count: int
    preamble_length: int
    preamble_digest: bytes
    announcement: bytes


@dataclass(frozen=True, slots=True, eq=False)
class IndexBlock:
    """What stands before each run, and after the last one of a file. Entries are arrays of `ENTRY`."""

    run: int
    tag: bytes
    file_number: int
    preamble_length: int
    before: Entries
    after: Entries
    announcement: bytes


def preamble_digest(preamble: bytes) -> bytes:
    return blake3.blake3(preamble).digest()


def build_label(label: Label) -> bytes:
    fields = _LABEL.pack(
        LABEL_MAGIC,
        label.place,
        bytes(3),
        label.tag,
        label.file_number,
        label.file_count,
        label.first_run,
        label.run_count,
        label.preamble_length,
        label.preamble_digest,
        len(label.announcement),
        bytes(6),
    )
    return _seal(fields + label.announcement)


def parse_label(data: bytes | memoryview) -> Label:
    """The label in `data`, exactly 4096 bytes. Raises CarrierFormatError."""
    block = _unseal(data, LABEL_MAGIC, "label")
    _, place, zero, tag, number, count, first, runs, length, digest, size, zero_too = _LABEL.unpack_from(block)
    if place not in (Place.OPENING, Place.CLOSING):
        raise CarrierFormatError(f"label: place {place}, not 0 or 1 (M-8)")
    if not 1 <= number <= count <= FILES_MAX:
        raise CarrierFormatError(f"label: file {number} of {count}, the limit is {FILES_MAX} (M-8)")
    _check_preamble_length(length, "label")
    announcement = _take_announcement(block, _LABEL.size, size, "label", "M-8")
    if any(zero) or any(zero_too):
        raise CarrierFormatError("label: bytes that must be zero are not (M-8)")
    return Label(Place(place), tag, number, count, first, runs, length, digest, announcement)


def build_index(index: IndexBlock) -> bytes:
    fields = _INDEX.pack(
        INDEX_MAGIC,
        index.run,
        index.tag,
        index.file_number,
        len(index.before),
        len(index.after),
        len(index.announcement),
        0,
        index.preamble_length,
        0,
    )
    before = index.before.tobytes().ljust(_ENTRIES_BYTES, b"\0")
    after = index.after.tobytes().ljust(_ENTRIES_BYTES, b"\0")
    return _seal(b"".join((fields, before, after, index.announcement)))


def parse_index(data: bytes | memoryview) -> IndexBlock:
    """The index block in `data`, exactly 4096 bytes. Raises CarrierFormatError."""
    block = _unseal(data, INDEX_MAGIC, "index block")
    _, run, tag, number, before, after, size, zero, length, zero_too = _INDEX.unpack_from(block)
    if not 1 <= number <= FILES_MAX:
        raise CarrierFormatError(f"index block: file {number}, the limit is {FILES_MAX} (M-9)")
    _check_preamble_length(length, "index block")
    announcement = _take_announcement(block, _INDEX_ANNOUNCEMENT_AT, size, "index block", "M-9")
    if zero or zero_too:
        raise CarrierFormatError("index block: bytes that must be zero are not (M-9)")
    entries = (_take_entries(block, _BEFORE_AT, before), _take_entries(block, _AFTER_AT, after))
    return IndexBlock(run, tag, number, length, *entries, announcement)


def _seal(body: bytes) -> bytes:
    body = body.ljust(_DIGEST_AT, b"\0")
    return body + blake3.blake3(body).digest()


def _unseal(data: bytes | memoryview, magic: bytes, what: str) -> bytes:
    if len(data) != BLOCK_BYTES:
        raise CarrierFormatError(f"{what}: {len(data)} bytes, not {BLOCK_BYTES} (M-4)")
    if data[:4] != magic:
        raise CarrierFormatError(f"{what}: starts with {bytes(data[:4]).hex()}, not {magic.hex()} (M-4)")
    if blake3.blake3(data[:_DIGEST_AT]).digest() != data[_DIGEST_AT:]:
        raise CarrierFormatError(f"{what}: damaged, its digest differs (M-4)")
    return bytes(data)


def _check_preamble_length(length: int, what: str) -> None:
    if length > PREAMBLE_MAX_BYTES:
        raise CarrierFormatError(f"{what}: preamble of {length} bytes, the limit is {PREAMBLE_MAX_BYTES} (M-12)")


def _take_announcement(block: bytes, start: int, size: int, what: str, rule: str) -> bytes:
    if size > FRAME_MAX_BYTES:
        raise CarrierFormatError(f"{what}: announcement of {size} bytes, the limit is {FRAME_MAX_BYTES} (M-2)")
    if any(block[start + size : _DIGEST_AT]):
        raise CarrierFormatError(f"{what}: bytes after the announcement are not zero ({rule})")
    return block[start : start + size]


def _take_entries(block: bytes, start: int, count: int) -> Entries:
    if count > RUN_MAX_RECORDS:
        raise CarrierFormatError(f"index block: {count} entries, the limit is {RUN_MAX_RECORDS} (M-9)")
    entries: Entries = np.frombuffer(block, ENTRY, RUN_MAX_RECORDS, start)
    if entries["zero"].any() or entries[count:].tobytes().strip(b"\0"):
        raise CarrierFormatError("index block: bytes that must be zero are not (M-9)")
    return entries[:count]
