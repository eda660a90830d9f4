"""Images made from bytes at hand, as OCI layouts, and carried by skopeo as an independent client."""

import gzip
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Blob:
    """A blob by its descriptor, as JSON has it."""

    media_type: str
    digest: str
    size: int

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class Layout:
    """An OCI layout folder that a test fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[dict[str, Any]] = []
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self._write_index()

    def blob(self, data: bytes, media_type: str) -> Blob:
        """Put a blob there."""
        name = sha256(data).hexdigest()
        (self.folder / "blobs" / "sha256" / name).write_bytes(data)
        return Blob(media_type, f"sha256:{name}", len(data))

    def json_blob(self, value: Any, media_type: str) -> Blob:
        return self.blob(json.dumps(value).encode(), media_type)

    def image(
        self,
        layers: Sequence[Mapping[str, bytes]],
        *,
        os: str = "linux",
        architecture: str = "amd64",
        variant: str = "",
    ) -> Blob:
        """An image of one layer for each mapping of paths to contents."""
        tars = [layer_tar(files) for files in layers]
        platform = {"os": os, "architecture": architecture} | ({"variant": variant} if variant else {})
        diffs = [f"sha256:{sha256(data).hexdigest()}" for data in tars]
        config = self.json_blob({**platform, "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}, CONFIG)
        packed = [self.blob(gzip.compress(data, 1, mtime=0), LAYER) for data in tars]
        return self.manifest(config, packed)

    def manifest(self, config: Blob, layers: Sequence[Blob], **more: Any) -> Blob:
        parts = {"config": config.descriptor, "layers": [layer.descriptor for layer in layers]}
        return self.json_blob({"schemaVersion": 2, "mediaType": MANIFEST, **parts, **more}, MANIFEST)

    def index(self, children: Mapping[str, Blob], **more: Any) -> Blob:
        """An index of images by platform, ``linux/arm64/v8``."""
        manifests = []
        for platform, child in children.items():
            names = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
            manifests.append({**child.descriptor, "platform": names})
        return self.json_blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, **more}, INDEX)

    def tag(self, blob: Blob, name: str) -> Blob:
        """Name a blob in the layout's index."""
        self.entries.append({**blob.descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})
        self._write_index()
        return blob

    def read(self, digest: str) -> bytes:
        return (self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()

    def _write_index(self) -> None:
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.entries}))


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target.getvalue()


def skopeo(*arguments: str) -> str:
    """Run skopeo; gives its standard output. Skips the test where it is not installed."""
    program = shutil.which("skopeo")
    if program is None:
        pytest.skip("needs skopeo: apt-get install skopeo")
    command = [program, "--insecure-policy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return done.stdout


def push_by_skopeo(layout: Path, tag: str, reference: str, *, every_platform: bool = False) -> None:
    """Copy an image of a layout into a registry of this machine."""
    more = ["--all"] if every_platform else []
    skopeo("copy", *more, "--dest-tls-verify=false", f"oci:{layout}:{tag}", f"docker://{reference}")


def pull_by_skopeo(reference: str, folder: Path, *, every_platform: bool = False) -> None:
    """Copy an image out of a registry of this machine into an OCI layout folder, tag ``pulled``, digests kept."""
    more = ["--all"] if every_platform else []
    skopeo(
        "copy", "--preserve-digests", *more, "--src-tls-verify=false", f"docker://{reference}", f"oci:{folder}:pulled"
    )
