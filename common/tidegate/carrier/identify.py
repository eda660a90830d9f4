"""What a file on a medium is, by its content: from its labels, and where both are gone from any index block in it.

Works on an open descriptor; every read bears errors. Nothing is verified here beyond the blocks' own digests.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.bundle.header import align
from tidegate.carrier.announcement import read_announcement_frame
from tidegate.carrier.blocks import BLOCK_BYTES, INDEX_MAGIC, Label, Place, parse_index, parse_label, preamble_digest
from tidegate.carrier.frames import Frame
from tidegate.carrier.positional import aligned_memory, read_views
from tidegate.errors import CarrierFormatError, RefusedError
from tidegate.trust.root import read_chain_id
from tidegate.units import KIB, MIB

#: looked through for index blocks at both ends of a file whose labels are gone: the first run starts within it
PROBE_END_BYTES = 2 * MIB
#: and in its middle: more than one run of 64 records of 64 KiB
PROBE_MIDDLE_BYTES = 5 * MIB
_PIECE_BYTES = 256 * KIB


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file of which volume it is. `preamble` is None where its copies are damaged.

    `is_preamble_sure`: a label's digest vouches for it, against damage alone.
    """

    frame: Frame
    file_number: int
    preamble_length: int
    preamble: bytes | None
    is_preamble_sure: bool


def identify_by_label(fd: int, size: int) -> Identity | None:
    """The identity of an open file of `size` bytes, or None where neither label is whole."""
    for place, offset in ((Place.OPENING, 0), (Place.CLOSING, size - BLOCK_BYTES)):
        label = _label_at(fd, offset, place)
        frame = _frame(label.announcement, label.tag) if label else None
        if label and frame:
            preamble = _labelled_preamble(fd, size, label)
            return Identity(frame, label.file_number, label.preamble_length, preamble, preamble is not None)
    return None


def identify_by_index(fd: int, size: int) -> Identity | None:
    """The identity by the first whole index block at the ends or in the middle of the file, or None."""
    return next(_identities_by_index(fd, size), None)


def _label_at(fd: int, offset: int, place: Place) -> Label | None:
    data = _read(fd, offset, BLOCK_BYTES)
    try:
        label = parse_label(data) if data else None
    except CarrierFormatError:
        return None
    return label if label and label.place == place else None


def _frame(announcement: bytes, tag: bytes) -> Frame | None:
    try:
        frame = read_announcement_frame(announcement)
    except CarrierFormatError:
        return None
    return frame if frame.tag == tag else None


def _labelled_preamble(fd: int, size: int, label: Label) -> bytes | None:
    """The copy of the preamble, at either end of the file, that has the label's digest."""
    length = label.preamble_length
    for offset in (BLOCK_BYTES, size - BLOCK_BYTES - align(length)):
        data = _read(fd, offset, length)
        if data is not None and preamble_digest(data) == label.preamble_digest:
            return data
    return None


def _readable_preamble(fd: int, size: int, length: int) -> bytes | None:
    """A copy of the preamble, where no label is left to give its digest: one that reads as a chain of roots.

    Whether the chain holds is for whoever verifies it. What does not even read as one is damage, and worse than none.
    """
    places = (BLOCK_BYTES, size - BLOCK_BYTES - align(length))
    copies = (data for place in places if (data := _read(fd, place, length)) is not None)
    return next(filter(_reads_as_chain, copies), None)


def _reads_as_chain(data: bytes) -> bool:
    try:
        return bool(read_chain_id(data))
    except RefusedError:
        return False


def _identities_by_index(fd: int, size: int) -> Iterator[Identity]:
    for start, end in _probe_ranges(size):
        for offset, block in _blocks(fd, start, end):
            if block[:4] != INDEX_MAGIC:
                continue
            try:
                index = parse_index(block)
            except CarrierFormatError:
                continue
            frame = _frame(index.announcement, index.tag)
            if frame and offset >= BLOCK_BYTES + align(index.preamble_length):
                preamble = _readable_preamble(fd, size, index.preamble_length)
                yield Identity(frame, index.file_number, index.preamble_length, preamble, False)


def _probe_ranges(size: int) -> Iterator[tuple[int, int]]:
    """The ends of the file first, then three places between, aligned."""
    yield 0, min(size, PROBE_END_BYTES)
    yield max(0, size - PROBE_END_BYTES), size
    for quarter in (2, 1, 3):
        start = size * quarter // 4
        yield start, min(size, start + PROBE_MIDDLE_BYTES)


def _blocks(fd: int, start: int, end: int) -> Iterator[tuple[int, memoryview]]:
    """(offset, 4096 bytes) of every whole aligned block between `start` and `end` that can be read."""
    start = start // BLOCK_BYTES * BLOCK_BYTES
    memory = aligned_memory(_PIECE_BYTES)
    views = [memory[at : at + BLOCK_BYTES] for at in range(0, _PIECE_BYTES, BLOCK_BYTES)]
    for piece in range(start, end, _PIECE_BYTES):
        wanted = views[: max(0, min(_PIECE_BYTES, end - piece) // BLOCK_BYTES)]
        filled = read_views(fd, wanted, piece).filled
        for number, (view, is_filled) in enumerate(zip(wanted, filled, strict=True)):
            if is_filled:
                yield piece + number * BLOCK_BYTES, view


def _read(fd: int, offset: int, length: int) -> bytes | None:
    """`length` bytes, or None where they cannot all be read; the caller has limited `length`."""
    if offset < 0:
        return None
    view = aligned_memory(length)
    return bytes(view) if not length or all(read_views(fd, [view], offset).filled) else None
