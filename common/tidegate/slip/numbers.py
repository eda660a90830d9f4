"""Numbers of bundles as ranges: ``1-190+192``. Rule S-4 of docs/format/slip.md."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from tidegate.errors import SlipMistypedError

NUMBER_MAX = 9_999_999
NONE = "NONE"
_RANGE = re.compile(r"([1-9][0-9]{0,6})(?:-([1-9][0-9]{0,6}))?")


@dataclass(frozen=True, slots=True)
class Numbers:
    """A set of numbers, as ranges (first, last) that rise and do not touch."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Self:
        """The set of `numbers`, in any order."""
        ranges: list[tuple[int, int]] = []
        for number in sorted(set(numbers)):
            if ranges and number == ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], number)
            else:
                ranges.append((number, number))
        return cls(tuple(ranges))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises SlipMistypedError for any other text than `str` makes."""
        if text == NONE:
            return cls()
        ranges = []
        for part in text.split("+"):
            match = _RANGE.fullmatch(part)
            if match is None:
                raise SlipMistypedError(f"{part[:32]!r} is no range of numbers")
            ranges.append((int(match[1]), int(match[2] or match[1])))
        found = cls(tuple(ranges))
        if any(after[0] <= before[1] + 1 for before, after in pairwise(ranges)):
            raise SlipMistypedError(f"{text[:64]!r}: the ranges do not rise, or touch")
        if str(found) != text:
            raise SlipMistypedError(f"{text[:64]!r}: is not written as ranges are")
        return found

    def __str__(self) -> str:
        parts = (f"{first}" if first == last else f"{first}-{last}" for first, last in self.ranges)
        return "+".join(parts) or NONE

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __contains__(self, number: object) -> bool:
        return any(first <= number <= last for first, last in self.ranges if isinstance(number, int))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    @property
    def highest(self) -> int:
        """The highest number, 0 for none."""
        return self.ranges[-1][1] if self.ranges else 0

    def meets(self, other: "Numbers") -> bool:
        """Whether a number is in both."""
        return any(a[0] <= b[1] and b[0] <= a[1] for a in self.ranges for b in other.ranges)

    def without_smallest(self) -> "Numbers":
        """Without the range that has the fewest numbers; of equals the lowest."""
        if not self.ranges:
            return self
        smallest = min(self.ranges, key=lambda item: (item[1] - item[0], item[0]))
        return Numbers(tuple(item for item in self.ranges if item != smallest))

    def words(self) -> str:
        """For a sentence: ``1 to 190, 192``."""
        return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in self.ranges)


NO_NUMBERS = Numbers()
