"""Which media are plugged in, and the moment when one comes: the kernel's mount table.

inotify does not see a mount laid over a folder, and neither does watchdog. The table itself tells: ``poll`` on
``/proc/self/mountinfo`` answers POLLPRI when any mount came, went or changed. A mount counts as a medium when its
device is removable (sysfs says so) or when it lies under one of the configured media folders. The table's lines are
read in `mountinfo`.
"""

import contextlib
import os
import select
from pathlib import Path
from types import TracebackType
from typing import Self

from tidegate.files import host_error
from tidegate.media.mountinfo import NO_MEDIA, TABLE_MAX_BYTES, Mount, is_below, parse_mount_table, visible

MOUNT_TABLE = Path("/proc/self/mountinfo")
#: events of `poll` that mean: read the table again
TABLE_EVENTS = select.POLLPRI | select.POLLERR
_READ_BYTES = 1 << 16


class MountTable:
    """The mount table, open for reading and for `poll`. Use as a context manager."""

    def __init__(self, path: Path = MOUNT_TABLE) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise host_error(error, "opening the mount table") from None

    def fileno(self) -> int:
        """For ``poll.register(table, TABLE_EVENTS)``. A change after the last `read` wakes the poll."""
        return self._fd

    def read(self) -> tuple[Mount, ...]:
        """All mounts that a path reaches now."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        pieces = []
        size = 0
        # A table that changes while it is read may show a mount twice or not at all; the change wakes the poll again.
        while size <= TABLE_MAX_BYTES and (piece := os.read(self._fd, _READ_BYTES)):
            pieces.append(piece)
            size += len(piece)
        return visible(parse_mount_table(b"".join(pieces)))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def find_media(
    mounts: tuple[Mount, ...], media_folders: tuple[str, ...], sysfs: Path = Path("/sys")
) -> tuple[Mount, ...]:
    """Those of `mounts` that look like a medium which somebody plugged in."""
    return tuple(mount for mount in mounts if is_medium(mount, media_folders, sysfs))


def is_medium(mount: Mount, media_folders: tuple[str, ...], sysfs: Path = Path("/sys")) -> bool:
    """Whether `mount` looks like a medium: a removable device, or anything of substance under a media folder."""
    if mount.kind in NO_MEDIA or mount.point == Path("/"):
        return False
    return is_below(mount.point, media_folders) or is_removable(mount.device, sysfs)


def is_removable(device: str, sysfs: Path = Path("/sys")) -> bool:
    """Whether sysfs calls a block device (``8:17``) or the disk that it is a part of removable, or it hangs on USB."""
    link = sysfs / "dev" / "block" / device
    try:
        place = link.resolve(strict=True)
    except OSError:
        return False
    # USB hard disks and many card readers say removable = 0, and are pulled out all the same.
    return any(part.startswith("usb") for part in place.parts) or any(
        _reads_one(folder / "removable") for folder in (place, place.parent)
    )


def _reads_one(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.read_bytes()[:2].strip() == b"1"
    return False


def mount_of(folder: Path, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that `folder` lies on, or None where the table does not show it."""
    place = folder.absolute()
    around = [mount for mount in mounts if place.is_relative_to(mount.point)]
    return max(around, key=lambda mount: len(mount.point.parts), default=None)


def current_mounts() -> tuple[Mount, ...]:
    """The mounts of this moment; empty where there is no mount table."""
    if not MOUNT_TABLE.exists():
        return ()
    with MountTable() as table:
        return table.read()
