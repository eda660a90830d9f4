"""Write files below one folder, and never anywhere else.

Every step is taken from an open folder with O_NOFOLLOW, so a symbolic link that somebody, or an earlier member,
put in the way is not followed but refused. A file is written under `WORK_FOLDER` and renamed into its
place: what stood there before is whole until the new one is, and a hard link or an open reader keeps the old bytes.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from tidegate.errors import BusyError, LoadError, UnsafePathError
from tidegate.files import host_error, sync_filesystem, write_all
from tidegate.units import MIB

#: under the target: temporaries; removed at the end, emptied at the next start
WORK_FOLDER = ".tidegate-new"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a fifo in the way must not hang
_PIECE = 1 * MIB
_NO_RANGE_COPY = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class Placed(StrEnum):
    """What became of one path."""

    SAME = "same"
    NEW = "new"
    REPLACED = "replaced"


class Tree:
    """The target folder, open and locked; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = -1
        self._work = -1
        self._parent: tuple[tuple[str, ...], int] | None = None
        self._count = 0
        self._made = 0

    def __enter__(self) -> "Tree":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._root = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._work = self._open_work()
        except OSError as error:
            self.close()
            raise host_error(error, f"load to {self.folder}") from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._empty_work()
            os.rmdir(WORK_FOLDER, dir_fd=self._root)
        self.close()

    def close(self) -> None:
        self._leave_parent()
        for fd in (self._work, self._root):
            if fd >= 0:
                os.close(fd)
        self._root = self._work = -1

    def sync(self) -> None:
        """What was placed is on the disk afterwards."""
        try:
            sync_filesystem(self.folder)
        except OSError as error:
            raise host_error(error, f"load to {self.folder}") from None

    def place_folder(self, path: tuple[str, ...], mode: int = 0o755) -> Placed:
        """Make a folder and those above it; one that is there keeps its mode."""
        before = self._made
        fd = self._enter(path)
        if self._made == before:
            return Placed.SAME
        os.fchmod(fd, mode)
        return Placed.NEW

    def place_file(self, path: tuple[str, ...], source: int, offset: int, size: int, mode: int, mtime: int) -> Placed:
        """Write `size` bytes at `offset` of the open file `source` to `path`, unless they are there already."""
        parent = self._enter(path[:-1])
        with _as_ours(self.folder, path):
            found = self._kind_at(parent, path)
            if found is not None and _holds(parent, path[-1], source, offset, size, mode):
                return Placed.SAME
            temporary = self._write_temporary(source, offset, size, mode, mtime)
            os.rename(temporary, path[-1], src_dir_fd=self._work, dst_dir_fd=parent)
            return Placed.NEW if found is None else Placed.REPLACED

    def place_link(self, path: tuple[str, ...], target: str) -> Placed:
        """Make a symbolic link; the caller has checked where it leads."""
        parent = self._enter(path[:-1])
        with _as_ours(self.folder, path):
            found = self._kind_at(parent, path)
            if found is not None and stat.S_ISLNK(found) and os.readlink(path[-1], dir_fd=parent) == target:
                return Placed.SAME
            temporary = self._temporary_name()
            os.symlink(target, temporary, dir_fd=self._work)
            os.rename(temporary, path[-1], src_dir_fd=self._work, dst_dir_fd=parent)
            return Placed.NEW if found is None else Placed.REPLACED

    def _kind_at(self, parent: int, path: tuple[str, ...]) -> int | None:
        """The mode of what is at `path` now; a folder there is refused, since no file replaces it."""
        try:
            mode = os.stat(path[-1], dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(mode):
            raise LoadError(
                f"{self.folder}: {'/'.join(path)}: a folder is where a file is to go",
                hint="remove or rename it, then run the same command again",
            )
        return mode

    def _enter(self, path: tuple[str, ...]) -> int:
        """An open folder at `path`, made where missing. The last one stays open: members come folder by folder."""
        if self._parent is not None and self._parent[0] == path:
            return self._parent[1]
        current = os.dup(self._root)
        try:
            for name in path:
                deeper = self._step(current, name, path)
                os.close(current)
                current = deeper
        except BaseException:
            os.close(current)
            raise
        self._leave_parent()
        self._parent = (path, current)
        return current

    def _step(self, current: int, name: str, path: tuple[str, ...]) -> int:
        with _as_ours(self.folder, path):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=current)
                self._made += 1
            return os.open(name, _FOLDER, dir_fd=current)

    def _leave_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _open_work(self) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(WORK_FOLDER, 0o700, dir_fd=self._root)
        with _as_ours(self.folder, (WORK_FOLDER,)):
            work = os.open(WORK_FOLDER, _FOLDER, dir_fd=self._root)
        try:
            fcntl.flock(work, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(work)
            raise BusyError(f"{self.folder}: another load writes there") from None
        self._work = work
        self._empty_work()
        return work

    def _empty_work(self) -> None:
        for name in os.listdir(self._work) if self._work >= 0 else ():  # noqa: PTH208  pathlib takes no descriptor
            os.unlink(name, dir_fd=self._work)

    def _temporary_name(self) -> str:
        self._count += 1
        return f"{self._count:08d}"

    def _write_temporary(self, source: int, offset: int, size: int, mode: int, mtime: int) -> str:
        name = self._temporary_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self._work)
        try:
            _copy_range(source, offset, size, fd)
            os.fchmod(fd, mode)
            os.utime(fd, (mtime, mtime))
        finally:
            os.close(fd)
        return name


@contextlib.contextmanager
def _as_ours(folder: Path, path: tuple[str, ...]) -> Iterator[None]:
    """An OSError at `path` as one of our errors: a link in the way apart from a disk that is full."""
    try:
        yield
    except OSError as error:
        name = "/".join(path)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UnsafePathError(
                f"{folder}: {name}: a link or file is where a folder is to go",
                hint="nothing is written through links; remove it, or load into another folder",
            ) from None
        raise host_error(error, f"load to {folder}: {name}") from None


def _holds(parent: int, name: str, source: int, offset: int, size: int, mode: int) -> bool:
    """Whether the file `name` is a plain one with these bytes and this mode."""
    try:
        fd = os.open(name, _READ, dir_fd=parent)
    except OSError:
        return False  # a link, or unreadable: it is replaced
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size or stat.S_IMODE(found.st_mode) != mode:
            return False
        for done in range(0, size, _PIECE):
            count = min(_PIECE, size - done)
            if os.pread(fd, count, done) != os.pread(source, count, offset + done):
                return False
        return True
    finally:
        os.close(fd)


def _copy_range(source: int, offset: int, size: int, target: int) -> None:
    """Copy inside the kernel, sharing extents where the file system can; else through memory."""
    done = 0
    try:
        while done < size:
            count = os.copy_file_range(source, target, min(size - done, 1 << 30), offset + done, done)
            if count == 0:
                raise OSError(errno.EIO, "the blob ended early")
            done += count
    except OSError as error:
        if error.errno not in _NO_RANGE_COPY:
            raise
        os.lseek(target, done, os.SEEK_SET)
        _copy_pieces(source, offset + done, size - done, target)


def _copy_pieces(source: int, offset: int, size: int, target: int) -> None:
    while size:
        piece = os.pread(source, min(size, _PIECE), offset)
        if not piece:
            raise OSError(errno.EIO, "the blob ended early")
        write_all(target, piece)
        offset += len(piece)
        size -= len(piece)
