"""Walk the graph of an artifact: every blob that its root reaches, each once, in one fixed order.

The same walk serves collecting, packing, verification and loading, so that all of them mean the same set of blobs.
Limits and rules: docs/format/content.md, C-2 to C-7. Bytes come from a `BlobReader`; no file is opened here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tidegate.canonical import dumps
from tidegate.depot.descriptors import (
    MANIFEST_MAX_BYTES,
    Descriptor,
    Manifest,
    Platform,
    parse_manifest,
    refuse_schema_1,
)
from tidegate.errors import GraphError, UsageError
from tidegate.oci import DOCKER_REFERENCE_DIGEST, INDEX_TYPES, MANIFEST_TYPES, PLATFORMS
from tidegate.units import MIB

_PLATFORM = re.compile(r"[a-z0-9_.-]{1,64}/[a-z0-9_.-]{1,64}(?:/[a-z0-9_.-]{1,64})?")


class BlobReader(Protocol):
    """Gives small blobs whole, checked against their digest: a depot, a quarantine, a registry."""

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class GraphLimits:
    """What a graph may cost; the defaults are those of C-3."""

    depth: int = 8
    blobs: int = 2**20
    manifest_bytes: int = MANIFEST_MAX_BYTES
    total_manifest_bytes: int = 256 * MIB


LIMITS = GraphLimits()


def walk(
    reader: BlobReader,
    root: Descriptor,
    *,
    limits: GraphLimits = LIMITS,
    visit: Callable[[Descriptor, Manifest, bytes], None] | None = None,
) -> tuple[Descriptor, ...]:
    """All blobs of the artifact `root`: depth first, the blob itself, config before layers, each blob once.

    An annotation `vnd.tidegate.platforms` of `root` names the platforms that the artifact carries of its indexes.
    `visit` sees each manifest and index with its bytes, parents first. A leaf is not read:
    whether it is there is the caller's check.
    Raises GraphError, and whatever the reader raises for a manifest that is missing or damaged.
    """
    walker = _Walker(reader, limits, parse_platforms(root.annotations.get(PLATFORMS, "")), visit)
    walker.walk(root, 1)
    return tuple(walker.found.values())


class _Walker:
    def __init__(
        self,
        reader: BlobReader,
        limits: GraphLimits,
        platforms: tuple[Platform, ...],
        visit: Callable[[Descriptor, Manifest, bytes], None] | None,
    ) -> None:
        self.reader, self.limits, self.platforms, self.visit = reader, limits, platforms, visit
        self.found: dict[str, Descriptor] = {}
        self.manifest_bytes = 0

    def walk(self, descriptor: Descriptor, depth: int) -> None:
        if depth > self.limits.depth:
            raise GraphError(f"{descriptor.digest}: more than {self.limits.depth} levels of manifests")
        if self._is_known(descriptor):
            return
        if not (descriptor.is_index or descriptor.is_manifest):
            refuse_schema_1(descriptor.media_type, descriptor.digest)
            raise GraphError(f"{descriptor.digest}: {descriptor.media_type!r} is neither a manifest nor an index")
        manifest, data = self._read(descriptor)
        if self.visit is not None:
            self.visit(descriptor, manifest, data)
        for child in carried(manifest, self.platforms):
            self.walk(child, depth + 1)
        for leaf in ((manifest.config,) if manifest.config else ()) + manifest.layers:
            self._add_leaf(leaf, descriptor)

    def _add_leaf(self, leaf: Descriptor, parent: Descriptor) -> None:
        if leaf.is_foreign:
            raise GraphError(
                f"{parent.digest}: layer {leaf.digest} is a foreign layer ({leaf.media_type}), kept at "
                f"{', '.join(leaf.urls[:3]) or 'a place of its own'} and not in the registry",
                hint="such layers (Windows base images) cannot be carried; build the image on another base",
            )
        self._is_known(leaf)

    def _is_known(self, descriptor: Descriptor) -> bool:
        """Whether the blob was met before; adds it where not. One blob with two sizes is refused (C-5)."""
        before = self.found.get(descriptor.digest)
        if before is None:
            if len(self.found) >= self.limits.blobs:
                raise GraphError(f"{descriptor.digest}: the artifact has more than {self.limits.blobs} blobs")
            self.found[descriptor.digest] = descriptor
            return False
        if before.size != descriptor.size:
            raise GraphError(
                f"{descriptor.digest}: named once with {before.size} bytes and once with {descriptor.size}"
            )
        if (before.media_type in INDEX_TYPES | MANIFEST_TYPES) != (descriptor.is_index or descriptor.is_manifest):
            raise GraphError(f"{descriptor.digest}: named once as a manifest and once as something else")
        return True

    def _read(self, descriptor: Descriptor) -> tuple[Manifest, bytes]:
        if descriptor.size > self.limits.manifest_bytes:
            raise GraphError(
                f"{descriptor.digest}: a manifest of {descriptor.size} bytes, the limit is {self.limits.manifest_bytes}"
            )
        self.manifest_bytes += descriptor.size
        if self.manifest_bytes > self.limits.total_manifest_bytes:
            raise GraphError(
                f"{descriptor.digest}: manifests of more than {self.limits.total_manifest_bytes} bytes in all"
            )
        data = self.reader.read_blob(descriptor.digest, max_bytes=self.limits.manifest_bytes)
        if len(data) != descriptor.size:
            raise GraphError(f"{descriptor.digest}: has {len(data)} bytes, its descriptor says {descriptor.size}")
        return parse_manifest(data, descriptor.media_type, what=descriptor.digest), data


def parse_platforms(text: str) -> tuple[Platform, ...]:
    """The value of `vnd.tidegate.platforms`: sorted, unique, comma between (C-7). Raises GraphError."""
    if not text:
        return ()
    parts = text.split(",")
    if len(parts) > 64 or parts != sorted(set(parts)) or not all(map(_PLATFORM.fullmatch, parts)):
        raise GraphError(f"{PLATFORMS} is {text[:200]!r}, not a sorted list of os/arch")
    return tuple(Platform(*part.split("/")) for part in parts)


def format_platforms(texts: tuple[str, ...]) -> str:
    """What a person typed as the annotation's value. Raises UsageError."""
    for text in texts:
        if not _PLATFORM.fullmatch(text):
            raise UsageError(f"{text!r} is no platform: write it like linux/amd64 or linux/arm/v7")
    return ",".join(sorted(set(texts)))


def carried(index: Manifest, platforms: tuple[Platform, ...]) -> tuple[Descriptor, ...]:
    """The children of an index that an artifact with these `platforms` carries; all where none is named (C-7)."""
    if not platforms:
        return index.manifests
    chosen = {item.digest for item in index.manifests if _is_chosen(item, platforms)}
    return tuple(
        item
        for item in index.manifests
        if item.digest in chosen or item.annotations.get(DOCKER_REFERENCE_DIGEST) in chosen
    )


def _is_chosen(child: Descriptor, platforms: tuple[Platform, ...]) -> bool:
    if child.platform is None or child.is_index:
        return True
    return any(matches(child.platform, wanted) for wanted in platforms)


def matches(platform: Platform, wanted: Platform) -> bool:
    """Whether an image for `platform` is what `wanted` asks for; no variant in `wanted` means any."""
    same = (platform.os, platform.architecture) == (wanted.os, wanted.architecture)
    return same and wanted.variant in {"", platform.variant}


def reduce_index(data: bytes, index: Manifest, platforms: tuple[Platform, ...]) -> bytes:
    """The reduced index of C-7: `data` without the children that are not carried, in canonical form.

    For a registry that refuses an index with missing children. It has another digest, and signatures over the whole
    index do not speak of it: say so wherever it is used. Raises GraphError for what canonical JSON cannot hold.
    """
    import msgspec

    keep = {item.digest for item in carried(index, platforms)}
    try:
        plain: dict[str, Any] = msgspec.json.decode(data)
        plain["manifests"] = [item for item in plain["manifests"] if item["digest"] in keep]
        return dumps(plain)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"index cannot be reduced: {error}") from None
