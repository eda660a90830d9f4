"""Images of a tar that ``imgpkg copy --to-tar`` wrote: every manifest and config as text in its ``manifest.json``.

Beside that file lie the layers, as ``sha256-<hex>.tar.gz``. What it says of itself is checked against its digests;
which image is the bundle and what belongs into its repository is left to `imgpkg_bundle`.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Annotated

import msgspec

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.errors import GraphError, UsageError
from tidegate.names import DIGEST, hex_of
from tidegate.registry.reference import Reference, parse_reference
from tidegate_sender.collect.archive_file import Archive, ArchiveError
from tidegate_sender.collect.archives.docker_archive import copy_blob
from tidegate_sender.collect.imgpkg_bundle import KIND, LAYER_MAX_BYTES, ROOT_LABEL, Closure, Found
from tidegate_sender.collect.kinds import Brought, Sink, Surroundings, brought

_DEPTH_MAX = 8
_Digest = Annotated[str, msgspec.Meta(pattern=DIGEST)]


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    digest: _Digest
    raw: str


class _Manifest(msgspec.Struct, frozen=True, rename="pascal"):
    media_type: str
    digest: _Digest
    raw: str


class _Image(msgspec.Struct, frozen=True, rename="pascal"):
    config: _Config
    manifest: _Manifest
    refs: list[str] | None = None
    tag: str = ""
    labels: dict[str, str] | None = None


class _Index(msgspec.Struct, frozen=True, rename="pascal"):
    media_type: str
    digest: _Digest
    raw: str
    refs: list[str] | None = None
    images: list[_Image] | None = None
    indexes: "list[_Index] | None" = None
    tag: str = ""
    labels: dict[str, str] | None = None


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    image: _Image | None = None
    image_index: _Index | None = None


@dataclass(frozen=True, slots=True)
class _Named:
    reference: Reference
    root: Descriptor
    is_bundle: bool


def is_imgpkg_list(data: bytes) -> bool:
    """Whether a ``manifest.json`` is imgpkg's and not docker's: its entries have other fields."""
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return False
    entries = plain if isinstance(plain, list) else []
    return any(isinstance(item, dict) and {"Image", "ImageIndex"} & item.keys() for item in entries)


def bring_imgpkg_tar(archive: Archive, data: bytes, sink: Sink, around: Surroundings) -> tuple[Brought, ...]:
    """Every image of the tar; those of a bundle in the bundle's repository, with its locations. Raises ArchiveError."""
    try:
        entries = msgspec.json.decode(data, type=list[_Entry])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{archive.what}: manifest.json: {error}") from None
    named = [_bring(archive, entry, sink, around) for entry in entries]
    bundles = [item for item in named if item.is_bundle]
    if not bundles:
        return tuple(brought(item.reference.name, "image", sink, item.root) for item in named)
    by_digest = {item.root.digest: item for item in named}
    return tuple(one for bundle in bundles for one in _closure(archive, bundle, by_digest, sink))


def _closure(archive: Archive, bundle: _Named, images: dict[str, _Named], sink: Sink) -> tuple[Brought, ...]:
    """The bundle and all that it locks, in its own repository."""

    def fetch(image: str) -> Found:
        item = images.get(parse_reference(image).digest)
        if item is None:
            raise ArchiveError(f"{archive.what}: {image[:300]} is locked, and is not in it")
        return Found((brought(item.reference.name, "image", sink, item.root),), item.reference)

    def read(reference: Reference, blob: Descriptor) -> bytes:
        del reference
        if blob.size > LAYER_MAX_BYTES:
            raise ArchiveError(f"{archive.what}: {blob.digest}: {blob.size} bytes, the limit is {LAYER_MAX_BYTES}")
        return sink.read_blob(blob.digest, max_bytes=LAYER_MAX_BYTES)

    closure = Closure(bundle.reference, sink, fetch, read)
    root = brought(bundle.reference.name, KIND, sink, bundle.root)
    closure.add_bundle(Found((root,), bundle.reference))
    return (root, *closure.artifacts.values())


def _bring(archive: Archive, entry: _Entry, sink: Sink, around: Surroundings) -> _Named:
    described = entry.image or entry.image_index
    if described is None:
        raise ArchiveError(f"{archive.what}: manifest.json: an entry that is neither image nor index")
    root = _add_image(archive, entry.image, sink) if entry.image else _add_index(archive, entry.image_index, sink, 0)
    try:
        for blob in walk(sink, root):
            if not sink.has(blob.digest, blob.size):
                region = archive.member(f"sha256-{hex_of(blob.digest)}.tar.gz")
                copy_blob(region, blob.digest, sink, around, archive.what)
        reference = parse_reference((described.refs or [""])[0])
    except (GraphError, UsageError) as error:
        raise ArchiveError(f"{archive.what}: {error.message}", hint=error.hint) from None
    if described.tag:
        reference = replace(reference, tag=parse_reference(f"x:{described.tag}").tag, digest="")
    return _Named(reference, root, ROOT_LABEL in (described.labels or {}))


def _add_index(archive: Archive, index: _Index | None, sink: Sink, depth: int) -> Descriptor:
    assert index is not None
    if depth > _DEPTH_MAX:
        raise ArchiveError(f"{archive.what}: indexes deeper than {_DEPTH_MAX} levels")
    for image in index.images or ():
        _add_image(archive, image, sink)
    for inner in index.indexes or ():
        _add_index(archive, inner, sink, depth + 1)
    return _add(archive, index.raw, index.digest, index.media_type, sink)


def _add_image(archive: Archive, image: _Image, sink: Sink) -> Descriptor:
    _add(archive, image.config.raw, image.config.digest, "application/octet-stream", sink)
    return _add(archive, image.manifest.raw, image.manifest.digest, image.manifest.media_type, sink)


def _add(archive: Archive, text: str, digest: str, media_type: str, sink: Sink) -> Descriptor:
    data = text.encode("utf-8", "surrogatepass")
    if f"sha256:{sha256(data).hexdigest()}" != digest:
        raise ArchiveError(f"{archive.what}: manifest.json: {digest} has other bytes")
    return sink.add(data, media_type)
