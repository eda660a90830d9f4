"""The memory of one interleaving group, used again for every group of a part.

Sources of all blocks lie contiguously in part order, so a bundle's bytes go in and out in one piece; repairs lie
behind them, block by block. The memory is page-aligned: with symbols that are a multiple of 4096 bytes every slot
can be read and written with O_DIRECT.

    [block 0 sources][block 1 sources] … (slack of shorter groups) [block 0 repairs][block 1 repairs] …
"""

import contextlib
import mmap

import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.geometry import PartGeometry

HUGE_PAGE_MIN_BYTES = 4 << 20  # below it, whole huge pages would cost more memory than they save time


class GroupBuffer:
    """Memory for one group of a part; `bind` says for which.

    `present` is bool[blocks in the group, largest K_b + R]: whoever fills a slot sets it; places that do not exist in
    a block with one source fewer stay False. `exists` is of the same shape and says which places exist.
    """

    def __init__(self, geometry: PartGeometry) -> None:
        self.geometry = geometry
        size = geometry.symbol_size
        counts = geometry.group_source_counts(0) if geometry.group_count else ()
        self._repair_start = sum(counts) * size  # group 0 is the largest
        self.nbytes = self._repair_start + len(counts) * geometry.repair_count * size
        self._map = _anonymous_memory(self.nbytes)
        self._view = memoryview(self._map)
        self.memory: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8, self.nbytes)
        self._slots = tuple(self._view[start : start + size] for start in range(0, self.nbytes, size))
        self._strides: NDArray[np.int64] = np.arange(256, dtype=np.int64) * size
        self._record_slots: dict[tuple[int, ...], tuple[memoryview, ...]] = {}
        self.group = -1
        self.source_counts: tuple[int, ...] = ()
        self._first_slots: tuple[int, ...] = ()
        self.present: NDArray[np.bool_] = np.zeros((0, 0), np.bool_)
        self.exists: NDArray[np.bool_] = self.present

    def bind(self, group: int) -> None:
        """Give the memory to `group`: nothing is present, and the zero fill of the last symbol is in place."""
        geometry = self.geometry
        self.source_counts = geometry.group_source_counts(group)
        self._first_slots = _sums_before(self.source_counts)
        self.group = group
        totals = np.asarray(self.source_counts) + geometry.repair_count
        self.exists = np.arange(totals[0]) < totals[:, None]
        self.present = np.zeros(self.exists.shape, np.bool_)
        self.memory[self.extent_length : sum(self.source_counts) * geometry.symbol_size] = 0

    @property
    def extent_length(self) -> int:
        """Bytes of the part in this group."""
        return self.geometry.group_extent(self.group)[1]

    def source_view(self) -> memoryview:
        """The group's bytes of the part, writable, contiguous, without the zero fill of the last symbol."""
        return self._view[: self.extent_length]

    def slot(self, block_position: int, symbol: int) -> memoryview:
        """The slot of one symbol, writable, symbol_size bytes; `symbol` counts sources, then repairs."""
        return self._slots[self._slot_number(block_position, symbol)]

    def record_slots(self) -> tuple[memoryview, ...]:
        """All slots of the group in record order, ready for preadv and pwritev."""
        if self.source_counts not in self._record_slots:
            order = self.geometry.record_order(self.group).tolist()
            self._record_slots[self.source_counts] = tuple(self.slot(position, symbol) for position, symbol in order)
        return self._record_slots[self.source_counts]

    def _slot_number(self, position: int, symbol: int) -> int:
        count = self.source_counts[position]
        if symbol < count:
            return self._first_slots[position] + symbol
        return self._repair_start // self.geometry.symbol_size + position * self.geometry.repair_count + symbol - count

    @property
    def rows(self) -> NDArray[np.uint8]:
        """All slots, one a row; `slot_numbers` says which is whose."""
        return self.memory.reshape(-1, self.geometry.symbol_size)

    def slot_numbers(self, positions: NDArray[np.int64], symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of many symbols of the bound group at once; as `slot`, and all of them exist."""
        counts = np.asarray(self.source_counts, np.int64)[positions]
        firsts = np.asarray(self._first_slots, np.int64)[positions]
        repair = self._repair_start // self.geometry.symbol_size + positions * self.geometry.repair_count
        return np.where(symbols < counts, firsts + symbols, repair + symbols - counts)

    def source_offsets(self, block_position: int) -> NDArray[np.int64]:
        """Offsets in `memory` of the block's source symbols; a fresh array."""
        start = self._first_slots[block_position] * self.geometry.symbol_size
        return self._strides[: self.source_counts[block_position]] + start

    def repair_offsets(self, block_position: int) -> NDArray[np.int64]:
        """Offsets in `memory` of the block's repair symbols; a fresh array."""
        repairs = self.geometry.repair_count
        return self._strides[:repairs] + (self._repair_start + block_position * repairs * self.geometry.symbol_size)

    def missing_extents(self) -> tuple[tuple[int, int], ...]:
        """(offset, length) in the part of the group's bytes that are not present; neighbours joined."""
        rows = [self.present[position, :count] for position, count in enumerate(self.source_counts)]
        present = np.concatenate(([True], *rows, [True]))
        edges = np.flatnonzero(present[1:] != present[:-1]) * self.geometry.symbol_size
        start, length = self.geometry.group_extent(self.group)
        ends = np.minimum(edges[1::2], length)
        return tuple((start + int(first), int(end - first)) for first, end in zip(edges[::2], ends, strict=True))


def _sums_before(counts: tuple[int, ...]) -> tuple[int, ...]:
    sums = [0]
    for count in counts[:-1]:
        sums.append(sums[-1] + count)
    return tuple(sums)


def _anonymous_memory(nbytes: int) -> mmap.mmap:
    memory = mmap.mmap(-1, max(nbytes, mmap.PAGESIZE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if nbytes >= HUGE_PAGE_MIN_BYTES:
        with contextlib.suppress(OSError, AttributeError):  # a hint: kernels without huge pages refuse it
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
