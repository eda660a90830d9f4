"""The tar that ``imgpkg copy --tar FILE --to-repo …`` reads: manifests and configs as text, and the layers beside.

Written to the form that imgpkg itself writes; imgpkg is not among the programs of our tests. The bundle is marked as
the root; locations are left out, since imgpkg writes those of the new place.
"""

import tarfile
from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.canonical import dumps
from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, Descriptor
from tidegate.depot.graph import carried, parse_platforms, walk
from tidegate.errors import LoadError
from tidegate.names import hex_of
from tidegate.oci import PLATFORMS
from tidegate.registry.reference import split_place
from tidegate_receiver.loaders.image_members import CONFIG_MAX_BYTES, IMAGE_CONFIGS, add_blob, add_bytes, read_manifest
from tidegate_receiver.loaders.items import BlobSource, LoadItem

ROOT_LABEL = "dev.carvel.imgpkg.copy.root-bundle"
LOCATIONS = ".image-locations.imgpkg"
BUNDLE_KIND = "imgpkg"


def fill_imgpkg_tar(tar: tarfile.TarFile, items: tuple[LoadItem, ...], source: BlobSource) -> None:
    """Write ``manifest.json`` and every layer, by digest. Raises LoadError for a config that is no text."""
    wanted = [item for item in items if not item.name.endswith(LOCATIONS)]
    entries = [_entry(item, source) for item in wanted]
    add_bytes(tar, "manifest.json", dumps(entries))
    layers = {layer.digest: layer for item in wanted for layer in _layers(item.root, source)}
    for digest in sorted(layers):
        add_blob(tar, f"sha256-{hex_of(digest)}.tar.gz", layers[digest], source)


def _layers(root: Descriptor, source: BlobSource) -> Iterator[Descriptor]:
    for blob in walk(source, root):
        if blob.is_manifest:
            yield from read_manifest(source, blob).layers


def _entry(item: LoadItem, source: BlobSource) -> dict[str, Any]:
    named = _Named(item)
    if item.root.is_index:
        return {"Image": None, "ImageIndex": _index(item.root, named, source)}
    return {"Image": _image(item.root, named, source), "ImageIndex": None}


class _Named:
    """What every descriptor of an item says of it."""

    def __init__(self, item: LoadItem) -> None:
        self.repository = item.name.partition("@")[0] if "@" in item.name else item.name.rpartition(":")[0]
        tag = split_place(item.place)[1]
        self.tag = "" if ":" in tag else tag
        self.labels = {ROOT_LABEL: ""} if item.kind == BUNDLE_KIND else {}
        self.platforms = parse_platforms(item.root.annotations.get(PLATFORMS, ""))

    def fields(self, digest: str) -> dict[str, Any]:
        reference = f"{self.repository}@{digest}"
        return {"Refs": [reference], "OrigRef": reference, "Tag": self.tag, "Labels": self.labels}


def _index(root: Descriptor, named: _Named, source: BlobSource) -> dict[str, Any]:
    children = carried(read_manifest(source, root), named.platforms)
    return {
        **named.fields(root.digest),
        "MediaType": root.media_type,
        "Digest": root.digest,
        "Raw": _text(source, root.digest, MANIFEST_MAX_BYTES),
        "Images": [_image(child, named, source) for child in children if not child.is_index],
        "Indexes": [_index(child, named, source) for child in children if child.is_index],
    }


def _image(root: Descriptor, named: _Named, source: BlobSource) -> dict[str, Any]:
    manifest = read_manifest(source, root)
    assert manifest.config is not None
    config = _text(source, manifest.config.digest, CONFIG_MAX_BYTES)
    diff_ids = _diff_ids(config) if manifest.config.media_type in IMAGE_CONFIGS else []
    layers = [
        {
            "MediaType": layer.media_type,
            "Digest": layer.digest,
            "DiffID": diff_ids[number] if number < len(diff_ids) else "",
            "Size": layer.size,
        }
        for number, layer in enumerate(manifest.layers)
    ]
    return {
        **named.fields(root.digest),
        "Layers": layers,
        "Config": {"Digest": manifest.config.digest, "Raw": config},
        "Manifest": {
            "MediaType": root.media_type,
            "Digest": root.digest,
            "Raw": _text(source, root.digest, MANIFEST_MAX_BYTES),
        },
    }


def _text(source: BlobSource, digest: str, max_bytes: int) -> str:
    try:
        return source.read_blob(digest, max_bytes=max_bytes).decode()
    except UnicodeDecodeError:
        raise LoadError(f"{digest}: is no text, and a tar for imgpkg holds manifests and configs as text") from None


def _diff_ids(config: str) -> list[str]:
    try:
        found = msgspec.json.decode(config)["rootfs"]["diff_ids"]
    except (msgspec.MsgspecError, RecursionError, LookupError, TypeError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []
