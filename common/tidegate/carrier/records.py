"""Digests of records, and how they are compared with what index blocks list.

Shared by writer, reader and read-back, so that the three agree. Threads may call it: BLAKE3 releases the GIL.
"""

from collections.abc import Iterable, Sequence

import blake3
import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.blocks import BLOCK_BYTES, ENTRY, Entries, IndexBlock, parse_index
from tidegate.carrier.volume import Run
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import CarrierFormatError

_DIGEST_BYTES = 8
_NO_DIGEST = bytes(_DIGEST_BYTES)


def record_digests(slots: Iterable[memoryview]) -> NDArray[np.uint64]:
    """The first 8 bytes of BLAKE3 over each slot, as entries hold them."""
    blake = blake3.blake3
    return np.frombuffer(b"".join([blake(slot).digest(_DIGEST_BYTES) for slot in slots]), "<u8")


def build_entries(run: Run, geometry: PartGeometry, slots: Sequence[memoryview]) -> Entries:
    """The entries of a run whose records are `slots`."""
    entries = expected_entries(run, geometry)
    entries["digest"] = record_digests(slots)
    return entries


def expected_entries(run: Run, geometry: PartGeometry) -> Entries:
    """The entries that a run must have by its place, with digests of zero."""
    order = run.order(geometry)
    entries = np.zeros(run.record_count, ENTRY)
    entries["block"] = geometry.group_blocks(run.group)[0] + order[:, 0]
    entries["part"] = run.part
    entries["symbol"] = order[:, 1]
    return entries


def index_of(data: memoryview, tag: bytes, run: int, file_number: int) -> IndexBlock | None:
    """The index block in `data` when it is whole and belongs exactly here, else None (M-4)."""
    try:
        index = parse_index(data[:BLOCK_BYTES])
    except CarrierFormatError:
        return None
    return index if (index.tag, index.run, index.file_number) == (tag, run, file_number) else None


def match_records(
    expected: Entries, listed: Iterable[Entries], slots: Sequence[memoryview], wanted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which of the `wanted` records have the digest that one of the `listed` copies of their entries gives (M-3)."""
    copies = [entries for entries in listed if len(entries) == len(expected)]
    found = np.zeros(len(expected), np.bool_)
    if not copies or not wanted.any():
        return found
    blake = blake3.blake3
    chosen = zip(slots, wanted.tolist(), strict=True)
    parts = [blake(slot).digest(_DIGEST_BYTES) if want else _NO_DIGEST for slot, want in chosen]
    digests = np.frombuffer(b"".join(parts), "<u8")
    for entries in copies:
        same_place = (
            (entries["block"] == expected["block"])
            & (entries["part"] == expected["part"])
            & (entries["symbol"] == expected["symbol"])
        )
        found |= same_place & (entries["digest"] == digests)
    return found & wanted
