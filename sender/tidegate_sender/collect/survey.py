"""What a collection would bring, without bringing it: names, sizes, and what the depot lacks. Changes nothing.

Manifests of images are read from their source and kept in memory; folders are walked, and their files not read.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import CollectError, NameTakenError, StateError, TidegateError
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import Reference, parse_reference, place_of
from tidegate_sender.collect.images import ImageGraph, as_brought, look_at_image
from tidegate_sender.collect.items import CollectFailure, FilesItem, ImageItem, Item, LayoutItem
from tidegate_sender.collect.kinds import SourceItem
from tidegate_sender.collect.layout import look_at_layout
from tidegate_sender.collect.looking import HashingSink, Looking
from tidegate_sender.collect.pipeline import ClientFactory, with_path_hint
from tidegate_sender.collect.registry import RegistryReader
from tidegate_sender.collect.tags import expand_tags
from tidegate_sender.collect.tree import Tree


@dataclass(frozen=True, slots=True)
class SurveyedArtifact:
    """What one item would be. `blobs` is empty for files, whose digests are known only once they are read.

    `new_bytes` is what the depot lacks; for files all of `size_bytes`, since nobody has read them.
    """

    name: str
    kind: str
    source: str
    size_bytes: int
    new_bytes: int
    root: Descriptor | None = None
    blobs: tuple[Descriptor, ...] = ()
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What `items` would bring, in their order, and what could not be had."""

    artifacts: tuple[SurveyedArtifact, ...]
    failures: tuple[CollectFailure, ...] = ()


def survey(items: Sequence[Item], depot: Depot | None, *, client_factory: ClientFactory = RegistryClient) -> Survey:
    """Look at every item; `depot` is None where there is none yet. Raises what this host's disk raises."""
    artifacts: dict[str, SurveyedArtifact] = {}
    failures = []
    for item in items:
        try:
            for artifact in _survey_item(item, depot, client_factory):
                _add(artifacts, artifact)
        except (StateError, NameTakenError):
            raise
        except TidegateError as error:
            failures.append(CollectFailure(item.label, item.origin, with_path_hint(error, item)))
    return Survey(tuple(artifacts.values()), tuple(failures))


def _add(artifacts: dict[str, SurveyedArtifact], artifact: SurveyedArtifact) -> None:
    """By place, as `collect` does. Of files, whose digests nobody knows yet, size and name have to do."""
    place = place_of(artifact.name)
    before = artifacts.setdefault(place, artifact)
    if before is not artifact and before.listed != artifact.listed:
        artifacts[place] = replace(before, listed=(*before.listed, *artifact.listed))
    if (before.name, before.root, before.size_bytes) != (artifact.name, artifact.root, artifact.size_bytes):
        raise NameTakenError(
            f"{artifact.source} and {before.source} would both be {place} on the high side",
            hint="give one of them another name in a transfer list, or send them in two bundles",
        )


def _survey_item(item: Item, depot: Depot | None, client_factory: ClientFactory) -> tuple[SurveyedArtifact, ...]:
    if isinstance(item, FilesItem):
        return (_survey_files(item),)
    if isinstance(item, ImageItem):
        return tuple(
            found for one in expand_tags(item, client_factory) for found in _survey_image(one, depot, client_factory)
        )
    if isinstance(item, LayoutItem):
        name, graph, _source = look_at_layout(item)
        return _surveyed_image(item, parse_reference(name), graph, depot)
    if isinstance(item, SourceItem):
        return _survey_source(item, depot, client_factory)
    raise CollectError(f"{item.label}: nothing here brings {type(item).__name__}")


def _survey_image(item: Item, depot: Depot | None, client_factory: ClientFactory) -> tuple[SurveyedArtifact, ...]:
    """The image and what belongs to it. A local SBOM is not known before it is read."""
    assert isinstance(item, ImageItem)
    reader = RegistryReader(client_factory(item.reference.registry), item.reference.repository)
    graph = look_at_image(item, reader.client, reader)
    return _surveyed_image(item, item.reference, graph, depot)


def _surveyed_image(
    item: Item, image: Reference, graph: ImageGraph, depot: Depot | None
) -> tuple[SurveyedArtifact, ...]:
    blobs = (graph.blobs, *(one.blobs for one in graph.attached))
    return tuple(
        _surveyed(one.name, item, one.root, found, depot, one.kind)
        for one, found in zip(as_brought(image, graph), blobs, strict=True)
    )


def _survey_source(
    item: SourceItem, depot: Depot | None, client_factory: ClientFactory
) -> tuple[SurveyedArtifact, ...]:
    """What an item of a further kind would bring; its manifests are read, and of its blobs nothing is kept."""
    sink = HashingSink()
    around = Looking(client_factory, sink.small)
    return tuple(
        _surveyed(one.name, item, one.root, walk(sink, one.root), depot, one.kind) for one in item.bring(sink, around)
    )


def _survey_files(item: FilesItem) -> SurveyedArtifact:
    if not item.path.exists():
        raise CollectError(f"{item.path}: no such file or folder")
    tree = Tree(os.fsencode(item.path.resolve()), item.title.encode())
    size = sum(plan.length for plan in tree.tars())
    return SurveyedArtifact(item.name, "files", item.label, size, size, listed=item.listed)


def _surveyed(
    name: str,
    item: Item,
    root: Descriptor,
    blobs: tuple[Descriptor, ...],
    depot: Depot | None,
    kind: str = "image",
) -> SurveyedArtifact:
    missing = depot.missing(blobs) if depot is not None else blobs
    size, new = (sum(blob.size for blob in part) for part in (blobs, missing))
    return SurveyedArtifact(name, kind, item.label, size, new, root, blobs, item.listed)
