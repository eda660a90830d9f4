"""Bring an imgpkg bundle with everything that it locks, so that imgpkg and kapp-controller find all of it in one place.

    bundle image ─► .imgpkg/images.yml (ImagesLock) ─► its images; those that are bundles themselves likewise

As after ``imgpkg copy``, every image lies by digest in the bundle's own repository, and each bundle has its *locations*
beside it, an image under the tag ``sha256-<hex>.image-locations.imgpkg`` (docs/format/content.md, "imgpkg bundles").
"""

import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import msgspec

from tidegate.canonical import dumps
from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, Descriptor, Manifest, parse_manifest
from tidegate.errors import CollectError, FormatError, RegistryError, RegistryLiesError, UsageError
from tidegate.names import hex_of
from tidegate.oci import DOCKER_MANIFEST
from tidegate.registry.reference import Reference, parse_reference
from tidegate.units import MIB
from tidegate.yaml_reading import read_document
from tidegate_sender.collect.items import ImageItem
from tidegate_sender.collect.kinds import Brought, Sink, SourceItem, Surroundings, brought
from tidegate_sender.collect.tar import END_BYTES, Member, MemberKind, header

BUNDLE_LABEL = "dev.carvel.imgpkg.bundle"
ROOT_LABEL = "dev.carvel.imgpkg.copy.root-bundle"  # of the bundle in a tar
KIND = "imgpkg"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
LAYER_MAX_BYTES = 16 * MIB
_UNPACKED_MAX = 64 * MIB
_MEMBERS_MAX = 20_000
_CONFIG_MAX_BYTES = 4 * MIB
_IMAGES_MAX = 10_000
_DEPTH_MAX = 16
_LOCK_FILE = ".imgpkg/images.yml"
_LOCATIONS_FILE = b"image-locations.yml"
_API = "imgpkg.carvel.dev/v1alpha1"


class _Labelled(msgspec.Struct, frozen=True, rename={"labels": "Labels"}):
    labels: dict[str, str] | None = None


class _Config(msgspec.Struct, frozen=True):
    config: _Labelled | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An image that a lock names: what was brought (the image first, then what belongs to it), and from where."""

    brought: tuple[Brought, ...]
    reference: Reference


@dataclass(slots=True)
class Closure:
    """Everything that a bundle needs. `fetch` brings what a lock names; `read` gives a small blob of a repository."""

    base: Reference  # the bundle's own
    sink: Sink
    fetch: Callable[[str], Found]
    read: Callable[[Reference, Descriptor], bytes]
    artifacts: dict[str, Brought] = field(default_factory=dict)

    def add_bundle(self, found: Found, depth: int = 1) -> None:
        """What the bundle locks, and its locations. Raises CollectError, FormatError."""
        root, reference = found.brought[0].root, found.reference
        if depth > _DEPTH_MAX:
            raise CollectError(f"{reference}: bundles in bundles, deeper than {_DEPTH_MAX} levels")
        locked = read_images_lock(self._layer(reference, root), str(reference))
        listed = []
        for image in locked:
            inner = self.fetch(image)
            is_bundle = self.is_bundle(inner)
            listed.append((image, is_bundle))
            known = self._name(inner.brought[0]) in self.artifacts
            self._keep(inner)
            if is_bundle and not known:
                self.add_bundle(inner, depth + 1)
        locations = add_locations(self.sink, tuple(listed))
        tag = f"{root.digest.replace(':', '-')}.image-locations.imgpkg"
        name = f"{self.base.registry}/{self.base.repository}:{tag}"
        self.artifacts[name] = brought(name, "image", self.sink, locations)

    def is_bundle(self, found: Found) -> bool:
        manifest = self._manifest(found.brought[0].root)
        if manifest.config is None:
            return False
        data = self.read(found.reference, manifest.config)
        try:
            config = msgspec.json.decode(data, type=_Config).config
        except (msgspec.MsgspecError, RecursionError):
            return False  # an artifact whose config is none of an image
        return config is not None and BUNDLE_LABEL in (config.labels or {})

    def _keep(self, found: Found) -> None:
        for one in found.brought:
            if len(self.artifacts) >= _IMAGES_MAX:
                raise CollectError(f"{self.base}: a bundle of more than {_IMAGES_MAX} images")
            self.artifacts.setdefault(self._name(one), replace(one, name=self._name(one)))

    def _name(self, one: Brought) -> str:
        """In the bundle's repository: an image by its digest, what belongs to it by the tag that tells so."""
        tag = one.name.rpartition("/")[2].partition("@")[0].rpartition(":")[2] if ":" in one.name else ""
        place = f":{tag}" if tag.startswith("sha256-") else f"@{one.root.digest}"
        return f"{self.base.registry}/{self.base.repository}{place}"

    def _manifest(self, root: Descriptor) -> Manifest:
        return parse_manifest(self.sink.read_blob(root.digest, max_bytes=MANIFEST_MAX_BYTES), root.media_type)

    def _layer(self, reference: Reference, root: Descriptor) -> bytes:
        manifest = self._manifest(root)
        if manifest.is_index or len(manifest.layers) != 1:
            raise CollectError(f"{reference}: a bundle of imgpkg has one layer")
        return self.read(reference, manifest.layers[0])


def read_images_lock(layer: bytes, what: str) -> tuple[str, ...]:
    """The images of ``.imgpkg/images.yml`` in a bundle's layer, each by digest. Raises CollectError."""
    try:
        lock = read_document(_find_lock(layer, what), f"{what}: {_LOCK_FILE}", texts=True)
    except FormatError as error:
        raise CollectError(error.message) from None
    if not isinstance(lock, dict) or (lock.get("apiVersion"), lock.get("kind")) != (_API, "ImagesLock"):
        raise CollectError(f"{what}: {_LOCK_FILE} is no ImagesLock of {_API}")
    listed = lock.get("images") or []
    images = [item.get("image") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else [None]
    for image in images:
        if not isinstance(image, str) or not _has_digest(image):
            raise CollectError(f"{what}: {_LOCK_FILE}: {str(image)[:200]!r} is no image with a digest")
    return tuple(dict.fromkeys(map(str, images)))


def _has_digest(text: str) -> bool:
    try:
        return bool(parse_reference(text).digest)
    except UsageError:
        return False


def _find_lock(layer: bytes, what: str) -> bytes:
    engine = zlib.decompressobj(wbits=47)  # gzip or zlib
    try:
        plain = engine.decompress(layer, _UNPACKED_MAX) if layer.startswith(b"\x1f\x8b") else layer
        if engine.unconsumed_tail or len(plain) > _UNPACKED_MAX:
            raise CollectError(f"{what}: a layer of more than {_UNPACKED_MAX} bytes")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for number, info in enumerate(tar):
                if number > _MEMBERS_MAX:
                    raise CollectError(f"{what}: more than {_MEMBERS_MAX} files")
                if info.isreg() and info.name.removeprefix("./").removeprefix("/") == _LOCK_FILE:
                    file = tar.extractfile(info)
                    assert file is not None
                    return file.read(info.size)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, IndexError) as error:
        raise CollectError(f"{what}: its layer cannot be read: {str(error)[:200]}") from None
    raise CollectError(f"{what}: is no bundle: it holds no {_LOCK_FILE}")


def add_locations(sink: Sink, images: tuple[tuple[str, bool], ...]) -> Descriptor:
    """The locations of a bundle: (image as the lock has it, whether it is a bundle); same images, same bytes."""
    lines = ["---", f"apiVersion: {_API}", "images:" if images else "images: []"]
    for image, is_bundle in sorted(images):
        lines += [f"- image: {image}", f"  isBundle: {'true' if is_bundle else 'false'}"]
    plain = _tar("\n".join([*lines, "kind: ImageLocations", ""]).encode())
    layer = sink.add(_stored_gzip(plain), DOCKER_LAYER)
    diff_id = f"sha256:{sha256(plain).hexdigest()}"
    config = {
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": sink.add(dumps(config), DOCKER_CONFIG).to_json(),
        "layers": [layer.to_json()],
    }
    return sink.add(dumps(manifest), DOCKER_MANIFEST)


def _tar(content: bytes) -> bytes:
    member = Member(_LOCATIONS_FILE, MemberKind.FILE, 0o600, len(content), 0, 0)
    return header(member) + content + bytes(-len(content) % 512) + bytes(END_BYTES)


def _stored_gzip(plain: bytes) -> bytes:
    """gzip without compression: its bytes depend on no library."""
    parts = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    for start in range(0, len(plain), 65535):
        piece = plain[start : start + 65535]
        is_last = start + 65535 >= len(plain)
        parts.append(struct.pack("<BHH", is_last, len(piece), len(piece) ^ 0xFFFF) + piece)
    parts.append(struct.pack("<II", zlib.crc32(plain), len(plain) & 0xFFFFFFFF))
    return b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImgpkgItem(SourceItem):
    """A bundle of imgpkg in a registry."""

    reference: Reference

    lock_kind = "imgpkg"

    @property
    def label(self) -> str:
        return str(self.reference)

    @property
    def lock_source(self) -> str:
        return str(self.reference)

    def bring(self, sink: Sink, around: Surroundings) -> tuple[Brought, ...]:
        whole = self._image(self.reference, around)

        def read(reference: Reference, blob: Descriptor) -> bytes:
            return _read_small(sink, around, reference, blob)

        closure = Closure(self.reference, sink, lambda image: self._fetch(image, around), read)
        root = Found((replace(whole[0], kind=KIND), *whole[1:]), self.reference)
        if not closure.is_bundle(root):
            raise CollectError(f"{self.label}: is no bundle of imgpkg", hint="name it under images:")
        closure.add_bundle(root)
        return (root.brought[0], *root.brought[1:], *closure.artifacts.values())

    def _fetch(self, image: str, around: Surroundings) -> Found:
        """As imgpkg looks for it: beside the bundle first, where a copy has put it, then where the lock says."""
        locked = parse_reference(image)
        beside = Reference(self.reference.registry, self.reference.repository, digest=locked.digest)
        try:
            return Found(self._image(beside, around), beside)
        except RegistryError as error:
            if error.status not in {401, 403, 404}:
                raise
        elsewhere = replace(locked, tag="")
        return Found(self._image(elsewhere, around), elsewhere)

    def _image(self, reference: Reference, around: Surroundings) -> tuple[Brought, ...]:
        return around.image(ImageItem(reference=reference, origin=self.origin, given=str(reference)))


def _read_small(sink: Sink, around: Surroundings, reference: Reference, blob: Descriptor) -> bytes:
    """A config, or a bundle's layer: from the sink, else from the registry."""
    if blob.size > LAYER_MAX_BYTES:
        raise CollectError(f"{reference}: {blob.digest} has {blob.size} bytes, the limit is {LAYER_MAX_BYTES}")
    if sink.has(blob.digest, blob.size):
        return sink.read_blob(blob.digest, max_bytes=LAYER_MAX_BYTES)
    pieces: list[bytes] = []
    around.client(reference.registry).fetch_blob(reference.repository, blob.digest, blob.size, pieces.append)
    data = b"".join(pieces)
    if sha256(data).hexdigest() != hex_of(blob.digest):
        raise RegistryLiesError(f"{reference}: blob {blob.digest} has other bytes")
    return data
