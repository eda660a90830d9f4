"""Members that both kinds of image tars have: manifests read, blobs and small files added."""

import tarfile

from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, Descriptor, Manifest, parse_manifest
from tidegate.units import MIB
from tidegate_receiver.loaders.items import BlobSource

IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
#: types of layers that are unpacked: those of a signature are others, even where its config is that of an image
_UNPACKED = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
CONFIG_MAX_BYTES = 4 * MIB


def read_manifest(source: BlobSource, descriptor: Descriptor) -> Manifest:
    data = source.read_blob(descriptor.digest, max_bytes=MANIFEST_MAX_BYTES)
    return parse_manifest(data, descriptor.media_type, what=descriptor.digest)


def can_run(manifest: Manifest) -> bool:
    """Whether it is an image that a container can be made of: one such thing less, and ``docker load`` gives up."""
    config = manifest.config.media_type if manifest.config is not None else ""
    return config in IMAGE_CONFIGS and all(layer.media_type.startswith(_UNPACKED) for layer in manifest.layers)


def add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A small member; no owner, no time: the same content gives the same bytes."""
    import io

    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def add_blob(tar: tarfile.TarFile, name: str, blob: Descriptor, source: BlobSource) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = blob.size, 0o644
    with source.open_blob(blob.digest) as file:
        tar.addfile(info, file)
