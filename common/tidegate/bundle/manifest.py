"""The manifest: a bundle's signed table of contents, as canonical JSON.

Its SHA-256 is the bundle_id. It is parsed only after the signatures over its bytes hold, so everything in it is what
a release key signed; limits are checked all the same. Format: docs/format/bundle.md, "Manifest".
"""

from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate import canonical
from tidegate.bundle.header import CHUNKS_MAX_BYTES, MANIFEST_MAX_BYTES
from tidegate.canonical import INTEGER_MAX
from tidegate.clock import TIME_PATTERN, parse_time
from tidegate.errors import AudienceError, FeatureUnknownError, FormatError
from tidegate.names import DIGEST, HEX64, NAME, bundle_name

BUNDLE_FORMAT = 1
#: features that a manifest may list as critical; format 1 has none
KNOWN_FEATURES: frozenset[str] = frozenset()
CHUNK_DIGEST = "blake3-256"

BLOBS_MAX = 2**22
SEGMENTS_MAX = 2**23
CHUNKS_MAX = 2**24
REQUIRED_MAX = 2**22
VOID_MAX = 1024  # the window of numbers that may still come

# One line of text: no control characters, and none that turn the direction of what a terminal shows.
_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*\Z"
Text = Annotated[str, Meta(max_length=256, pattern=_LINE)]
ArtifactName = Annotated[str, Meta(min_length=1, max_length=512, pattern=_LINE)]
Hex64 = Annotated[str, Meta(pattern=HEX64)]
Digest = Annotated[str, Meta(pattern=DIGEST)]
Name = Annotated[str, Meta(pattern=NAME)]
Time = Annotated[str, Meta(pattern=TIME_PATTERN)]
Positive = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
Length = Annotated[int, Meta(ge=0, le=CHUNKS_MAX_BYTES)]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """How many records a table has, and the SHA-256 of its bytes."""

    count: Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
    sha256: Hex64


@dataclass(frozen=True, slots=True)
class TableEntries:
    """The four tables, in the order in which they follow the manifest. The counts are within the limits of B-10."""

    blobs: TableEntry
    segments: TableEntry
    chunks: TableEntry
    required: TableEntry


@dataclass(frozen=True, slots=True)
class Compressor:
    """What made the frames: with another version the chunks may differ though their content is equal."""

    name: Annotated[str, Meta(max_length=32, pattern=_LINE)]
    version: Annotated[str, Meta(max_length=32, pattern=_LINE)]
    level: Annotated[int, Meta(ge=-(2**17), le=22)]


@dataclass(frozen=True, slots=True)
class BundleReference:
    """Another bundle of the channel."""

    bundle_id: Hex64
    sequence: Positive


@dataclass(frozen=True, slots=True)
class VoidNumber:
    """A number that will not come, and the bundle that had it; with a reason that bundle was withdrawn."""

    sequence: Positive
    bundle_id: Hex64
    reason: Text | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A thing somebody asked for: its name, and the root blob of its graph."""

    name: ArtifactName
    kind: Annotated[str, Meta(min_length=1, max_length=64, pattern=_LINE)]
    media_type: Annotated[str, Meta(min_length=1, max_length=256, pattern=_LINE)]
    digest: Digest
    size: Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
    ticket: Text | None = None
    justification: Text | None = None
    annotations: dict[Annotated[str, Meta(max_length=256)], Annotated[str, Meta(max_length=4096)]] | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The fields of docs/format/bundle.md, "Manifest", in its order."""

    format: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    critical: tuple[Annotated[str, Meta(max_length=64)], ...]
    channel: Hex64
    channel_name: Name
    epoch: Positive
    sequence: Positive
    created: Time
    audience: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1024)]
    base: Annotated[tuple[Hex64, ...], Meta(max_length=65536)]
    compressor: Compressor
    chunk_digest: str
    chunks_length: Length
    content_size: Length
    tables: TableEntries
    artifacts: tuple[Artifact, ...]
    removed: tuple[ArtifactName, ...]
    previous: BundleReference | None = None
    expires: Time | None = None
    classification: Text | None = None
    void: Annotated[tuple[VoidNumber, ...], Meta(min_length=1, max_length=VOID_MAX)] | None = None

    @property
    def name(self) -> str:
        """The bundle name, ``CCCC-NNNN``."""
        return bundle_name(self.channel, self.sequence)


def build_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes, read back once so that nothing is signed that a reader would refuse."""
    data = canonical.dumps(manifest)
    if parse_manifest(data) != manifest:
        raise FormatError(f"manifest of {manifest.name}: does not read back as it was written")
    return data


def check_audience(manifest: Manifest, site: str) -> None:
    """B-27. Raises AudienceError where the bundle is for other sites."""
    if site not in manifest.audience:
        listed = ", ".join(manifest.audience[:8])
        raise AudienceError(f"bundle {manifest.name}: is for {listed}; this is {site} (B-27)")


def bundle_id(manifest: bytes | memoryview) -> str:
    """The bundle_id that a manifest's bytes have."""
    return sha256(manifest).hexdigest()


def parse_manifest(data: bytes | memoryview) -> Manifest:
    """The manifest in `data`. Raises FormatError, and FeatureUnknownError for what this version cannot know."""
    plain = canonical.loads(data, dict[str, Any], what="manifest", max_bytes=MANIFEST_MAX_BYTES)
    _check_features(plain)
    try:
        manifest = msgspec.convert(plain, Manifest, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise FormatError(f"manifest: {error}") from None
    _check_order(manifest)
    _check_times(manifest)
    _check_limits(manifest.tables)
    return manifest


def _check_features(plain: dict[str, Any]) -> None:
    """B-6, before the rest is looked at: an unknown feature may change what the other fields may be."""
    number = plain.get("format")
    if not isinstance(number, int) or isinstance(number, bool):
        raise FormatError("manifest: no format number")
    if number != BUNDLE_FORMAT:
        raise FeatureUnknownError(f"manifest: format {number}, this version reads format {BUNDLE_FORMAT} (B-6)")
    critical = plain.get("critical")
    if not isinstance(critical, list) or not all(isinstance(name, str) for name in critical):
        raise FormatError("manifest: `critical` is no array of names (B-6)")
    unknown = sorted(set(critical) - KNOWN_FEATURES)
    if unknown:
        raise FeatureUnknownError(f"manifest: needs {', '.join(map(repr, unknown))}, which this version lacks (B-6)")


def _check_order(manifest: Manifest) -> None:
    if manifest.chunk_digest != CHUNK_DIGEST:
        raise FormatError(f"manifest: chunk_digest is {manifest.chunk_digest!r}, expected {CHUNK_DIGEST!r}")
    names = [artifact.name.encode() for artifact in manifest.artifacts]
    for before, after in pairwise(names):
        if before >= after:
            raise FormatError(f"manifest: artifact {after.decode()!r} does not follow {before.decode()!r} (B-8)")
    for first, second in pairwise(manifest.void or ()):
        if first.sequence >= second.sequence:
            raise FormatError(f"manifest: void number {second.sequence} does not follow {first.sequence} (B-26)")
    if any(item.sequence == manifest.sequence for item in manifest.void or ()):
        raise FormatError(f"manifest: bundle {manifest.sequence} is void by itself (B-26)")
    if manifest.previous is not None and manifest.previous.sequence >= manifest.sequence:
        raise FormatError(f"manifest: previous is bundle {manifest.previous.sequence}, this is {manifest.sequence}")


def _check_times(manifest: Manifest) -> None:
    try:
        created = parse_time(manifest.created)
        expires = parse_time(manifest.expires) if manifest.expires is not None else None
    except ValueError as error:
        raise FormatError(f"manifest: {error}") from None
    if expires is not None and expires <= created:
        raise FormatError(f"manifest: expires {manifest.expires} is not later than created {manifest.created}")


def _check_limits(tables: TableEntries) -> None:
    """B-10, before anything is allocated for a table."""
    for name, entry, limit in (
        ("blobs", tables.blobs, BLOBS_MAX),
        ("segments", tables.segments, SEGMENTS_MAX),
        ("chunks", tables.chunks, CHUNKS_MAX),
        ("required", tables.required, REQUIRED_MAX),
    ):
        if entry.count > limit:
            raise FormatError(f"manifest: {entry.count} records in table {name}, the limit is {limit} (B-10)")
