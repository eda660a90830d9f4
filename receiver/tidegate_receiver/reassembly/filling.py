"""One filling of a bundle's content from one source: group by group, mended, chunk by verified chunk.

A group that cannot be mended wholly still gives every chunk whose bytes are whole. A chunk that reaches into the next
group waits in memory. Bytes that were whole and are not what was signed are looked at once more, with all repair
symbols at hand. What is verified is marked in the progress of `spooled_content`, which also saves it.
"""

import bisect
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.announcement import CHUNKS
from tidegate.carrier.parts import SymbolSource
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import BlockReport, BlockState, GroupCodec, GroupReport
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import DigestError, TamperedError
from tidegate.report import ProgressCallback
from tidegate_receiver.reassembly.pipeline import ChunkPipeline
from tidegate_receiver.reassembly.spooled_content import SpooledContent
from tidegate_receiver.reassembly.wrong_symbols import mark_wrong_symbols

LOST_LISTED_MAX = 64


@runtime_checkable
class KeepingSource(SymbolSource, Protocol):
    """A source that keeps symbols of groups which it cannot complete, for a later one."""

    def is_own(self, group: int) -> bool:
        """Whether the group comes from media that are in, and not only from what was kept."""

    def keep(self, group: int, buffer: GroupBuffer, symbols: NDArray[np.bool_]) -> None:
        """Keep those `symbols` of the bound group that are present; a mask like `present`."""

    def save_kept(self) -> None:
        """Make what was kept durable; the file system was synced."""


@runtime_checkable
class GuessingSource(SymbolSource, Protocol):
    """A source with symbols of which only the place is known."""

    def read_unlisted(self, group: int, buffer: GroupBuffer) -> int:
        """Fill slots of the bound `buffer` of the chunks that are not present, from records that nothing lists."""


@dataclass(slots=True)
class FillReport:
    """What one source gave. Blocks without a missing source symbol count as whole: their repairs may be unread."""

    groups_read: int = 0
    symbols_missing: int = 0
    symbols_mended: int = 0
    blocks_mended: int = 0
    blocks_lost: int = 0
    symbols_wrong: int = 0  # present, listed as right, and wrong all the same
    chunks_taken: int = 0
    lost: list[BlockReport] = field(default_factory=list)

    def count(self, report: GroupReport, geometry: PartGeometry) -> None:
        self.groups_read += 1
        for block in report.blocks:
            if block.state is BlockState.INTACT:
                continue
            self.symbols_missing += len(block.erasures)
            if block.state is BlockState.MENDED:
                self.blocks_mended += 1
                self.symbols_mended += sum(item < geometry.block_source_count(block.number) for item in block.erasures)
            else:
                self.blocks_lost += 1
                self.lost += [block] * (len(self.lost) < LOST_LISTED_MAX)

    def add(self, other: "FillReport") -> None:
        for name in (item.name for item in fields(self) if item.name != "lost"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lost = (self.lost + other.lost)[:LOST_LISTED_MAX]


@dataclass(slots=True)
class Straddler:
    """A chunk that began in an earlier group: its first `filled` bytes are in `memory`, behind `lead` bytes.

    Those are what stands before it in its first symbol, so that `memory` begins with whole symbols.
    """

    chunk: int
    memory: memoryview
    lead: int
    filled: int

    def content(self) -> memoryview:
        """The whole stored bytes, once all are there."""
        return self.memory[self.lead : self.lead + self.filled]


class StraddlerMemory:
    """Memory for the chunk that reaches into the next group, and for the one before it, which may be in flight still.

    Fresh memory for each would cost as much in page faults as the copying: 0.28 s a GiB against 0.1.
    """

    def __init__(self) -> None:
        self._memories = [bytearray(), bytearray()]

    def take(self, nbytes: int) -> memoryview:
        """`nbytes` that nothing of a group before the last one uses."""
        self._memories.reverse()
        if len(self._memories[0]) < nbytes:
            self._memories[0] = bytearray(nbytes)
        return memoryview(self._memories[0])[:nbytes]


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes [first, end) of a chunk's stored bytes, and where they begin in the bound group."""

    first: int
    end: int
    at: int


class Filling:
    """One `fill`: the memory of a group, and the chunk that reaches into the next one."""

    def __init__(
        self,
        content: SpooledContent,
        source: SymbolSource,
        pipeline: ChunkPipeline,
        report: FillReport,
        report_progress: ProgressCallback | None,
    ) -> None:
        self.content = content
        self.chunks = content.tables.chunks
        self.done = content.progress.chunks
        self.source = source
        self.pipeline = pipeline
        self.report = report
        self.report_progress = report_progress
        self.keeping = source if isinstance(source, KeepingSource) else None
        self.geometry = source.announcement.geometry(CHUNKS)
        self.straddler: Straddler | None = None
        self._straddler_memory = StraddlerMemory()

    def run(self) -> None:
        groups = [group for group in self.source.groups(CHUNKS) if self.content.needs(self.geometry, group)]
        if not groups:
            return
        self.buffer, self.codec = GroupBuffer(self.geometry), GroupCodec(self.geometry)
        total = int(self.chunks["stored"][~self.done].sum())
        kept: set[int] = set()
        for group in groups:
            report = self._load(group)
            if self.keeping is None or self.keeping.is_own(group):
                self.report.count(report, self.geometry)
            self._take_group(group)
            if self.keeping is not None and not report.is_whole:
                self._keep_lost(group, report)
                kept.add(group)
            if not report.is_whole and self.content.needs(self.geometry, group):
                self._guess(group)
            if self.content.save_if_due() and self.keeping is not None:
                self.keeping.save_kept()
            if self.report_progress is not None:
                self.report_progress(self.pipeline.stored_bytes, total, "receiving")
        self._keep_edges([group for group in groups if group not in kept])

    # --- for another source -------------------------------------------------------------------

    def _keep_lost(self, group: int, report: GroupReport) -> None:
        """Keep the blocks of a group that cannot be mended, and the pieces of other chunks that they cut off."""
        assert self.keeping is not None
        if self.buffer.group != group:  # looking for lies took the memory
            report = self._load(group)
        mask = self._missing_symbols(group)
        for position, block in enumerate(report.blocks):
            if block.state is BlockState.LOST and mask[position].any():
                mask[position] = True
        self.keeping.keep(group, self.buffer, mask)

    def _keep_edges(self, groups: list[int]) -> None:
        """Keep the pieces, in groups that are whole, of chunks that reach into one that is not here."""
        if self.keeping is None:
            return
        for group in groups:
            if self.content.needs(self.geometry, group):
                self._load(group)
                self.keeping.keep(group, self.buffer, self._missing_symbols(group))

    def _missing_symbols(self, group: int) -> NDArray[np.bool_]:
        """The source symbols of the bound group that hold bytes of missing chunks; a mask like `present`."""
        return self._symbols_of(self._slices(group))

    def _symbols_of(self, slices: Iterable[tuple[int, Slice]]) -> NDArray[np.bool_]:
        """The source symbols of the bound group that hold bytes of `slices`; a mask like `present`."""
        size = self.geometry.symbol_size
        flat = np.zeros(sum(self.buffer.source_counts), np.bool_)
        for _, part in slices:
            flat[part.at // size : -(-(part.at + part.end - part.first) // size)] = True
        mask = np.zeros_like(self.buffer.present)
        first = 0
        for position, count in enumerate(self.buffer.source_counts):
            mask[position, :count] = flat[first : first + count]
            first += count
        return mask

    # --- groups -------------------------------------------------------------------------------

    def _load(self, group: int) -> GroupReport:
        self.buffer.bind(group)
        self.source.read_group(CHUNKS, group, self.buffer)
        return self.codec.mend(self.buffer)

    # --- chunks of a group --------------------------------------------------------------------

    def _take_group(self, group: int) -> None:
        missing = self.buffer.missing_extents()
        view = self.buffer.source_view()
        for chunk, part in self._slices(group):
            offset = int(self.chunks["offset"][chunk])
            if overlaps(missing, offset + part.first, offset + part.end):
                self.straddler = None
                continue
            self._take_slice(chunk, part, view)
        for chunk, error in self.pipeline.drain():
            self._look_again(chunk, error)

    def _slices(self, group: int) -> Iterator[tuple[int, Slice]]:
        """The missing chunks that have bytes in `group`, each with the slice of it that lies there."""
        start, length = self.geometry.group_extent(group)
        for chunk in self.content.chunks_of(start, length):
            if not self.done[chunk]:
                yield chunk, self._slice_of(chunk, start, length)

    def _slice_of(self, chunk: int, start: int, length: int) -> Slice:
        offset, stored = int(self.chunks["offset"][chunk]), int(self.chunks["stored"][chunk])
        first = max(0, start - offset)
        return Slice(first, min(stored, start + length - offset), offset + first - start)

    def _take_slice(self, chunk: int, part: Slice, group: memoryview) -> None:
        """Take the slice `part` of a chunk out of the bytes of its `group`."""
        stored, end = int(self.chunks["stored"][chunk]), part.at + part.end - part.first
        if part.first == 0 and part.end == stored:
            self.pipeline.submit(chunk, group[part.at : end])
            return
        if part.first == 0:
            self.straddler = self._begin_straddler(chunk, stored, part, group[:end])
            return
        straddler = self.straddler
        if straddler is None or straddler.chunk != chunk or straddler.filled != part.first:
            return  # an earlier group did not give its part
        straddler.memory[straddler.lead + part.first : straddler.lead + part.end] = group[part.at : end]
        straddler.filled = part.end
        if straddler.filled == stored:
            self.straddler = None
            self.pipeline.submit(chunk, straddler.content())

    def _begin_straddler(self, chunk: int, stored: int, part: Slice, group: memoryview) -> Straddler:
        lead = part.at % self.geometry.symbol_size
        memory = self._straddler_memory.take(lead + stored)
        memory[: lead + part.end] = group[part.at - lead :]
        return Straddler(chunk, memory, lead, part.end)

    # --- bytes that are there and wrong -------------------------------------------------------

    def _look_again(self, chunk: int, error: DigestError) -> None:
        """Find the symbols that lie, once, for a chunk whose bytes were whole and are not what was signed."""
        offset, stored = int(self.chunks["offset"][chunk]), int(self.chunks["stored"][chunk])
        memory = bytearray(stored)
        groups = range(self.geometry.group_of_offset(offset), self.geometry.group_of_offset(offset + stored - 1) + 1)
        for group in groups:
            part = self._slice_of(chunk, *self.geometry.group_extent(group))
            self._mend_lies(group, offset + part.first, offset + part.end)
            memory[part.first : part.end] = self.buffer.source_view()[part.at : part.at + part.end - part.first]
        self.pipeline.submit(chunk, memoryview(memory))
        if self.pipeline.drain():
            raise error

    def _mend_lies(self, group: int, first: int, end: int) -> None:
        """Load `group` with all its repairs, take wrong symbols of the blocks at [first, end) for missing, and mend."""
        self.buffer.bind(group)
        read_whole_group(self.source, group, self.buffer)
        report = self.codec.mend(self.buffer)
        self.report.symbols_wrong += mark_wrong_symbols(
            self.buffer, report, (first, end), self.codec.engine, self.content.budget
        )
        self.codec.mend(self.buffer)

    # --- bytes that nothing vouches for -------------------------------------------------------

    def _guess(self, group: int) -> None:
        """Take records that no index block lists by their place, for chunks that lie in `group` alone.

        Nothing of it is kept but chunks whose digest is the signed one; what else comes of it is damage, not a lie.
        """
        if not isinstance(self.source, GuessingSource) or self.content.budget.is_spent:
            return
        self.buffer.bind(group)
        read_whole_group(self.source, group, self.buffer)
        if not self.source.read_unlisted(group, self.buffer):
            return
        report = self.codec.mend(self.buffer)
        for block in self._blocks_of(self._submit_guessed(group), group):
            start = self.geometry.block_first_symbol(block) * self.geometry.symbol_size
            with contextlib.suppress(TamperedError):
                mark_wrong_symbols(self.buffer, report, (start, start + 1), self.codec.engine, self.content.budget)
        self.codec.mend(self.buffer)
        self._submit_guessed(group)

    def _submit_guessed(self, group: int) -> tuple[int, ...]:
        """Offer the missing chunks that lie whole in the bound group; those that were not what was signed."""
        missing, view = self.buffer.missing_extents(), self.buffer.source_view()
        for chunk, part in self._slices(group):
            start = self.geometry.group_extent(group)[0] + part.at
            is_whole = part.first == 0 and part.end == int(self.chunks["stored"][chunk])
            if is_whole and not overlaps(missing, start, start + part.end):
                self.pipeline.submit(chunk, view[part.at : part.at + part.end])
        return tuple(chunk for chunk, _ in self.pipeline.drain())

    def _blocks_of(self, chunks: tuple[int, ...], group: int) -> tuple[int, ...]:
        """The blocks of `group` in which one of `chunks` has bytes."""
        size, found = self.geometry.symbol_size, []
        ranges = [(int(row["offset"]), int(row["offset"]) + int(row["stored"])) for row in self.chunks[list(chunks)]]
        for block in self.geometry.group_blocks(group):
            start = self.geometry.block_first_symbol(block) * size
            end = start + self.geometry.block_source_count(block) * size
            if any(first < end and start < last for first, last in ranges):
                found.append(block)
        return tuple(found)


def overlaps(extents: tuple[tuple[int, int], ...], first: int, end: int) -> bool:
    """Whether one of the rising, disjoint `extents` (offset, length) has a byte in [first, end)."""
    at = bisect.bisect_left(extents, (end,)) - 1
    return at >= 0 and extents[at][0] + extents[at][1] > first


def read_whole_group(source: SymbolSource, group: int, buffer: GroupBuffer) -> None:
    """Read a group with all its repair symbols, also where the source would leave them out."""
    whole = getattr(source, "read_whole_group", source.read_group)
    whole(CHUNKS, group, buffer)
