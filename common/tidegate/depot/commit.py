"""Blobs enter a depot in groups: temporary files, one sync for all, rename, sync of the folder, then the index.

A crash at any instruction leaves the depot as it was, or with blobs that nothing names yet, and a folder of temporaries
whose lock nobody holds (`incoming`). Writers of one commit may run in several threads, one thread a writer.
"""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tidegate.depot.descriptors import Descriptor, check_digest
from tidegate.depot.incoming import locked_folder, open_use, remove_folder
from tidegate.depot.layout import DepotLayout, disk
from tidegate.depot.seals import SEALED_MIN_BYTES, Sealer, Seals
from tidegate.errors import BlobDamagedError, BlobMissingError, DepotError
from tidegate.files import sync_fd, sync_filesystem, sync_folder, write_all
from tidegate.names import hex_of
from tidegate.units import MIB

BLOB_MODE = 0o444  # never changed once it is there
#: up to so many blobs are synced one by one; beyond, one syncfs is cheaper than an fsync each
SYNC_EACH_MAX = 4
OCTETS = "application/octet-stream"
_COPY_BYTES = 1 * MIB
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


class BlobWriter:
    """Takes the bytes of one blob, hashes them as they come, and refuses another digest or size than expected.

    ``size`` is what was written so far. Closing without `finish` drops the blob.
    """

    def __init__(self, commit: "BlobCommit", path: Path, digest: str | None, size: int | None) -> None:
        self._commit, self._path = commit, path
        self._expected_digest, self._expected_size = digest, size
        self._hasher = hashlib.sha256()
        is_sealed = commit.seals is not None and (size is None or size >= SEALED_MIN_BYTES)
        self._sealer = Sealer() if is_sealed else None
        self.size = 0
        with commit.disk():
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, BLOB_MODE)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. Raises BlobDamagedError as soon as there are more bytes than expected."""
        view = memoryview(data)
        self.size += len(view)
        if self._expected_size is not None and self.size > self._expected_size:
            raise BlobDamagedError(f"{self._name}: more than the {self._expected_size} bytes expected")
        self._hasher.update(view)
        if self._sealer is not None:
            self._sealer.update(view)
        with self._commit.disk():
            write_all(self._fd, view)

    def finish(self, media_type: str = OCTETS) -> Descriptor:
        """The blob is complete: compare, and hand it to the commit. Raises BlobDamagedError."""
        self._close()
        if self._expected_size is not None and self.size != self._expected_size:
            raise BlobDamagedError(f"{self._name}: {self.size} bytes, {self._expected_size} expected")
        digest = f"sha256:{self._hasher.hexdigest()}"
        if self._expected_digest is not None and digest != self._expected_digest:
            raise BlobDamagedError(f"{self._name}: its bytes have the digest {digest}")
        if self._sealer is not None and self._commit.seals is not None and self.size >= SEALED_MIN_BYTES:
            self._commit.seals.put(digest, self._sealer.finish())
        self._commit.take(digest, self.size, self._path)
        return Descriptor(media_type, digest, self.size)

    def discard(self) -> None:
        """Give the blob up; what was written is removed."""
        self._close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._fd >= 0:
            self.discard()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with self._commit.disk():
                os.close(fd)

    @property
    def _name(self) -> str:
        return f"blob {self._expected_digest or self._path.name}"


class BlobCommit:
    """A group of blobs and names that enter `depot` together when the ``with`` block ends without an error.

    ``commit()`` may be called in between, also while other threads write: what was finished so far is then durable.
    With `seals` the large blobs that are written are sealed there.
    """

    def __init__(self, depot: DepotLayout, seals: Seals | None = None) -> None:
        self.depot = depot
        self.seals = seals
        self._numbers = itertools.count()
        self._taking = threading.Lock()
        self._blobs: dict[str, tuple[Path, int]] = {}
        self._references: dict[str, Descriptor | None] = {}
        self._folder: Path | None = None
        self._lock = self._use = -1

    def __enter__(self) -> Self:
        with self.disk():
            # What this group counts on (`has`) must not go as garbage before the index names it.
            self._use = open_use(self.depot.folder, fcntl.LOCK_SH)
            try:
                self._folder, self._lock = locked_folder(self.depot.folder)
            except BaseException:
                os.close(self._use)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            if self._folder is not None:
                remove_folder(self._folder)
            os.close(self._lock)
            os.close(self._use)
            self._folder = None

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is in the depot or in this group."""
        return digest in self._blobs or self.depot.has(digest, size)

    def writer(self, expected_digest: str | None = None, expected_size: int | None = None) -> BlobWriter:
        """A writer for one more blob; ask `has` first, to spare the work."""
        if expected_digest is not None:
            check_digest(expected_digest, "blob")
        return BlobWriter(self, self._temporary(), expected_digest, expected_size)

    def add(self, data: bytes, media_type: str = OCTETS) -> Descriptor:
        """A small blob whose bytes are at hand."""
        descriptor = Descriptor(media_type, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        if not self.has(descriptor.digest, descriptor.size):
            with self.writer(descriptor.digest, descriptor.size) as writer:
                writer.write(data)
                writer.finish()
        return descriptor

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        """A small blob of this group or of the depot, checked: a group is a graph's reader too."""
        pending = self._blobs.get(digest)
        if pending is None:
            return self.depot.read_blob(digest, max_bytes=max_bytes)
        path, size = pending
        if size > max_bytes:
            raise DepotError(f"blob {digest}: more than the {max_bytes} bytes expected here")
        _check(path, digest)
        return path.read_bytes()

    @property
    def new_bytes(self) -> int:
        """Bytes of the blobs that are new in this group and not yet committed."""
        with self._taking:
            return sum(size for _path, size in self._blobs.values())

    def adopt(self, path: Path, digest: str, *, check: bool = True, share: bool = True) -> Descriptor:
        """Take a file that lies elsewhere: by hard link or reflink where the file system can, else by copy.

        `check` reads it and compares the digest (leave it out only for what this process checked just before);
        `share` allows links: only for files that nobody changes, such as the blobs of another depot.
        Raises BlobMissingError, BlobDamagedError.
        """
        check_digest(digest, str(path))
        try:
            with self.disk(), open(path, "rb", buffering=0) as source:
                size = os.fstat(source.fileno()).st_size
                if self.has(digest, size):
                    return Descriptor(OCTETS, digest, size)
                temporary = self._temporary()
                if share and _share(path, source.fileno(), temporary):
                    if check:
                        _check(temporary, digest)
                    self.take(digest, size, temporary)
                    return Descriptor(OCTETS, digest, size)
                return self._copy(source.fileno(), digest, size)
        except FileNotFoundError:
            raise BlobMissingError(f"blob {digest} is not at {path}") from None

    def _copy(self, source: int, digest: str, size: int) -> Descriptor:
        buffer = memoryview(bytearray(_COPY_BYTES))
        with self.writer(digest, size) as writer:
            while count := os.readv(source, [buffer]):
                writer.write(buffer[:count])
            return writer.finish()

    def reference(self, name: str, descriptor: Descriptor) -> None:
        """Name an artifact when the group is committed."""
        self._references[name] = descriptor

    def take(self, digest: str, size: int, path: Path) -> None:
        """A complete temporary file with that digest; for writers."""
        if self.has(digest, size):
            path.unlink()
            return
        with self._taking:
            self._blobs[digest] = (path, size)

    def commit(self) -> None:
        """Sync all, rename all, sync the folder, then the names. Nothing is named that is not on the disk."""
        assert self._folder is not None
        with self._taking:
            blobs, self._blobs = self._blobs, {}
        with self.disk():
            self._sync([path for path, _size in blobs.values()])
            for digest, (path, _size) in blobs.items():
                path.rename(self.depot.blobs_folder / hex_of(digest))
            if blobs or self._references:
                # Also without blobs of our own: another process may have renamed what we found, not yet synced.
                sync_folder(self.depot.blobs_folder)
        if self._references:
            self.depot.set_references(self._references)
            self._references = {}

    def _sync(self, paths: list[Path]) -> None:
        if len(paths) > SYNC_EACH_MAX:
            sync_filesystem(self.depot.folder)
            return
        for path in paths:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                sync_fd(fd)
            finally:
                os.close(fd)

    def _temporary(self) -> Path:
        assert self._folder is not None, "a commit is used in a with block"
        return self._folder / f"{next(self._numbers):08d}"

    def disk(self) -> contextlib.AbstractContextManager[None]:
        """Errors of the depot's disk as ours: a full disk apart from the rest."""
        return disk(f"writing to {self.depot.folder}")


def _share(path: Path, source: int, target: Path) -> bool:
    """Make `target` a hard link to `path`, or a reflink of the open `source`; False where neither can be."""
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.ENOTSUP}:
            raise
    else:
        return True
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, BLOB_MODE)
    try:
        fcntl.ioctl(fd, _FICLONE, source)
    except OSError:
        target.unlink()
        return False
    finally:
        os.close(fd)
    return True


def _check(path: Path, digest: str) -> None:
    with open(path, "rb", buffering=0) as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != hex_of(digest):
        raise BlobDamagedError(f"blob {digest}: its bytes have the digest sha256:{actual}")
