"""Images of an OCI layout inside a tar: ``docker save`` since version 25, ``podman save --format oci-archive``, buildx.

Manifests are kept byte by byte. Such tars often hold one platform of an index and none of the others: then the artifact
is what is there, as if these platforms had been asked for (docs/format/content.md, C-7).
"""

from dataclasses import dataclass

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
from tidegate_sender.collect.docker_archive import LIST_MAX_BYTES, ArchivedImage, copy_blob
from tidegate_sender.collect.kinds import Sink, Surroundings
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
    """Every image that the layout's index names. Raises ArchiveError, CollectError."""
    data = archive.member(INDEX_FILE).read(LIST_MAX_BYTES, f"{archive.what}: {INDEX_FILE}")
    try:
        entries = parse_index_entries(data, what=archive.what, max_bytes=LIST_MAX_BYTES)
        return tuple(ArchivedImage(_bring(archive, entry, platforms, sink, around), _names(entry)) for entry in entries)
    except GraphError as error:
        raise ArchiveError(f"{archive.what}: {error.message}", hint=error.hint) from None


def _names(entry: Descriptor) -> tuple[str, ...]:
    full, name = entry.annotations.get(FULL_NAME, ""), entry.annotations.get(REF_NAME, "")
    if full or "/" in name:
        return (full or name,)
    return (f"localhost/{name}",) if ":" in name else ()  # as of a layout in a folder


def _bring(
    archive: Archive, entry: Descriptor, platforms: tuple[str, ...], sink: Sink, around: Surroundings
) -> Descriptor:
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
    for blob in walk(reader, chosen):
        region = archive.find(f"blobs/sha256/{hex_of(blob.digest)}")
        if region is None or region.length != blob.size:
            raise ArchiveError(f"{archive.what}: blob {blob.digest} of {blob.size} bytes is not there whole")
        if blob.is_index or blob.is_manifest:
            sink.add(reader.read_blob(blob.digest, max_bytes=MANIFEST_MAX_BYTES), blob.media_type)
        else:
            _copy(archive, blob, sink, around)
    return chosen


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
