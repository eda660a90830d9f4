"""The content of a bundle: the blobs that the wanted artifacts reach, in the one order of the format.

Artifacts by name; within one, its graph depth first; each blob once (docs/format/bundle.md, "How a sender lays chunks
out"). Only manifests are read here, through any `BlobReader`: the depot when packing, a registry when planning.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tidegate.bundle.manifest import Artifact
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import BlobReader, walk
from tidegate.errors import GraphError, NameTakenError
from tidegate.oci import LOAD, PLATFORMS
from tidegate.provenance.expectation import EXPECT
from tidegate.registry.reference import place_of


class Wanted(Protocol):
    """An artifact to be packed; `tidegate_sender.collect` makes them."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def descriptor(self) -> Descriptor: ...


@dataclass(frozen=True, slots=True)
class Content:
    """What the artifacts need: all of it, whether it will be brought or not."""

    artifacts: tuple[Artifact, ...]
    #: digest → descriptor, in the order of the format
    blobs: dict[str, Descriptor]

    @property
    def size(self) -> int:
        return sum(blob.size for blob in self.blobs.values())

    @property
    def names(self) -> dict[str, str]:
        """Name → digest of every artifact."""
        return {artifact.name: artifact.digest for artifact in self.artifacts}


def gather(reader: BlobReader, wanted: Iterable[Wanted]) -> Content:
    """Walk every artifact's graph.

    Raises NameTakenError where two would have one place on the high side, GraphError and what the reader raises.
    """
    ordered = _in_order(wanted)
    blobs: dict[str, Descriptor] = {}
    for item in ordered:
        for blob in walk(reader, item.descriptor):
            known = blobs.setdefault(blob.digest, blob)
            if known.size != blob.size:
                raise GraphError(f"{blob.digest}: named once with {known.size} bytes and once with {blob.size}")
    return Content(tuple(map(_as_listed, ordered)), blobs)


def _as_listed(item: Wanted) -> Artifact:
    """The artifact as the manifest lists it. Which platforms of an index it carries belongs to what it is."""
    root = item.descriptor
    return Artifact(
        name=item.name,
        kind=str(item.kind),
        media_type=root.media_type,
        digest=root.digest,
        size=root.size,
        ticket=getattr(item, "ticket", None) or None,
        justification=getattr(item, "justification", None) or None,
        annotations=_listed_annotations(item),
    )


def _listed_annotations(item: Wanted) -> dict[str, str] | None:
    """What it carries of an index, where it is to be loaded, and what must belong to it."""
    given = item.descriptor.annotations
    load = ",".join(getattr(item, "load", ()))
    found = {PLATFORMS: given.get(PLATFORMS, ""), LOAD: load, EXPECT: getattr(item, "expect", "")}
    return {key: text for key, text in found.items() if text} or None


def _in_order(wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """The artifacts by name, each once, no two of them with one place on the high side."""
    by_place: dict[str, Wanted] = {}
    for item in wanted:
        place = place_of(item.name)
        other = by_place.setdefault(place, item)
        if other.name != item.name or other.descriptor.digest != item.descriptor.digest:
            raise NameTakenError(
                f"{other.name} ({other.descriptor.digest[:19]}) and {item.name} ({item.descriptor.digest[:19]}) "
                f"would both be {place} on the high side",
                hint="leave one out, or give one of them another name",
            )
    return tuple(sorted(by_place.values(), key=lambda item: item.name.encode()))
