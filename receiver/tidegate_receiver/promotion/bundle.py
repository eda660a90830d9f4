"""A bundle in quarantine, as promotion needs it: what it brings, what it builds on, what its artifacts reach.

Quarantine is our own disk, but it is read like anything else (`quarantine`): the manifest must have the bundle_id that
the state remembers, the tables the digests that the manifest signs. Nothing is changed here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tidegate.bundle.manifest import Artifact, Manifest
from tidegate.bundle.tables import Records, digest_of
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import BlobMissingError, FormatError, NameTakenError, UsageError
from tidegate.oci import LOAD, PLATFORMS
from tidegate.provenance.expectation import EXPECT
from tidegate.registry.reference import place_of
from tidegate_receiver.intake.quarantine import QuarantinedBundle
from tidegate_receiver.loaders.items import LoadItem

OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Papers:
    """What lies under ``quarantine/<bundle_id>/bundle/``, parsed: manifest, blobs, required content.

    What is required stays records: a bundle may build on a million blobs.
    """

    bundle_id: str
    manifest: Manifest
    blobs: tuple[Descriptor, ...]
    required: Records

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def content_size(self) -> int:
        return self.manifest.content_size


def read_papers(bundle: QuarantinedBundle) -> Papers:
    """The papers of a bundle in quarantine, or of one that was loaded from there.

    Raises HostError where they are gone, DigestError or FormatError where they are not what was verified.
    """
    manifest, tables = bundle.manifest(), bundle.tables()
    blobs = tuple(Descriptor(OCTETS, digest_of(record), int(record["size"])) for record in tables.blobs)
    return Papers(bundle.bundle_id, manifest, blobs, tables.required)


class LayeredSource:
    """Blobs of a quarantine, else of the depot: what the depot will give once the bundle is promoted."""

    def __init__(self, quarantine: Depot, depot: Depot) -> None:
        self._layers = (quarantine, depot)

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        return self._holder(digest).read_blob(digest, max_bytes=max_bytes)

    def open_blob(self, digest: str) -> BinaryIO:
        return self._holder(digest).open_blob(digest)

    def blob_path(self, digest: str) -> Path:
        return self._holder(digest).blob_path(digest)

    def missing(self, blobs: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
        return tuple(item for item in blobs if not any(layer.has(item.digest, item.size) for layer in self._layers))

    def _holder(self, digest: str) -> Depot:
        upper, lower = self._layers
        return upper if upper.has(digest) else lower


def items_of(manifest: Manifest) -> tuple[LoadItem, ...]:
    """The artifacts with their places. Raises NameTakenError where two have one place (C-13)."""
    taken: dict[str, str] = {}
    items = []
    for artifact in manifest.artifacts:
        place = _place(artifact)
        other = taken.setdefault(place, artifact.name)
        if other != artifact.name:
            raise NameTakenError(f"bundle {manifest.name}: both {other} and {artifact.name} would be {place}")
        expect = (artifact.annotations or {}).get(EXPECT, "")
        load = tuple(filter(None, (artifact.annotations or {}).get(LOAD, "").split(",")))
        items.append(LoadItem(artifact.name, artifact.kind, place, _root(artifact), expect, load))
    return tuple(items)


def _place(artifact: Artifact) -> str:
    try:
        return place_of(artifact.name)
    except UsageError as error:
        raise FormatError(f"artifact {artifact.name[:100]!r}: {error.message}") from None


def _root(artifact: Artifact) -> Descriptor:
    # What else the manifest says of an artifact belongs to its passage and not to what it is.
    chosen = (artifact.annotations or {}).get(PLATFORMS)
    return Descriptor(
        artifact.media_type, artifact.digest, artifact.size, annotations={PLATFORMS: chosen} if chosen else {}
    )


def content_bytes(source: LayeredSource, items: Iterable[LoadItem]) -> dict[str, int]:
    """Bytes that each artifact reaches, by name.

    Raises GraphError for a graph that cannot be walked, BlobMissingError for one that is not whole: then the bundle
    promises an artifact that neither it nor the depot holds.
    """
    sizes = {}
    for item in items:
        blobs = walk(source, item.root)
        missing = source.missing(blobs)
        if missing:
            raise BlobMissingError(f"{item.name}: {len(missing)} blobs are missing, the first is {missing[0].digest}")
        sizes[item.name] = sum(blob.size for blob in blobs)
    return sizes
