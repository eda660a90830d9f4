"""What is to be sent again: bundles by number, and of a bundle all of it or pieces. Values only; no carrier here.

A resend is the same bundle under the same signature: whatever carrier takes it, copies fill each other. Where pieces of
a bundle (`tidegate.pieces`) lie in the code of a carrier is `groups_of`: whole interleaving groups, since those are
mended together.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import UsageError
from tidegate.pieces import ChunkRange, joined, parse_pieces, pieces_text
from tidegate.slip.numbers import NUMBER_MAX

if TYPE_CHECKING:
    from tidegate.bundle.tables import Records
    from tidegate.state.bundles import BundleRow

#: ranges of groups that one announcement takes beside cover and head (docs/format/media.md, M-13)
RANGES_MAX = 20
NUMBERS_MAX = 1024
_NUMBERS = re.compile(r"([1-9][0-9]{0,6})(?:-([1-9][0-9]{0,6}))?")


@dataclass(frozen=True, slots=True)
class Wish:
    """One bundle that somebody wants again; no `pieces`: all of it."""

    number: int
    pieces: tuple[ChunkRange, ...] = ()


@dataclass(frozen=True, slots=True)
class ResendItem:
    """A bundle that can be sent again, with its row; no `pieces`: all of it."""

    row: "BundleRow"
    pieces: tuple[ChunkRange, ...] = ()

    @property
    def words(self) -> str:
        """``7f3a-0191``, ``pieces 40-55 of 7f3a-0191``."""
        return f"pieces {pieces_text(self.pieces)} of {self.row.name}" if self.pieces else self.row.name


@dataclass(frozen=True, slots=True)
class NotSent:
    """A bundle that cannot be sent again: why, and what to do in its place."""

    number: int
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class ResendPlan:
    """Everything that is asked for: what a carrier is to send, in the order of the numbers, and what cannot be."""

    items: tuple[ResendItem, ...] = ()
    impossible: tuple[NotSent, ...] = ()
    #: sites whose slips asked for it; none where a person named it
    asked_by: tuple[str, ...] = ()


def parse_wish(text: str) -> tuple[Wish, ...]:
    """What a person types: ``191``, ``188-191``, or pieces of one bundle ``191:40-55+80``. Raises UsageError."""
    numbers, _, pieces = text.partition(":")
    match = _NUMBERS.fullmatch(numbers)
    if match is None:
        raise UsageError(f"{text!r} is no number of a bundle", hint="write it like 191, 188-191 or 191:40-55+80")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or last > NUMBER_MAX or last - first >= NUMBERS_MAX:
        raise UsageError(f"{text!r} is no range of at most {NUMBERS_MAX} numbers that rise")
    if ":" not in text:
        return tuple(Wish(number) for number in range(first, last + 1))
    if first != last:
        raise UsageError(f"{text!r}: pieces are of one bundle")
    return (Wish(first, parse_pieces(pieces)),)


def groups_of(
    chunks: "Records", pieces: Iterable[ChunkRange], geometry: PartGeometry, limit: int = RANGES_MAX
) -> tuple[tuple[int, int], ...]:
    """The groups [from, to) of part 2, coded as `geometry`, that hold `pieces` of the table `chunks`.

    Raises UsageError for pieces that the bundle does not have.
    """
    found = []
    for item in pieces:
        if not 0 <= item.first < item.end <= len(chunks):
            raise UsageError(f"pieces {pieces_text((item,))}: the bundle has {len(chunks)}")
        last = chunks[item.end - 1]
        begin, end = int(chunks[item.first]["offset"]), int(last["offset"]) + int(last["stored"])
        found.append(ChunkRange(_group_at(geometry, begin), _group_at(geometry, end - 1) + 1))
    return tuple((item.first, item.end) for item in joined(found, limit))


def _group_at(geometry: PartGeometry, offset: int) -> int:
    """The group that holds the byte at `offset` of the part."""
    low, high = 0, geometry.group_count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if geometry.group_extent(middle)[0] <= offset:
            low = middle
        else:
            high = middle - 1
    return low
