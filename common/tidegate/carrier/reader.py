"""Take symbols off a volume into the memory of a group; whatever is damaged becomes an erasure.

    this thread: read runs, in the order of the medium ─► two threads: hash records, compare with the index blocks

A symbol counts as present only when its record has the digest that an index block lists for its place (M-3). Read
errors, short files, missing files and foreign bytes raise nothing; only a medium that went away does.
Layout: docs/format/media.md.
"""

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from tidegate.carrier.announcement import CHUNKS, Announcement
from tidegate.carrier.blocks import BLOCK_BYTES
from tidegate.carrier.found import FoundFile, FoundVolume
from tidegate.carrier.parts import is_mendable
from tidegate.carrier.positional import MEDIUM_GONE, aligned_memory, open_regular, read_views
from tidegate.carrier.records import expected_entries, index_of, match_records
from tidegate.carrier.run_slots import (
    has_sources,
    is_source,
    mark_present,
    present_records,
    take_unlisted,
    target_views,
)
from tidegate.carrier.volume import FilePlace, Run, VolumeLayout
from tidegate.erasure.buffer import GroupBuffer
from tidegate.errors import MediumLostError
from tidegate.text import printable

HASH_THREADS = 2
#: runs read by one call: 16 MiB with symbols of 64 KiB
BATCH_RUNS = 4


@dataclass(slots=True)
class ReadStats:
    """What reading met so far; grows with every group. Records are counted each time they are read."""

    records_read: int = 0
    records_damaged: int = 0  # read, and not what the index blocks list
    records_unread: int = 0  # read errors, short and missing files
    index_blocks_damaged: int = 0
    read_errors: int = 0
    bytes_read: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether everything that was asked for was there and right."""
        return not (self.records_damaged or self.records_unread or self.index_blocks_damaged or self.read_errors)

    def add(self, other: "ReadStats") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class _Batch:
    """Neighbouring runs of one file after reading; `filled` says which of `views` are. One view more than runs' blocks:
    the index block behind the last run."""

    runs: tuple[Run, ...]
    views: tuple[memoryview, ...]
    filled: tuple[bool, ...]


class VolumeReader:
    """The symbols of one volume. `announcement` is the parsed, and by the caller verified, one of `found`.

    Raises CarrierFormatError where the announcement describes no volume that can be.
    """

    def __init__(self, found: FoundVolume, announcement: Announcement) -> None:
        self.found = found
        self.announcement = announcement
        self.layout = VolumeLayout(announcement, found.preamble_length)
        self.stats = ReadStats()
        self._groups = tuple(self.layout.groups(part) for part in range(3))

    def groups(self, part: int) -> tuple[int, ...]:
        """The groups of `part` on this volume, each once, though its records may lie there twice."""
        return self._groups[part]

    @property
    def symbols_damaged(self) -> int:
        """Symbols that were asked for and should be here, and that were unreadable or wrong."""
        return self.stats.records_damaged + self.stats.records_unread

    @property
    def files_missing(self) -> int:
        """How many of the volume's files are not on the medium."""
        return len(self.missing_files)

    @property
    def missing_files(self) -> tuple[FilePlace, ...]:
        """Files of the volume that are not on the medium."""
        return tuple(file for file in self.layout.files if file.number not in self.found.files)

    @property
    def short_files(self) -> tuple[tuple[FilePlace, FoundFile], ...]:
        """Files that end before they should."""
        places = {file.number: file for file in self.layout.files}
        pairs = ((places[number], file) for number, file in sorted(self.found.files.items()) if number in places)
        return tuple((place, file) for place, file in pairs if file.size < place.size)

    def read_group(
        self, part: int, group: int, buffer: GroupBuffer, *, repairs: bool = True, sources: bool = True
    ) -> None:
        """Fill the slots of the bound `buffer` that are not present, and mark those whose record is right.

        A second place on the volume, and spare copies of a file, are read only where the first do not suffice to mend
        the group. With ``repairs=False`` runs of repair symbols alone are left out while no source symbol of this
        volume is missing; with ``sources=False`` only they are read.
        Raises MediumLostError where nothing could be read and the medium is gone.
        """
        before = self.stats.records_read
        errors = self.stats.read_errors
        for section in self.layout.sections(part, group):
            self._read_section(section, buffer, repairs=repairs, sources=sources)
            if is_mendable(buffer):
                break
        if self.stats.records_read == before and self.stats.read_errors > errors:
            self._check_medium()

    def read_unlisted(self, group: int, buffer: GroupBuffer) -> int:
        """Fill slots of a group of the chunks that are not present from records that no index block is left to list.

        By their place alone: nothing vouches for them, and the caller believes no byte of it before a chunk's digest
        does. How many slots were filled.
        """
        count = 0
        for section in self.layout.sections(CHUNKS, group):
            for run in self.layout.section_runs(section):
                if not present_records(run, buffer).all():
                    count += self._read_unlisted_run(run, buffer)
        return count

    def _read_unlisted_run(self, run: Run, buffer: GroupBuffer) -> int:
        for file in self.found.copies(run.file_number):
            with contextlib.suppress(OSError), open_regular(file.path) as fd:
                batch = self._read_batch(fd, (run,), buffer)
                if not self._is_listed(run, batch.views[0], batch.views[-1]):
                    return take_unlisted(run, batch.filled[1:-1], buffer)
        return 0

    def _is_listed(self, run: Run, before: memoryview, behind: memoryview) -> bool:
        """Whether one of two index blocks, as they were read, lists the run."""
        tag, number = self.found.frame.tag, run.number
        return any(
            index_of(block, tag, number + at, run.file_number) is not None for at, block in enumerate((before, behind))
        )

    def check(self, progress: Callable[[int, int], None] | None = None) -> ReadStats:
        """Read every record of the volume once, each place of its own; what was met. Nothing is mended.

        `progress` gets the records' bytes done and in all.
        """
        before = self.stats
        self.stats = ReadStats()
        buffers: dict[int, GroupBuffer] = {}
        done = 0
        for section in range(self.layout.section_count):
            part, group = self.layout.section_group(section)
            if part not in buffers:
                buffers = {part: GroupBuffer(self.announcement.geometry(part))}  # one at a time: they may be large
            buffers[part].bind(group)
            self._read_section(section, buffers[part], repairs=True)
            done += int(buffers[part].exists.sum()) * self.announcement.geometry(part).symbol_size
            if progress:
                progress(done, self.layout.record_bytes)
        found, self.stats = self.stats, before
        self.stats.add(found)
        if found.read_errors and not found.records_read:
            self._check_medium()
        return found

    def _read_section(self, section: int, buffer: GroupBuffer, *, repairs: bool, sources: bool = True) -> None:
        runs = self.layout.section_runs(section)
        if repairs and sources:
            self._read_runs(runs, buffer)
            return
        # Sources stand before repairs in record order, so the runs with a source are the first ones.
        has_source = [bool(is_source(run, buffer).any()) for run in runs]
        needed = sum(has_source)
        if sources:
            self._read_runs(runs[:needed], buffer)
        if not sources or not all(has_sources(run, buffer) for run in runs[:needed]):
            self._read_runs(runs[needed:], buffer)

    def _read_runs(self, runs: tuple[Run, ...], buffer: GroupBuffer) -> None:
        """Read `runs` from their files, then from spare copies of these where the first copies do not suffice."""
        files = {number: tuple(of_file) for number, of_file in groupby(runs, key=lambda run: run.file_number)}
        copies = {number: self.found.copies(number) for number in files}
        for number, file_runs in files.items():
            if not copies[number]:
                self.stats.records_unread += sum(run.record_count for run in file_runs)
        for turn in range(max(map(len, copies.values()), default=0)):
            for number, file_runs in files.items():
                if turn < len(copies[number]):
                    self._read_file(copies[number][turn], file_runs, buffer)
            if is_mendable(buffer):
                return

    def _read_file(self, file: FoundFile, runs: tuple[Run, ...], buffer: GroupBuffer) -> None:
        checks: list[Future[ReadStats]] = []
        with ThreadPoolExecutor(HASH_THREADS, "verify") as pool:
            try:
                with open_regular(file.path) as fd:
                    for first in range(0, len(runs), BATCH_RUNS):
                        batch = self._read_batch(fd, runs[first : first + BATCH_RUNS], buffer)
                        checks.append(pool.submit(self._check_batch, batch, buffer))
            except OSError:  # the file does not open; reading itself raises nothing
                self.stats.read_errors += 1
                self.stats.records_unread += sum(run.record_count for run in runs)
        for check in checks:
            self.stats.add(check.result())

    def _read_batch(self, fd: int, runs: tuple[Run, ...], buffer: GroupBuffer) -> _Batch:
        index_memory = aligned_memory((len(runs) + 1) * BLOCK_BYTES)
        blocks = [index_memory[at : at + BLOCK_BYTES] for at in range(0, len(index_memory), BLOCK_BYTES)]
        views: list[memoryview] = []
        for run, block in zip(runs, blocks[:-1], strict=True):
            views.append(block)
            views += target_views(run, buffer)
        views.append(blocks[-1])
        outcome = read_views(fd, views, runs[0].offset)
        self.stats.read_errors += outcome.errors
        return _Batch(runs, tuple(views), outcome.filled)

    def _check_batch(self, batch: _Batch, buffer: GroupBuffer) -> ReadStats:
        """Mark the records of `batch` that are right. Runs in a thread of its own; batches share no record."""
        stats = ReadStats()
        at = 0
        for run in batch.runs:
            behind = at + 1 + run.record_count
            listed = []
            for block, number, side in ((at, run.number, "after"), (behind, run.number + 1, "before")):
                index = index_of(batch.views[block], self.found.frame.tag, number, run.file_number)
                if index is not None and batch.filled[block]:
                    listed.append(getattr(index, side))
                elif side == "after":  # the one behind is counted with the next run
                    stats.index_blocks_damaged += 1
            filled = np.array(batch.filled[at + 1 : behind], np.bool_)
            wanted = filled & ~present_records(run, buffer)
            slots = batch.views[at + 1 : behind]
            good = match_records(expected_entries(run, buffer.geometry), listed, slots, wanted)
            mark_present(run, buffer, good)
            stats.records_read += int(filled.sum())
            stats.records_unread += int((~filled).sum())
            stats.records_damaged += int((wanted & ~good).sum())
            stats.bytes_read += int(filled.sum()) * run.symbol_size
            at = behind
        return stats

    def _check_medium(self) -> None:
        """Raise MediumLostError when no file that was there when the volume was found can be read now."""
        if any(_is_readable(file) for file in self.found.files.values()):
            return
        first = next(iter(self.found.files.values()))
        raise MediumLostError(f"bundle {self.announcement.name}: {printable(first.path)} can no longer be read")


def _is_readable(file: FoundFile) -> bool:
    """Whether either end of `file` can be read from the medium; an error that is not the medium's counts as yes."""
    for place in (0, max(0, file.size - BLOCK_BYTES)):
        try:
            with open_regular(file.path) as fd:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # what the cache still holds proves nothing
                if os.pread(fd, BLOCK_BYTES, place):
                    return True
        except OSError as error:
            if error.errno not in MEDIUM_GONE:
                return True
    return False
