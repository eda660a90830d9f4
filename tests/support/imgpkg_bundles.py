"""An imgpkg bundle in a registry, as imgpkg pushes it."""

import io

from content import tar_of
from image_tars import DOCKER_MANIFEST, digest_of, images_lock, pushed

from tidegate.registry.client import RegistryClient


def push(host: str, repository: str, tag: str, parts: tuple[bytes, bytes, bytes]) -> str:
    """A Docker image of one layer into a registry; gives its digest."""
    client = RegistryClient(host)
    manifest, config, layer = parts
    for blob in (config, layer):
        client.push_blob(repository, digest_of(blob), len(blob), lambda blob=blob: io.BytesIO(blob))  # type: ignore[misc]
    client.put_manifest(repository, tag, DOCKER_MANIFEST, manifest)
    return digest_of(manifest)


def push_bundle(host: str) -> tuple[str, str]:
    """An imgpkg bundle whose image lies in another repository: (digest of the bundle, of the image)."""
    image = push(host, "apps/web", "1", pushed(tar_of({"web": b"1"})))
    layer = images_lock([f"{host}/apps/web@{image}"])
    return push(host, "packages/web", "1.0", pushed(layer, {"dev.carvel.imgpkg.bundle": "true"})), image
