"""Fill a bundle's content from a source that gives each group once, in its own time: a session of a stream.

As with media (`filling`), but nothing can be read again. So what another session may need is kept while the group is at
hand: the pieces of chunks that an absent neighbour cuts off, and the blocks that cannot be mended. And a chunk that is
not what was signed does not stop what comes after it: it is told at the end.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.announcement import CHUNKS
from tidegate.carrier.parts import SymbolSource
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import BlockState, GroupCodec, GroupReport
from tidegate.errors import DigestError, TamperedError
from tidegate_receiver.reassembly.filling import Filling
from tidegate_receiver.reassembly.symbol_store import SymbolRows, numbers_and_slots
from tidegate_receiver.reassembly.wrong_symbols import mark_wrong_symbols


@runtime_checkable
class ArrivingSource(SymbolSource, Protocol):
    """A source whose groups of the chunks come in their own time, each once: no group can be read again."""

    def arrivals(self, groups: Collection[int]) -> Iterator[GroupBuffer]:
        """Each of `groups` that comes, bound and filled, in memory that is good until the next one is asked for."""

    def kept_of(self, groups: Collection[int]) -> Iterator[GroupBuffer]:
        """What is kept of `groups` by now, in rising order, in memory that is good until the next one is asked for."""

    def keep(self, group: int, buffer: GroupBuffer, symbols: NDArray[np.bool_]) -> None:
        """Keep those `symbols` of the bound group that are present; a mask like `present`."""

    def keep_rows(self, rows: SymbolRows) -> None:
        """Keep symbols that were cut out of a group."""

    def save_kept(self) -> None:
        """Make what was kept durable; the file system was synced."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """The end of a group: the beginning of a chunk that reaches into the next one, in the memory of the straddler.

    `numbers` are its symbols in record order, `places` where they lie in `memory`.
    """

    group: int
    chunk: int
    numbers: NDArray[np.int64]
    places: NDArray[np.int64]
    memory: memoryview

    def cut(self, symbol_size: int) -> SymbolRows:
        """Copied out: the straddler after the next one takes the memory."""
        count = int(self.places.max()) + 1
        rows = np.frombuffer(self.memory, np.uint8, count * symbol_size).reshape(count, symbol_size)
        return SymbolRows(self.group, self.numbers, rows[self.places])


class ArrivingFilling(Filling):
    """One `fill` from a session."""

    def run(self) -> None:
        source = self.source
        assert isinstance(source, ArrivingSource)
        self.arriving = source
        groups = [group for group in source.groups(CHUNKS) if self.content.needs(self.geometry, group)]
        if not groups:
            return
        self.codec = GroupCodec(self.geometry)
        self.edge: _Edge | None = None
        self.wrong: list[DigestError | TamperedError] = []
        total = int(self.chunks["stored"][~self.done].sum())
        for buffer in source.arrivals(groups):
            self._take_arrived(buffer)
            if self.content.save_if_due():
                source.save_kept()
            if self.report_progress is not None:
                self.report_progress(self.pipeline.stored_bytes, total, "receiving")
        self._settle_edge()
        for buffer in source.kept_of([group for group in groups if self.content.needs(self.geometry, group)]):
            self.buffer, self.mended = buffer, self.codec.mend(buffer)
            self._take_group(buffer.group)  # pieces that came out of order, or of which the middle was missing
        if self.wrong:
            raise self.wrong[0]

    def _take_arrived(self, buffer: GroupBuffer) -> None:
        self.buffer, group = buffer, buffer.group
        self.mended = self.codec.mend(buffer)
        self.report.count(self.mended, self.geometry)
        if self.edge is not None and self.edge.group + 1 != group:
            self._settle_edge()
        self._take_group(group)
        self._settle_edge()
        self._keep_what_is_cut(group, self.mended)

    # --- for another session ------------------------------------------------------------------

    def _settle_edge(self) -> None:
        """Keep the end of the group before, where the chunk that begins there has not become whole."""
        if self.edge is not None and not self.done[self.edge.chunk]:
            self.arriving.keep_rows(self.edge.cut(self.geometry.symbol_size))
        self.edge = None

    def _keep_what_is_cut(self, group: int, report: GroupReport) -> None:
        mask = self._missing_symbols(group)
        if not report.is_whole:
            for position, block in enumerate(report.blocks):
                if block.state is BlockState.LOST and mask[position].any():
                    mask[position] = True
            self.arriving.keep(group, self.buffer, mask)
            return
        straddler = self.straddler
        if straddler is not None and self._begins_in(straddler.chunk, group):
            of_edge = self._symbols_of(
                [(straddler.chunk, self._slice_of(straddler.chunk, *self.geometry.group_extent(group)))]
            )
            numbers, slots = numbers_and_slots(self.buffer, of_edge)
            self.edge = _Edge(group, straddler.chunk, numbers, slots - slots.min(), straddler.memory)
            mask &= ~of_edge
        if mask.any():
            self.arriving.keep(group, self.buffer, mask)

    def _begins_in(self, chunk: int, group: int) -> bool:
        return self.geometry.group_of_offset(int(self.chunks["offset"][chunk])) == group

    # --- bytes that are there and wrong -------------------------------------------------------

    def _look_again(self, chunk: int, error: DigestError) -> None:
        """Find the symbols that lie, where the group at hand holds all of the chunk; else it is wrong."""
        part = self._slice_of(chunk, *self.geometry.group_extent(self.buffer.group))
        offset = int(self.chunks["offset"][chunk])
        if part.first or part.end < int(self.chunks["stored"][chunk]):
            self.wrong.append(error)
            return
        extent = (offset, offset + part.end)
        try:
            self.report.symbols_wrong += mark_wrong_symbols(
                self.buffer, self.mended, extent, self.codec.engine, self.content.budget
            )
        except TamperedError as tampered:
            self.wrong.append(tampered)
            return
        self.codec.mend(self.buffer)
        self.pipeline.submit(chunk, self.buffer.source_view()[part.at : part.at + part.end])
        if self.pipeline.drain():
            self.wrong.append(error)
