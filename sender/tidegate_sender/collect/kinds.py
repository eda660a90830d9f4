"""What a source of a further kind is: an item that brings its artifacts into a sink, whatever the sink keeps.

Collecting gives it a commit of the depot; planning and locking give it a sink that only hashes. So a kind is written
once, in a module of its own: an `Item` that is a `SourceItem`. Images, layouts and files have their own ways.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.registry.client import RegistryClient
from tidegate_sender.collect.files import BlobSink
from tidegate_sender.collect.items import ImageItem, Item


class Sink(BlobSink, Protocol):
    """Where a source's blobs go; what it `has` need not be brought."""

    def has(self, digest: str, size: int | None = None) -> bool: ...


@dataclass(frozen=True, slots=True)
class Brought:
    """One artifact, whose blobs are all in the sink. `notes` are for people: what could not be found out."""

    name: str
    kind: str
    root: Descriptor
    size_bytes: int
    notes: tuple[str, ...] = ()
    expect: str = ""  # what must belong to it, as it travels
    verdict: str = ""  # of its signatures, where some were expected


class Surroundings(Protocol):
    """What the pipeline lends to a source."""

    def client(self, host: str) -> RegistryClient: ...

    def image(self, item: ImageItem) -> tuple[Brought, ...]:
        """Bring an image, with all that belongs to it, as the pipeline brings images."""

    def progress(self, count: int, total: int) -> None:
        """`count` more bytes are here, of `total` (0: nobody knows)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceItem(Item):
    """An item of a further kind. A lock knows it by `lock_kind` and `lock_source`."""

    lock_kind = "source"

    @property
    def lock_source(self) -> str:
        return self.given or self.label

    def bring(self, sink: Sink, around: Surroundings) -> tuple[Brought, ...]:
        """Its artifacts, the one that gives the lock its name first. Raises CollectError and its children."""
        raise NotImplementedError


def brought(name: str, kind: str, sink: Sink, root: Descriptor, notes: tuple[str, ...] = ()) -> Brought:
    """An artifact with its size, which is walked."""
    return Brought(name, kind, root, sum(blob.size for blob in walk(sink, root)), notes)


def lock_digest(artifacts: tuple[Brought, ...]) -> str:
    """What a lock holds an item to: the root of its one artifact, or a digest over the names and roots of several."""
    if len(artifacts) == 1:
        return artifacts[0].root.digest
    import hashlib

    from tidegate.canonical import dumps

    listed = sorted((artifact.name, artifact.root.digest) for artifact in artifacts)
    return f"sha256:{hashlib.sha256(dumps([list(pair) for pair in listed])).hexdigest()}"


Progress = Callable[[int, int], object]
