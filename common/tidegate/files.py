"""Durable file operations: temporary file, sync, rename, sync of the folder. Knows no format.

`Durability` counts the syncs, so that a benchmark can print them, and turns them off for
one (`TIDEGATE_NO_SYNC=1`, for benchmarks on tmpfs and for nothing else).
"""

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tidegate.errors import BusyError, DiskFullError, HostError, TidegateError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: the usual name of a new file is another user's, too long, or no file's
_NOT_TO_BE_HAD = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENXIO}


class _SyncCounter:
    """How often this process synced; `enabled` is False only under TIDEGATE_NO_SYNC."""

    def __init__(self) -> None:
        self.count = 0
        self.enabled = os.environ.get("TIDEGATE_NO_SYNC") != "1"


SYNCS = _SyncCounter()


def sync_fd(fd: int) -> None:
    SYNCS.count += 1
    if SYNCS.enabled:
        os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """fsync of a folder: the names in it are on the disk afterwards."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_fd(fd)
    finally:
        os.close(fd)


def sync_filesystem(folder: Path) -> None:
    """syncfs: everything written to the file system of `folder` is on the disk afterwards (one call for many files)."""
    import ctypes

    SYNCS.count += 1
    if not SYNCS.enabled:
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the kernel takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_all_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """As `write_all`, at `offset`."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def read_all_at(fd: int, view: memoryview, offset: int) -> int:
    """Fill `view` from `offset`, however little the kernel gives at once; the bytes read, fewer where the file ends."""
    done = 0
    while done < len(view) and (count := os.preadv(fd, [view[done:]], offset + done)):
        done += count
    return done


def write_durably(path: Path, data: bytes | memoryview, *, mode: int = 0o644) -> None:
    """Replace `path` by `data` so that a crash leaves the old file or the new one, never a mixture.

    What a killed writer leaves, ``.new-NAME.part``, the next one of the same file takes over.
    """
    fd, temporary = _open_new(path)
    try:
        try:
            os.ftruncate(fd, 0)
            os.fchmod(fd, mode | 0o200)
            write_all(fd, data)
            sync_fd(fd)
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(fd), temporary.lstat()):
                    temporary.unlink()
            raise
        if not mode & 0o200:  # not before: nobody could take over what is left of it then
            os.fchmod(fd, mode)
    finally:
        os.close(fd)
    sync_folder(path.parent)


def _open_new(path: Path) -> tuple[int, Path]:
    """The file that becomes `path`, open; of another name where another writer is at it, or it is not ours to take."""
    temporary = path.with_name(f".new-{path.name}.part")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _NOT_TO_BE_HAD:
            raise
    else:
        try:
            if _take_over(fd, temporary):
                return fd, temporary
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    fd, name = tempfile.mkstemp(prefix=".new-", suffix=".part", dir=path.parent)
    return fd, Path(name)


def _take_over(fd: int, path: Path) -> bool:
    """Lock the file, if it is one of this user, under that name alone, at which nobody is."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nobody takes anything over there
        if not found.st_size:
            path.unlink(missing_ok=True)
        return False
    try:
        return os.path.samestat(found, path.lstat())
    except FileNotFoundError:  # it has become what it was to be meanwhile
        return False


def map_file(path: Path) -> memoryview:
    """The bytes of a file, mapped and not read; the last view of them that goes takes the mapping along."""
    import mmap

    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def read_limited(path: Path, max_bytes: int) -> bytes:
    """A small file of this root: its bytes, of one that is too long `max_bytes` and one more. Raises HostError."""
    try:
        with open(path, "rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise host_error(error, f"reading {path}") from None


def read_given(path: Path, max_bytes: int) -> bytes:
    """As `read_limited`, of a file that a person named. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def make_folders(folder: Path, *, mode: int = 0o755) -> None:
    """Create `folder` with its parents and sync the parent of each one that is new."""
    missing = []
    current = folder
    while not current.exists():
        missing.append(current)
        current = current.parent
    for new in reversed(missing):
        new.mkdir(mode=mode, exist_ok=True)
        sync_folder(new.parent)


def sync_folders(folders: Iterable[Path]) -> None:
    for folder in sorted(set(folders)):
        sync_folder(folder)


@contextlib.contextmanager
def locked(
    path: Path, *, busy: str, wait_seconds: float = 0.0, error: type[TidegateError] = BusyError
) -> Iterator[None]:
    """Hold an exclusive advisory lock (flock) on `path`; raises `error` with the text `busy` when it is taken."""
    import time

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise error(busy) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def host_error(error: OSError, doing: str) -> TidegateError:
    """An OSError of our own disk as one of our errors: full disk apart from the rest."""
    if error.errno in _FULL:
        where = error.filename or "disk"
        return DiskFullError(f"{doing}: no space left ({where})", hint="make room and run the same command again")
    return HostError(f"{doing}: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
