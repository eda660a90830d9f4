"""Write the files of one volume: read a group, encode, hash, write, in record order.

    bundle ─► group memory ─► thread: encode ─────────────────────► repair records ─┐
                         └──► thread: hash ─► index blocks ─► this thread: pwritev ─┴─► volume files

Source records are written while the repair symbols are still being computed. One group's memory is all that is held.
Layout: docs/format/media.md. OSErrors of the medium pass through; the caller says what they mean.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Protocol

import blake3

from tidegate.bundle.header import align
from tidegate.carrier.announcement import Announcement
from tidegate.carrier.blocks import (
    BLOCK_BYTES,
    NO_ENTRIES,
    Entries,
    IndexBlock,
    Label,
    Place,
    build_index,
    build_label,
    preamble_digest,
)
from tidegate.carrier.positional import aligned_memory
from tidegate.carrier.records import build_entries
from tidegate.carrier.volume import FilePlace, Run, VolumeLayout, file_name
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate.erasure.geometry import PartGeometry
from tidegate.files import sync_folder
from tidegate_sender.media.file import MediumFile, aligned

#: runs written by one call: 16 MiB with symbols of 64 KiB
BATCH_RUNS = 4
#: one thread encodes and one hashes while the caller's writes
WORKERS = 2
BLOCK_DIGEST_BYTES = 16


class PartBytes(Protocol):
    """Where the bytes of the parts come from: a bundle file. Several threads read from it at a time."""

    def read_into(self, part: int, offset: int, view: memoryview) -> None: ...


@dataclass(slots=True)
class WrittenFile:
    """What was written into one file, for the read-back: the digest of each index block, in order, 16 bytes each.

    The index blocks hold the digests of the records, so these few bytes stand for every byte of the runs.
    """

    path: Path
    place: FilePlace
    opening: bytes
    closing: bytes
    index_digests: bytearray = field(default_factory=bytearray)


class VolumeWriter:
    """Writes the volume of `announcement` (`data`: its signed bytes) into `folder`, which exists. One use."""

    def __init__(
        self, folder: Path, announcement: Announcement, data: bytes, tag: bytes, preamble: bytes, *, sync: bool
    ) -> None:
        self.folder = folder
        self.announcement = announcement
        self.layout = VolumeLayout(announcement, len(preamble))
        self.files: list[WrittenFile] = []
        self._data = data
        self._tag = tag
        self._preamble = preamble
        self._sync = sync
        self._file: MediumFile | None = None
        self._before: Entries = NO_ENTRIES
        self._index_memory = aligned_memory(BATCH_RUNS * BLOCK_BYTES)

    def write(self, bundle: PartBytes, progress: Callable[[int], None]) -> None:
        """Write everything, sync each file and the folder. `progress` gets the bytes written so far."""
        section = 0
        try:
            with ThreadPoolExecutor(WORKERS, "volume") as pool:
                for part, first, end in self.announcement.spans:
                    geometry = self.announcement.geometry(part)
                    buffer, codec = GroupBuffer(geometry), GroupCodec(geometry, threads=1)
                    for group in range(first, end):
                        buffer.bind(group)
                        _read_group(bundle, part, geometry.group_extent(group)[0], buffer.source_view(), pool)
                        self._write_section(self.layout.section_runs(section), buffer, codec, pool, progress)
                        section += 1
            self._close_file()
        finally:
            if self._file:
                self._file.abandon()
        if self._sync:
            sync_folder(self.folder)

    def _write_section(
        self,
        runs: tuple[Run, ...],
        buffer: GroupBuffer,
        codec: GroupCodec,
        pool: ThreadPoolExecutor,
        progress: Callable[[int], None],
    ) -> None:
        # The encoding goes to a worker first: whatever waits for it there comes after it in the queue.
        encoding = pool.submit(codec.encode, buffer)
        batches = list(_batches(runs))
        hashing = [pool.submit(_batch_entries, batch, buffer, encoding) for batch in batches]
        try:
            for batch, entries in zip(batches, hashing, strict=True):
                self._write_batch(batch, entries.result(), buffer)
                progress(self._place_on_volume(batch[-1]))
        finally:
            for future in hashing:
                future.cancel()
            encoding.result()  # nobody may touch the memory when this returns

    def _place_on_volume(self, run: Run) -> int:
        return sum(file.size for file in self.layout.files[: run.file_number - 1]) + run.end

    def _write_batch(self, runs: tuple[Run, ...], entries: list[Entries], buffer: GroupBuffer) -> None:
        if runs[0].file_number > len(self.files):
            self._close_file()
            self._open_file(self.layout.files[runs[0].file_number - 1])
        views: list[memoryview] = []
        for number, (run, after) in enumerate(zip(runs, entries, strict=True)):
            block = self._index_memory[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
            block[:] = self._index_block(run.number, after)
            views.append(block)
            views += run.slots(buffer)
        assert self._file is not None
        self._file.write(views, runs[0].offset)

    def _index_block(self, run: int, after: Entries) -> bytes:
        file = self.files[-1]
        preamble_length, before = len(self._preamble), self._before
        block = build_index(IndexBlock(run, self._tag, file.place.number, preamble_length, before, after, self._data))
        file.index_digests += blake3.blake3(block).digest(BLOCK_DIGEST_BYTES)
        self._before = after
        return block

    # --- files --------------------------------------------------------------------------------

    def _open_file(self, place: FilePlace) -> None:
        path = self.folder / file_name(self.announcement.volume, place.number)
        preamble = self._preamble.ljust(align(len(self._preamble)), b"\0")
        opening = self._label(place, Place.OPENING) + preamble
        closing = preamble + self._label(place, Place.CLOSING)
        self._file = MediumFile(path, sync=self._sync)
        self.files.append(WrittenFile(path, place, opening, closing))
        self._before = NO_ENTRIES
        self._file.write([aligned(opening)], 0)

    def _close_file(self) -> None:
        if self._file is None:
            return
        file = self.files[-1]
        block = self._index_block(file.place.first_run + file.place.run_count, NO_ENTRIES)
        self._file.write([aligned(block + file.closing)], file.place.size - self.layout.closing_bytes)
        self._file.close()
        self._file = None

    def _label(self, place: FilePlace, end: Place) -> bytes:
        label = Label(
            place=end,
            tag=self._tag,
            file_number=place.number,
            file_count=len(self.layout.files),
            first_run=place.first_run,
            run_count=place.run_count,
            preamble_length=len(self._preamble),
            preamble_digest=preamble_digest(self._preamble),
            announcement=self._data,
        )
        return build_label(label)


def _read_group(bundle: PartBytes, part: int, offset: int, view: memoryview, pool: ThreadPoolExecutor) -> None:
    """Nothing else is at work meanwhile, so two threads copy."""
    half = len(view) // 2
    second = pool.submit(bundle.read_into, part, offset + half, view[half:])
    try:
        bundle.read_into(part, offset, view[:half])
    finally:
        second.result()


def _batches(runs: Sequence[Run]) -> Iterator[tuple[Run, ...]]:
    """Neighbouring runs of one file, a few at a time."""
    for _, of_file in groupby(runs, key=lambda run: run.file_number):
        file_runs = tuple(of_file)
        for first in range(0, len(file_runs), BATCH_RUNS):
            yield file_runs[first : first + BATCH_RUNS]


def _batch_entries(runs: tuple[Run, ...], buffer: GroupBuffer, encoding: "Future[None]") -> list[Entries]:
    """The entries of each run; waits for the encoding where one holds repair symbols."""
    geometry: PartGeometry = buffer.geometry
    if max(int(run.order(geometry)[:, 1].max()) for run in runs) >= min(buffer.source_counts):
        encoding.result()
    return [build_entries(run, geometry, run.slots(buffer)) for run in runs]
