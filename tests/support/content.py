"""Small images and trees of files in an OCI layout, for the tests of the high side."""

import io
import tarfile
from collections.abc import Iterable, Mapping

from tidegate.canonical import dumps
from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.oci import EMPTY_BYTES, FILES_TYPE, OCI_EMPTY, OCI_INDEX, OCI_LAYER_TAR, OCI_MANIFEST, TITLE

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


def tar_of(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def add_image(depot: Depot, layers: Iterable[bytes], *, architecture: str = "amd64") -> Descriptor:
    """An image that clients take: config with diff ids, uncompressed layers."""
    with depot.commit() as commit:
        parts = [commit.add(layer, OCI_LAYER_TAR) for layer in layers]
        rootfs = {"type": "layers", "diff_ids": [part.digest for part in parts]}
        config = {"architecture": architecture, "os": "linux", "rootfs": rootfs, "config": {}}
        return _add_manifest(commit, commit.add(dumps(config), OCI_CONFIG), parts)


def add_index(depot: Depot, images: Mapping[str, Descriptor]) -> Descriptor:
    """An index of images by architecture."""
    with depot.commit() as commit:
        children = [
            {**image.to_json(), "platform": {"architecture": name, "os": "linux"}} for name, image in images.items()
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
        return commit.add(dumps(index), OCI_INDEX)


def add_files(depot: Depot, title: str, tars: Iterable[bytes]) -> Descriptor:
    """A files artifact with these tars as its layers."""
    with depot.commit() as commit:
        layers = [commit.add(tar, OCI_LAYER_TAR) for tar in tars]
        config = commit.add(EMPTY_BYTES, OCI_EMPTY)
        return _add_manifest(commit, config, layers, artifactType=FILES_TYPE, annotations={TITLE: title})


def add_referrer(depot: Depot, subject: Descriptor, artifact_type: str) -> Descriptor:
    """An artifact that refers to another, as a signature does."""
    with depot.commit() as commit:
        config = commit.add(EMPTY_BYTES, OCI_EMPTY)
        layer = commit.add(artifact_type.encode(), "text/plain")
        extra = {"subject": subject.to_json(), "artifactType": artifact_type, "annotations": {"by": "test"}}
        return _add_manifest(commit, config, [layer], **extra)


def _add_manifest(commit: BlobCommit, config: Descriptor, layers: list[Descriptor], **extra: object) -> Descriptor:
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
        **extra,
    }
    return commit.add(dumps(manifest), OCI_MANIFEST)
