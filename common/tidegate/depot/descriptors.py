"""Descriptors, manifests and indexes of the OCI image specification, read from outside bytes with limits.

Only what a graph needs is kept: what a blob reaches, in the order written. Docker's schema 2 types are read alike;
schema 1 is refused by name. Bytes in, values out. Rules: docs/format/content.md, C-1 to C-6.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from tidegate.canonical import loads
from tidegate.errors import FormatError, GraphError
from tidegate.names import DIGEST
from tidegate.oci import INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST
from tidegate.units import MIB

MANIFEST_MAX_BYTES = 4 * MIB  # what distribution registries take, and C-3
BLOB_MAX_BYTES = 2**42  # 4 TiB, as bundle.md's B-10
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"

_Digest = Annotated[str, msgspec.Meta(pattern=DIGEST, max_length=71)]
_MediaType = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=BLOB_MAX_BYTES)]


@dataclass(frozen=True, slots=True)
class Platform:
    """Where an image runs, as an index says it."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob by digest (``sha256:…``), size in bytes and media type, with what the reference to it says."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    platform: Platform | None = None
    urls: tuple[str, ...] = ()

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES

    @property
    def is_manifest(self) -> bool:
        return self.media_type in MANIFEST_TYPES

    @property
    def is_foreign(self) -> bool:
        return bool(self.urls) or ".nondistributable." in self.media_type or ".foreign." in self.media_type

    def to_json(self) -> dict[str, Any]:
        """The descriptor as it stands in an index or manifest; empty fields are left out."""
        plain: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            plain["artifactType"] = self.artifact_type
        if self.annotations:
            plain["annotations"] = dict(self.annotations)
        if self.platform is not None:
            names = {"os": self.platform.os, "architecture": self.platform.architecture}
            plain["platform"] = names | ({"variant": self.platform.variant} if self.platform.variant else {})
        if self.urls:
            plain["urls"] = list(self.urls)
        return plain


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index as a node of a graph: `manifests` of an index, `config` and `layers` of a manifest."""

    media_type: str
    manifests: tuple[Descriptor, ...] = ()
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What it reaches, in the order of C-3."""
        return self.manifests + ((self.config,) if self.config else ()) + self.layers


class _WirePlatform(msgspec.Struct, frozen=True, gc=False):
    os: Annotated[str, msgspec.Meta(max_length=128)] = ""
    architecture: Annotated[str, msgspec.Meta(max_length=128)] = ""
    variant: Annotated[str, msgspec.Meta(max_length=128)] | None = None


class _WireDescriptor(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    media_type: _MediaType
    digest: Annotated[str, msgspec.Meta(max_length=512)]
    size: _Size
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    platform: _WirePlatform | None = None
    urls: list[str] | None = None


class _WireManifest(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    schema_version: int
    media_type: str | None = None
    manifests: list[_WireDescriptor] | None = None
    config: _WireDescriptor | None = None
    layers: list[_WireDescriptor] | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None


def parse_manifest(data: bytes, media_type: str, *, what: str = "manifest") -> Manifest:
    """Read a manifest or index whose descriptor says `media_type`. Raises GraphError naming `what`."""
    refuse_schema_1(media_type, what)
    if media_type not in INDEX_TYPES | MANIFEST_TYPES:
        raise GraphError(f"{what}: {media_type!r} is neither a manifest nor an index")
    wire = _decode(data, _WireManifest, what)
    if wire.schema_version != 2:
        raise GraphError(f"{what}: schemaVersion {wire.schema_version}, only 2 is read")
    if wire.media_type not in {None, "", media_type}:
        raise GraphError(f"{what}: its descriptor says {media_type!r}, itself it says {wire.media_type!r}")
    if wire.manifests is not None and wire.layers is not None:
        raise GraphError(f"{what}: has both manifests and layers")
    is_index = media_type in INDEX_TYPES
    if (wire.manifests if is_index else wire.layers) is None:
        raise GraphError(f"{what}: {media_type!r} without {'manifests' if is_index else 'layers'}")
    if not is_index and wire.config is None:
        raise GraphError(f"{what}: has no config")
    return Manifest(
        media_type=media_type,
        manifests=tuple(_descriptor(item, what) for item in wire.manifests or ()),
        config=_descriptor(wire.config, what) if wire.config else None,
        layers=tuple(_descriptor(item, what) for item in wire.layers or ()),
        artifact_type=wire.artifact_type or "",
        annotations=wire.annotations or {},
    )


def parse_index_entries(data: bytes, *, what: str, max_bytes: int) -> tuple[Descriptor, ...]:
    """The references of an OCI layout's ``index.json``. Raises GraphError naming `what`."""
    wire = _decode(data, _WireManifest, what, max_bytes=max_bytes)
    if wire.schema_version != 2 or wire.manifests is None:
        raise GraphError(f"{what}: is not the index of an OCI layout")
    return tuple(_descriptor(item, what) for item in wire.manifests)


def detect_media_type(data: bytes) -> str:
    """The media type that a manifest's own bytes claim; empty where they claim none that is known.

    For layouts and registries that do not say it; the bytes are parsed fully afterwards.
    """
    try:
        wire: _WireManifest = _decode(data, _WireManifest, "manifest")
    except GraphError:
        return ""
    if wire.media_type:
        return wire.media_type
    if wire.manifests is not None:
        return OCI_INDEX
    return OCI_MANIFEST if wire.layers is not None else ""


def refuse_schema_1(media_type: str, what: str) -> None:
    if media_type.startswith(_SCHEMA_1):
        raise GraphError(
            f"{what}: is a Docker schema 1 manifest, which has no digests of its parts and is not carried",
            hint="have the image pushed again by a current tool, or ask for another tag",
        )


def _decode(data: bytes, type_: type[Any], what: str, *, max_bytes: int = MANIFEST_MAX_BYTES) -> Any:
    try:
        return loads(data, type_, what=what, max_bytes=max_bytes, exact=False)
    except FormatError as error:
        raise GraphError(error.message) from None


def _descriptor(wire: _WireDescriptor, what: str) -> Descriptor:
    check_digest(wire.digest, what)
    platform = wire.platform
    return Descriptor(
        media_type=wire.media_type,
        digest=wire.digest,
        size=wire.size,
        annotations=wire.annotations or {},
        artifact_type=wire.artifact_type or "",
        platform=Platform(platform.os, platform.architecture, platform.variant or "") if platform else None,
        urls=tuple(wire.urls or ()),
    )


def check_digest(digest: str, what: str) -> None:
    """Refuse what is no SHA-256 digest (C-1); another algorithm is named. Raises GraphError."""
    try:
        msgspec.convert(digest, _Digest)
    except msgspec.ValidationError:
        algorithm = digest.partition(":")[0][:20]
        reason = "is no digest" if algorithm == "sha256" else f"uses {algorithm!r}, only sha256 is read"
        raise GraphError(f"{what}: {digest[:80]!r} {reason}") from None
