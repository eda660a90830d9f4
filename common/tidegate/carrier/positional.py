"""Reading a medium that may be damaged or hostile: files opened without following anything, reads that bear errors."""

import contextlib
import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

IOV_MAX = 1024  # Linux: buffers that one preadv or pwritev takes
#: what the kernel answers when the device below a file system went away
MEDIUM_GONE = frozenset(
    {
        errno.EIO,
        errno.ENODEV,
        errno.ENXIO,
        errno.ENOENT,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ENOMEDIUM,
        errno.ESHUTDOWN,
        errno.ECONNABORTED,
        errno.EREMOTEIO,
    }
)


@contextlib.contextmanager
def open_regular(path: Path, flags: int = 0) -> Iterator[int]:
    """A descriptor of a regular file, read-only; raises OSError for anything else (ELOOP for a symbolic link)."""
    # O_NONBLOCK: a FIFO or device of that name must not hang us before fstat tells what it is.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield fd
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """Which views were filled, one bool each, and how many read calls failed."""

    filled: tuple[bool, ...]
    errors: int


def aligned_memory(length: int) -> memoryview:
    """Zeroed memory that begins at a page, as O_DIRECT demands; freed with the last view of it."""
    return memoryview(mmap.mmap(-1, max(length, 1)))[:length]


def set_direct(fd: int, wanted: bool) -> bool:
    """Switch O_DIRECT on or off; whether it is on now. A file system may take it here and refuse it in use (EINVAL)."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT)
    except OSError:
        return False
    return wanted


def read_views(fd: int, views: Sequence[memoryview], offset: int) -> ReadOutcome:
    """Fill `views` from consecutive bytes of a file, as far as they can be read. Raises nothing for damage.

    All at once where that works. Around an error single views are read, past the page cache where that is possible:
    the cache reads up to 2 MiB as one piece and gives all of it up for one bad sector. The kernel's own retries make
    each failing call slow, so there are few for a bad view.
    """
    filled = [False] * len(views)
    at, limit, errors = 0, IOV_MAX, 0
    may_be_direct, is_direct = True, False
    while at < len(views):
        group = views[at : at + limit]
        try:
            count = os.preadv(fd, group, offset)
        except OSError as error:
            if is_direct and error.errno == errno.EINVAL:  # memory or offset does not suit
                may_be_direct, is_direct = False, set_direct(fd, False)
                continue
            count, errors = -1, errors + 1
        if count == 0:  # past the end of the file
            break
        done, taken = _whole_views(group, count)
        filled[at : at + done] = [True] * done
        if done == 0 and len(group) == 1 and (is_direct or not may_be_direct):  # this one is given up
            done, taken = 1, len(group[0])
        if done == 0 and may_be_direct and not is_direct:
            is_direct = may_be_direct = set_direct(fd, True)
        limit = min(limit * 4, IOV_MAX) if done and filled[at] else 1
        at, offset = at + done, offset + taken
    if is_direct:
        set_direct(fd, False)
    return ReadOutcome(tuple(filled), errors)


def _whole_views(views: Sequence[memoryview], count: int) -> tuple[int, int]:
    """(number, bytes) of the views that `count` bytes fill completely."""
    done = taken = 0
    while done < len(views) and taken + len(views[done]) <= count:
        taken += len(views[done])
        done += 1
    return done, taken
