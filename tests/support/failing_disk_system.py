"""The failing disk itself, as a process of its own: ``failing_disk_system.py BACKING POINT FAULT...``.

The faults are listed in `failing_disk`, which mounts it. Apart from it, because importing mfusepy loads libfuse.
"""

import argparse
import errno
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import mfusepy

SAID_BYTES = 8 << 30  # what statfs claims


class Disk(mfusepy.Operations):  # type: ignore[misc]
    """Passes everything on to the backing folder, until the fault."""

    use_ns = True

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.turn = threading.Lock()
        self.reads = self.writes = self.any_writes = self.used = 0
        self.is_gone = False
        #: writes that were not synced, by path: (offset, bytes)
        self.unsynced: dict[str, list[tuple[int, bytes]]] = {}

    def real(self, path: str) -> Path:
        if self.is_gone:
            raise OSError(errno.EIO, "the stick is gone")
        return self.given.backing / path.lstrip("/")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = self.real(path).lstat()
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
        times = {f"st_{kind}time": getattr(status, f"st_{kind}time_ns") for kind in "amc"}
        waiting = max((offset + len(data) for offset, data in self.unsynced.get(path, ())), default=0)
        return {**{name: getattr(status, name) for name in names}, **times} | {"st_size": max(status.st_size, waiting)}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *(entry.name for entry in self.real(path).iterdir())]

    def mkdir(self, path: str, mode: int) -> int:
        self.real(path).mkdir(mode)
        return 0

    def rmdir(self, path: str) -> int:
        self.real(path).rmdir()
        return 0

    def unlink(self, path: str) -> int:
        self.real(path).unlink()
        self.unsynced.pop(path, None)
        return 0

    def rename(self, old: str, new: str) -> int:
        self.real(old).rename(self.real(new))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self.real(path).chmod(mode)
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self.real(path), length)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        self.real(path)
        blocks = SAID_BYTES // 4096
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": blocks, "f_bfree": blocks, "f_bavail": blocks}

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self.real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: str, flags: int) -> int:
        # O_DIRECT is between the kernel and us; the folder below need not take it.
        kept = (os.O_RDWR if flags & (os.O_WRONLY | os.O_RDWR) else os.O_RDONLY) | (flags & os.O_TRUNC)
        return os.open(self.real(path), kept)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self.turn:
            self.reads += 1
            self.is_gone |= self.reads > self.given.reads
            self.real(path)
            end = max((at + len(data) for at, data in self.unsynced.get(path, ())), default=0)
            data = bytearray(os.pread(fh, size, offset))
            data += bytes(max(0, min(offset + size, end) - offset - len(data)))
            for at, piece in self.unsynced.get(path, ()):
                first, last = max(at, offset), min(at + len(piece), offset + size)
                if first < last:
                    data[first - offset : last - offset] = piece[first - at : last - at]
            return bytes(data)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self.turn:
            self.writes += path.endswith(".TGV")
            self.any_writes += 1
            self.is_gone |= self.writes > self.given.writes or self.any_writes > self.given.any_writes
            self.real(path)
            kept = max(0, min(len(data), self.given.capacity - self.used))
            self.used += len(data) if path.endswith(".TGV") else 0
            if self.given.unsynced:
                self.unsynced.setdefault(path, []).append((offset, bytes(data)))
            else:
                os.pwrite(fh, bytes(data[:kept]) + bytes(len(data) - kept), offset)
            return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        with self.turn:
            self.real(path)
            for offset, data in self.unsynced.pop(path, ()):
                os.pwrite(fh, data, offset)
            return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("backing", type=Path)
    parser.add_argument("point")
    parser.add_argument("--reads", type=int, default=1 << 60)
    parser.add_argument("--writes", type=int, default=1 << 60)
    parser.add_argument("--any-writes", type=int, default=1 << 60)
    parser.add_argument("--capacity", type=int, default=1 << 60)
    parser.add_argument("--unsynced", action="store_true")
    return parser.parse_args()


def serve() -> None:
    given = read_arguments()
    signal.signal(signal.SIGTERM, _end)
    mfusepy.FUSE(Disk(given), given.point, foreground=True, nothreads=False, direct_io=True)


def _end(_signal: int, _frame: FrameType | None) -> None:
    os._exit(0)


if __name__ == "__main__":
    serve()
