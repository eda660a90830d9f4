"""Wait until somebody plugs a medium in, mounted by whoever mounts media here: for `send --wait`."""

import select
from collections.abc import Iterator
from pathlib import Path

from tidegate.media.mountinfo import Mount
from tidegate.media.mounts import MOUNT_TABLE, TABLE_EVENTS, MountTable, find_media

#: without any event: what a wake-up missed is found by then
IDLE_MILLISECONDS = 10_000


def arriving_media(
    media_folders: tuple[str, ...], points: tuple[Path, ...] = (), *, table: Path = MOUNT_TABLE, present: bool = False
) -> Iterator[Path]:
    """The folders of media as they come, without end; one that goes and comes back comes again.

    A medium is what `find_media` takes for one, and whatever is mounted at one of `points`. Those that are there at
    the beginning count only with `present`.
    """
    with MountTable(table) as mounts:
        poll = select.poll()
        poll.register(mounts, TABLE_EVENTS)
        known = set() if present else {mount.key for mount in _media(mounts, media_folders, points)}
        while True:
            here = _media(mounts, media_folders, points)
            known &= {mount.key for mount in here}
            for mount in here:
                if mount.key not in known:
                    known.add(mount.key)
                    yield mount.point
                    break  # the table may have changed meanwhile
            else:
                poll.poll(IDLE_MILLISECONDS)


def _media(table: MountTable, media_folders: tuple[str, ...], points: tuple[Path, ...]) -> tuple[Mount, ...]:
    mounts = table.read()
    found = find_media(mounts, media_folders)
    return found + tuple(mount for mount in mounts if mount.point in points and mount not in found)
