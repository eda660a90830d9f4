"""Where everything lies on a volume: spans, groups, runs and files, by arithmetic alone.

With the announcement and the preamble's length the place of every record is known, whatever else is damaged. A
*section* is one group at one place of the volume: parts 0 and 1 stand on a volume twice. The numbers come from
outside, so they are limited before anything is allocated (M-10, M-11). Layout: docs/format/media.md.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.header import PREAMBLE_MAX_BYTES, align
from tidegate.carrier.announcement import CHUNKS, Announcement
from tidegate.carrier.blocks import BLOCK_BYTES, FILES_MAX, RUN_MAX_RECORDS
from tidegate.carrier.stripes import Stripe
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import CarrierFormatError

#: 999 files of 4 GiB in symbols of 64 KiB are 1,022,976 runs
RUNS_MAX = 2**20


@dataclass(frozen=True, slots=True)
class Run:
    """Up to 64 consecutive records of one group, behind an index block at `offset` of a file.

    `first_record` counts within the group, in record order; on a striped volume within its share of the group.
    """

    number: int
    part: int
    group: int
    first_record: int
    record_count: int
    symbol_size: int
    file_number: int
    offset: int
    stripe: Stripe | None = None

    def order(self, geometry: PartGeometry) -> NDArray[np.int64]:
        """The run's records, one row each: (position of the block in the group, symbol index)."""
        end = self.first_record + self.record_count
        if self.stripe is None:
            return geometry.record_order(self.group)[self.first_record : end]
        return self.stripe.record_order(geometry, self.group)[self.first_record : end]

    def slots(self, buffer: GroupBuffer) -> tuple[memoryview, ...]:
        """The slots of the run's records in `buffer`, which is bound to its group."""
        end, slots = self.first_record + self.record_count, buffer.record_slots()
        if self.stripe is None:
            return slots[self.first_record : end]
        numbers = self.stripe.record_numbers(buffer.geometry, self.group)[self.first_record : end]
        return tuple(slots[number] for number in numbers.tolist())

    @property
    def records_offset(self) -> int:
        return self.offset + BLOCK_BYTES

    @property
    def end(self) -> int:
        """Where the next index block stands."""
        return self.records_offset + self.record_count * self.symbol_size


@dataclass(frozen=True, slots=True)
class FilePlace:
    """One file of a volume and its whole runs; `size` in bytes, blocks and preambles included."""

    number: int
    first_run: int
    run_count: int
    size: int


def file_name(volume: int, file_number: int) -> str:
    """The name that helps people; readers do not go by it (M-1)."""
    return f"V{volume:03d}F{file_number:03d}.TGV"


class VolumeLayout:
    """The places of one volume. Raises CarrierFormatError for an announcement that breaks a limit."""

    def __init__(self, announcement: Announcement, preamble_length: int) -> None:
        if announcement.carrier != "media" or announcement.file_bytes is None:
            raise CarrierFormatError(f"announcement: of a {announcement.carrier}, not of a volume (M-6)")
        if not 0 <= preamble_length <= PREAMBLE_MAX_BYTES:
            raise CarrierFormatError(f"preamble of {preamble_length} bytes, the limit is {PREAMBLE_MAX_BYTES} (M-12)")
        self.announcement = announcement
        self.preamble_length = preamble_length
        #: bytes of a file before its first run, and after its last one
        self.opening_bytes = BLOCK_BYTES + align(preamble_length)
        self.closing_bytes = BLOCK_BYTES + align(preamble_length) + BLOCK_BYTES
        self._stripe = Stripe.of(announcement.volume, announcement.volumes) if announcement.is_striped else None
        self._lay_sections()
        self._lay_runs()
        self.files = self._lay_files(announcement.file_bytes)
        self._file_first_runs = np.array([file.first_run for file in self.files], np.int64)

    def _lay_sections(self) -> None:
        spans = self.announcement.spans
        sections = sum(end - first for _, first, end in spans)
        if sections > RUNS_MAX:
            raise CarrierFormatError(f"announcement: {sections} groups on one volume, the limit is {RUNS_MAX} (M-10)")
        counts = [self._record_counts(part, first, end) for part, first, end in spans]
        self._records = np.concatenate(counts)
        self._runs = -(-self._records // RUN_MAX_RECORDS)
        self._first_runs = np.concatenate(([0], np.cumsum(self._runs)))
        self.run_count = int(self._first_runs[-1])
        if self.run_count > RUNS_MAX:
            raise CarrierFormatError(
                f"announcement: {self.run_count} runs on one volume, the limit is {RUNS_MAX} (M-10)"
            )

    def _record_counts(self, part: int, first: int, end: int) -> NDArray[np.int64]:
        geometry = self.announcement.parts[part]
        stripe = self._part_stripe(part)
        return _record_counts(geometry, first, end) if stripe is None else stripe.record_counts(geometry, first, end)

    def _part_stripe(self, part: int) -> Stripe | None:
        return self._stripe if part == CHUNKS else None

    def _lay_runs(self) -> None:
        lengths = [end - first for _, first, end in self.announcement.spans]
        sizes = [self.announcement.parts[part].symbol_size for part, _, _ in self.announcement.spans]
        section_sizes = np.repeat(np.array(sizes, np.int64), lengths)
        run_bytes = np.repeat(BLOCK_BYTES + RUN_MAX_RECORDS * section_sizes, self._runs)
        last_records = self._records - (self._runs - 1) * RUN_MAX_RECORDS
        run_bytes[self._first_runs[1:] - 1] = BLOCK_BYTES + last_records * section_sizes
        self._run_offsets = np.concatenate(([0], np.cumsum(run_bytes)))

    def _lay_files(self, file_bytes: int) -> tuple[FilePlace, ...]:
        files: list[FilePlace] = []
        capacity = file_bytes - self.opening_bytes - self.closing_bytes
        first = 0
        while first < self.run_count:
            start = int(self._run_offsets[first])
            end = int(np.searchsorted(self._run_offsets, start + capacity, side="right")) - 1
            if end <= first:
                raise CarrierFormatError(f"announcement: a run does not fit into a file of {file_bytes} bytes (M-11)")
            if len(files) == FILES_MAX:
                raise CarrierFormatError(f"announcement: needs more than {FILES_MAX} files (M-11)")
            size = self.opening_bytes + int(self._run_offsets[end]) - start + self.closing_bytes
            files.append(FilePlace(len(files) + 1, first, end - first, size))
            first = end
        return tuple(files)

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of all files together: what the volume takes on the medium."""
        return sum(file.size for file in self.files)

    @property
    def record_bytes(self) -> int:
        """Bytes of all records together, without blocks and preambles."""
        return int(self._run_offsets[-1]) - self.run_count * BLOCK_BYTES

    @property
    def section_count(self) -> int:
        return len(self._records)

    def section_runs(self, section: int) -> tuple[Run, ...]:
        """The runs of one section, in order."""
        part, group = self.section_group(section)
        size = self.announcement.parts[part].symbol_size
        records, first_run = int(self._records[section]), int(self._first_runs[section])
        return tuple(
            self._run(first_run + index, part, group, first, min(RUN_MAX_RECORDS, records - first), size)
            for index, first in enumerate(range(0, records, RUN_MAX_RECORDS))
        )

    def _run(self, number: int, part: int, group: int, first_record: int, count: int, size: int) -> Run:
        file = self.files[int(np.searchsorted(self._file_first_runs, number, side="right")) - 1]
        start = self._run_offsets[number] - self._run_offsets[file.first_run]
        offset = self.opening_bytes + int(start)
        return Run(number, part, group, first_record, count, size, file.number, offset, self._part_stripe(part))

    def section_of_run(self, run: int) -> int:
        """The section in which a run lies."""
        return int(np.searchsorted(self._first_runs, run, side="right")) - 1

    def section_group(self, section: int) -> tuple[int, int]:
        """(part, group) of a section."""
        for part, first, end in self.announcement.spans:
            if section < end - first:
                return part, first + section
            section -= end - first
        raise IndexError(section)

    def sections(self, part: int, group: int) -> tuple[int, ...]:
        """The sections that hold `group` of `part`: none, one, or more where it lies there again."""
        found, base = [], 0
        for span_part, first, end in self.announcement.spans:
            if span_part == part and first <= group < end:
                found.append(base + group - first)
            base += end - first
        return tuple(found)

    def groups(self, part: int) -> tuple[int, ...]:
        """The groups of `part` on this volume, each once, rising."""
        ranges = [range(first, end) for span_part, first, end in self.announcement.spans if span_part == part]
        return tuple(sorted(set().union(*ranges)))

    def files_of(self, runs: tuple[Run, ...]) -> tuple[int, ...]:
        return tuple(sorted({run.file_number for run in runs}))


def _record_counts(geometry: PartGeometry, first: int, end: int) -> NDArray[np.int64]:
    """`geometry.group_record_count` for the groups [first, end), in bulk."""
    small, large_blocks = divmod(geometry.symbol_total, geometry.block_count)
    edges = np.minimum(np.arange(first, end + 1, dtype=np.int64) * geometry.interleave, geometry.block_count)
    first_symbols = edges * small + np.minimum(edges, large_blocks)
    counts: NDArray[np.int64] = np.diff(first_symbols) + np.diff(edges) * geometry.repair_count
    return counts
