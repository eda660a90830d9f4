"""Where on a medium a bundle's files go, what lies there already, and whether there is room.

``TIDEGATE/<first 8 hex of bundle_id>/``; where a stranger's or another bundle's files are in the way,
``TIDEGATE/<the same>.002`` and so on. Only files of this very bundle, by their content, are ever removed.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidegate.carrier.announcement import parse_announcement
from tidegate.carrier.found import FoundVolume
from tidegate.carrier.medium import MEDIUM_FOLDER, find_volumes
from tidegate.carrier.positional import MEDIUM_GONE
from tidegate.carrier.volume import FilePlace, VolumeLayout
from tidegate.errors import (
    HostError,
    MediaError,
    MediaFullError,
    MediaNotFoundError,
    MediaWriteError,
    MediumLostError,
    TidegateError,
)
from tidegate.text import printable
from tidegate.units import format_bytes

FOLDERS_MAX = 99
_OUR_NAME = re.compile(r"V[0-9]{3}F[0-9]{3}\.TGV", re.IGNORECASE)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Target:
    """The folder to write into, and the files of an older copy of the bundle that make place there."""

    folder: Path
    replaced: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that a volume needs on a medium, in whole clusters, and that the medium has for it.

    `available` is None where the file system does not say.
    """

    needed: int
    available: int | None

    @property
    def is_enough(self) -> bool:
        return self.available is None or self.needed <= self.available


def check_medium(medium: Path) -> None:
    """Raise MediaNotFoundError unless `medium` is a folder, MediaError where its TIDEGATE is something else.

    MediumLostError where it is one that was pulled out.
    """
    try:
        if not stat.S_ISDIR(medium.stat().st_mode):
            raise MediaNotFoundError(f"{printable(medium)}: is no folder")
    except OSError as error:
        if error.errno in MEDIUM_GONE and not isinstance(error, FileNotFoundError):
            raise MediumLostError(f"{printable(medium)}: {error.strerror}") from None
        raise MediaNotFoundError(f"{printable(medium)}: {error.strerror}") from None
    top = medium / MEDIUM_FOLDER
    with medium_errors(medium, "looking at it"), contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(top.lstat().st_mode):
            raise MediaError(f"{printable(top)}: is there and is no folder", hint="move it away, or use another medium")


def bundle_id_of(volume: FoundVolume) -> str | None:
    """What a found volume says to be a copy of; nothing is verified."""
    try:
        return parse_announcement(volume.frame).bundle_id
    except TidegateError:
        return None


def choose_target(medium: Path, bundle_id: str) -> Target:
    """The first folder of the bundle's name in which nothing of anybody else is in the way."""
    for number in range(1, FOLDERS_MAX + 1):
        name = bundle_id[:8] + (f".{number:03d}" if number > 1 else "")
        folder = medium / MEDIUM_FOLDER / name
        replaced = _replaceable(folder, bundle_id)
        if replaced is not None:
            return Target(folder, replaced)
    raise MediaError(f"{printable(medium)}: {FOLDERS_MAX} folders named {bundle_id[:8]} hold files of others")


def _replaceable(folder: Path, bundle_id: str) -> tuple[Path, ...] | None:
    """Files of this bundle in `folder`, or None where something else is in the way. Other names there do not matter."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return None
    except FileNotFoundError:
        return ()
    names = [path for path in sorted(folder.iterdir()) if _OUR_NAME.fullmatch(path.name)]
    if not all(stat.S_ISREG(path.lstat().st_mode) for path in names):
        return None
    ours: set[Path] = set()
    for volume in find_volumes(folder).volumes:
        files = {file.path for number in volume.files for file in volume.copies(number)}
        if bundle_id_of(volume) == bundle_id:
            ours |= files
        elif files & set(names):
            return None
    # A file of our name in our folder in which nothing can be recognised is what a medium pulled out early left.
    return tuple(sorted(ours | set(names)))


def room_for(medium: Path, layout: VolumeLayout, target: Target) -> Room:
    """What the volume takes on the file system of `medium`, and what is free there or becomes so."""
    return Room(bytes_needed(medium, layout, target), bytes_available(medium, target))


def bytes_needed(medium: Path, layout: VolumeLayout, target: Target) -> int:
    """What the files of a volume and their folders take, in whole clusters."""
    cluster = os.statvfs(medium).f_frsize or 4096
    folders = 0 if target.folder.exists() else 2
    return sum(_clusters(file, cluster) for file in layout.files) + folders * cluster


def bytes_available(medium: Path, target: Target) -> int | None:
    """What is free on `medium` once the files that make place are gone; None where it does not say."""
    status = os.statvfs(medium)
    if not status.f_blocks:
        return None
    freed = sum(path.lstat().st_blocks * 512 for path in target.replaced)
    return status.f_bavail * (status.f_frsize or 4096) + freed


def _clusters(file: FilePlace, cluster: int) -> int:
    return -(-file.size // cluster) * cluster


def check_room(medium: Path, room: Room, bundle_name: str) -> None:
    if not room.is_enough and room.available is not None:
        raise MediaFullError(
            f"{printable(medium)}: bundle {bundle_name} needs {format_bytes(room.needed)} ({room.needed} bytes), "
            f"free are {format_bytes(room.available)} ({room.available} bytes)",
            hint="use a larger medium, or make room on this one; nothing was written",
        )


def remove_files(paths: tuple[Path, ...]) -> None:
    """Remove our own files; what is gone already is no error."""
    for path in paths:
        path.unlink(missing_ok=True)


def clear_away(folder: Path, paths: tuple[Path, ...]) -> None:
    """After a failure: remove what was written and the folders that it leaves empty, as far as the medium lets."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
    for empty in (folder, folder.parent):
        with contextlib.suppress(OSError):
            empty.rmdir()


@contextlib.contextmanager
def medium_errors(medium: Path, doing: str) -> Iterator[None]:
    """Turn what the operating system says about the medium into our errors."""
    try:
        yield
    except OSError as error:
        raise _medium_error(medium, doing, error) from None


def _medium_error(medium: Path, doing: str, error: OSError) -> TidegateError:
    text = f"{printable(medium)}: {doing}: {error.strerror or error}"
    if error.errno in _FULL:
        return MediaFullError(text, hint="use a larger medium; what was written of this bundle was removed")
    if error.errno in MEDIUM_GONE:
        return MediumLostError(text)
    if error.errno in _FORBIDDEN:
        return HostError(text, hint="is the medium write-protected, or mounted for another user?")
    return MediaWriteError(text)
