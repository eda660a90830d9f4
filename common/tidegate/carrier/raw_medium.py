"""A medium or its image as bytes, without any file system: read-only, in large pieces, bearing read errors.

Around an error the piece is halved until what can be read is told from what cannot; a piece with many bad places is
given up from there on, because each failing read of a dying stick takes seconds. Nothing is parsed here.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from tidegate.carrier.positional import MEDIUM_GONE
from tidegate.errors import MediaError, MediaNotFoundError, MediumLostError
from tidegate.text import printable

#: the smallest piece that is given up alone: a page
PAGE_BYTES = 4096
#: failing reads in one piece, before the rest of it is given up
ERRORS_PER_PIECE_MAX = 64
#: pieces one after another of which nothing could be read, before the medium is asked whether it is still there
SILENT_PIECES_MAX = 4

Extent = tuple[int, int]


class RawMedium:
    """An image or a block device, open for reading. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_errors = 0
        self._silent_pieces = 0
        self._fd, self.size, self.is_device = _open(path)
        try:
            # Single blocks are read here and there by a descriptor of its own, so that nothing is read ahead for them.
            self._blocks_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            os.close(self._fd)
            raise _open_error(path, error) from None
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        os.posix_fadvise(self._blocks_fd, 0, 0, os.POSIX_FADV_RANDOM)

    def __enter__(self) -> "RawMedium":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for fd in (self._fd, self._blocks_fd):
            os.close(fd)

    def read_piece(self, view: memoryview, offset: int) -> tuple[Extent, ...]:
        """Fill `view` from `offset` as far as can be read: (start, end) of the good ranges, counted within it.

        Raises MediumLostError where the medium went away.
        """
        good: list[Extent] = []
        errors = _read_halving(self._pread, view, offset, good)
        self.read_errors += errors
        self._silent_pieces = 0 if good or not errors else self._silent_pieces + 1
        if self._silent_pieces >= SILENT_PIECES_MAX:
            self._silent_pieces = 0
            self.check()
        return tuple(good)

    def _pread(self, view: memoryview, offset: int) -> int:
        return os.preadv(self._fd, [view], offset)

    def read_block(self, offset: int, length: int = PAGE_BYTES) -> bytes | None:
        """`length` bytes, which the caller has limited; None where they cannot all be read."""
        if offset < 0 or offset + length > self.size:
            return None
        try:
            data = os.pread(self._blocks_fd, length, offset)
        except OSError:
            self.read_errors += 1
            return None
        return data if len(data) == length else None

    @contextlib.contextmanager
    def reading(self) -> Iterator[int]:
        """A descriptor for one reader: around errors it is switched past the cache, which must not touch others'."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _open_error(self.path, error) from None
        try:
            yield fd
        finally:
            os.close(fd)

    def check(self) -> None:
        """Raise MediumLostError where neither end can be read any more."""
        for offset in (0, max(0, self.size - PAGE_BYTES)):
            if self._can_be_read(offset):
                return
        raise MediumLostError(f"{printable(self.path)} can no longer be read")

    def _can_be_read(self, offset: int) -> bool:
        """Whether a page comes from the medium itself; an error that is not the medium's counts as yes."""
        try:
            os.posix_fadvise(self._blocks_fd, 0, 0, os.POSIX_FADV_DONTNEED)  # what the cache holds proves nothing
            os.pread(self._blocks_fd, PAGE_BYTES, offset)
        except OSError as error:
            return error.errno not in MEDIUM_GONE
        return True


def _open(path: Path) -> tuple[int, int, bool]:
    """(descriptor, size, whether it is a device). The path is the operator's own, so links are followed."""
    try:
        # O_NONBLOCK: a FIFO must not hang us before fstat tells what it is.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _open_error(path, error) from None
    mode = os.fstat(fd).st_mode
    if stat.S_ISBLK(mode) or stat.S_ISREG(mode):
        try:
            return fd, os.lseek(fd, 0, os.SEEK_END), stat.S_ISBLK(mode)
        except OSError as error:
            os.close(fd)
            raise _open_error(path, error) from None
    os.close(fd)
    raise MediaError(
        f"{printable(path)}: is neither a medium nor an image of one",
        hint="name a block device, for example /dev/sdb, an image of it, or the folder where it is mounted",
    )


def _open_error(path: Path, error: OSError) -> MediaError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return MediaError(
            f"{printable(path)}: {error.strerror}",
            hint="reading a device past its file system is for root or the group disk; an image of it is for anyone",
        )
    if error.errno in MEDIUM_GONE and error.errno != errno.ENOENT:
        return MediumLostError(f"{printable(path)}: {error.strerror}")
    return MediaNotFoundError(f"{printable(path)}: {error.strerror}")


def _read_halving(read: Callable[[memoryview, int], int], view: memoryview, offset: int, good: list[Extent]) -> int:
    """Read `view` in ever smaller pieces around errors; `good` gets the ranges. The number of failing reads."""
    errors = 0
    waiting = [(0, len(view))]
    while waiting:
        start, end = waiting.pop()
        try:
            count = read(view[start:end], offset + start)
        except OSError:
            errors += 1
            if errors >= ERRORS_PER_PIECE_MAX:
                break
            if end - start > PAGE_BYTES:
                middle = start + max(PAGE_BYTES, (end - start) // 2 // PAGE_BYTES * PAGE_BYTES)
                waiting += [(middle, end), (start, middle)]
            continue
        if not count:  # past the end of the medium
            continue
        if good and good[-1][1] == start:
            good[-1] = (good[-1][0], start + count)
        else:
            good.append((start, start + count))
        if start + count < end:  # a short read: the rest may fail, or be there
            waiting.append((start + count, end))
    return errors
