"""Look for records wherever they lie on a medium: every aligned place is hashed and looked up among listed digests.

The last resort, for records that are not beside their index blocks: fragments of a broken file system. One pass serves
all volumes of the medium that are registered. A record that was found is stepped over, so that what lies in a row costs
one hash a byte; elsewhere each place costs one hash of every symbol size. Nothing found here is believed: whoever reads
it compares the digest again (`carved_reader`).
"""

import os
import threading
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import blake3
import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.blocks import RUN_MAX_RECORDS, Entries
from tidegate.carrier.positional import aligned_memory
from tidegate.carrier.raw_medium import PAGE_BYTES, Extent, RawMedium
from tidegate.units import KIB, MIB

PIECE_BYTES = 16 * MIB
#: as many hash as there are cores, up to this: each has a piece in memory
THREADS_MAX = 8
#: digests looked for in one pass, about 60 bytes each: 128 GiB of records of 64 KiB
RECORDS_MAX = 2**21
#: passes over one medium
PASSES_MAX = 16
#: larger symbols, and more sizes than these, are found beside their index blocks only: each costs a hash a place
SYMBOL_MAX_BYTES = 64 * KIB
SIZES_MAX = 4
#: places within a page at which index blocks were found and records may begin, where clusters are smaller than a page
PHASES_MAX = 8
#: places remembered for one digest: the second stands in where the first can no longer be read
PLACES_PER_RECORD_MAX = 2

_FILTER_MASK = 2**24 - 1
Progress = Callable[[int, int], None]
Numbers = NDArray[np.uint64]


class Searchable(Protocol):
    """A volume whose records can be looked for."""

    @property
    def run_count(self) -> int: ...

    def listed_entries(self, run: int) -> tuple[Entries, int] | None:
        """The entries of a run by an index block that lists it, and its symbol size; None where none is left."""

    def add_strays(self, records: Numbers, offsets: Numbers) -> None:
        """Places that were found; a record's number is its run's, times 64, and its place in the run."""


@dataclass(frozen=True, slots=True)
class _Table:
    """What one pass looks for, by rising digest. `owners` are (volume << 32 | record)."""

    digests: Numbers
    owners: Numbers
    sizes: tuple[int, ...]


class DigestSearch:
    """Passes over one medium for all volumes that are registered. Threads may call it."""

    def __init__(self, medium: RawMedium, phases: set[int], progress: Progress | None = None) -> None:
        self.medium = medium
        self._progress = progress
        self.passes = 0
        self._phases = tuple(sorted(phases)[:PHASES_MAX]) or (0,)
        self._volumes: list[Searchable] = []
        self._searched: list[list[Extent]] = []
        self._lock = threading.Lock()

    def register(self, volume: Searchable) -> int:
        """The number by which `look_for` knows the volume."""
        self._volumes.append(volume)
        self._searched.append([])
        return len(self._volumes) - 1

    def look_for(self, volume: int, run: int) -> None:
        """Make sure that the records of a run were looked for; at most one pass, and none beyond PASSES_MAX.

        Raises MediumLostError.
        """
        with self._lock:
            if self.passes >= PASSES_MAX or any(first <= run < end for first, end in self._searched[volume]):
                return
            self.passes += 1
            table = self._build_table(volume, run)
            if len(table.digests):
                _Pass(self.medium, table, self._phases, self._volumes).run(self._progress)

    def _build_table(self, volume: int, run: int) -> _Table:
        """The listed digests of `volume` from `run` on, then those of the others that were not looked for yet."""
        digests, owners = array("Q"), array("Q")
        sizes: dict[int, int] = {}
        for number in (volume, *(other for other in range(len(self._volumes)) if other != volume)):
            first = run if number == volume else max((end for _, end in self._searched[number]), default=0)
            end = self._list_volume(number, first, digests, owners, sizes)
            self._searched[number].append((first, end))
        order = np.argsort(np.frombuffer(digests, "<u8"), kind="stable")
        common = sorted(sizes, key=lambda size: -sizes[size])[:SIZES_MAX]
        listed, owned = np.frombuffer(digests, "<u8")[order], np.frombuffer(owners, "<u8")[order]
        return _Table(listed, owned, tuple(sorted(common, reverse=True)))

    def _list_volume(
        self, number: int, first: int, digests: "array[int]", owners: "array[int]", sizes: dict[int, int]
    ) -> int:
        """Add the records of one volume; the run at which there was no room any more."""
        volume = self._volumes[number]
        for run in range(first, volume.run_count):
            if len(digests) + RUN_MAX_RECORDS > RECORDS_MAX:
                return run
            listed = volume.listed_entries(run)
            if listed is None or listed[1] > SYMBOL_MAX_BYTES:
                continue
            entries, size = listed
            sizes[size] = sizes.get(size, 0) + len(entries)
            digests.frombytes(entries["digest"].tobytes())
            record = number << 32 | run * RUN_MAX_RECORDS
            owners.extend(range(record, record + len(entries)))
        return volume.run_count


class _Pass:
    """One pass over the medium: the main thread reads, others hash."""

    def __init__(self, medium: RawMedium, table: _Table, phases: tuple[int, ...], volumes: list[Searchable]) -> None:
        self.medium = medium
        self.table = table
        self.phases = phases
        self.volumes = volumes
        self.overlap = table.sizes[0] - PAGE_BYTES
        self.sorted = memoryview(table.digests.tobytes()).cast("Q")
        self.filter = bytearray(_FILTER_MASK + 1)
        np.frombuffer(self.filter, np.uint8)[(table.digests & np.uint64(_FILTER_MASK)).astype(np.int64)] = 1
        self.taken = bytearray(len(table.digests))
        self.blank = {size: _digest(bytes(size)) for size in table.sizes}

    def run(self, progress: Progress | None = None) -> None:
        rows, offsets = array("Q"), array("Q")
        waiting: deque[Future[list[tuple[int, int]]]] = deque()
        threads = min(THREADS_MAX, len(os.sched_getaffinity(0)))
        memories = deque(aligned_memory(PIECE_BYTES + self.overlap) for _ in range(threads + 1))

        def settle() -> None:
            for digest, offset in waiting.popleft().result():
                row = self._row(digest)
                if row is not None and self.taken[row] < PLACES_PER_RECORD_MAX:
                    self.taken[row] += 1
                    rows.append(row)
                    offsets.append(offset)

        with ThreadPoolExecutor(threads, "carve") as pool:
            for start in range(0, self.medium.size, PIECE_BYTES):
                if len(waiting) == threads:
                    settle()
                memory = memories[0]
                memories.rotate(-1)
                view = memory[: min(PIECE_BYTES + self.overlap, self.medium.size - start)]
                good = self.medium.read_piece(view, start)
                waiting.append(pool.submit(self._walk_piece, view, good, start))
                if progress:
                    progress(start, self.medium.size)
            while waiting:
                settle()
        self._give(np.frombuffer(rows, "<u8"), np.frombuffer(offsets, "<u8"))

    def _row(self, digest: int) -> int | None:
        """The first row of the table with this digest."""
        row = bisect_left(self.sorted, digest)
        return row if row < len(self.sorted) and self.sorted[row] == digest else None

    # --- hashing ------------------------------------------------------------------------------

    def _walk_piece(self, view: memoryview, good: tuple[Extent, ...], start: int) -> list[tuple[int, int]]:
        """(digest, offset) of what is listed among the records that begin in a piece."""
        hits: list[tuple[int, int]] = []
        for first, end in good:
            for phase in self.phases:
                lead = (phase - start - first) % PAGE_BYTES
                hits += [(digest, start + at) for digest, at in self._walk(view, first + lead, end)]
        return hits

    def _walk(self, view: memoryview, first: int, end: int) -> Iterator[tuple[int, int]]:
        blank_ends = _blank_ends(view[first:end], first)
        last = min(end, PIECE_BYTES)
        at = first
        while at < last:
            blank = blank_ends.get(at, 0)
            if blank:
                yield from ((digest, at) for size, digest in self.blank.items() if size <= blank - at)
                # A record may begin with zeros: of a blank stretch only the end is looked at.
                at = max(at + PAGE_BYTES, blank - self.overlap)
                blank_ends.pop(at, None)
                continue
            size, digest = self._try(view, at, end)
            if size:
                yield digest, at
            at += size or PAGE_BYTES

    def _try(self, view: memoryview, at: int, end: int) -> tuple[int, int]:
        """Hash what begins at `at`: size and digest of the record that is listed, or zeros."""
        for size in self.table.sizes:
            if at + size <= end:
                digest = _digest(view[at : at + size])
                if self.filter[digest & _FILTER_MASK] and self._row(digest) is not None:
                    return size, digest
        return 0, 0

    # --- what was found -----------------------------------------------------------------------

    def _give(self, rows: Numbers, offsets: Numbers) -> None:
        """Tell each volume. Records with equal digests are equal, so one place serves all of them."""
        digests = self.table.digests[rows.astype(np.int64)]
        firsts = np.searchsorted(self.table.digests, digests, "left")
        counts = np.searchsorted(self.table.digests, digests, "right") - firsts
        places = np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        owners, found = self.table.owners[places], np.repeat(offsets, counts)
        numbers = owners >> np.uint64(32)
        for number in np.unique(numbers).tolist():
            own = numbers == number
            self.volumes[number].add_strays(owners[own] & np.uint64(0xFFFFFFFF), found[own])


def _digest(data: memoryview | bytes) -> int:
    return int.from_bytes(blake3.blake3(data).digest(8), "little")


def _blank_ends(view: memoryview, start: int) -> dict[int, int]:
    """The stretches of at least two pages of zeros, by where each begins: its end. Both count from `start`."""
    pages = len(view) // PAGE_BYTES
    if not pages:
        return {}
    words = np.frombuffer(view, np.uint64, pages * PAGE_BYTES // 8).reshape(pages, -1)
    blank = np.concatenate(([False], ~words.any(axis=1), [False]))
    edges = np.flatnonzero(blank[1:] != blank[:-1])
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return {start + first * PAGE_BYTES: start + end * PAGE_BYTES for first, end in pairs if end - first > 1}
