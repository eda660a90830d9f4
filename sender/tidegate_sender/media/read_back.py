"""Read a written volume back from the medium and compare every byte with what was written, by digest.

A read-back that the page cache answers is worthless: a medium with a faked capacity passes it. So files are read with
O_DIRECT, and where the file system refuses that, after their synced pages were dropped from the cache. A file system
run by a program (exfat-fuse, ntfs-3g) reads through the cache of the block device, which is dropped too. The index
blocks are compared with digests kept while writing, the records with the index blocks, labels and preambles as bytes.
"""

import contextlib
import errno
import mmap
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path

import blake3

from tidegate.carrier.blocks import BLOCK_BYTES, parse_index
from tidegate.carrier.positional import open_regular
from tidegate.carrier.records import record_digests
from tidegate.carrier.volume import Run, VolumeLayout
from tidegate.errors import CarrierFormatError, MediaWriteError
from tidegate.files import read_all_at
from tidegate.units import KIB, MIB
from tidegate_sender.media.volume_writer import BLOCK_DIGEST_BYTES, WrittenFile

WORKERS = 2
#: bytes read by one call, unless one run is longer: four runs of 64 records of 64 KiB
PIECE_BYTES = 16 * MIB + 16 * KIB


class ReadBack(StrEnum):
    """How the bytes were read back."""

    DIRECT = "direct"  # O_DIRECT: past the page cache
    CACHE_DROPPED = "cache-dropped"  # ordinary reads after POSIX_FADV_DONTNEED
    UNPROVEN = "unproven"  # the file system is a program that may answer from its own memory
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class _Piece:
    """Neighbouring runs of a file, `first` the number within the file of the first one."""

    first: int
    runs: tuple[Run, ...]

    @property
    def offset(self) -> int:
        return self.runs[0].offset

    @property
    def length(self) -> int:
        return self.runs[-1].end - self.offset


def read_back_volume(layout: VolumeLayout, files: list[WrittenFile], progress: Callable[[int], None]) -> ReadBack:
    """Compare all `files`; says how they were read, the weaker way where they differ.

    Raises MediaWriteError naming file and place of the first difference, OSError where the medium fails to read.
    """
    runs = (run for section in range(layout.section_count) for run in layout.section_runs(section))
    ways, done = {forget_device(files[0].path)}, 0
    for file, (_, of_file) in zip(files, groupby(runs, key=lambda run: run.file_number), strict=True):
        with _opened_past_cache(file) as (fd, way):
            ways.add(way)
            for place in _compare_file(fd, file, of_file):
                progress(done + place)
        done += file.place.size
    return next(way for way in (ReadBack.UNPROVEN, ReadBack.CACHE_DROPPED, ReadBack.DIRECT) if way in ways)


def forget_device(path: Path) -> ReadBack:
    """Drop the cache of the block device below a file system in user space; UNPROVEN where that cannot be done."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        fields, _, system = line.partition(" - ")
        kind, source, *_ = system.split(" ")
        if fields.split(" ")[2] == number and kind.startswith("fuse"):
            return _drop_device_cache(source, device)
    return ReadBack.DIRECT


def _drop_device_cache(source: str, device: int) -> ReadBack:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ReadBack.UNPROVEN
    try:
        status = os.fstat(fd)
        if not stat.S_ISBLK(status.st_mode) or status.st_rdev != device:
            return ReadBack.UNPROVEN
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return ReadBack.UNPROVEN
    finally:
        os.close(fd)
    return ReadBack.DIRECT


@contextlib.contextmanager
def _opened_past_cache(file: WrittenFile) -> Iterator[tuple[int, ReadBack]]:
    with contextlib.ExitStack() as stack:
        try:
            fd = stack.enter_context(open_regular(file.path, os.O_DIRECT))
            with mmap.mmap(-1, BLOCK_BYTES) as probe:
                os.preadv(fd, [probe], 0)  # some file systems open so and then refuse to read so
            way = ReadBack.DIRECT
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            fd = stack.enter_context(open_regular(file.path))
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            way = ReadBack.CACHE_DROPPED
        yield fd, way


def _compare_file(fd: int, file: WrittenFile, runs: Iterable[Run]) -> Iterator[int]:
    """Compare one open file with what was written into it; yields the place reached, for progress."""
    size = os.fstat(fd).st_size
    if size != file.place.size:
        raise MediaWriteError(f"{file.path}: has {size} bytes, {file.place.size} were written")
    _compare_bytes(fd, file, 0, file.opening)
    yield from _compare_runs(fd, file, runs)
    closing_index = size - len(file.closing) - BLOCK_BYTES
    block = _read_exactly(fd, file, closing_index, BLOCK_BYTES)
    if blake3.blake3(block).digest(BLOCK_DIGEST_BYTES) != file.index_digests[-BLOCK_DIGEST_BYTES:]:
        raise _difference(file, closing_index)
    _compare_bytes(fd, file, closing_index + BLOCK_BYTES, file.closing)
    yield size


def _compare_runs(fd: int, file: WrittenFile, runs: Iterable[Run]) -> Iterator[int]:
    """This thread reads, others hash; a fixed number of pieces is in flight."""
    free: deque[mmap.mmap] = deque()
    checks: deque[tuple[Future[None], mmap.mmap]] = deque()
    with ThreadPoolExecutor(WORKERS, "read-back") as pool:
        for piece in _pieces(runs):
            if len(checks) > WORKERS:
                check, memory = checks.popleft()
                check.result()
                free.append(memory)
            memory = free.popleft() if free else mmap.mmap(-1, max(PIECE_BYTES, piece.length))
            view = memoryview(memory)[: piece.length]
            _fill(fd, file, piece.offset, view)
            checks.append((pool.submit(_check_piece, file, piece, view), memory))
            yield piece.offset + piece.length
        for check, _ in checks:
            check.result()


def _pieces(runs: Iterable[Run]) -> Iterator[_Piece]:
    first, gathered = 0, list[Run]()
    for run in runs:
        if gathered and run.end - gathered[0].offset > PIECE_BYTES:
            yield _Piece(first, tuple(gathered))
            first, gathered = first + len(gathered), []
        gathered.append(run)
    if gathered:
        yield _Piece(first, tuple(gathered))


def _check_piece(file: WrittenFile, piece: _Piece, view: memoryview) -> None:
    for number, run in enumerate(piece.runs, piece.first):
        start = run.offset - piece.offset
        block = view[start : start + BLOCK_BYTES]
        kept = file.index_digests[number * BLOCK_DIGEST_BYTES : (number + 1) * BLOCK_DIGEST_BYTES]
        if blake3.blake3(block).digest(BLOCK_DIGEST_BYTES) != kept:
            raise _difference(file, run.offset)
        _check_records(file, run, block, view[start + BLOCK_BYTES : run.end - piece.offset])


def _check_records(file: WrittenFile, run: Run, block: memoryview, records: memoryview) -> None:
    """Compare the records with the entries of their index block, which is the one that was written."""
    try:
        entries = parse_index(block).after
    except CarrierFormatError:  # its digest was compared: only a defect of ours could end here
        raise _difference(file, run.offset) from None
    size = run.symbol_size
    found = record_digests([records[at : at + size] for at in range(0, len(records), size)])
    wrong = (found != entries["digest"]).nonzero()[0]
    if len(wrong):
        raise _difference(file, run.records_offset + int(wrong[0]) * size)


def _compare_bytes(fd: int, file: WrittenFile, offset: int, expected: bytes) -> None:
    if _read_exactly(fd, file, offset, len(expected)) != expected:
        raise _difference(file, offset)


def _read_exactly(fd: int, file: WrittenFile, offset: int, length: int) -> bytes:
    with mmap.mmap(-1, length) as memory:  # page-aligned, as O_DIRECT demands
        with memoryview(memory) as view:
            _fill(fd, file, offset, view)
        return memory[:]


def _fill(fd: int, file: WrittenFile, offset: int, view: memoryview) -> None:
    count = read_all_at(fd, view, offset)
    if count < len(view):
        raise MediaWriteError(f"{file.path}: ends at byte {offset + count} when read back, it was written longer")


def _difference(file: WrittenFile, offset: int) -> MediaWriteError:
    return MediaWriteError(f"{file.path}: what is read back at byte {offset} differs from what was written")
