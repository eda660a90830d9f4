"""Images of an OCI layout inside a tar: ``docker save`` since version 25, ``podman save --format oci-archive``, buildx.

Manifests are kept byte by byte, and what belongs to an image comes with it, as of a layout in a folder. Such tars often
hold one platform of an index and none of the others: then the artifact is what is there, as if these platforms had been
asked for (docs/format/content.md, C-7).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tidegate.depot.descriptors import (
    MANIFEST_MAX_BYTES,
    Descriptor,
    Manifest,
    parse_index_entries,
    parse_manifest,
)
from tidegate.depot.graph import walk
from tidegate.errors import DepotError, GraphError
from tidegate.names import hex_of
from tidegate.oci import REF_NAME
from tidegate_sender.collect.archive_file import Archive, ArchiveError
from tidegate_sender.collect.archives.docker_archive import LIST_MAX_BYTES, ArchivedImage, copy_blob
from tidegate_sender.collect.kinds import Sink, Surroundings
from tidegate_sender.collect.layout_attachments import (
    attachments_of,
    belongs_to_another,
    is_list,
    those_that_belong,
)
from tidegate_sender.collect.platforms import choose_root

INDEX_FILE = "index.json"
#: the whole reference, where the tool says it (docker, buildx, containerd); `ref.name` may be a tag alone
FULL_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class ArchiveReader:
    """Blobs of the archive as a graph's reader; each is checked."""

    archive: Archive

    def has(self, digest: str) -> bool:
        return self.archive.find(f"blobs/sha256/{hex_of(digest)}") is not None

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        from hashlib import sha256

        data = self.archive.member(f"blobs/sha256/{hex_of(digest)}").read(max_bytes, digest)
        if f"sha256:{sha256(data).hexdigest()}" != digest:
            raise ArchiveError(f"{self.archive.what}: blob {digest} has other bytes")
        return data


def bring_layout_images(
    archive: Archive, platforms: tuple[str, ...], sink: Sink, around: Surroundings
) -> tuple[ArchivedImage, ...]:
    """Every image that the layout's index names, with what the index has that belongs to it. Raises ArchiveError,
    CollectError."""
    data = archive.member(INDEX_FILE).read(LIST_MAX_BYTES, f"{archive.what}: {INDEX_FILE}")
    reader = ArchiveReader(archive)
    try:
        entries = parse_index_entries(data, what=archive.what, max_bytes=LIST_MAX_BYTES)
        belonging = those_that_belong(entries, reader)
        images = [entry for entry in entries if not belongs_to_another(entry, reader)] or entries
        found = tuple(_image(archive, entry, belonging, platforms, sink, around) for entry in images)
    except GraphError as error:
        raise ArchiveError(f"{archive.what}: {error.message}", hint=error.hint) from None
    return _with_note(found, [entry for entry in belonging if entry not in images], reader)


def _image(
    archive: Archive,
    entry: Descriptor,
    belonging: tuple[Descriptor, ...],
    platforms: tuple[str, ...],
    sink: Sink,
    around: Surroundings,
) -> ArchivedImage:
    reader = ArchiveReader(archive)
    root, manifests = _bring(archive, entry, platforms, sink, around)
    attached = attachments_of(belonging, reader, entry.digest, manifests, archive.what)
    for one in attached:
        _copy_all(archive, one.blobs, sink, around)
    return ArchivedImage(root, _names(entry), attached)


def _with_note(
    images: tuple[ArchivedImage, ...], belonging: list[Descriptor], reader: ArchiveReader
) -> tuple[ArchivedImage, ...]:
    """Say what belongs to images that are not there: it goes nowhere, and nobody should believe that it came."""
    came = {one.root.digest for image in images for one in image.attached}
    left = [entry for entry in belonging if entry.digest not in came and not is_list(entry)]
    if not left or not images:
        return images
    note = f"{len(left)} of what is in {reader.archive.what} belongs to images that are not in it, and is left out"
    return (replace(images[0], notes=(note,)), *images[1:])


def _names(entry: Descriptor) -> tuple[str, ...]:
    full, name = entry.annotations.get(FULL_NAME, ""), entry.annotations.get(REF_NAME, "")
    if full or "/" in name:
        return (full or name,)
    return (f"localhost/{name}",) if ":" in name else ()  # as of a layout in a folder


def _bring(
    archive: Archive, entry: Descriptor, platforms: tuple[str, ...], sink: Sink, around: Surroundings
) -> tuple[Descriptor, list[str]]:
    """The image's root, and the manifests that it is made of."""
    reader = ArchiveReader(archive)
    data = reader.read_blob(entry.digest, max_bytes=MANIFEST_MAX_BYTES)
    root = Descriptor(entry.media_type, entry.digest, len(data))
    manifest = parse_manifest(data, root.media_type, what=archive.what)
    chosen = choose_root(
        root,
        manifest,
        platforms or _present(manifest, reader),
        archive.what,
        lambda blob, limit: reader.read_blob(blob.digest, max_bytes=limit),
    )
    manifests: list[str] = []

    def visit(descriptor: Descriptor, _manifest: Manifest, _data: bytes) -> None:
        manifests.append(descriptor.digest)

    _copy_all(archive, walk(reader, chosen, visit=visit), sink, around)
    return chosen, manifests


def _copy_all(archive: Archive, blobs: Iterable[Descriptor], sink: Sink, around: Surroundings) -> None:
    reader = ArchiveReader(archive)
    for blob in blobs:
        region = archive.find(f"blobs/sha256/{hex_of(blob.digest)}")
        if region is None or region.length != blob.size:
            raise ArchiveError(f"{archive.what}: blob {blob.digest} of {blob.size} bytes is not there whole")
        if blob.is_index or blob.is_manifest:
            sink.add(reader.read_blob(blob.digest, max_bytes=MANIFEST_MAX_BYTES), blob.media_type)
        else:
            _copy(archive, blob, sink, around)


def _copy(archive: Archive, blob: Descriptor, sink: Sink, around: Surroundings) -> None:
    region = archive.member(f"blobs/sha256/{hex_of(blob.digest)}")
    try:
        copy_blob(region, blob.digest, sink, around, archive.what)
    except DepotError as error:
        raise ArchiveError(f"{archive.what}: {error.message}") from None


def _present(manifest: Manifest, reader: ArchiveReader) -> tuple[str, ...]:
    """The platforms of an index whose manifests are in the archive; none named where all are."""
    if not manifest.is_index or all(reader.has(child.digest) for child in manifest.manifests):
        return ()
    there = [child for child in manifest.manifests if reader.has(child.digest) and child.platform is not None]
    return tuple(sorted({str(child.platform) for child in there} - {"unknown/unknown"}))
