"""Read an image's graph from a registry: what a reference stands for, which platforms, and the manifests.

What the depot has is not asked for again. Blobs come by `fetching`; an image with all that belongs to it by `images`.
Layers that came whole stay in the depot even when the image fails, so that the next attempt starts there.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor, Manifest, detect_media_type, parse_manifest, refuse_schema_1
from tidegate.errors import BlobDamagedError, CollectError, TidegateError
from tidegate.registry.client import ManifestAnswer, RegistryClient
from tidegate_sender.collect.items import ImageItem
from tidegate_sender.collect.platforms import choose_root


@dataclass(frozen=True, slots=True)
class GraphResult:
    """An artifact whose blobs are all in the commit: its root, all of them, and the bytes that are new."""

    root: Descriptor
    blobs: tuple[Descriptor, ...]
    new_bytes: int

    @property
    def size_bytes(self) -> int:
        return sum(blob.size for blob in self.blobs)


@dataclass(slots=True)
class RegistryReader:
    """Manifests of one repository as a graph's reader; those of `local` are not asked for. Keeps what it read."""

    client: RegistryClient
    repository: str
    local: BlobCommit | None = None
    read: dict[str, bytes] = field(default_factory=dict)

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        if digest not in self.read:
            self.read[digest] = (
                self._from_depot(digest, max_bytes) or self.client.manifest(self.repository, digest).data
            )
        return self.read[digest]

    def _from_depot(self, digest: str, max_bytes: int) -> bytes | None:
        """A manifest that the depot holds whole; one damaged there is fetched again."""
        if self.local is None or not self.local.depot.has(digest):
            return None
        try:
            return self.local.depot.read_blob(digest, max_bytes=max_bytes)
        except BlobDamagedError:
            return None

    def config(self, descriptor: Descriptor, max_bytes: int) -> bytes:
        """A small blob that is no manifest."""
        if descriptor.size > max_bytes:
            raise CollectError(f"{descriptor.digest}: a config of {descriptor.size} bytes, the limit is {max_bytes}")
        pieces: list[bytes] = []
        self.client.fetch_blob(self.repository, descriptor.digest, descriptor.size, pieces.append)
        return b"".join(pieces)


def resolve_image(item: ImageItem, client: RegistryClient, reader: RegistryReader) -> Descriptor:
    """The root of the artifact: what the reference stands for now, narrowed to the platforms wanted."""
    root, manifest = read_reference(item, client, reader)
    return choose_root(root, manifest, item.platforms, item.label, reader.config)


def read_reference(item: ImageItem, client: RegistryClient, reader: RegistryReader) -> tuple[Descriptor, Manifest]:
    """What the reference stands for before platforms are chosen: what is locked, else what the registry says now."""
    reference = item.reference
    answer = client.manifest(reference.repository, item.locked or reference.wanted)
    reader.read[answer.digest] = answer.data
    root = Descriptor(media_type_of(answer, item.label), answer.digest, answer.size)
    return root, parse_manifest(answer.data, root.media_type, what=item.label)


def media_type_of(answer: ManifestAnswer, label: str) -> str:
    media_type = answer.media_type or detect_media_type(answer.data)
    refuse_schema_1(media_type, label)
    return media_type


@contextlib.contextmanager
def keeping_what_came(commit: BlobCommit) -> Iterator[None]:
    """Finished blobs enter the depot though the artifact fails: nothing names them, the next attempt uses them."""
    try:
        yield
    except (TidegateError, KeyboardInterrupt):
        commit.commit()
        raise
