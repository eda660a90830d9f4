"""Where a bundle lies while it is put together: one folder, from which it leaves by one rename.

    spool/<bundle_id>/
        head          manifest and tables, verified
        progress      what of the content is verified and synced (`progress`)
        content/      an OCI layout in the making, and bundle/ beside it: what becomes quarantine/<bundle_id>/

Nothing here is trusted by name: the head is verified again whenever it is used, content counts by `progress` alone.
"""

import contextlib
import fcntl
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from tidegate.errors import BusyError, FormatError
from tidegate.files import host_error, make_folders, map_file, sync_filesystem, sync_folder, write_durably
from tidegate_receiver.reassembly.progress import Progress

#: in spool/
LOCKS_FILE = ".locks"


class Spool:
    """The folder of one bundle under ``spool/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = folder / "content"
        self.blobs_folder = self.content / "blobs" / "sha256"
        self.bundle_folder = self.content / "bundle"
        self._head = folder / "head"
        self._progress = folder / "progress"

    @property
    def exists(self) -> bool:
        return self.folder.is_dir()

    def create(self) -> None:
        """Make the folders, durably; raises DiskFullError or HostError."""
        with disk("making room for a bundle"):
            make_folders(self.blobs_folder, mode=0o700)
            make_folders(self.bundle_folder, mode=0o700)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Work on this bundle alone; raises BusyError where another process does."""
        with disk("locking a bundle"):
            fd = os.open(self.folder.parent / LOCKS_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # One byte of one file for each bundle, so that no lock file is left behind, or removed under a waiter.
            place = int(self.folder.name[:15], 16)
            lock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)  # struct flock, fcntl(2)
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
            except BlockingIOError:
                raise BusyError(f"bundle {self.folder.name[:16]} is being received by another command") from None
            yield
        finally:
            os.close(fd)

    # --- the head -----------------------------------------------------------------------------

    def save_head(self, head: memoryview) -> None:
        """Keep the verified head; one of the same bundle_id that is there is the same."""
        with disk("writing a bundle's tables"):
            if not self._head.is_file() or self._head.stat().st_size != len(head):
                write_durably(self._head, head, mode=0o600)

    def open_head(self) -> memoryview | None:
        """The head's bytes, mapped and not read, or None where there is none yet. Tables are views of it."""
        if not self._head.is_file() or not self._head.stat().st_size:
            return None
        with disk("reading a bundle's tables"):
            return map_file(self._head)

    # --- what came with it --------------------------------------------------------------------

    def save_file(self, name: str, data: bytes | memoryview) -> None:
        """Write one of the files of ``bundle/``; an equal one that is there stays as it is."""
        path = self.bundle_folder / name
        with disk("writing a bundle's papers"):
            if not path.is_file() or path.stat().st_size != len(data) or path.read_bytes() != data:
                write_durably(path, bytes(data), mode=0o600)

    def read_file(self, name: str, max_bytes: int) -> bytes | None:
        """One of the files of ``bundle/``; None where it is not there or longer than it may be."""
        path = self.bundle_folder / name
        with disk("reading a bundle's papers"), contextlib.suppress(FileNotFoundError):
            if path.stat().st_size <= max_bytes:
                return path.read_bytes()
        return None

    # --- progress -----------------------------------------------------------------------------

    def load_progress(self, chunk_count: int, blob_count: int) -> Progress:
        """What was verified before; nothing where the file is missing or damaged."""
        try:
            return Progress.from_bytes(self._progress.read_bytes(), chunk_count, blob_count)
        except (FileNotFoundError, FormatError):
            return Progress.nothing(chunk_count, blob_count)
        except OSError as error:
            raise host_error(error, "reading what was received before") from None

    def save_progress(self, progress: Progress) -> None:
        """Sync the content, then say what of it is verified."""
        data = progress.to_bytes()
        with disk("saving what was received"):
            sync_filesystem(self.blobs_folder)
            write_durably(self._progress, data, mode=0o600)

    # --- the end ------------------------------------------------------------------------------

    def move_content(self, target: Path) -> None:
        """Give the whole content its place, by one rename; everything in it was synced before."""
        with disk("moving a bundle into quarantine"):
            self.content.rename(target)
            sync_folder(target.parent)
            sync_folder(self.folder)

    def remove(self) -> None:
        """Forget everything of this bundle here."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def used_bytes(self) -> int:
        """What the content takes on the disk."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.blobs_folder) as entries:
            return sum(entry.stat().st_blocks * 512 for entry in entries)
        return 0


@contextlib.contextmanager
def disk(doing: str) -> Iterator[None]:
    """Errors of our own disk as ours: a full one apart from the rest."""
    try:
        yield
    except OSError as error:
        raise host_error(error, doing) from error
