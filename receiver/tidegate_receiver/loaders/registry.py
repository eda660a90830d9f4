"""Load artifacts into an OCI registry by the distribution API.

An artifact's place keeps its name: ``app:1`` becomes ``TARGET/app:1``. The order is what makes a half load invisible:
blobs, then manifests from the leaves up, each by digest, and the tag last; then each is read back. What the registry
has is asked for and not sent again; a blob that another repository of it has is mounted from there. What belongs to an
image is listed for it: by the registry itself, or under the fallback tag.
"""

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, Descriptor, Manifest, parse_manifest
from tidegate.depot.graph import carried, parse_platforms, reduce_index, walk
from tidegate.errors import BlobMissingError, RegistryError, RegistryLiesError
from tidegate.oci import PLATFORMS
from tidegate.provenance.attachments import ATTACHMENT, as_referrer, subject_of, tagged_subject
from tidegate.provenance.referrers import make_discoverable
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import split_place
from tidegate_receiver.loaders.items import BlobSource, LoadedItem, LoadItem
from tidegate_receiver.loaders.signature_merge import merge, missing_layers

PUSH_THREADS = 6
ITEM_THREADS = 3  # artifacts at a time; their blobs share the threads that push
_MOUNTS_TRIED = 3  # repositories that may have a blob, before it is sent
#: how registries say that an index names children which they do not have
_CHILD_MISSING = {"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "MANIFEST_INVALID"}
#: gives for a blob the repositories (without a target's prefix) that other artifacts of this site have it in
Holders = Callable[[], Mapping[str, tuple[str, ...]]]


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
    """Pushes from `source` to the registry `host` (host or host:port), below `prefix`; use it in a `with` block."""

    def __init__(
        self,
        source: BlobSource,
        host: str,
        *,
        client: RegistryClient | None = None,
        prefix: str = "",
        holders: Holders = dict,
    ) -> None:
        self.target = f"{host}/{prefix}" if prefix else host
        self._source, self._prefix, self._holders = source, prefix, holders
        self._client = client or RegistryClient(host)
        self._pushed: dict[str, str] = {}  # blob to a repository of this registry that has it
        self._known: Mapping[str, tuple[str, ...]] | None = None
        self._lock = threading.Lock()
        self._under_way: dict[str, threading.Event] = {}  # blobs that a thread is sending
        self._listing = threading.Lock()  # a fallback tag is read, added to and written by one at a time
        self._pool = ThreadPoolExecutor(PUSH_THREADS, thread_name_prefix="push")
        self._items = ThreadPoolExecutor(ITEM_THREADS, thread_name_prefix="load")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._items.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)

    def load_many(self, items: Iterable[LoadItem]) -> Iterator[LoadedItem]:
        """Several at a time, given in order. What belongs to images is whole before the first image has its tag."""
        listed = tuple(items)
        for group in (
            [item for item in listed if item.kind == ATTACHMENT],
            [item for item in listed if item.kind != ATTACHMENT],
        ):
            loads = [self._items.submit(self.load, item) for item in group]
            try:
                for load in loads:
                    yield load.result()
            finally:
                for load in loads:
                    load.cancel()

    def check(self, items: tuple[LoadItem, ...]) -> None:
        """The registry answers, and every blob is there. Raises RegistryError, BlobMissingError, GraphError."""
        self._client.ping()
        for item in items:
            self._read_graph(item.root)

    def place_of(self, item: LoadItem) -> str:
        """Where it is put."""
        return f"{self.target}/{item.place}"

    def is_there(self, item: LoadItem) -> bool:
        """Whether its place has it already; signatures that were merged with others count as changed. Raises
        RegistryError."""
        present = self._client.manifest_digest(*self._parts(item))
        return present is not None and present in (item.root.digest, self._reduced_digest(self._read_graph(item.root)))

    def _parts(self, item: LoadItem) -> tuple[str, str]:
        """Repository and reference there."""
        name, reference = split_place(item.place)
        return (f"{self._prefix}/{name}" if self._prefix else name), reference

    def load(self, item: LoadItem) -> LoadedItem:
        """Push one artifact, and see that what it belongs to leads to it. Raises RegistryError and its children."""
        repository, reference = self._parts(item)
        place = self.place_of(item)
        graph = self._read_graph(item.root)
        loaded = self._loaded(item, graph, repository, reference, place)
        return replace(loaded, found_by=self._make_discoverable(graph, repository, reference))

    def _loaded(self, item: LoadItem, graph: _Graph, repository: str, reference: str, place: str) -> LoadedItem:
        present = self._client.manifest_digest(repository, reference)
        if present == item.root.digest:
            return LoadedItem(item.name, place, present, changed=False)
        if present is not None and present == self._reduced_digest(graph):
            return LoadedItem(item.name, place, present, changed=False, notes=(_reduced_note(item, present),))
        if present is not None and tagged_subject(reference)[0] and not item.root.is_index:
            merged = self._merged(item, graph, repository, reference, place)
            if merged is not None:
                return merged
        sent = self._push_leaves(repository, graph.leaves)
        sent += sum(self._push_manifest(repository, node, data) for node, data in graph.manifests[:-1])
        digest, notes = self._put_root(item, graph, repository, reference)
        return LoadedItem(item.name, place, digest, changed=True, size_bytes=sent + len(graph.root_bytes), notes=notes)

    # --- what belongs to an image ------------------------------------------------------------

    def _make_discoverable(self, graph: _Graph, repository: str, reference: str) -> str:
        """How a client finds it; empty for what belongs to nothing."""
        ways = {"tag"} if tagged_subject(reference)[0] else set()
        for node, data in graph.manifests:
            subject = subject_of(data)
            if subject:
                listed = as_referrer(node, graph.parsed[node.digest])
                with self._listing:
                    ways.add(str(make_discoverable(self._client, repository, subject, listed)))
        return ", ".join(sorted(ways))

    def _merged(self, item: LoadItem, graph: _Graph, repository: str, reference: str, place: str) -> LoadedItem | None:
        """Signatures added to those that stand under the same tag; None where these cannot be added to."""
        answer = self._client.manifest(repository, reference)
        theirs = parse_manifest(answer.data, answer.media_type or item.root.media_type, what=place)
        added = missing_layers(graph.parsed[item.root.digest], theirs)
        note = f"{item.name}: {place} holds other signatures too, which stay"
        if not added:
            return LoadedItem(item.name, place, answer.digest, changed=False, notes=(note,))
        if theirs.config is None or theirs.config.size > MANIFEST_MAX_BYTES:
            return None
        config = io.BytesIO()
        self._client.fetch_blob(repository, theirs.config.digest, theirs.config.size, config.write)
        made = merge(answer.data, config.getvalue(), added)
        if made is None:
            return None
        sent = self._push_leaves(repository, added)
        if made.config:
            named = parse_manifest(made.manifest, theirs.media_type, what=place).config
            assert named is not None
            self._client.push_blob(repository, named.digest, named.size, partial(io.BytesIO, made.config))
        digest = self._client.put_manifest(repository, reference, theirs.media_type, made.manifest)
        return LoadedItem(item.name, place, digest, changed=True, size_bytes=sent + len(made.manifest), notes=(note,))

    # --- pushing -----------------------------------------------------------------------------

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

    def _push_leaves(self, repository: str, leaves: Iterable[Descriptor]) -> int:
        """Bytes that were sent. Several at a time, the largest first."""
        unique = {leaf.digest: leaf for leaf in leaves}
        ordered = sorted(unique.values(), key=lambda leaf: -leaf.size)
        pushes = [self._pool.submit(self._push_leaf, repository, leaf) for leaf in ordered]
        try:
            return sum(push.result() for push in pushes)
        finally:
            for push in pushes:
                push.cancel()

    def _push_leaf(self, repository: str, leaf: Descriptor) -> int:
        """Bytes that were sent: 0 where the registry has the blob, or mounts it. It is read back from where it is."""
        with self._alone(leaf.digest):
            return self._push_alone(repository, leaf)

    @contextmanager
    def _alone(self, digest: str) -> Iterator[None]:
        """One thread at a time for each blob: whoever comes second finds it there, and mounts it."""
        while True:
            with self._lock:
                other = self._under_way.get(digest)
                if other is None:
                    event = self._under_way[digest] = threading.Event()
                    break
            other.wait()
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[digest]
            event.set()

    def _push_alone(self, repository: str, leaf: Descriptor) -> int:
        if self._client.has_blob(repository, leaf.digest, leaf.size):
            self._pushed.setdefault(leaf.digest, repository)
            return 0
        sent = 0
        if not self._mount(repository, leaf):
            self._client.push_blob(repository, leaf.digest, leaf.size, partial(self._source.open_blob, leaf.digest))
            sent = leaf.size
        if not self._client.has_blob(repository, leaf.digest, leaf.size):
            raise RegistryLiesError(f"{self.target}: {repository}: took {leaf.digest}, and does not have it")
        self._pushed.setdefault(leaf.digest, repository)
        return sent

    def _mount(self, repository: str, leaf: Descriptor) -> bool:
        here = self._pushed.get(leaf.digest)
        if here is not None and self._client.mount_blob(repository, leaf.digest, here):
            return True
        with self._lock:
            if self._known is None:
                self._known = self._holders()
        others = (f"{self._prefix}/{name}" if self._prefix else name for name in self._known.get(leaf.digest, ()))
        tried = [name for name in others if name not in {repository, here}][:_MOUNTS_TRIED]
        return any(self._client.mount_blob(repository, leaf.digest, name) for name in tried)

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
