"""The token file on a medium: written so that a crash leaves the old one or the new one."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from tidegate.carrier.medium import MEDIUM_FOLDER
from tidegate.carrier.positional import MEDIUM_GONE
from tidegate.carrier.token import TOKEN_NAME
from tidegate.errors import MediaError, MediaFullError, MediaWriteError, MediumLostError
from tidegate.files import sync_fd, sync_folder, write_all
from tidegate.text import printable

NEW_NAME = "MEDIUM.NEW"


def write_token(medium: Path, data: bytes) -> None:
    """Replace the medium's token file. Raises MediaFullError, MediumLostError, MediaWriteError, MediaError."""
    with _medium_errors(medium):
        with contextlib.suppress(FileExistsError):
            (medium / MEDIUM_FOLDER).mkdir()
            sync_folder(medium)
        # By an open folder: a medium whose TIDEGATE is a link must not have us write somewhere on this host.
        folder = os.open(medium / MEDIUM_FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _replace_token(folder, data)
        finally:
            os.close(folder)


def _replace_token(folder: int, data: bytes) -> None:
    """In the open folder: a new file, synced, renamed over the old one, and the folder synced."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(NEW_NAME, dir_fd=folder)  # what a writing that was cut off left
    # No fchmod as for files of the root: FAT refuses it.
    fd = os.open(NEW_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder)
    try:
        write_all(fd, data)
        sync_fd(fd)
    finally:
        os.close(fd)
    os.rename(NEW_NAME, TOKEN_NAME, src_dir_fd=folder, dst_dir_fd=folder)
    sync_fd(folder)


@contextlib.contextmanager
def _medium_errors(medium: Path) -> Iterator[None]:
    shown = printable(medium)
    try:
        yield
    except OSError as error:
        text = f"{shown}: writing its token: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MediaFullError(text) from None
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
            raise MediaError(text, hint="mount it so that it can be written, or use another medium") from None
        if error.errno in MEDIUM_GONE:
            raise MediumLostError(text) from None
        raise MediaWriteError(text) from None
