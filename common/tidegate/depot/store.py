"""A depot: an OCI image layout (`layout`) that blobs enter in groups, and whose garbage can be found and removed.

Blobs enter in group commits (`commit.BlobCommit`): all are written to temporary files, synced together, renamed,
and only then does the index name them. Several processes may use one depot. Layout: docs/format/content.md.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.incoming import INCOMING, is_abandoned, open_use, remove_abandoned
from tidegate.depot.layout import DepotLayout, disk
from tidegate.depot.seals import Seals
from tidegate.errors import BusyError
from tidegate.files import host_error, sync_folder


@dataclass(frozen=True, slots=True)
class Garbage:
    """What lies in a depot and is reached by nothing: `temporaries` of crashed commits and unreachable `blobs`."""

    temporaries: tuple[Path, ...]
    blobs: tuple[str, ...]
    size_bytes: int


class Depot(DepotLayout):
    """The layout under `folder`, made where it is not there and `create` is set; blobs enter by `commit` alone."""

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        super().__init__(folder, create=create)
        self.seals = Seals()

    def commit(self, *, seal: bool = False) -> BlobCommit:
        """A group of blobs that enter together: ``with depot.commit() as commit: …``; with `seal` they leave seals."""
        return BlobCommit(self, self.seals if seal else None)

    # --- garbage -----------------------------------------------------------------------------

    def garbage(self, keep: Iterable[Descriptor] = ()) -> Garbage:
        """What a crash left, and the blobs that neither a name nor an artifact of `keep` reaches. Changes nothing.

        Raises DepotError where a graph cannot be walked whole: then nobody knows what is garbage.
        """
        reached: set[str] = set()
        for root in (*self.references().values(), *keep):
            reached.update(item.digest for item in walk(self, root))
        unreached = tuple(sorted(digest for digest in self.digests() if digest not in reached))
        temporaries = self.abandoned()
        size = sum(self.size(digest) for digest in unreached)
        return Garbage(temporaries, unreached, size + sum(_folder_bytes(path) for path in temporaries))

    def abandoned(self) -> tuple[Path, ...]:
        """Folders of commits whose process is gone."""
        incoming = self.folder / INCOMING
        return tuple(sorted(path for path in incoming.iterdir() if is_abandoned(path))) if incoming.is_dir() else ()

    def remove_abandoned(self) -> int:
        """Remove what crashed commits left; gives how many there were. Cheap: called before each collection."""
        with disk("removing temporary files"):
            return sum(remove_abandoned(path) for path in self.abandoned())

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody brings blobs meanwhile: between looking for garbage and removing it nothing may begin to count on it.

        Raises BusyError where somebody is at work.
        """
        try:
            fd = open_use(self.folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{self.folder}: content is being brought into it", hint="run it again later") from None
        except OSError as error:
            raise host_error(error, "locking a depot") from error
        try:
            yield
        finally:
            os.close(fd)

    def remove_garbage(self, garbage: Garbage) -> None:
        """Remove what `garbage` found. Nothing may be collected or loaded in between: the caller holds `alone`."""
        with disk("removing blobs"), self.locked_index():
            for path in garbage.temporaries:
                remove_abandoned(path)
            for digest in garbage.blobs:
                self.blob_path(digest).unlink(missing_ok=True)
            sync_folder(self.blobs_folder)


def _folder_bytes(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0
