"""How something is attached to an image: by a tag that cosign makes of the digest, or by `subject` (OCI 1.1).

``sha256-<64 hex>.sig``, ``.att`` and ``.sbom`` are tags of cosign; ``sha256-<64 hex>`` is the tag under which an index
lists referrers where a registry does not answer for them. Rules: docs/format/content.md, C-14 to C-17. Opens nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, Descriptor, Manifest
from tidegate.depot.graph import BlobReader, walk
from tidegate.errors import UsageError
from tidegate.names import DIGEST
from tidegate.oci import INDEX_TYPES, MANIFEST_TYPES
from tidegate.registry.reference import place_of, split_place

#: kind of an artifact that belongs to another
ATTACHMENT = "attachment"
SUFFIXES = ("sig", "att", "sbom")
_TAG = re.compile(r"sha256-([0-9a-f]{64})(?:\.(sig|att|sbom))?")


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something that belongs to `subject`: its root, and the suffix of its tag (empty: attached by `subject`)."""

    subject: str
    root: Descriptor
    suffix: str
    manifest: Manifest

    @property
    def artifact_type(self) -> str:
        """As "Listing Referrers" has it: the config's media type stands in for no artifactType."""
        config = self.manifest.config.media_type if self.manifest.config else ""
        return self.manifest.artifact_type or config


def attached_tag(digest: str, suffix: str) -> str:
    """The tag under which cosign keeps what is attached to `digest`."""
    return f"sha256-{digest.removeprefix('sha256:')}.{suffix}"


def fallback_tag(digest: str) -> str:
    """The tag under which referrers of `digest` are listed where a registry has no referrers API."""
    return f"sha256-{digest.removeprefix('sha256:')}"


def tagged_subject(tag: str) -> tuple[str, str]:
    """(digest, suffix) of a tag that attaches something; two empty texts for any other tag."""
    found = _TAG.fullmatch(tag)
    return (f"sha256:{found[1]}", found[2]) if found and found[2] else ("", "")


def is_fallback_tag(tag: str) -> bool:
    """Whether an index that lists referrers stands under this tag."""
    found = _TAG.fullmatch(tag)
    return bool(found and not found[2])


class _Subject(msgspec.Struct, frozen=True):
    digest: Annotated[str, msgspec.Meta(pattern=DIGEST)]


class _WithSubject(msgspec.Struct, frozen=True):
    subject: _Subject | None = None


def subject_of(data: bytes) -> str:
    """The digest of a manifest's subject; empty where it has none, or none that can be asked for."""
    if b'"subject"' not in data or len(data) > MANIFEST_MAX_BYTES:
        return ""
    try:
        found = msgspec.json.decode(data, type=_WithSubject).subject
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    return found.digest if found else ""


def as_referrer(descriptor: Descriptor, manifest: Manifest) -> Descriptor:
    """The descriptor as a list of referrers has it (distribution-spec, "Listing Referrers")."""
    config_type = manifest.config.media_type if manifest.config else ""
    return Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        annotations=manifest.annotations,
        artifact_type=manifest.artifact_type or config_type,
    )


def attachments_among(reader: BlobReader, artifacts: Mapping[str, Descriptor]) -> dict[str, tuple[Attachment, ...]]:
    """What is attached to what, among artifacts by name, as ``repository@subject``.

    Raises GraphError, and what the reader raises for a manifest that is missing or damaged.
    """
    found: dict[str, list[Attachment]] = {}
    for name, root in artifacts.items():
        repository, reference = _split(name)
        tagged, suffix = tagged_subject(reference)
        for subject, attachment in _attachments(reader, root, tagged, suffix):
            found.setdefault(f"{repository}@{subject}", []).append(attachment)
    return {subject: tuple(items) for subject, items in found.items()}


def _split(name: str) -> tuple[str, str]:
    try:
        return split_place(place_of(name))
    except UsageError:
        return name, ""


def _attachments(reader: BlobReader, root: Descriptor, tagged: str, suffix: str) -> Iterable[tuple[str, Attachment]]:
    """By its own tag, and by the subjects of the manifests of its graph."""
    if root.media_type not in INDEX_TYPES | MANIFEST_TYPES:
        return []
    pairs: list[tuple[str, Attachment]] = []

    def visit(descriptor: Descriptor, manifest: Manifest, data: bytes) -> None:
        if tagged and not manifest.is_index:
            pairs.append((tagged, Attachment(tagged, descriptor, suffix, manifest)))
        subject = subject_of(data)
        if subject:
            pairs.append((subject, Attachment(subject, descriptor, "", manifest)))

    walk(reader, root, visit=visit)
    return pairs
