"""How a part is cut into blocks, groups and symbols, and in which order its records lie.

Everything here is a function of five numbers that a signed announcement gives; they are checked against the limits
before anything is allocated. Cutting follows RFC 5052, section 9.1; docs/format/erasure.md holds the rules (E-1 …).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import FormatError
from tidegate.units import MIB, TIB

CODEWORD_MAX_SYMBOLS = 255  # 2^8 - 1: the length of the unshortened code
INTERLEAVE_MAX = 255
SYMBOL_MIN_BYTES = 64
SYMBOL_MAX_BYTES = MIB
SYMBOL_ALIGNMENT = 8  # bytes
PART_MAX_BYTES = 4 * TIB
BLOCK_MAX_COUNT = 2**32  # block numbers are u32 in records and datagrams
GROUP_MAX_BYTES = 256 * MIB  # sources and repairs of one group: what a reader must hold in memory


@dataclass(frozen=True, slots=True)
class PartGeometry:
    """One part as the code sees it. Raises FormatError where a value breaks a limit.

    `length` and `symbol_size` are bytes; `source_count` and `repair_count` are symbols a block (a block may have
    fewer sources, never fewer repairs); `interleave` is blocks a group.
    """

    length: int
    source_count: int
    repair_count: int
    symbol_size: int
    interleave: int

    def __post_init__(self) -> None:
        self._check_code()
        self._check_range("symbol_size", self.symbol_size, SYMBOL_MIN_BYTES, SYMBOL_MAX_BYTES)
        if self.symbol_size % SYMBOL_ALIGNMENT:
            raise FormatError(f"symbol_size is {self.symbol_size}, not a multiple of {SYMBOL_ALIGNMENT}")
        self._check_range("interleave", self.interleave, 1, INTERLEAVE_MAX)
        self._check_range("part length", self.length, 0, PART_MAX_BYTES)
        if self.block_count > BLOCK_MAX_COUNT:
            raise FormatError(f"part has {self.block_count} blocks, the limit is {BLOCK_MAX_COUNT}")
        if self.group_max_bytes > GROUP_MAX_BYTES:
            raise FormatError(f"a group takes {self.group_max_bytes} bytes, the limit is {GROUP_MAX_BYTES}")

    def _check_code(self) -> None:
        self._check_range("source_count", self.source_count, 1, CODEWORD_MAX_SYMBOLS)
        self._check_range("repair_count", self.repair_count, 0, CODEWORD_MAX_SYMBOLS - 1)
        total = self.source_count + self.repair_count
        if total > CODEWORD_MAX_SYMBOLS:
            raise FormatError(f"source_count + repair_count is {total}, the limit is {CODEWORD_MAX_SYMBOLS}")

    @staticmethod
    def _check_range(name: str, value: int, low: int, high: int) -> None:
        if not low <= value <= high:
            raise FormatError(f"{name} is {value}, not within {low} … {high}")

    @property
    def symbol_total(self) -> int:
        """Source symbols of the part (T)."""
        return -(-self.length // self.symbol_size)

    @property
    def block_count(self) -> int:
        """Blocks of the part (Z)."""
        return -(-self.symbol_total // self.source_count)

    @property
    def group_count(self) -> int:
        return -(-self.block_count // self.interleave)

    @property
    def group_max_bytes(self) -> int:
        """Bytes of the sources and repairs of the largest group, which is the first."""
        if not self.length:
            return 0
        return self.group_record_count(0) * self.symbol_size

    def block_source_count(self, block: int) -> int:
        """Source symbols of `block` (K_b): the first blocks of a part may have one more than the others."""
        self._check_number("block", block, self.block_count)
        small, large_blocks = divmod(self.symbol_total, self.block_count)
        return small + 1 if block < large_blocks else small

    def block_first_symbol(self, block: int) -> int:
        """The number, in the part, of the first source symbol of `block`."""
        self._check_number("block", block, self.block_count)
        small, large_blocks = divmod(self.symbol_total, self.block_count)
        return block * small + min(block, large_blocks)

    def group_blocks(self, group: int) -> range:
        """The numbers of the blocks of `group`; the last group may have fewer than `interleave`."""
        self._check_number("group", group, self.group_count)
        first = group * self.interleave
        return range(first, min(first + self.interleave, self.block_count))

    def group_source_counts(self, group: int) -> tuple[int, ...]:
        """K_b of each block of `group`, in order; never rising."""
        return tuple(self.block_source_count(block) for block in self.group_blocks(group))

    def group_extent(self, group: int) -> tuple[int, int]:
        """(offset, length) in the part of the bytes of `group`, without the zero fill of the last symbol."""
        first = self.block_first_symbol(self.group_blocks(group)[0]) * self.symbol_size
        end = first + sum(self.group_source_counts(group)) * self.symbol_size
        return first, min(end, self.length) - first

    def group_record_count(self, group: int) -> int:
        """Symbols of `group`, sources and repairs."""
        counts = self.group_source_counts(group)
        return sum(counts) + len(counts) * self.repair_count

    def group_of_offset(self, offset: int) -> int:
        """The group that holds byte `offset` of the part."""
        self._check_number("offset", offset, self.length)
        symbol = offset // self.symbol_size
        small, large_blocks = divmod(self.symbol_total, self.block_count)
        large_symbols = large_blocks * (small + 1)
        if symbol < large_symbols:
            return symbol // (small + 1) // self.interleave
        return (large_blocks + (symbol - large_symbols) // small) // self.interleave

    def record_order(self, group: int) -> NDArray[np.int64]:
        """The records of `group` in order, one row each: (position of the block in the group, symbol index).

        Read-only and shared between groups of one shape.
        """
        return _record_order(self.group_source_counts(group), self.repair_count)

    @staticmethod
    def _check_number(name: str, number: int, count: int) -> None:
        if not 0 <= number < count:
            raise FormatError(f"{name} {number} does not exist, the part has {count}")


@lru_cache(maxsize=16)
def _record_order(source_counts: tuple[int, ...], repair_count: int) -> NDArray[np.int64]:
    totals = np.asarray(source_counts, dtype=np.int64) + repair_count
    # nonzero() walks row by row: index 0 of every block, then index 1 of every block that has one, …
    symbols, positions = np.nonzero(np.arange(totals.max())[:, None] < totals[None, :])
    order = np.column_stack((positions, symbols)).astype(np.int64)
    order.setflags(write=False)
    return order
