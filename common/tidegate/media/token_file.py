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
from tidegate.files import sync_fd, sync_folder
from tidegate.text import printable

NEW_NAME = "MEDIUM.NEW"


def write_token(medium: Path, data: bytes) -> None:
    """Replace the medium's token file. Raises MediaFullError, MediumLostError, MediaWriteError, MediaError."""
    with _medium_errors(medium):
        folder = medium / MEDIUM_FOLDER
        folder.mkdir(exist_ok=True)
        new = folder / NEW_NAME
        with contextlib.suppress(FileNotFoundError):
            new.unlink()  # what a writing that was cut off left
        # No fchmod as for files of the root: FAT refuses it.
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            sync_fd(fd)
        finally:
            os.close(fd)
        new.rename(folder / TOKEN_NAME)
        sync_folder(folder)
        sync_folder(medium)


@contextlib.contextmanager
def _medium_errors(medium: Path) -> Iterator[None]:
    shown = printable(medium)
    try:
        yield
    except OSError as error:
        text = f"{shown}: writing its token: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MediaFullError(text) from None
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise MediaError(text, hint="mount it so that it can be written, or use another medium") from None
        if error.errno in MEDIUM_GONE:
            raise MediumLostError(text) from None
        raise MediaWriteError(text) from None
