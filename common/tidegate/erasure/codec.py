"""Fill the repair symbols of a group, and mend its missing source symbols.

Only what is missing is computed: a block with e missing sources needs an e×e inverse, and a group with nothing missing
no arithmetic at all. The blocks of a group are shared out among threads; the engine releases the GIL.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.choice import load_engine
from tidegate.erasure.engine import Engine, Rows
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.matrices import decode_rows, parity_matrix

Item = TypeVar("Item")


class BlockState(StrEnum):
    """What became of a block."""

    INTACT = "intact"  # every source symbol was there; repair symbols may have been missing
    MENDED = "mended"  # missing source symbols were filled in
    LOST = "lost"  # more symbols are missing than the code can replace


@dataclass(frozen=True, slots=True)
class BlockReport:
    """One block after mending: what became of it, and which symbols, source and repair, had been missing."""

    number: int
    state: BlockState
    erasures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One group after mending, block by block."""

    group: int
    blocks: tuple[BlockReport, ...]

    @property
    def erasure_count(self) -> int:
        """Symbols that had been missing, source and repair."""
        return sum(len(block.erasures) for block in self.blocks)

    @property
    def mended_count(self) -> int:
        """Blocks that were mended."""
        return sum(block.state is BlockState.MENDED for block in self.blocks)

    @property
    def lost_blocks(self) -> tuple[int, ...]:
        """Numbers, in the part, of the blocks that could not be mended."""
        return tuple(block.number for block in self.blocks if block.state is BlockState.LOST)

    @property
    def is_whole(self) -> bool:
        """Whether every source symbol is present now."""
        return not self.lost_blocks


@dataclass(frozen=True, slots=True)
class _Wound:
    """A block to be mended: its missing sources and the repairs to use, as many (indices from 0 each)."""

    position: int
    sources: NDArray[np.intp]
    repairs: NDArray[np.intp]


class GroupCodec:
    """Encodes and mends the groups of one part, any number of them, one at a time."""

    def __init__(self, geometry: PartGeometry, engine: Engine | None = None, threads: int = 2) -> None:
        self.geometry = geometry
        self.engine = engine or load_engine()
        # The caller's thread works too, so the pool holds one fewer.
        self._pool = ThreadPoolExecutor(threads - 1, "erasure") if threads > 1 else None
        self._helpers = threads - 1
        self._encode_plans: dict[int, Any] = {}

    def encode(self, buffer: GroupBuffer) -> None:
        """Fill all repair slots of the bound group from its source slots; every symbol is present afterwards."""
        if self.geometry.repair_count:
            for count in set(buffer.source_counts) - self._encode_plans.keys():
                self._encode_plans[count] = self.engine.plan(parity_matrix(count, self.geometry.repair_count))
            self._share_out(lambda position: self._encode_block(buffer, position), range(len(buffer.source_counts)))
        buffer.present[:] = buffer.exists

    def _encode_block(self, buffer: GroupBuffer, position: int) -> None:
        plan = self._encode_plans[buffer.source_counts[position]]
        sources = Rows(buffer.memory, buffer.source_offsets(position))
        targets = Rows(buffer.memory, buffer.repair_offsets(position))
        self.engine.multiply(plan, sources, targets, self.geometry.symbol_size)

    def mend(self, buffer: GroupBuffer) -> GroupReport:
        """Fill the missing source slots of the bound group where the present symbols suffice.

        Filled sources are marked present; missing repairs stay missing, and so do the sources of a lost block, whose
        slots hold no meaning.
        """
        missing = buffer.exists & ~buffer.present
        blocks = self.geometry.group_blocks(buffer.group)
        if not missing.any():
            return GroupReport(buffer.group, tuple(BlockReport(block, BlockState.INTACT) for block in blocks))
        reports, wounds = [], []
        for position, block in enumerate(blocks):
            state, wound = self._examine_block(buffer, position, missing[position])
            reports.append(BlockReport(block, state, tuple(np.flatnonzero(missing[position]).tolist())))
            if wound is not None:
                wounds.append(wound)
        self._share_out(lambda wound: self._mend_block(buffer, wound), wounds)
        return GroupReport(buffer.group, tuple(reports))

    def _examine_block(
        self, buffer: GroupBuffer, position: int, missing: NDArray[np.bool_]
    ) -> tuple[BlockState, _Wound | None]:
        count = buffer.source_counts[position]
        sources = np.flatnonzero(missing[:count])
        if not len(sources):
            return BlockState.INTACT, None
        repairs = np.flatnonzero(buffer.present[position, count : count + self.geometry.repair_count])
        if len(repairs) < len(sources):
            return BlockState.LOST, None
        return BlockState.MENDED, _Wound(position, sources, repairs[: len(sources)])

    def _mend_block(self, buffer: GroupBuffer, wound: _Wound) -> None:
        count = buffer.source_counts[wound.position]
        parity = parity_matrix(count, self.geometry.repair_count)
        plan = self.engine.plan(decode_rows(self.engine, parity, wound.sources, wound.repairs))
        sources = buffer.source_offsets(wound.position)
        targets = sources[wound.sources]
        sources[wound.sources] = buffer.repair_offsets(wound.position)[wound.repairs]
        self.engine.multiply(
            plan, Rows(buffer.memory, sources), Rows(buffer.memory, targets), self.geometry.symbol_size
        )
        buffer.present[wound.position, wound.sources] = True

    def _share_out(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Call `work` once for each of `items`, from all threads; raises what the first failing call raised."""
        # One iterator feeds all threads (next() on it is atomic), so a thread costs one future, not one a block.
        waiting = iter(list(items))

        def drain() -> None:
            for item in waiting:
                work(item)

        helpers = [self._pool.submit(drain) for _ in range(self._helpers)] if self._pool else []
        try:
            drain()
        finally:
            wait(helpers)  # the buffer is the caller's again only when nobody writes into it
        for helper in helpers:
            helper.result()
