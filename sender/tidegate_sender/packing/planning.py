"""What a pack would bring, before anything is brought: sizes, what is new, and whether it fits a medium.

Images are asked for their manifests only, folders are walked and their files not read. Nothing is changed. What
compression will save is not known beforehand, so bytes on the medium are an upper bound.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.bundle.header import MANIFEST_MAX_BYTES
from tidegate.bundle.tables import BLOB, CHUNK, CHUNK_MAX_BYTES, REQUIRED, SEGMENT
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import BundleUnknownError, GraphError, MediaNotFoundError, UsageError
from tidegate.state.bundles import BundleRow
from tidegate_sender.collect.items import CollectFailure, Item
from tidegate_sender.collect.pipeline import ClientFactory
from tidegate_sender.collect.survey import SurveyedArtifact, survey
from tidegate_sender.media.plan import estimate_volume
from tidegate_sender.packing.base import NO_BASE, Base, Selection, load_base
from tidegate_sender.packing.baseline import add_baselines
from tidegate_sender.packing.confirmed import Riding, confirmed_base, riding_again
from tidegate_sender.packing.layout import SMALL_BELOW_BYTES
from tidegate_sender.packing.lists import COMMAND_LINE, asked_by, newest_of
from tidegate_sender.packing.place import Place
from tidegate_sender.packing.records import find_place
from tidegate_sender.packing.removed import removed_names

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

#: signatures and a checkpoint; measured 700 bytes, the medium's smallest slot is 4 KiB in any case
_COVER_BYTES = 4096
#: an artifact in the manifest beside its name, and the manifest's other fields; both generous
_ARTIFACT_BYTES = 512
_MANIFEST_BYTES = 4096


class Novelty(StrEnum):
    """An artifact against the newest bundle."""

    NEW = "new"  # the newest bundle has no artifact of that name
    CHANGED = "changed"
    SAME = "same"
    UNREAD = "unread"  # files: what they are is known once they are read


@dataclass(frozen=True, slots=True)
class PlannedArtifact:
    """One artifact that would be packed. Sizes are bytes; blobs that several artifacts share count for each."""

    name: str
    kind: str
    source: str
    novelty: Novelty
    size: int
    #: not carried by the newest bundle, nor by what it builds on
    new_size: int
    #: not in the depot yet
    missing_size: int


@dataclass(frozen=True, slots=True)
class Room:
    """Whether a volume of at most `needed` bytes fits a folder with `free` bytes."""

    medium: Path
    needed: int
    free: int

    @property
    def fits(self) -> bool:
        return self.needed <= self.free


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pack would do. Sizes are bytes, each blob counted once."""

    bundle: str
    #: name of the unsent bundle that would be replaced
    replaces: str | None
    #: name of the newest bundle that `new_size` and the novelties speak of
    newest: str | None
    artifacts: tuple[PlannedArtifact, ...]
    failures: tuple[CollectFailure, ...]
    content_size: int
    #: what the bundle would bring; the rest of the content is required of its base
    brought_size: int
    required_size: int
    new_size: int
    #: what collecting has to bring into the depot first
    missing_size: int
    #: of what it brings: sent before, and not confirmed
    again: Riding
    #: names that earlier bundles carried and this one would not: it lists them
    removed: tuple[str, ...]
    #: files on a medium are not larger than this in all
    volume_bytes: int
    room: Room | None = None


def plan(
    workspace: "Workspace",
    items: Sequence[Item],
    *,
    since: str | None = None,
    full: bool = False,
    medium: Path | None = None,
    redundancy: float | None = None,
    client_factory: ClientFactory | None = None,
) -> Plan:
    """Plan a pack of `items`, since a base or in full, for a folder `medium` or none.

    What could not be looked at stands in `failures`. Raises UsageError, BundleUnknownError and MediaNotFoundError.
    """
    lists = {name for item in items for name in item.listed or (COMMAND_LINE,)}
    place = find_place(workspace.state, workspace.trust.own_channel(), lists)
    base = _base(workspace, place, since, full=full)
    before = newest_of(workspace, place, lists) or place.newest
    newest = _newest_base(workspace, place, before)
    found = survey(items, _depot(workspace), client_factory=client_factory or workspace.registries.client)
    blobs = _distinct(found.artifacts)
    unread = sum(item.size_bytes for item in found.artifacts if item.root is None)
    selection = base.split(blobs)
    brought = sum(blob.size for blob in selection.brought) + unread
    share = workspace.settings.redundancy if redundancy is None else redundancy
    preamble = workspace.trust.own_channel().to_bytes()
    volume_bytes = estimate_volume(_Sketch(found.artifacts, selection, brought), share, preamble=preamble)
    return Plan(
        bundle=place.name,
        replaces=place.replaced.name if place.replaced else None,
        newest=before.name if before else None,
        artifacts=tuple(_planned(item, before, newest) for item in found.artifacts),
        failures=found.failures,
        content_size=sum(blob.size for blob in blobs) + unread,
        brought_size=brought,
        required_size=selection.required_size,
        new_size=sum(blob.size for blob in newest.split(blobs).brought) + unread,
        missing_size=_missing(workspace, blobs) + unread,
        again=riding_again(workspace, place, selection.brought),
        removed=_removed(workspace, place, found.artifacts, is_whole=not found.failures),
        volume_bytes=volume_bytes,
        room=_room(medium, volume_bytes) if medium is not None else None,
    )


class _Sketch:
    """A bundle that is not there yet, with upper bounds for its parts: what `estimate_volume` asks of one."""

    def __init__(self, artifacts: Sequence[SurveyedArtifact], selection: Selection, brought: int) -> None:
        # A blob whose digest is not known yet is counted by its size alone; small ones share chunks.
        blobs = len(selection.brought) + sum(2 + item.size_bytes // SMALL_BELOW_BYTES for item in artifacts)
        pieces = 2 * blobs + brought // CHUNK_MAX_BYTES + 1
        names = sum(len(item.name) + _ARTIFACT_BYTES for item in artifacts)
        tables = blobs * BLOB.itemsize + pieces * (SEGMENT.itemsize + CHUNK.itemsize)
        tables += len(selection.required) * REQUIRED.itemsize
        self.bundle_id = "0" * 64
        self.manifest_length = min(_MANIFEST_BYTES + names, MANIFEST_MAX_BYTES)
        self.part_lengths = (_COVER_BYTES, self.manifest_length + tables, brought)
        self.channel, self.epoch, self.sequence = "0" * 64, 1, 1

    def manifest(self) -> "_Sketch":
        return self

    def read_into(self, part: int, offset: int, view: memoryview) -> None:
        raise NotImplementedError("a sketch has no bytes")


def _base(workspace: "Workspace", place: Place, since: str | None, *, full: bool) -> Base:
    if full:
        return NO_BASE
    if since is None:
        sites = _sites(workspace)
        return add_baselines(workspace, confirmed_base(workspace, place, sites), sites)
    from tidegate.lookup import resolve_bundle

    row = resolve_bundle(workspace, since).row
    if row is None:
        raise UsageError(f"{since}: this root did not pack that bundle")
    return load_base(workspace, row, channel=place.channel_id, epoch=place.epoch, below=place.sequence)


def _sites(workspace: "Workspace") -> tuple[str, ...]:
    return workspace.settings.sites or workspace.trust.own_channel().newest.sites or ()


def _removed(
    workspace: "Workspace", place: Place, artifacts: Sequence[SurveyedArtifact], *, is_whole: bool
) -> tuple[str, ...]:
    """What would be listed as removed; nothing is said where some of what was asked for could not be looked at."""
    if not is_whole:
        return ()
    return removed_names(workspace, place, _sites(workspace), asked_by(artifacts)).names


def _newest_base(workspace: "Workspace", place: Place, newest: BundleRow | None) -> Base:
    """What the newest bundle carried and builds on; nothing where there is none, or its file is gone."""
    if newest is None:
        return NO_BASE
    try:
        return load_base(workspace, newest, channel=place.channel_id, epoch=place.epoch, below=newest.sequence + 1)
    except BundleUnknownError:
        return NO_BASE


def _depot(workspace: "Workspace") -> Depot | None:
    """The depot as it is; looking makes none."""
    folder = workspace.root / "depot"
    return Depot(folder, create=False) if (folder / "index.json").is_file() else None


def _distinct(artifacts: Iterable[SurveyedArtifact]) -> tuple[Descriptor, ...]:
    """All known blobs, each once. Raises GraphError for one that is named with two sizes."""
    blobs: dict[str, Descriptor] = {}
    for artifact in artifacts:
        for blob in artifact.blobs:
            if blobs.setdefault(blob.digest, blob).size != blob.size:
                raise GraphError(f"{blob.digest}: named with {blobs[blob.digest].size} bytes and with {blob.size}")
    return tuple(blobs.values())


def _missing(workspace: "Workspace", blobs: tuple[Descriptor, ...]) -> int:
    depot = _depot(workspace)
    return sum(blob.size for blob in (blobs if depot is None else depot.missing(blobs)))


def _planned(item: SurveyedArtifact, newest: BundleRow | None, carried: Base) -> PlannedArtifact:
    before = {} if newest is None else {str(entry["name"]): entry["digest"] for entry in newest.artifacts}
    if item.name not in before:
        novelty = Novelty.NEW
    elif item.root is None:
        novelty = Novelty.UNREAD
    else:
        novelty = Novelty.SAME if before[item.name] == item.root.digest else Novelty.CHANGED
    new_size = item.size_bytes if item.root is None else sum(blob.size for blob in carried.split(item.blobs).brought)
    return PlannedArtifact(item.name, item.kind, item.source, novelty, item.size_bytes, new_size, item.new_bytes)


def _room(medium: Path, needed: int) -> Room:
    try:
        status = os.statvfs(medium)
    except OSError as error:
        raise MediaNotFoundError(f"{medium}: {error.strerror}") from None
    return Room(medium, needed, status.f_bavail * status.f_frsize)
