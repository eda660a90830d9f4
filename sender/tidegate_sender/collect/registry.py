"""Bring an image from a registry into the depot: its graph first, then its blobs, several at a time.

What the depot has is not asked for again. Every byte is checked against the digest that names it before it enters;
layers that came whole stay in the depot even when the image fails, so that the next attempt starts there.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor, Manifest, detect_media_type, parse_manifest, refuse_schema_1
from tidegate.depot.graph import walk
from tidegate.errors import BlobDamagedError, CollectError, RegistryError, RegistryLiesError, TidegateError
from tidegate.registry.client import ManifestAnswer, RegistryClient
from tidegate.units import GIB
from tidegate_sender.collect.items import ImageItem
from tidegate_sender.collect.platforms import choose_root

FETCH_THREADS = 4
_COMMIT_BYTES = 1 * GIB  # a killed process loses at most so much of what it fetched


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
    root = Descriptor(_media_type(answer, item.label), answer.digest, answer.size)
    return root, parse_manifest(answer.data, root.media_type, what=item.label)


def _media_type(answer: ManifestAnswer, label: str) -> str:
    media_type = answer.media_type or detect_media_type(answer.data)
    refuse_schema_1(media_type, label)
    return media_type


def collect_image(
    item: ImageItem, client: RegistryClient, commit: BlobCommit, *, progress: Callable[[int, int], object]
) -> GraphResult:
    """Bring the image into `commit`. `progress` gets bytes since its last call, and how many there are to fetch.

    Raises RegistryError and its children, GraphError, CollectError.
    """
    repository = item.reference.repository
    reader = RegistryReader(client, repository, commit)
    root = resolve_image(item, client, reader)
    blobs = walk(reader, root)
    wanted = [blob for blob in blobs if not commit.has(blob.digest, blob.size)]
    new_bytes = sum(blob.size for blob in wanted)
    with keeping_what_came(commit):
        _fetch(wanted, client, repository, reader, commit, lambda count: progress(count, new_bytes))
    return GraphResult(root, blobs, new_bytes)


@contextlib.contextmanager
def keeping_what_came(commit: BlobCommit) -> Iterator[None]:
    """Finished blobs enter the depot though the artifact fails: nothing names them, the next attempt uses them."""
    try:
        yield
    except (TidegateError, KeyboardInterrupt):
        commit.commit()
        raise


def _fetch(
    wanted: list[Descriptor],
    client: RegistryClient,
    repository: str,
    reader: RegistryReader,
    commit: BlobCommit,
    progress: Callable[[int], object],
) -> None:
    stop = threading.Event()
    held = 0
    with ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="fetch") as pool:
        try:
            fetches = {}
            for blob in wanted:
                if blob.digest in reader.read:
                    commit.add(reader.read[blob.digest])
                    progress(blob.size)
                else:
                    fetches[pool.submit(_fetch_blob, blob, client, repository, commit, progress, stop)] = blob
            for done in as_completed(fetches):
                done.result()
                held += fetches[done].size
                if held >= _COMMIT_BYTES:
                    commit.commit()
                    held = 0
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _fetch_blob(
    blob: Descriptor,
    client: RegistryClient,
    repository: str,
    commit: BlobCommit,
    progress: Callable[[int], object],
    stop: threading.Event,
) -> None:
    def write(piece: bytes) -> None:
        if stop.is_set():
            raise RegistryError(f"{blob.digest}: given up, since another blob failed")
        writer.write(piece)
        progress(len(piece))

    try:
        with commit.writer(blob.digest, blob.size) as writer:
            client.fetch_blob(repository, blob.digest, blob.size, write)
            writer.finish()
    except BlobDamagedError as error:
        raise RegistryLiesError(f"{client.host}: {repository}: {error.message}") from None
