"""Collect and load in one place, where both registries are reached: what the collecting half gives the loading half.

The halves know nothing of each other; the collecting one plugs in by the entry point ``tidegate.direct``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import TidegateError
from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DirectArtifact:
    """One artifact that was brought, as a bundle's manifest would have it."""

    name: str
    kind: str
    root: Descriptor
    size_bytes: int
    expect: str = ""
    verdict: str = ""
    load: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DirectCollection:
    """What was brought, and what could not be, each with its error."""

    artifacts: tuple[DirectArtifact, ...]
    failures: tuple[tuple[str, TidegateError], ...] = ()


class DirectCollector(Protocol):
    """Brings what lists and references name into `depot`, verified as for a bundle."""

    def __call__(
        self, workspace: Workspace, what: Sequence[str], depot: Depot, progress: Callable[[int, int, str], None]
    ) -> DirectCollection: ...


def find_collector() -> DirectCollector:
    """The half that collects."""
    (point,) = entry_points(group="tidegate.direct", name="collect")
    found: DirectCollector = point.load()
    return found
