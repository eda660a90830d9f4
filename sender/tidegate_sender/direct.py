"""The collecting half of ``load --direct``: as `pack` collects, without a bundle."""

from collections.abc import Callable, Sequence

from tidegate.depot.store import Depot
from tidegate.direct import DirectArtifact, DirectCollection
from tidegate.workspace import Workspace
from tidegate_sender.collect.lists.arguments import items_from_arguments
from tidegate_sender.collect.pipeline import collect


def collect_directly(
    workspace: Workspace, what: Sequence[str], depot: Depot, progress: Callable[[int, int, str], None]
) -> DirectCollection:
    """Raises what a list that cannot be read and a required item that cannot be had come to."""
    items = items_from_arguments(tuple(what))
    found = collect(items, depot, progress=progress, client_factory=workspace.registries.client)
    artifacts = tuple(
        DirectArtifact(
            item.name, str(item.kind), item.descriptor, item.size_bytes, item.expect, item.verdict, tuple(item.load)
        )
        for item in found.artifacts
    )
    return DirectCollection(artifacts, tuple((item.label, item.error) for item in found.failures))
