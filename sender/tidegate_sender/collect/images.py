"""Bring an image with all that belongs to it: what its registry has, and local SBOMs; held to what is expected.

    tag ─► digest ─► graph ─► what belongs to each manifest, and to that ─► expectation
                       └► its blobs, once, meanwhile                └► theirs

Everything after the tag goes by digest, so that a tag that moves meanwhile changes nothing. An image whose expectation
fails is not brought; its blobs stay in the depot, and nothing names them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor, Manifest
from tidegate.depot.graph import walk
from tidegate.errors import ProvenanceError
from tidegate.provenance.attachments import ATTACHMENT, attachments_among
from tidegate.provenance.expectation import judge
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import Reference, place_of, split_place
from tidegate_sender.collect.attachments import Found, Map, find_attachments
from tidegate_sender.collect.fetching import Fetching
from tidegate_sender.collect.items import ImageItem, LayoutItem
from tidegate_sender.collect.kinds import Brought
from tidegate_sender.collect.registry import RegistryReader, keeping_what_came, resolve_image
from tidegate_sender.collect.sbom import attach_sbom


@dataclass(frozen=True, slots=True)
class ImageGraph:
    """An image as it is found: its root, its blobs, and what belongs to it."""

    root: Descriptor
    blobs: tuple[Descriptor, ...]
    attached: tuple[Found, ...]

    @property
    def all_blobs(self) -> tuple[Descriptor, ...]:
        """Everything, each blob once."""
        found = {blob.digest: blob for blob in self.blobs}
        for one in self.attached:
            found.update({blob.digest: blob for blob in one.blobs})
        return tuple(found.values())


def look_at_image(
    item: ImageItem,
    client: RegistryClient,
    reader: RegistryReader,
    in_parallel: Map = map,
    on_own: Callable[[tuple[Descriptor, ...]], object] = lambda _blobs: None,
) -> ImageGraph:
    """Read manifests only; `on_own` is told of the image's own blobs before what belongs to it is looked for.

    Raises RegistryError and its children, GraphError, CollectError.
    """
    root = resolve_image(item, client, reader)
    manifests: list[str] = []

    def visit(descriptor: Descriptor, _manifest: Manifest, _data: bytes) -> None:
        manifests.append(descriptor.digest)

    blobs = walk(reader, root, visit=visit)
    on_own(blobs)
    if not item.attachments:
        return ImageGraph(root, blobs, ())
    found = find_attachments(client, item.reference.repository, reader, manifests, in_parallel=in_parallel)
    return ImageGraph(root, blobs, found)


def as_brought(image: Reference, graph: ImageGraph) -> tuple[Brought, ...]:
    """The image first, then what belongs to it, by the names under which they travel."""
    size = sum(blob.size for blob in graph.blobs)
    return (
        Brought(image.name, "image", graph.root, size),
        *(
            Brought(attachment_name(image, one.reference), ATTACHMENT, one.root, sum(blob.size for blob in one.blobs))
            for one in graph.attached
        ),
    )


def attachment_name(image: Reference, reference: str) -> str:
    """``localhost:5000/app:sha256-….sig``, or ``localhost:5000/app@sha256:…``."""
    if reference.startswith("sha256:"):
        return replace(image, tag="", digest=reference).name
    return replace(image, tag=reference, digest="").name


def bring_image(
    item: ImageItem,
    client: RegistryClient,
    commit: BlobCommit,
    fetching: Fetching,
    *,
    progress: Callable[[int, int], object],
) -> tuple[tuple[Brought, ...], int]:
    """Everything of the image in `commit`, and how many bytes of it were fetched.

    Raises RegistryError and its children, GraphError, CollectError, ProvenanceError.
    """
    repository = item.reference.repository
    reader = RegistryReader(client, repository, commit)
    wanted: set[str] = set()
    new_bytes = 0

    def want(blobs: Iterable[Descriptor]) -> list[Descriptor]:
        """Those that are not here, and were not wanted before."""
        nonlocal new_bytes
        once = {blob.digest: blob for blob in blobs if blob.digest not in wanted}
        more = [blob for blob in once.values() if not commit.has(blob.digest, blob.size)]
        wanted.update(blob.digest for blob in more)
        new_bytes += sum(blob.size for blob in more)
        return more

    def count(nbytes: int) -> None:
        progress(nbytes, new_bytes)

    with keeping_what_came(commit):
        with fetching.ahead() as ahead:

            def begin(blobs: tuple[Descriptor, ...]) -> None:
                own, known = want(blobs), dict(reader.read)
                ahead.begin(lambda stop: fetching.fetch(own, client, repository, commit, count, known, stop))

            graph = look_at_image(item, client, reader, fetching.map, on_own=begin)
            fetching.fetch(want(graph.all_blobs), client, repository, commit, count, known=reader.read)
        return with_sboms(item, item.reference, graph, commit), new_bytes


def with_sboms(
    item: ImageItem | LayoutItem, image: Reference, graph: ImageGraph, commit: BlobCommit
) -> tuple[Brought, ...]:
    """The image, what belongs to it and its local SBOMs, held to what is expected. Raises ProvenanceError."""
    brought = as_brought(image, graph)
    brought += tuple(
        attach_sbom(path, graph.root, commit, lambda digest: attachment_name(image, digest)) for path in item.sboms
    )
    return _held(item, commit, brought)


def _held(item: ImageItem | LayoutItem, commit: BlobCommit, brought: tuple[Brought, ...]) -> tuple[Brought, ...]:
    """Hold the image to its expectation, which then travels with it. Raises ProvenanceError."""
    if item.expect is None:
        return brought
    image = brought[0]
    attached = attachments_among(commit, {one.name: one.root for one in brought[1:]})
    repository, _ = split_place(place_of(image.name))
    keys = item.expect.public_keys(item.label)
    judged = judge(commit, attached.get(f"{repository}@{image.root.digest}", ()), keys, item.expect)
    if judged.faults:
        raise ProvenanceError(f"{item.label}: {'; '.join(judged.faults)}")
    return (replace(image, expect=item.expect.to_text(), verdict=judged.verdict), *brought[1:])
