"""Load images into one tar on the disk: for ``docker load``, ``ctr images import`` and podman, or for imgpkg.

The first kind is an OCI layout with docker's ``manifest.json`` beside it, as ``docker save`` has it since version 25:
old and new docker, containerd and podman read it. Names are those that the images had on the low side, since this is
what a cluster's manifests ask for. The same images give the same bytes; the file is put in its place whole.
"""

import os
import tarfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Self

from tidegate.canonical import dumps
from tidegate.depot.descriptors import Descriptor, Manifest
from tidegate.depot.graph import carried, parse_platforms, walk
from tidegate.depot.layout import LAYOUT_FILE
from tidegate.errors import BlobMissingError, LoadError
from tidegate.files import host_error, sync_fd, sync_folder
from tidegate.names import hex_of
from tidegate.oci import OCI_INDEX, PLATFORMS, REF_NAME
from tidegate.provenance.attachments import ATTACHMENT
from tidegate.registry.reference import split_place
from tidegate_receiver.loaders.image_members import add_blob, add_bytes, can_run, read_manifest
from tidegate_receiver.loaders.items import LEFT_OUT, BlobSource, LoadedItem, LoadItem

FULL_NAME = "io.containerd.image.name"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_IMAGES = {"image", "imgpkg"}


class TarKind(StrEnum):
    """Which tool reads the tar."""

    IMAGES = "tar"
    IMGPKG = "imgpkg"


class ImageTarLoader:
    """Writes the images of `source` into the tar at `path`; what is no image is left out, and said so."""

    def __init__(self, source: BlobSource, kind: TarKind, path: Path) -> None:
        self.target = f"{kind}:{path}"
        self._source, self._kind, self._path = source, kind, path
        self._items: tuple[LoadItem, ...] = ()
        self._outcome: tuple[bool, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def check(self, items: tuple[LoadItem, ...]) -> None:
        """Every blob is there, and the folder too. Raises LoadError, BlobMissingError, GraphError."""
        self._items = tuple(item for item in items if self._takes(item))
        if items and not self._items:
            raise LoadError(f"{self.target}: takes images, and the bundle has none")
        for item in self._items:
            missing = self._source.missing(walk(self._source, item.root))
            if missing:
                raise BlobMissingError(f"{item.name}: its blob {missing[0].digest} is missing, or has another size")
        if not self._path.parent.is_dir() or self._path.is_dir():
            raise LoadError(f"{self.target}: {self._path.parent} is no folder, or the tar is one")

    def load(self, item: LoadItem) -> LoadedItem:
        """The first item writes the tar with all of them."""
        if item not in self._items:
            note = f"{item.name}: is no image, and is left out of {self.target}"
            return LoadedItem(item.name, LEFT_OUT, item.root.digest, changed=False, notes=(note,))
        size = 0
        if self._outcome is None:
            self._outcome = self._write()
            size = self._outcome[1]
        return LoadedItem(item.name, str(self._path), item.root.digest, self._outcome[0], size)

    def _takes(self, item: LoadItem) -> bool:
        """imgpkg carries signatures too; docker and containerd have no place for them, and stop at the first."""
        if self._kind is TarKind.IMGPKG:
            return item.kind in _IMAGES or item.kind == ATTACHMENT
        return item.kind in _IMAGES and (item.root.is_index or self._image(item.root) is not None)

    def _write(self) -> tuple[bool, int]:
        """(whether the file is another than before, its bytes)."""
        temporary = self._path.with_name(f".{self._path.name}.new")
        try:
            with open(temporary, "wb") as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    self._fill(tar)
                file.flush()
                sync_fd(file.fileno())
            size = temporary.stat().st_size
            if _are_same(temporary, self._path):
                temporary.unlink()
                return False, size
            temporary.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise host_error(error, f"load to {self._path}") from None
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return True, size

    def _fill(self, tar: tarfile.TarFile) -> None:
        if self._kind is TarKind.IMGPKG:
            from tidegate_receiver.loaders.imgpkg_tar import fill_imgpkg_tar

            fill_imgpkg_tar(tar, self._items, self._source)
            return
        entries = [entry for item in self._items for entry in self._index_entries(item)]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        add_bytes(tar, "oci-layout", LAYOUT_FILE)
        add_bytes(tar, "index.json", dumps(index))
        add_bytes(tar, "manifest.json", dumps([*self._docker_entries()]))
        blobs = {blob.digest: blob for item in self._items for blob in walk(self._source, item.root)}
        for digest in sorted(blobs):
            add_blob(tar, f"blobs/sha256/{hex_of(digest)}", blobs[digest], self._source)

    @staticmethod
    def _index_entries(item: LoadItem) -> Iterator[dict[str, object]]:
        entry = Descriptor(item.root.media_type, item.root.digest, item.root.size).to_json()
        _repository, tag = split_place(item.place)
        if ":" not in tag:
            entry["annotations"] = {FULL_NAME: item.name, REF_NAME: tag}
        yield entry

    def _docker_entries(self) -> Iterator[dict[str, object]]:
        """docker's own list: images alone, of an index the one for this machine."""
        entries: dict[str, dict[str, object]] = {}
        for item in self._items:
            manifest = self._image(item.root)
            if manifest is None or manifest.config is None:
                continue
            config = f"blobs/sha256/{hex_of(manifest.config.digest)}"
            layers = [f"blobs/sha256/{hex_of(layer.digest)}" for layer in manifest.layers]
            entry = entries.setdefault(item.root.digest, {"Config": config, "RepoTags": [], "Layers": layers})
            tags = entry["RepoTags"]
            if "@" not in item.name and isinstance(tags, list):
                tags.append(item.name)
        yield from entries.values()

    def _image(self, root: Descriptor) -> Manifest | None:
        """The manifest itself, or that of an index for this machine; None where it is no image."""
        manifest = read_manifest(self._source, root)
        if not manifest.is_index:
            return manifest if can_run(manifest) else None
        children = carried(manifest, parse_platforms(root.annotations.get(PLATFORMS, "")))
        wanted = _MACHINES.get(os.uname().machine, os.uname().machine)
        images = [child for child in children if child.is_manifest and child.platform is not None]
        images.sort(key=lambda child: child.platform is None or child.platform.architecture != wanted)
        return self._image(images[0]) if images else None


def _are_same(left: Path, right: Path) -> bool:
    import filecmp

    return right.is_file() and filecmp.cmp(left, right, shallow=False)
