"""Look at sources without bringing anything: a sink that hashes, and registries that are asked for manifests only.

What `plan` and `lock` give to a source in place of a commit of the depot.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from tidegate.depot.commit import OCTETS
from tidegate.depot.descriptors import Descriptor
from tidegate.errors import BlobDamagedError, BlobMissingError
from tidegate.registry.client import RegistryClient
from tidegate_sender.collect.images import as_brought, look_at_image
from tidegate_sender.collect.items import ImageItem
from tidegate_sender.collect.kinds import Brought
from tidegate_sender.collect.registry import RegistryReader


@dataclass(frozen=True, slots=True)
class Looking:
    """What a source of a further kind is lent where nothing is brought: images are asked for their manifests only."""

    client: Callable[[str], RegistryClient]
    small: dict[str, bytes]

    def image(self, item: ImageItem) -> tuple[Brought, ...]:
        reader = RegistryReader(self.client(item.reference.registry), item.reference.repository)
        graph = look_at_image(item, reader.client, reader)
        self.small.update(reader.read)  # so that the sink can be walked as if it were there
        return as_brought(item.reference, graph)

    def progress(self, count: int, total: int) -> None:
        return


@dataclass(slots=True)
class HashingSink:
    """A `BlobSink` that keeps small blobs (the manifests of a tree) and of the others their hash alone."""

    small: dict[str, bytes] = field(default_factory=dict)

    def has(self, digest: str, size: int | None = None) -> bool:
        return digest in self.small

    def writer(self, expected_digest: str | None = None, expected_size: int | None = None) -> "_HashingWriter":
        return _HashingWriter(expected_size, expected_digest)

    def add(self, data: bytes, media_type: str = OCTETS) -> Descriptor:
        digest = f"sha256:{sha256(data).hexdigest()}"
        self.small[digest] = data
        return Descriptor(media_type, digest, len(data))

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        data = self.small.get(digest)
        if data is None or len(data) > max_bytes:
            raise BlobMissingError(f"blob {digest}: was hashed and not kept")
        return data


class _HashingWriter(nullcontext[None]):
    """The hash and size of what is written."""

    def __init__(self, expected_size: int | None, expected_digest: str | None = None) -> None:
        super().__init__()
        self._hasher, self._size, self._expected = sha256(), 0, expected_size
        self._digest = expected_digest

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._hasher.update(data)
        self._size += len(data)

    def finish(self) -> Descriptor:
        if self._expected not in {None, self._size}:
            raise BlobDamagedError(f"a tar has {self._size} bytes, {self._expected} expected")
        digest = f"sha256:{self._hasher.hexdigest()}"
        if self._digest not in {None, digest}:
            raise BlobDamagedError(f"blob {self._digest}: its bytes have the digest {digest}")
        return Descriptor(OCTETS, digest, self._size)

    def __enter__(self) -> Self:  # type: ignore[override]
        return self
