"""A container image made from local files, as an OCI image layout: what the demonstration and a first try carry.

Layers are gzip tars with fixed times, so the same files give the same digests (OCI image specification 1.1).
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.units import MIB

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def build_image(folder: Path, layers: list[list[Path]], *, tag: str = "1") -> str:
    """Write an OCI layout under `folder` with one layer for each list of files; the manifest's digest."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
    blobs = [_layer(files) for files in layers]
    descriptors = [_add_blob(folder, data, LAYER_TYPE) for data, _ in blobs]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in blobs]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _add_blob(folder, _json(config), CONFIG_TYPE),
        "layers": descriptors,
    }
    root = _add_blob(folder, _json(manifest), MANIFEST_TYPE)
    index = {
        "schemaVersion": 2,
        "manifests": [{**root, "annotations": {"org.opencontainers.image.ref.name": tag}}],
    }
    (folder / "index.json").write_bytes(_json(index))
    return str(root["digest"])


def local_files(folder: Path, limit_bytes: int = 48 * MIB) -> Iterator[Path]:
    """Regular files under `folder`, by name, as far as they fit into `limit_bytes`."""
    left = limit_bytes
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= left:
            left -= path.stat().st_size
            yield path


def _layer(files: list[Path]) -> tuple[bytes, str]:
    """(gzip tar, digest of the tar)."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path in files:
            member = tarfile.TarInfo(str(path).lstrip("/"))
            member.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(member, file)
    data = plain.getvalue()
    return gzip.compress(data, compresslevel=1, mtime=0), f"sha256:{hashlib.sha256(data).hexdigest()}"


def _add_blob(folder: Path, data: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (folder / "blobs" / "sha256" / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
