"""A folder or file as a sequence of tars: which members, in which order, and where one tar ends.

One folder at a time is read, so that memory does not grow with the tree. Borders are drawn by the hash of a path, so
that a change in one folder leaves most tars as they were. Rules: docs/format/content.md, C-10 and C-11.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from tidegate.errors import CollectError, SourceChangedError
from tidegate.units import MIB
from tidegate_sender.collect.tar import END_BYTES, Member, MemberKind

TAR_MAX_BYTES = 64 * MIB
BORDER_MIN_BYTES = 16 * MIB
#: beyond `BORDER_MIN_BYTES`, a border comes after so many bytes on average
BORDER_MEAN_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class TarPlan:
    """The members of one tar, in order, and its length in bytes."""

    members: tuple[Member, ...]
    length: int


@dataclass(slots=True)
class Tree:
    """A folder or file at `root` (as bytes), whose members' paths begin with `title`.

    `skipped` fills while the tree is read: paths of sockets, FIFOs and devices, which are left out.
    """

    root: bytes
    title: bytes
    skipped: list[bytes] = field(default_factory=list)

    def source(self, member: Member) -> bytes:
        """Where a member lies on the disk."""
        return self.root + member.path[len(self.title) :]

    def runs(self) -> Iterator[list[Member]]:
        """A folder's own member with those of its entries that are no folders; folder after folder (C-10)."""
        status = _lstat(self.root)
        if not stat.S_ISDIR(status.st_mode):
            member = self._member(self.title, self.root, status)
            if member is None:
                raise CollectError(f"{os.fsdecode(self.root)} is neither a file nor a folder")
            yield [member]
            return
        waiting = [self.title + b"/"]
        while waiting:
            path = waiting.pop()
            members, subfolders = self._read_folder(path)
            yield members
            waiting.extend(reversed(subfolders))

    def _read_folder(self, path: bytes) -> tuple[list[Member], list[bytes]]:
        folder = self.root + path[len(self.title) :]
        members = [_folder_member(path, _lstat(folder))]
        subfolders = []
        for name, status in _entries(folder):
            if stat.S_ISDIR(status.st_mode):
                subfolders.append(path + name + b"/")
            elif (member := self._member(path + name, folder + name, status)) is not None:
                members.append(member)
            else:
                self.skipped.append(folder + name)
        return members, subfolders

    def _member(self, path: bytes, source: bytes, status: os.stat_result) -> Member | None:
        """The member of a file or link; None for what a tree cannot carry."""
        mode, mtime_ns = stat.S_IMODE(status.st_mode) & 0o777, status.st_mtime_ns
        if stat.S_ISREG(status.st_mode):
            return Member(path, MemberKind.FILE, mode, status.st_size, mtime_ns, status.st_ino)
        if stat.S_ISLNK(status.st_mode):
            return Member(path, MemberKind.LINK, 0o777, 0, mtime_ns, status.st_ino, _readlink(source))
        return None

    def tars(self, *, max_bytes: int = TAR_MAX_BYTES) -> Iterator[TarPlan]:
        """The tree cut into tars (C-11); the lengths of files are those of this moment."""
        cutter = _Cutter(max_bytes)
        for run in self.runs():
            yield from cutter.add_run(run)
        yield from cutter.end()


class _Cutter:
    """Fills one tar after another; gives each when it is full."""

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes - END_BYTES
        self._border_min = BORDER_MIN_BYTES * max_bytes // TAR_MAX_BYTES
        self._border_mean = BORDER_MEAN_BYTES * max_bytes // TAR_MAX_BYTES
        self._members: list[Member] = []
        self._length = 0

    def add_run(self, run: list[Member]) -> Iterator[TarPlan]:
        lengths = [member.length for member in run]
        total = sum(lengths)
        if self._ends_before(run[0].path, total):
            yield from self.end()
        if total <= self._room:
            self._members += run
            self._length += total
            return
        for member, length in zip(run, lengths, strict=True):
            if self._ends_before(member.path, length):
                yield from self.end()
            self._members.append(member)
            self._length += length
            if length > self._room:
                yield from self.end()

    def end(self) -> Iterator[TarPlan]:
        if self._members:
            yield TarPlan(tuple(self._members), self._length + END_BYTES)
        self._members, self._length = [], 0

    def _ends_before(self, path: bytes, length: int) -> bool:
        if not self._members:
            return False
        if self._length + length > self._room:
            return True
        return self._length + END_BYTES >= self._border_min and self._draws_border(path, length)

    def _draws_border(self, path: bytes, length: int) -> bool:
        drawn = int.from_bytes(sha256(path).digest()[:4], "big")
        return drawn * self._border_mean < length << 32


def _entries(folder: bytes) -> list[tuple[bytes, os.stat_result]]:
    """Names and stats of a folder's entries, in the order of the names' bytes."""
    try:
        with os.scandir(folder) as entries:
            return sorted(((entry.name, entry.stat(follow_symlinks=False)) for entry in entries), key=lambda e: e[0])
    except OSError as error:
        raise source_error(error, folder) from None


def _folder_member(path: bytes, status: os.stat_result) -> Member:
    mode = stat.S_IMODE(status.st_mode) & 0o777
    return Member(path, MemberKind.FOLDER, mode, 0, status.st_mtime_ns, status.st_ino)


def _lstat(path: bytes) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise source_error(error, path) from None


def _readlink(path: bytes) -> bytes:
    try:
        return os.readlink(path)  # noqa: PTH115  # a name may be no UTF-8: bytes throughout
    except OSError as error:
        raise source_error(error, path) from None


def named_error(error: OSError, path: Path) -> CollectError:
    """Of a file that somebody named: one that is not there never was."""
    if isinstance(error, FileNotFoundError):
        return CollectError(f"{path}: no such file")
    return source_error(error, os.fsencode(path))


def source_error(error: OSError, path: bytes) -> CollectError:
    """An error of the disk that is collected from: what went away apart from what cannot be read."""
    name = os.fsdecode(error.filename or path)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SourceChangedError(f"{name}: went away while it was read")
    hint = "read it as a user who may, or leave it out of the folder" if isinstance(error, PermissionError) else ""
    return CollectError(f"{name}: {error.strerror or error}", hint=hint)
