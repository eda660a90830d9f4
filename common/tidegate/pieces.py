"""Pieces of a bundle, as one side tells the other over the telephone: ``40-55+80``.

A piece is a chunk of the bundle's table: both sides have the same table, whatever code a carrier lays over it. People
count from 1 and read to the last one; `ChunkRange` counts from 0 and ends before `end`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tidegate.errors import UsageError

_PIECES = re.compile(r"([1-9][0-9]{0,7})(?:-([1-9][0-9]{0,7}))?")
#: ranges that a person is told; more are joined
TOLD_MAX = 8


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Chunks of a bundle, [first, end)."""

    first: int
    end: int


def parse_pieces(text: str) -> tuple[ChunkRange, ...]:
    """``40-55+80``, as `pieces_text` makes it. Raises UsageError."""
    ranges = []
    for part in text.replace(",", "+").split("+"):
        match = _PIECES.fullmatch(part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(
                f"{text[:64]!r} are no pieces", hint="write them as the other side shows them, like 40-55+80"
            )
        ranges.append(ChunkRange(int(match[1]) - 1, int(match[2] or match[1])))
    return joined(ranges)


def pieces_text(ranges: Iterable[ChunkRange]) -> str:
    """``40-55+80``, counted from 1."""
    return "+".join(
        f"{item.first + 1}" if item.end == item.first + 1 else f"{item.first + 1}-{item.end}" for item in ranges
    )


def joined(ranges: Iterable[ChunkRange], limit: int = 0) -> tuple[ChunkRange, ...]:
    """`ranges` rising and apart from each other; of more than `limit` the nearest are joined (0: no limit)."""
    rising: list[ChunkRange] = []
    for item in sorted(ranges, key=lambda item: item.first):
        if rising and item.first <= rising[-1].end:
            rising[-1] = ChunkRange(rising[-1].first, max(rising[-1].end, item.end))
        else:
            rising.append(item)
    if not limit or len(rising) <= limit:
        return tuple(rising)
    # Cut only at the widest gaps.
    gaps = sorted(range(1, len(rising)), key=lambda at: rising[at - 1].end - rising[at].first)
    edges = [0, *sorted(gaps[: limit - 1]), len(rising)]
    return tuple(ChunkRange(rising[low].first, rising[high - 1].end) for low, high in pairwise(edges))
