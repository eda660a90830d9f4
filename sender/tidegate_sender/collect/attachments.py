"""Find what belongs to an image in its registry: cosign's tags, referrers, and what belongs to those, to any depth.

A registry is asked for each manifest of the image: three tags, the referrers API, the fallback tag. Nothing is listed
that does not say itself what it belongs to. Limits: docs/format/content.md, C-17.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tidegate.depot.descriptors import Descriptor, Manifest
from tidegate.depot.graph import walk
from tidegate.errors import GraphError
from tidegate.oci import INDEX_TYPES, MANIFEST_TYPES
from tidegate.provenance.attachments import SUFFIXES, attached_tag, subject_of
from tidegate.provenance.referrers import list_referrers
from tidegate.registry.client import RegistryClient
from tidegate_sender.collect.registry import RegistryReader, media_type_of

DEPTH_MAX = 8
ATTACHMENTS_MAX = 4096  # of one image

#: `map` of a pool, or the built-in one
Map = Callable[..., Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """Something that belongs to `subject`, by its `reference` in the repository: a tag, or its own digest."""

    subject: str
    reference: str
    root: Descriptor
    blobs: tuple[Descriptor, ...]


def find_attachments(
    client: RegistryClient, repository: str, reader: RegistryReader, subjects: Iterable[str], *, in_parallel: Map = map
) -> tuple[Found, ...]:
    """All that belongs to the manifests `subjects`, each once, what is nearer first.

    Raises RegistryError, and GraphError for what cannot be read or never ends.
    """
    found: dict[str, Found] = {}
    level = list(dict.fromkeys(subjects))
    seen = set(level)
    for _ in range(DEPTH_MAX):
        if not level:
            return tuple(found.values())
        following: list[str] = []
        for pairs in in_parallel(lambda digest: _attached(client, repository, reader, digest), level):
            for subject, reference, root in pairs:
                if reference in found:
                    continue
                if len(found) >= ATTACHMENTS_MAX:
                    raise GraphError(
                        f"{client.host}: {repository}: more than {ATTACHMENTS_MAX} things belong to an image"
                    )
                blobs, manifests = _graph(reader, root)
                found[reference] = Found(subject, reference, root, blobs)
                following += [digest for digest in manifests if digest not in seen]
                seen.update(manifests)
        level = following
    raise GraphError(f"{client.host}: {repository}: what belongs to it goes deeper than {DEPTH_MAX} levels")


def _graph(reader: RegistryReader, root: Descriptor) -> tuple[tuple[Descriptor, ...], list[str]]:
    manifests: list[str] = []

    def visit(descriptor: Descriptor, _manifest: Manifest, _data: bytes) -> None:
        manifests.append(descriptor.digest)

    return walk(reader, root, visit=visit), manifests


def _attached(
    client: RegistryClient, repository: str, reader: RegistryReader, subject: str
) -> list[tuple[str, str, Descriptor]]:
    return [*_tagged(client, repository, reader, subject), *_referring(client, repository, reader, subject)]


def _tagged(
    client: RegistryClient, repository: str, reader: RegistryReader, subject: str
) -> Iterator[tuple[str, str, Descriptor]]:
    for suffix in SUFFIXES:
        tag = attached_tag(subject, suffix)
        answer = client.find_manifest(repository, tag)
        if answer is None:
            continue
        reader.read[answer.digest] = answer.data
        media_type = media_type_of(answer, f"{repository}:{tag}")
        yield subject, tag, Descriptor(media_type, answer.digest, answer.size)


def _referring(
    client: RegistryClient, repository: str, reader: RegistryReader, subject: str
) -> Iterator[tuple[str, str, Descriptor]]:
    for listed in list_referrers(client, repository, subject).found:
        if listed.media_type not in INDEX_TYPES | MANIFEST_TYPES:
            raise GraphError(f"{listed.digest}: {listed.media_type!r} is listed as a referrer, and is no manifest")
        root = Descriptor(listed.media_type, listed.digest, listed.size)
        data = reader.read_blob(listed.digest, max_bytes=listed.size)
        # A list can be written by anybody who may push; a manifest's own word is under its digest.
        if subject_of(data) == subject:
            yield subject, listed.digest, root
