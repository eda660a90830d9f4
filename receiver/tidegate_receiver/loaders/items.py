"""What loaders have in common: the artifact that is to be loaded, what became of it, and what a loader does.

A loader checks all items before it changes anything, then takes them one by one; promotion records each. What is at the
target already is left alone, so that loading twice, or again after a crash, is harmless.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self, runtime_checkable

from tidegate.depot.descriptors import Descriptor

#: the place of what a target cannot take: `LoadedItem.notes` says why
LEFT_OUT = "(left out)"


class BlobSource(Protocol):
    """Where blobs come from: a depot, or a quarantine that stands before it. As `tidegate.depot.store.Depot`."""

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes: ...

    def open_blob(self, digest: str) -> BinaryIO: ...

    def blob_path(self, digest: str) -> Path: ...

    def missing(self, blobs: Iterable[Descriptor]) -> tuple[Descriptor, ...]: ...


@dataclass(frozen=True, slots=True)
class LoadItem:
    """One artifact: its name and kind in the manifest, its place, its root blob."""

    name: str
    kind: str
    place: str  # ``app:1``, ``files/docs:latest``
    root: Descriptor
    expect: str = ""  # what must belong to it, as the manifest has it
    load: tuple[str, ...] = ()  # names of targets that the low side asks to have it loaded to


@dataclass(frozen=True, slots=True)
class LoadedItem:
    """What became of one artifact at a target."""

    name: str
    place: str  # where it is now: ``registry.example:5000/app:1``, ``/srv/in/docs``
    digest: str  # as read back; another than the root's only where `notes` says why
    changed: bool  # False: it was there already
    size_bytes: int = 0  # written or sent
    notes: tuple[str, ...] = ()
    #: how a client finds what belongs to an image; empty for everything else
    found_by: str = ""


@runtime_checkable
class ManyLoader(Protocol):
    """A loader that takes several artifacts at a time, and gives them in the order asked for."""

    def load_many(self, items: Iterable[LoadItem]) -> Iterator[LoadedItem]: ...


@runtime_checkable
class LookingLoader(Protocol):
    """A loader that can say what of an artifact stands at its place, without changing anything: for a dry run."""

    def place_of(self, item: LoadItem) -> str: ...

    def is_there(self, item: LoadItem) -> bool: ...


def load_all(loader: "Loader", items: tuple[LoadItem, ...]) -> Iterator[LoadedItem]:
    """Each of `items` at the loader's target, in order."""
    return loader.load_many(items) if isinstance(loader, ManyLoader) else map(loader.load, items)


class Loader(Protocol):
    """One target. `target` names it in messages and in the ledger."""

    target: str

    def check(self, items: tuple[LoadItem, ...]) -> None:
        """Refuse what can be refused before anything is changed; needs no `with` block."""

    def load(self, item: LoadItem) -> LoadedItem:
        """Put one artifact there, durably where that is ours to say."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
