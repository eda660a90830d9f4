"""Take symbols off a volume that was carved: as `reader`, but from wherever its runs were found on the medium.

A run lies behind the index block that lists it, and before the one that lists it again; where these were found, its
records are looked for. Where the border of a fragment cuts a record in two, its parts are joined. What is still missing
may lie anywhere: only when a group cannot be mended without it is the whole medium searched by digest
(`carved_search`). A symbol counts by its digest alone (M-3), never by its place.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import blake3
import numpy as np

from tidegate.carrier.announcement import Announcement
from tidegate.carrier.blocks import BLOCK_BYTES, RUN_MAX_RECORDS, Entries
from tidegate.carrier.carved_search import DigestSearch, Numbers
from tidegate.carrier.carving import SECTOR_BYTES, CarvedVolume
from tidegate.carrier.found import FoundFile, FoundVolume
from tidegate.carrier.parts import is_mendable
from tidegate.carrier.positional import aligned_memory, read_views
from tidegate.carrier.reader import HASH_THREADS, ReadStats, VolumeReader
from tidegate.carrier.records import expected_entries, index_of, match_records
from tidegate.carrier.run_slots import mark_present, present_records, take_unlisted, target_views
from tidegate.carrier.volume import FilePlace, Run
from tidegate.erasure.buffer import GroupBuffer

#: places of one index block that are looked at: copies, and what a forger adds
PLACES_MAX = 8
#: records of one volume that are tried to be joined, some milliseconds each
JOINS_MAX = 16_384

_Views = tuple[memoryview, ...]


class CarvedReader(VolumeReader):
    """The symbols of a carved volume. `announcement` is the parsed, and by the caller verified, one of `found`.

    Raises CarrierFormatError where the announcement describes no volume that can be.
    """

    def __init__(
        self, found: FoundVolume, announcement: Announcement, carved: CarvedVolume, search: DigestSearch
    ) -> None:
        super().__init__(found, announcement)
        self.medium = search.medium
        order = np.argsort(np.frombuffer(carved.runs, np.uint32), kind="stable")
        self._block_runs = np.frombuffer(carved.runs, np.uint32)[order]
        self._block_offsets = np.frombuffer(carved.offsets, "<u8")[order]
        self._strays: tuple[Numbers, Numbers] = (np.zeros(0, np.uint64), np.zeros(0, np.uint64))
        #: where the records of the group lie that is being read, by run and place in it
        self._located: dict[tuple[int, int], int] = {}
        self._joins_left = JOINS_MAX
        self._search = search
        self._search_number = search.register(self)

    # --- a medium without files ---------------------------------------------------------------

    @property
    def missing_files(self) -> tuple[FilePlace, ...]:
        return ()

    @property
    def short_files(self) -> tuple[tuple[FilePlace, FoundFile], ...]:
        return ()

    def _check_medium(self) -> None:
        self.medium.check()

    # --- where runs lie -----------------------------------------------------------------------

    def _places_of(self, run: int) -> tuple[int, ...]:
        """Where index blocks of this number were found."""
        first, end = np.searchsorted(self._block_runs, [run, run + 1])
        return tuple(self._block_offsets[first : min(end, first + PLACES_MAX)].tolist())

    def _bases(self, run: Run) -> tuple[int, ...]:
        """Where the run may begin, by the index blocks at both its ends; may be negative. The likeliest first."""
        length = BLOCK_BYTES + run.record_count * run.symbol_size
        before = self._places_of(run.number)
        behind = [place - length for place in self._places_of(run.number + 1)]
        both = [place for place in before if place in behind]
        return tuple(dict.fromkeys([*both, *before, *behind]))

    def _listings(self, run: Run) -> list[Entries]:
        """What the index blocks say of a run, wherever they lie."""
        listed = []
        for number, side in ((run.number, "after"), (run.number + 1, "before")):
            for place in self._places_of(number):
                data = self.medium.read_block(place)
                index = index_of(memoryview(data), self.found.frame.tag, number, run.file_number) if data else None
                if index is not None:
                    listed.append(getattr(index, side))
                    break
        return listed

    # --- reading ------------------------------------------------------------------------------

    def read_group(
        self, part: int, group: int, buffer: GroupBuffer, *, repairs: bool = True, sources: bool = True
    ) -> None:
        """As `VolumeReader.read_group`; the medium is searched where the group cannot be mended without."""
        self._located.clear()
        super().read_group(part, group, buffer, repairs=repairs, sources=sources)
        for step in (self._join_cut_records, self._search_records):
            for section in self.layout.sections(part, group):
                if is_mendable(buffer):
                    return
                for run in self.layout.section_runs(section):
                    step(run, buffer)

    def _search_records(self, run: Run, buffer: GroupBuffer) -> None:
        if not present_records(run, buffer).all():
            self._search.look_for(self._search_number, run.number)
            self._read_strays(run, buffer)
            self._join_cut_records(run, buffer)

    def _read_runs(self, runs: tuple[Run, ...], buffer: GroupBuffer) -> None:
        with self.medium.reading() as fd, ThreadPoolExecutor(HASH_THREADS, "verify") as pool:
            checks = []
            for run in runs:
                bases = self._bases(run)
                if bases:
                    views, filled = self._read_run(fd, run, bases[0], buffer)
                    checks.append((run, bases, pool.submit(self._check_run, run, bases[0], views, filled, buffer)))
                else:
                    self.stats.records_unread += run.record_count
                    self.stats.index_blocks_damaged += 1
            for run, bases, check in checks:
                self.stats.add(check.result())
                for base in bases[1:]:
                    if present_records(run, buffer).all():
                        break
                    self._check_run(run, base, *self._read_run(fd, run, base, buffer), buffer)
                if len(self._strays[0]):
                    self._read_strays(run, buffer)

    def _read_run(self, fd: int, run: Run, base: int, buffer: GroupBuffer) -> tuple[_Views, tuple[bool, ...]]:
        """Read a run with the index blocks at both its ends, as if it began at `base`."""
        ends = aligned_memory(2 * BLOCK_BYTES)
        views = (ends[:BLOCK_BYTES], *target_views(run, buffer), ends[BLOCK_BYTES:])
        skipped = 0
        while base < 0 and skipped < len(views):  # its beginning would lie before that of the medium
            base += len(views[skipped])
            skipped += 1
        outcome = read_views(fd, views[skipped:], base)
        self.stats.read_errors += outcome.errors
        return views, (False,) * skipped + outcome.filled

    def _check_run(
        self, run: Run, base: int, views: _Views, filled: tuple[bool, ...], buffer: GroupBuffer
    ) -> ReadStats:
        """Mark the records that are right. Runs in a thread of its own; runs share no record."""
        stats = ReadStats()
        tag, listed = self.found.frame.tag, []
        for at, number, side in ((0, run.number, "after"), (-1, run.number + 1, "before")):
            index = index_of(views[at], tag, number, run.file_number) if filled[at] else None
            if index is not None:
                listed.append(getattr(index, side))
        there = np.array(filled[1:-1], np.bool_)
        wanted = there & ~present_records(run, buffer)
        good = match_records(expected_entries(run, buffer.geometry), listed or self._listings(run), views[1:-1], wanted)
        mark_present(run, buffer, good)
        first = base + BLOCK_BYTES
        self._located.update(((run.number, at), first + at * run.symbol_size) for at in np.flatnonzero(good).tolist())
        stats.records_read += int(there.sum())
        stats.records_unread += int((~there).sum())
        stats.records_damaged += int((wanted & ~good).sum())
        stats.bytes_read += int(there.sum()) * run.symbol_size
        return stats

    # --- where nothing lists a run ------------------------------------------------------------

    def _read_unlisted_run(self, run: Run, buffer: GroupBuffer) -> int:
        """From where the run would lie beside the nearest index block of its file, if nothing broke between."""
        base = self._guessed_base(run)
        if base is None or self._listings(run):
            return 0
        with self.medium.reading() as fd:
            _, filled = self._read_run(fd, run, base, buffer)
        return take_unlisted(run, filled[1:-1], buffer)

    def _guessed_base(self, run: Run) -> int | None:
        at = int(np.searchsorted(self._block_runs, run.number))
        for near in (at - 1, at):
            if 0 <= near < len(self._block_runs) and self._block_runs[near] < self.layout.run_count:
                known = self._run(int(self._block_runs[near]))
                if known.file_number == run.file_number:
                    return int(self._block_offsets[near]) + run.offset - known.offset
        return None

    # --- anywhere on the medium ---------------------------------------------------------------

    @property
    def run_count(self) -> int:
        return self.layout.run_count

    def listed_entries(self, run: int) -> tuple[Entries, int] | None:
        """The entries of a run by an index block that lists it, and its symbol size; None where none is left."""
        place = self._run(run)
        expected = expected_entries(place, self.announcement.geometry(place.part))
        for entries in self._listings(place):
            if len(entries) == len(expected):
                return entries, place.symbol_size
        return None

    def _run(self, number: int) -> Run:
        section = self.layout.section_of_run(number)
        runs = self.layout.section_runs(section)
        return runs[number - runs[0].number]

    def add_strays(self, records: Numbers, offsets: Numbers) -> None:
        """Places that a search found, beside those of earlier ones."""
        known = np.concatenate((self._strays[0], records))
        places = np.concatenate((self._strays[1], offsets))
        order = np.argsort(known, kind="stable")
        self._strays = (known[order], places[order])

    def _stray_places(self, record: int) -> Sequence[int]:
        first, end = np.searchsorted(self._strays[0], np.array([record, record + 1], np.uint64))
        places: list[int] = self._strays[1][first : min(end, first + PLACES_MAX)].tolist()
        return places

    def _read_strays(self, run: Run, buffer: GroupBuffer) -> None:
        """Read what was found by digest of the records of `run` that are not present."""
        missing = np.flatnonzero(~present_records(run, buffer)).tolist()
        places = {number: self._stray_places(run.number * RUN_MAX_RECORDS + number) for number in missing}
        if not any(places.values()):
            return
        slots, listings = run.slots(buffer), self._listings(run)
        expected = expected_entries(run, buffer.geometry)
        with self.medium.reading() as fd:
            for turn in range(PLACES_MAX):
                chosen = {number: offsets[turn] for number, offsets in places.items() if turn < len(offsets)}
                filled = ~present_records(run, buffer)
                for number in missing:
                    at = chosen.get(number)
                    filled[number] &= at is not None and read_views(fd, [slots[number]], at).filled[0]
                if not filled.any():
                    break
                good = match_records(expected, listings, slots, filled)
                mark_present(run, buffer, good)
                self._located |= {(run.number, at): chosen[at] for at in np.flatnonzero(good).tolist()}

    # --- at the borders of fragments ----------------------------------------------------------

    def _join_cut_records(self, run: Run, buffer: GroupBuffer) -> None:
        """Join records whose neighbours lie apart: their beginnings follow the one, their ends precede the other."""
        missing = np.flatnonzero(~present_records(run, buffer)).tolist()
        cuts = {number: borders for number in missing if (borders := self._borders(run, number)) is not None}
        if not cuts:
            return
        slots, filled = run.slots(buffer), np.zeros(run.record_count, np.bool_)
        listings = self._listings(run)
        for number, (start, end) in cuts.items():
            digests = {int(entries["digest"][number]) for entries in listings if number < len(entries)}
            if self._joins_left > 0 and digests:
                self._joins_left -= 1
                filled[number] = self._join(start, end, digests, slots[number])
        mark_present(run, buffer, match_records(expected_entries(run, buffer.geometry), listings, slots, filled))

    def _borders(self, run: Run, number: int) -> tuple[int, int] | None:
        """Where a missing record begins and where it ends; None where that is not known, or in one piece."""
        start = self._located.get((run.number, number - 1), -run.symbol_size) + run.symbol_size
        end = self._located.get((run.number, number + 1), 0)
        if number == 0:
            start = next(iter(self._places_of(run.number)), -BLOCK_BYTES) + BLOCK_BYTES
        if number == run.record_count - 1:
            end = next(iter(self._places_of(run.number + 1)), 0)
        return (start, end) if start > 0 and end > 0 and end - start != run.symbol_size else None

    def _join(self, start: int, end: int, digests: set[int], slot: memoryview) -> bool:
        """Whether bytes from `start` on and bytes up to `end` make a record that is listed; then it is in `slot`."""
        size = len(slot)
        head = self.medium.read_block(start, min(size, self.medium.size - start)) or b""
        lead = max(0, size - end)  # the rest would begin before the medium
        tail = bytes(lead) + (self.medium.read_block(end - size + lead, size - lead) or b"")
        if len(tail) < size:
            return False
        for cut in range(max(SECTOR_BYTES, lead), min(size, len(head) + 1), SECTOR_BYTES):
            joined = blake3.blake3(head[:cut]).update(memoryview(tail)[cut:])
            if int.from_bytes(joined.digest(8), "little") in digests:
                slot[:] = head[:cut] + tail[cut:]
                return True
        return False
