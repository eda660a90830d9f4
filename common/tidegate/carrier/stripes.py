"""Which symbols of a group lie on which volume of a striped set.

Symbol s of block b lies on volume (b + s) mod `volumes` + 1: every volume has its share of every block, so the loss of
a volume is the loss of a known, equal number of symbols in each. The blocks are shifted against each other, so that
shares of a group differ by little where `volumes` does not divide a block. Arithmetic only; the format is in
docs/format/media.md, "Sets".
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.geometry import PartGeometry


@dataclass(frozen=True, slots=True)
class Stripe:
    """The share of one volume; `index` counts from 0."""

    index: int
    volumes: int

    @classmethod
    def of(cls, volume: int, volumes: int | None) -> "Stripe":
        """The share of `volume`, which counts from 1; the announcement was checked (M-15)."""
        assert volumes is not None and 1 <= volume <= volumes, "checked with the announcement"
        return cls(volume - 1, volumes)

    def record_numbers(self, geometry: PartGeometry, group: int) -> NDArray[np.int64]:
        """The share of `group`, as numbers of records in the group's whole record order, rising."""
        return _share(self, geometry, group)[0]

    def record_order(self, geometry: PartGeometry, group: int) -> NDArray[np.int64]:
        """The share of `group` in record order, one row each: (position of the block in the group, symbol index)."""
        return _share(self, geometry, group)[1]

    def record_counts(self, geometry: PartGeometry, first: int, end: int) -> NDArray[np.int64]:
        """How many records the shares of the groups [first, end) have, in bulk."""
        small, large_blocks = divmod(geometry.symbol_total, geometry.block_count)
        edges = np.minimum(np.arange(first, end + 1, dtype=np.int64) * geometry.interleave, geometry.block_count)
        large = np.minimum(edges, large_blocks)
        records: NDArray[np.int64] = (
            self._records_before(large, small + 1 + geometry.repair_count)
            + self._records_before(edges, small + geometry.repair_count)
            - self._records_before(large, small + geometry.repair_count)
        )
        return np.diff(records)

    def _records_before(self, blocks: NDArray[np.int64], symbols: int) -> NDArray[np.int64]:
        """The records of the share in the first `blocks` blocks, if each had that many symbols."""
        whole, rest = divmod(symbols, self.volumes)
        # A block whose number is b has one more record where (index - b) mod volumes < rest.
        extra = (self.index - np.arange(self.volumes, dtype=np.int64)) % self.volumes < rest
        before = np.concatenate(([0], np.cumsum(extra)))
        periods, left = np.divmod(blocks, self.volumes)
        counts: NDArray[np.int64] = blocks * whole + periods * rest + before[left]
        return counts


@lru_cache(maxsize=64)
def _share_of(
    index: int, volumes: int, shift: int, source_counts: tuple[int, ...], repair_count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    totals = np.asarray(source_counts, np.int64) + repair_count
    symbols, positions = np.nonzero(np.arange(totals.max())[:, None] < totals[None, :])
    numbers = np.flatnonzero((positions + shift + symbols) % volumes == index)
    order = np.column_stack((positions[numbers], symbols[numbers])).astype(np.int64)
    numbers.setflags(write=False)
    order.setflags(write=False)
    return numbers, order


def _share(stripe: Stripe, geometry: PartGeometry, group: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(record numbers, record order) of the share of `group`; read-only, shared between groups of one shape."""
    shift = geometry.group_blocks(group)[0] % stripe.volumes
    return _share_of(stripe.index, stripe.volumes, shift, geometry.group_source_counts(group), geometry.repair_count)
