"""One file being written to a medium: past the page cache where the file system lets.

With O_DIRECT progress tells how far the medium is, not how full the page cache, and a medium pulled out is noticed at
once. Where the file system refuses it, ordinary writes are synced every 64 MiB. OSErrors pass through.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from tidegate.carrier.positional import IOV_MAX, aligned_memory, set_direct
from tidegate.files import SYNCS, sync_fd
from tidegate.units import MIB

#: ordinary writes that may wait in the page cache
UNSYNCED_MAX_BYTES = 64 * MIB


def aligned(data: bytes) -> memoryview:
    view = aligned_memory(len(data))
    view[:] = data
    return view


class MediumFile:
    """A new file; `write` takes views that begin at pages and are multiples of 4096 bytes long."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._sync = sync
        self._unsynced = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self._is_direct = set_direct(self._fd, True)

    def write(self, views: Sequence[memoryview], offset: int) -> None:
        """Write all of `views`, one after another, at `offset`."""
        left = list(views)
        while left:
            count = self._write_some(left[:IOV_MAX], offset)
            offset += count
            self._unsynced += count
            left = _rest(left, count)
        if self._sync and SYNCS.enabled and not self._is_direct and self._unsynced > UNSYNCED_MAX_BYTES:
            os.fdatasync(self._fd)  # not counted with the others: it is for progress, what counts is `close`
            self._unsynced = 0

    def _write_some(self, views: Sequence[memoryview], offset: int) -> int:
        try:
            count = os.pwritev(self._fd, views, offset)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._is_direct:
                raise
            self._is_direct = set_direct(self._fd, False)  # taken when it was set, refused when it is used
            count = os.pwritev(self._fd, views, offset)
        if count == 0:
            raise OSError(errno.EIO, "the medium takes no more bytes")
        return count

    def close(self) -> None:
        """Sync and close; the bytes are on the medium afterwards, if syncs are wanted."""
        try:
            if self._sync:
                sync_fd(self._fd)
        finally:
            self.abandon()

    def abandon(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _rest(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of `views` after their first `count` bytes."""
    done = 0
    while done < len(views) and count >= len(views[done]):
        count -= len(views[done])
        done += 1
    left = views[done:]
    if count:
        left[0] = left[0][count:]
    return left
