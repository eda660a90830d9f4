"""Put a bundle together from what carriers give, chunk by verified chunk, in bounded memory.

    group of symbols ─► mend ─► whole chunks ─► digest, decompress, write (threads) ─► SHA-256 of blobs, in order

One group is in memory at a time. A group that cannot be mended wholly still gives every chunk whose bytes are whole.
What is verified is marked in `Progress`, saved from time to time after the content was synced; so a second stick, a
second pass, or the same command after a SIGKILL fills what is missing and skips what is there. Which symbols are
damaged the source says; what the bytes must be the signed tables say.
"""

import bisect
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.placement import Placement
from tidegate.bundle.tables import Tables
from tidegate.carrier.announcement import CHUNKS
from tidegate.carrier.parts import SymbolSource, lost_blocks_error
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import BlockReport, BlockState, GroupCodec, GroupReport
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.locate import LocationBudget
from tidegate.errors import DigestError, TamperedError, TidegateError, VolumeMissingError
from tidegate.report import ProgressCallback
from tidegate_receiver.blobs import BlobFiles, check_blob_digest
from tidegate_receiver.pipeline import ChunkPipeline
from tidegate_receiver.spool import Spool
from tidegate_receiver.wrong_symbols import mark_wrong_symbols

SAVE_SECONDS = 15.0  # at most so much work is done again after a crash
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
class _Straddler:
    """A chunk that began in an earlier group: its first `filled` bytes are in `memory`."""

    chunk: int
    memory: bytearray
    filled: int


@dataclass(frozen=True, slots=True)
class _Slice:
    """The bytes [first, end) of a chunk's stored bytes, and where they begin in the bound group."""

    first: int
    end: int
    at: int


class Reassembly:
    """One bundle in the spool, on its way to being whole. Its tables are verified. Use as a context manager."""

    def __init__(self, spool: Spool, tables: Tables, *, save_seconds: float = SAVE_SECONDS) -> None:
        self.spool = spool
        self.tables = tables
        self.progress = spool.load_progress(len(tables.chunks), len(tables.blobs))
        self._placement = Placement.of(tables)
        self._files = BlobFiles(spool.blobs_folder, tables.blobs)
        self._save_seconds = save_seconds
        self._saved_at = time.monotonic()
        self._budget = LocationBudget()
        self._refilled = False

    # --- what is there ------------------------------------------------------------------------

    @property
    def is_filled(self) -> bool:
        """Whether every chunk is verified; the blobs may still have to be."""
        return bool(self.progress.chunks.all())

    def missing_chunks(self) -> int:
        return len(self.progress.chunks) - self.progress.chunks_done

    def needs(self, geometry: PartGeometry, group: int) -> bool:
        """Whether a chunk that is not there has bytes in `group`."""
        chunks = self._chunks_of(*geometry.group_extent(group))
        return not bool(self.progress.chunks[chunks.start : chunks.stop].all())

    def _chunks_of(self, offset: int, length: int) -> range:
        """The chunks that have bytes in [offset, offset + length) of part 2."""
        starts = self.tables.chunks["offset"]
        # By hand: searchsorted would copy the whole column for each group.
        first = bisect.bisect_right(starts, offset) - 1
        return range(first, bisect.bisect_left(starts, offset + length, lo=first))

    # --- filling ------------------------------------------------------------------------------

    def fill(self, source: SymbolSource, report_progress: ProgressCallback | None = None) -> FillReport:
        """Take every missing chunk that `source` can give.

        Raises DigestError or TamperedError where bytes that were reported whole are not what was signed, DiskFullError
        and MediumLostError where there is nothing to be done; all that was verified before is kept.
        """
        report = FillReport()
        before = self.progress.chunks_done
        pipeline = ChunkPipeline(self.tables, self._placement, self._files, self.progress)
        try:
            _Filling(self, source, pipeline, report, report_progress).run()
        except BaseException:
            pipeline.close()
            with contextlib.suppress(TidegateError):  # what went wrong first is what is told
                self.save()
            raise
        pipeline.close()
        report.chunks_taken = self.progress.chunks_done - before
        self.save()
        if isinstance(source, KeepingSource):
            source.save_kept()  # after the sync of `save`
        return report

    def needed_groups(self, geometry: PartGeometry) -> tuple[int, ...]:
        """The groups in which a chunk that is not there has bytes."""
        return tuple(group for group in range(geometry.group_count) if self.needs(geometry, group))

    def missing_error(self, source: SymbolSource, report: FillReport) -> VolumeMissingError:
        """The error that names what is damaged or was never read, after a `fill` that left something missing."""
        done, count = self.progress.chunks_done, len(self.progress.chunks)
        kept = f"{done} of {count} pieces of content are kept"
        if report.lost:
            error = lost_blocks_error(source.announcement, CHUNKS, report.lost)
            return VolumeMissingError(f"{error.message}; {kept}")
        geometry = source.announcement.geometry(CHUNKS)
        have = set(source.groups(CHUNKS))
        absent = [group for group in range(geometry.group_count) if group not in have and self.needs(geometry, group)]
        listed = ", ".join(map(str, absent[:8])) + (", …" if len(absent) > 8 else "")
        return VolumeMissingError(f"bundle {source.announcement.name}: chunks: groups {listed} are not here; {kept}")

    def save(self) -> None:
        """Make what is verified durable: first the content, then the word that it is there."""
        self.spool.save_progress(self.progress)
        self._saved_at = time.monotonic()

    def save_if_due(self) -> bool:
        """Save when it is time; whether it was."""
        is_due = time.monotonic() - self._saved_at >= self._save_seconds
        if is_due:
            self.save()
        return is_due

    # --- finishing ----------------------------------------------------------------------------

    def verify_blobs(self) -> int:
        """Compare the blobs that could not be hashed on the way; the number whose content is gone bad in the spool.

        Their chunks count as missing again: fill once more. Raises DigestError where that was tried.
        """
        damaged = 0
        for number in (~self.progress.blobs).nonzero()[0].tolist():
            try:
                check_blob_digest(self._files.digest(number), self._files.read_digest(number))
            except DigestError:
                if self._refilled:
                    raise
                self._forget_blob(number)
                damaged += 1
                continue
            self._files.finish(number)
            self.progress.blobs[number] = True
        self._refilled = self._refilled or bool(damaged)
        return damaged

    def _forget_blob(self, number: int) -> None:
        # Every chunk was verified against the signed tables, so either this disk lost bytes or the tables are wrong.
        record = self.tables.blobs[number]
        first = int(record["first_segment"])
        where = self.tables.segments["where"][first : first + int(record["segment_count"])]
        self.progress.chunks[where] = False
        for chunk in set(where.tolist()):
            for piece in self._placement.pieces(chunk):
                self.progress.blobs[piece.blob] = False
        self._files.remove(number)

    def close(self) -> None:
        self._files.close()

    def __enter__(self) -> "Reassembly":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Filling:
    """One `fill`: the memory of a group, and the chunk that reaches into the next one."""

    def __init__(
        self,
        reassembly: Reassembly,
        source: SymbolSource,
        pipeline: ChunkPipeline,
        report: FillReport,
        report_progress: ProgressCallback | None,
    ) -> None:
        self.reassembly = reassembly
        self.chunks = reassembly.tables.chunks
        self.done = reassembly.progress.chunks
        self.source = source
        self.pipeline = pipeline
        self.report = report
        self.report_progress = report_progress
        self.keeping = source if isinstance(source, KeepingSource) else None
        self.geometry = source.announcement.geometry(CHUNKS)
        self.straddler: _Straddler | None = None

    def run(self) -> None:
        groups = [group for group in self.source.groups(CHUNKS) if self.reassembly.needs(self.geometry, group)]
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
            if not report.is_whole and self.reassembly.needs(self.geometry, group):
                self._guess(group)
            if self.reassembly.save_if_due() and self.keeping is not None:
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
            if self.reassembly.needs(self.geometry, group):
                self._load(group)
                self.keeping.keep(group, self.buffer, self._missing_symbols(group))

    def _missing_symbols(self, group: int) -> NDArray[np.bool_]:
        """The source symbols of the bound group that hold bytes of missing chunks; a mask like `present`."""
        size = self.geometry.symbol_size
        flat = np.zeros(sum(self.buffer.source_counts), np.bool_)
        for _, part in self._slices(group):
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
            if _overlaps(missing, offset + part.first, offset + part.end):
                self.straddler = None
                continue
            self._take_slice(chunk, part, view[part.at : part.at + part.end - part.first])
        for chunk, error in self.pipeline.drain():
            self._look_again(chunk, error)

    def _slices(self, group: int) -> Iterator[tuple[int, _Slice]]:
        """The missing chunks that have bytes in `group`, each with the slice of it that lies there."""
        start, length = self.geometry.group_extent(group)
        for chunk in self.reassembly._chunks_of(start, length):
            if not self.done[chunk]:
                yield chunk, self._slice_of(chunk, start, length)

    def _slice_of(self, chunk: int, start: int, length: int) -> _Slice:
        offset, stored = int(self.chunks["offset"][chunk]), int(self.chunks["stored"][chunk])
        first = max(0, start - offset)
        return _Slice(first, min(stored, start + length - offset), offset + first - start)

    def _take_slice(self, chunk: int, part: _Slice, view: memoryview) -> None:
        stored = int(self.chunks["stored"][chunk])
        if part.first == 0 and part.end == stored:
            self.pipeline.submit(chunk, view)
            return
        if part.first == 0:
            self.straddler = _Straddler(chunk, bytearray(stored), 0)
        straddler = self.straddler
        if straddler is None or straddler.chunk != chunk or straddler.filled != part.first:
            return  # an earlier group did not give its part
        straddler.memory[part.first : part.end] = view
        straddler.filled = part.end
        if straddler.filled == stored:
            self.straddler = None
            self.pipeline.submit(chunk, memoryview(straddler.memory))

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
            self.buffer, report, (first, end), self.codec.engine, self.reassembly._budget
        )
        self.codec.mend(self.buffer)

    # --- bytes that nothing vouches for -------------------------------------------------------

    def _guess(self, group: int) -> None:
        """Take records that no index block lists by their place, for chunks that lie in `group` alone.

        Nothing of it is kept but chunks whose digest is the signed one; what else comes of it is damage, not a lie.
        """
        if not isinstance(self.source, GuessingSource) or self.reassembly._budget.is_spent:
            return
        self.buffer.bind(group)
        read_whole_group(self.source, group, self.buffer)
        if not self.source.read_unlisted(group, self.buffer):
            return
        report = self.codec.mend(self.buffer)
        for block in self._blocks_of(self._submit_guessed(group), group):
            start = self.geometry.block_first_symbol(block) * self.geometry.symbol_size
            with contextlib.suppress(TamperedError):
                mark_wrong_symbols(self.buffer, report, (start, start + 1), self.codec.engine, self.reassembly._budget)
        self.codec.mend(self.buffer)
        self._submit_guessed(group)

    def _submit_guessed(self, group: int) -> tuple[int, ...]:
        """Offer the missing chunks that lie whole in the bound group; those that were not what was signed."""
        missing, view = self.buffer.missing_extents(), self.buffer.source_view()
        for chunk, part in self._slices(group):
            start = self.geometry.group_extent(group)[0] + part.at
            is_whole = part.first == 0 and part.end == int(self.chunks["stored"][chunk])
            if is_whole and not _overlaps(missing, start, start + part.end):
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


def _overlaps(extents: tuple[tuple[int, int], ...], first: int, end: int) -> bool:
    """Whether one of the rising, disjoint `extents` (offset, length) has a byte in [first, end)."""
    at = bisect.bisect_left(extents, (end,)) - 1
    return at >= 0 and extents[at][0] + extents[at][1] > first


def read_whole_group(source: SymbolSource, group: int, buffer: GroupBuffer) -> None:
    """Read a group with all its repair symbols, also where the source would leave them out."""
    whole = getattr(source, "read_whole_group", source.read_group)
    whole(CHUNKS, group, buffer)
