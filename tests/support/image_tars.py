"""Tars of images as other tools write them, made in memory from their parts: docker save, OCI in a tar, imgpkg."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from content import tar_of

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def config_of(layers: Sequence[bytes], labels: dict[str, str] | None = None) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": labels}, "rootfs": rootfs}).encode()


def plain_tar(members: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A tar of files, and symbolic links behind them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


def docker_tar(
    layers: Sequence[bytes], names: Sequence[str] | None = ("app:1",), *, config: bytes | None = None, **more: Any
) -> bytes:
    """What ``docker save`` wrote before version 25; `more` replaces fields of the entry in manifest.json."""
    config = config_of(layers) if config is None else config
    paths = [f"{number:064x}/layer.tar" for number in range(len(layers))]
    name = f"{sha256(config).hexdigest()}.json"
    entry = {"Config": name, "RepoTags": None if names is None else list(names), "Layers": paths, **more}
    members = dict(zip(paths, layers, strict=True)) | {name: config, "manifest.json": json.dumps([entry]).encode()}
    return plain_tar(members)


def pushed(layer: bytes, labels: dict[str, str] | None = None) -> tuple[bytes, bytes, bytes]:
    """(manifest, config, compressed layer) of an image in Docker's form with one layer."""
    config, packed = config_of([layer], labels), gzip.compress(layer, mtime=0)
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": DOCKER_LAYER, "digest": digest_of(packed), "size": len(packed)}],
    }
    return json.dumps(manifest).encode(), config, packed


def images_lock(images: Sequence[str]) -> bytes:
    """The layer of an imgpkg bundle that locks these images."""
    lines = ["apiVersion: imgpkg.carvel.dev/v1alpha1", "kind: ImagesLock", "images:"]
    lines += [f"- image: {image}" for image in images]
    return tar_of({".imgpkg/images.yml": "\n".join(lines).encode(), "config.yml": b"x: 1"})


def imgpkg_tar(images: Sequence[tuple[str, str, tuple[bytes, bytes, bytes], bool]]) -> bytes:
    """What ``imgpkg copy --to-tar`` writes: (reference, tag, parts, whether it is the root bundle) of each image."""
    entries, members = [], {}
    for reference, tag, (manifest, config, packed), is_root in images:
        entries.append(
            {
                "Image": {
                    "Refs": [f"{reference}@{digest_of(manifest)}"],
                    "Config": {"Digest": digest_of(config), "Raw": config.decode()},
                    "Manifest": {"MediaType": DOCKER_MANIFEST, "Digest": digest_of(manifest), "Raw": manifest.decode()},
                    "Layers": [],
                    "Tag": tag,
                    "Labels": {"dev.carvel.imgpkg.copy.root-bundle": ""} if is_root else {},
                }
            }
        )
        members[f"sha256-{sha256(packed).hexdigest()}.tar.gz"] = packed
    return plain_tar({"manifest.json": json.dumps(entries).encode(), **members})
