"""Load artifacts into an OCI registry by the distribution API.

An artifact's place keeps its name: ``app:1`` becomes ``TARGET/app:1``. The order is what makes a half load invisible:
blobs, then manifests from the leaves up, each by digest, and the tag last; then the tag is read back. What the
registry has is asked for and not sent again; a blob that this load put into another repository is mounted from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from tidegate.depot.descriptors import Descriptor, Manifest
from tidegate.depot.graph import carried, parse_platforms, reduce_index, walk
from tidegate.errors import BlobMissingError, RegistryError
from tidegate.oci import PLATFORMS
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import split_place
from tidegate_receiver.loaders.items import BlobSource, LoadedItem, LoadItem

#: how registries say that an index names children which they do not have
_CHILD_MISSING = {"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "MANIFEST_INVALID"}


@dataclass(frozen=True, slots=True)
class _Graph:
    """An artifact: its leaves, and its manifests with their bytes, children before parents."""

    root: Descriptor
    leaves: tuple[Descriptor, ...]
    manifests: tuple[tuple[Descriptor, bytes], ...]
    parsed: dict[str, Manifest] = field(default_factory=dict)

    @property
    def root_bytes(self) -> bytes:
        return self.manifests[-1][1]


class RegistryLoader:
    """Pushes from `source` to the registry `host` (host or host:port)."""

    def __init__(self, source: BlobSource, host: str, *, client: RegistryClient | None = None) -> None:
        self.target = host
        self._source = source
        self._client = client or RegistryClient(host)
        self._pushed: dict[str, str] = {}  # blob to a repository of this registry that has it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def check(self, items: tuple[LoadItem, ...]) -> None:
        """The registry answers, and every blob is there. Raises RegistryError, BlobMissingError, GraphError."""
        self._client.ping()
        for item in items:
            self._read_graph(item.root)

    def load(self, item: LoadItem) -> LoadedItem:
        """Push one artifact. Raises RegistryError; its children say what is wrong."""
        repository, reference = split_place(item.place)
        place = f"{self.target}/{item.place}"
        graph = self._read_graph(item.root)
        present = self._client.manifest_digest(repository, reference)
        if present == item.root.digest:
            return LoadedItem(item.name, place, present, changed=False)
        if present is not None and present == self._reduced_digest(graph):
            return LoadedItem(item.name, place, present, changed=False, notes=(_reduced_note(item, present),))
        sent = sum(self._push_leaf(repository, leaf) for leaf in graph.leaves)
        sent += sum(self._push_manifest(repository, node, data) for node, data in graph.manifests[:-1])
        digest, notes = self._put_root(item, graph, repository, reference)
        return LoadedItem(item.name, place, digest, changed=True, size_bytes=sent + len(graph.root_bytes), notes=notes)

    def _read_graph(self, root: Descriptor) -> _Graph:
        nodes: dict[str, tuple[Descriptor, Manifest, bytes]] = {}

        def visit(descriptor: Descriptor, manifest: Manifest, data: bytes) -> None:
            nodes[descriptor.digest] = (descriptor, manifest, data)

        blobs = walk(self._source, root, visit=visit)
        leaves = tuple(blob for blob in blobs if blob.digest not in nodes)
        missing = self._source.missing(leaves)
        if missing:
            raise BlobMissingError(f"{root.digest}: its blob {missing[0].digest} is missing, or has another size")
        manifests = tuple((nodes[digest][0], nodes[digest][2]) for digest in _children_first(root.digest, nodes))
        return _Graph(root, leaves, manifests, {digest: node[1] for digest, node in nodes.items()})

    def _push_leaf(self, repository: str, leaf: Descriptor) -> int:
        """Bytes that were sent: 0 where the registry has the blob, or mounts it."""
        if self._client.has_blob(repository, leaf.digest, leaf.size):
            self._pushed.setdefault(leaf.digest, repository)
            return 0
        other = self._pushed.get(leaf.digest)
        if other is not None and self._client.mount_blob(repository, leaf.digest, other):
            return 0
        self._client.push_blob(repository, leaf.digest, leaf.size, partial(self._source.open_blob, leaf.digest))
        self._pushed[leaf.digest] = repository
        return leaf.size

    def _push_manifest(self, repository: str, node: Descriptor, data: bytes) -> int:
        if self._client.manifest_digest(repository, node.digest) == node.digest:
            return 0
        self._client.put_manifest(repository, node.digest, node.media_type, data)
        return len(data)

    def _put_root(self, item: LoadItem, graph: _Graph, repository: str, reference: str) -> tuple[str, tuple[str, ...]]:
        """The tag, last of all. An index with left-out platforms that the registry refuses is put reduced (C-7)."""
        root = item.root
        try:
            return self._client.put_manifest(repository, reference, root.media_type, graph.root_bytes), ()
        except RegistryError as error:
            is_sparse = bool(root.annotations.get(PLATFORMS)) and root.is_index and ":" not in reference
            if not is_sparse or error.code not in _CHILD_MISSING:
                raise
        reduced = self._reduced(graph)
        digest = self._client.put_manifest(repository, reference, root.media_type, reduced)
        return digest, (_reduced_note(item, digest),)

    def _reduced(self, graph: _Graph) -> bytes:
        platforms = parse_platforms(graph.root.annotations.get(PLATFORMS, ""))
        return reduce_index(graph.root_bytes, graph.parsed[graph.root.digest], platforms)

    def _reduced_digest(self, graph: _Graph) -> str:
        import hashlib

        if not graph.root.is_index or not graph.root.annotations.get(PLATFORMS):
            return ""
        return f"sha256:{hashlib.sha256(self._reduced(graph)).hexdigest()}"


def _children_first(root: str, nodes: dict[str, tuple[Descriptor, Manifest, bytes]]) -> Iterator[str]:
    """Digests of manifests such that each comes after all that it names; the walk has bounded the depth."""
    done: set[str] = set()

    def descend(digest: str) -> Iterator[str]:
        if digest in done or digest not in nodes:
            return
        done.add(digest)
        for child in carried(nodes[digest][1], ()):
            yield from descend(child.digest)
        yield digest

    return descend(root)


def _reduced_note(item: LoadItem, digest: str) -> str:
    return (
        f"{item.name}: the registry refuses an index whose other platforms are missing; "
        f"put as {digest} with the chosen platforms only, in place of {item.root.digest}"
    )
