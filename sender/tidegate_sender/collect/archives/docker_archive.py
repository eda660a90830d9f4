"""Images of a ``docker save`` tar in its old layout: ``manifest.json``, configs, and layers, usually plain tars.

The config is kept byte by byte, so the image keeps its ID. Such a tar has no manifest, so one is made: an OCI manifest
over that config and the layers as they lie there. What lies there plain stays plain: its digest is the diff id that the
config names, whoever packs it; compressed anew it would have another one with every library (docs/decisions/0020).
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

import msgspec

from tidegate.canonical import dumps
from tidegate.depot.descriptors import Descriptor
from tidegate.errors import BlobDamagedError
from tidegate.oci import OCI_LAYER_TAR, OCI_MANIFEST
from tidegate.units import GIB, MIB
from tidegate_sender.collect.archive_file import (
    Archive,
    ArchiveError,
    Region,
    decompressed,
    is_compressed,
    limited,
)
from tidegate_sender.collect.attachments import Found
from tidegate_sender.collect.kinds import Sink, Surroundings

LIST_FILE = "manifest.json"
LIST_MAX_BYTES = 16 * MIB
CONFIG_MAX_BYTES = 4 * MIB
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_MAX_BYTES = 256 * GIB
_LAYERS_MAX = 1024
_SMALL_BYTES = 1 * MIB  # so much is held in memory, also by a sink that keeps nothing else
_SUFFIX = {"": "", "gzip": "+gzip", "zstd": "+zstd"}
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class SavedImage(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of ``manifest.json``."""

    config: _Text
    layers: Annotated[list[_Text], msgspec.Meta(max_length=_LAYERS_MAX)]
    repo_tags: list[_Text] | None = None


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]], msgspec.Meta(max_length=_LAYERS_MAX)
    ]


class _Config(msgspec.Struct, frozen=True):
    rootfs: _RootFs


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """An image that is in the sink, with what belongs to it; `names` are references as the archive has them, none where
    it has none."""

    root: Descriptor
    names: tuple[str, ...]
    attached: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()


def read_list(data: bytes, what: str) -> tuple[SavedImage, ...]:
    """The entries of ``manifest.json``. Raises ArchiveError."""
    try:
        return tuple(msgspec.json.decode(data, type=list[SavedImage]))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{what}: {LIST_FILE}: {error}") from None


def bring_saved_images(archive: Archive, sink: Sink, around: Surroundings) -> tuple[ArchivedImage, ...]:
    """Every image of the archive, its layers checked against the diff ids of its config. Raises ArchiveError."""
    saved = read_list(archive.member(LIST_FILE).read(LIST_MAX_BYTES, archive.what), archive.what)
    return tuple(ArchivedImage(_bring(archive, image, sink, around), tuple(image.repo_tags or ())) for image in saved)


def _bring(archive: Archive, image: SavedImage, sink: Sink, around: Surroundings) -> Descriptor:
    data = archive.member(image.config).read(CONFIG_MAX_BYTES, f"{archive.what}: {image.config[:100]}")
    try:
        diff_ids = msgspec.json.decode(data, type=_Config).rootfs.diff_ids
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{archive.what}: {image.config[:100]}: {error}") from None
    if len(diff_ids) != len(image.layers):
        raise ArchiveError(
            f"{archive.what}: {image.config[:100]} has {len(diff_ids)} layers, {LIST_FILE} has {len(image.layers)}"
        )
    layers = [
        _bring_layer(archive, name, diff_id, sink, around) for name, diff_id in zip(image.layers, diff_ids, strict=True)
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": sink.add(data, CONFIG_TYPE).to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return sink.add(dumps(manifest), OCI_MANIFEST)


def _bring_layer(archive: Archive, name: str, diff_id: str, sink: Sink, around: Surroundings) -> Descriptor:
    region = archive.member(name)
    what = f"{archive.what}: {name[:100]}"
    compression = is_compressed(region)
    media_type = OCI_LAYER_TAR + _SUFFIX[compression]
    if compression:
        _check_diff_id(region, diff_id, what)
        return Descriptor(media_type, *copy_blob(region, None, sink, around, what))
    return Descriptor(media_type, *copy_blob(region, diff_id, sink, around, what))


def _check_diff_id(region: Region, diff_id: str, what: str) -> None:
    hasher = sha256()
    for piece in limited(decompressed(region, what), LAYER_MAX_BYTES, what):
        hasher.update(piece)
    if f"sha256:{hasher.hexdigest()}" != diff_id:
        raise ArchiveError(f"{what}: unpacked it has the digest {hasher.hexdigest()}, the config says {diff_id}")


def copy_blob(region: Region, digest: str | None, sink: Sink, around: Surroundings, what: str) -> tuple[str, int]:
    """The region as a blob in the sink: (digest, size). Raises ArchiveError where it has not the digest expected."""
    if digest is not None and sink.has(digest, region.length):
        return digest, region.length
    if region.length <= _SMALL_BYTES:
        return _add_small(region, digest, sink, what)
    try:
        with sink.writer(digest, region.length) as writer:
            for piece in region.pieces():
                writer.write(piece)
                around.progress(len(piece), 0)
            blob = writer.finish()
    except BlobDamagedError as error:
        raise ArchiveError(f"{what}: {error.message}") from None
    return blob.digest, blob.size


def _add_small(region: Region, digest: str | None, sink: Sink, what: str) -> tuple[str, int]:
    data = region.read(_SMALL_BYTES, what)
    actual = f"sha256:{sha256(data).hexdigest()}"
    if digest not in {None, actual}:
        raise ArchiveError(f"{what}: its bytes have the digest {actual}, expected is {digest}")
    blob = sink.add(data, "application/octet-stream")
    return blob.digest, blob.size
