"""Where blobs wait before they enter a depot: a folder of temporaries a commit, its lock held by the process at work.

A folder whose lock nobody holds is what a crash left. Besides, who brings blobs holds the depot for shared use, and who
removes garbage holds it alone.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from tidegate.files import make_folders

INCOMING = ".incoming"


def open_use(depot: Path, mode: int) -> int:
    """A descriptor that holds the depot: shared by all who bring blobs, alone (LOCK_EX) by who removes garbage.

    Raises BlockingIOError where `mode` has LOCK_NB and somebody else holds it.
    """
    make_folders(depot / INCOMING, mode=0o700)
    fd = os.open(depot / INCOMING, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def locked_folder(depot: Path) -> tuple[Path, int]:
    """A new folder that this process holds a lock on, so that nobody takes it for a crash's."""
    incoming = depot / INCOMING
    incoming.mkdir(mode=0o700, exist_ok=True)
    while True:
        folder = incoming / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # removed as abandoned between mkdir and open
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return folder, fd
        os.close(fd)


def is_abandoned(folder: Path) -> bool:
    """Whether no process holds the lock of a commit's folder."""
    with _lock_of(folder) as held:
        return held


def remove_abandoned(folder: Path) -> bool:
    """Remove a commit's folder whose process is gone; False where somebody holds it.

    The lock is held meanwhile, so that a process that just made the folder finds it gone and makes another.
    """
    with _lock_of(folder) as held:
        if held:
            remove_folder(folder)
        return held


@contextlib.contextmanager
def _lock_of(folder: Path) -> Iterator[bool]:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(fd)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
