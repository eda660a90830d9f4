"""What upstream removed: found at a target by what this site remembers of its loads, and removed when somebody says so.

A name is removed when the newest bundle that speaks of it lists it as no longer carried. It is taken from a stage by
its name alone, and from a registry by digest, only where the tag stands for what was loaded and nothing else there has
the same content. Each removal is an entry before it happens and one after it. Folders, tars and chart repositories
belong to others: what could go there is listed and left.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import DepotError, HostError, LoadError, RefusedError, TidegateError, reason_of
from tidegate.files import locked
from tidegate.ledger.entries import Event, Outcome, Target, entry
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import split_place
from tidegate.state.bundles import BundleState, list_bundles
from tidegate.state.names import list_names
from tidegate.state.placements import STAGE, Placement, list_placements, remove_placement
from tidegate.workspace import Workspace
from tidegate_receiver.intake.quarantine import QuarantinedBundle
from tidegate_receiver.loaders.registry import RegistryLoader
from tidegate_receiver.promotion.bundle import read_papers
from tidegate_receiver.promotion.destinations import open_target
from tidegate_receiver.promotion.promotion import LOAD_LOCK
from tidegate_receiver.promotion.stages import stage_folder

_TAGS_MAX = 500  # of a repository, each of which is asked for before anything is deleted from it
_SPEAKING = {BundleState.LOADED, BundleState.CLEANED}


class PruneState(StrEnum):
    """What became of one artifact, or would."""

    GOES = "goes"
    GONE = "gone"
    STAYS = "stays"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Pruned:
    """One artifact that upstream removed."""

    placement: Placement
    state: PruneState
    why: str = ""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """All of them at one target."""

    target: str
    items: tuple[Pruned, ...]
    removed: bool

    def count(self, state: PruneState) -> int:
        return sum(item.state is state for item in self.items)


def prune(workspace: Workspace, to: str | None, *, remove: bool = False) -> PruneReport:
    """What upstream removed and is still at `to` (None: on the stage); with `remove` it is taken away.

    Raises UsageError, RegistryError where the target does not answer, LedgerError, BusyError.
    """
    loader = None
    target = f"{STAGE}{workspace.settings.stage}"
    if to is not None:
        loader, _ = open_target(workspace, to, Depot(workspace.root / "depot", create=False))
        target = loader.target
    with workspace.state.reading() as tx:
        there = list_placements(tx, target)
    names = removed_upstream(workspace)
    wanted = tuple(item for item in there if (item.channel_id, item.name) in names)
    kept = tuple(item for item in there if item not in wanted)
    room: _Stage | _Registry | None = None
    if loader is None:
        room = _Stage(workspace, kept)
    elif isinstance(loader, RegistryLoader):
        room = _Registry(workspace, target, kept)
    if room is None:
        why = f"{target} is for you to clear"
        return PruneReport(target, tuple(Pruned(item, PruneState.STAYS, why) for item in wanted), removed=remove)
    if not remove:
        return PruneReport(target, tuple(_looked_at(room, item) for item in wanted), removed=False)
    with workspace.recording(), locked(workspace.folder("stages") / LOAD_LOCK, busy="a load is under way on this root"):
        return PruneReport(target, tuple(_removed(workspace, room, item) for item in wanted), removed=True)


def removed_upstream(workspace: Workspace) -> set[tuple[str, str]]:
    """(channel, name) of what the newest bundle that speaks of it lists as no longer carried.

    A bundle whose papers are gone says nothing, so that nothing is taken away for it.
    """
    with workspace.state.reading() as tx:
        rows = [row for row in list_bundles(tx) if row.side == "high" and row.state in _SPEAKING]
        channels = {row.channel_id for row in rows}
        set_by = {(row.channel_id, row.name): row.sequence for channel in channels for row in list_names(tx, channel)}
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        try:
            removed = read_papers(QuarantinedBundle(workspace.folder("quarantine") / row.bundle_id)).manifest.removed
        except (HostError, RefusedError):
            continue
        for name in removed:
            key = (row.channel_id, name)
            found[key] = max(found.get(key, 0), row.sequence)
    return {key for key, sequence in found.items() if sequence > set_by.get(key, 0)}


def _looked_at(room: "_Stage | _Registry", item: Placement) -> Pruned:
    why = room.objection(item)
    return Pruned(item, PruneState.STAYS if why else PruneState.GOES, why)


def _removed(workspace: Workspace, room: "_Stage | _Registry", item: Placement) -> Pruned:
    try:
        found = _looked_at(room, item)
        if found.state is PruneState.STAYS:
            return found
        _record(workspace, item, Outcome.BEGUN)
        room.remove(item)
    except TidegateError as error:
        _record(workspace, item, Outcome.FAILED, error)
        return Pruned(item, PruneState.FAILED, error.message)
    with workspace.state.transaction() as tx:
        remove_placement(tx, item)
    _record(workspace, item, Outcome.DONE)
    return Pruned(item, PruneState.GONE)


def _record(workspace: Workspace, item: Placement, outcome: Outcome, error: TidegateError | None = None) -> None:
    with workspace.state.transaction() as tx:
        tx.queue(
            entry(
                Event.DELETE,
                subject=item.target,
                step=f"prune {item.name}",
                outcome=outcome,
                bundle=item.bundle_id,
                channel=item.channel_id,
                names=(item.name,),
                targets=(Target(item.name, item.place, item.digest),),
                reason=reason_of(error) if error else None,
                detail=error.message if error else "upstream no longer carries it",
            )
        )
    workspace.finish()


class _Stage:
    """A stage: its name goes; `cleanup` lets the content go when nothing needs it any more."""

    def __init__(self, workspace: Workspace, kept: Iterable[Placement]) -> None:
        self._stage = Depot(stage_folder(workspace), create=False)
        self._kept = {item.place for item in kept}

    def objection(self, item: Placement) -> str:
        """Why it stays; empty where it may go."""
        present = self._stage.reference(item.place)
        if item.place in self._kept:
            return "another name has this place"
        return "it was changed there since" if present is not None and present.digest != item.digest else ""

    def remove(self, item: Placement) -> None:
        if self._stage.reference(item.place) is not None:
            self._stage.remove_reference(item.place)


class _Registry:
    """A registry: what is there is asked for before each removal."""

    def __init__(self, workspace: Workspace, target: str, kept: tuple[Placement, ...]) -> None:
        self._host = target.partition("/")[0]
        self._client: RegistryClient = workspace.registries.target(self._host)
        self._kept = kept
        self._depot = Depot(workspace.root / "depot", create=False)
        self._tags: dict[str, dict[str, str | None]] = {}
        self._reached: dict[str, set[str]] = {}

    def objection(self, item: Placement) -> str:
        """Why it stays; empty where it may go, or is gone already."""
        repository, reference = self._parts(item)
        present = self._client.manifest_digest(repository, reference)
        if present is None:
            return ""
        if present != item.digest:
            return "it was changed there since"
        if item.digest in self._needed(repository):
            return "something that stays there is made of it"
        tags = self._tags_of(repository)
        if len(tags) > _TAGS_MAX:
            return f"its repository has more than {_TAGS_MAX} tags, which are not all compared"
        others = [tag for tag, digest in tags.items() if digest == item.digest and tag != reference]
        return f"tag {others[0]} has the same content there" if others else ""

    def remove(self, item: Placement) -> None:
        """Raises LoadError where the registry says that it did and did not."""
        repository, reference = self._parts(item)
        if self._client.manifest_digest(repository, reference) is None:
            return
        self._client.delete_manifest(repository, item.digest)
        if self._client.manifest_digest(repository, reference) is not None:
            raise LoadError(f"{item.place}: is still there after it was deleted")

    def _parts(self, item: Placement) -> tuple[str, str]:
        repository, reference = split_place(item.place)
        return repository.partition("/")[2], reference

    def _tags_of(self, repository: str) -> dict[str, str | None]:
        if repository not in self._tags:
            tags = self._client.tags(repository)[: _TAGS_MAX + 1]
            known = len(tags) <= _TAGS_MAX
            self._tags[repository] = {
                tag: self._client.manifest_digest(repository, tag) if known else None for tag in tags
            }
        return self._tags[repository]

    def _needed(self, repository: str) -> set[str]:
        """Digests in the repository that what stays is made of, as far as the depot still has it."""
        if repository not in self._reached:
            here = [item for item in self._kept if self._parts(item)[0] == repository]
            self._reached[repository] = {digest for item in here for digest in self._reach(item)}
        return self._reached[repository]

    def _reach(self, item: Placement) -> Iterator[str]:
        yield item.digest
        root = self._depot.references().get(item.name)
        if root is not None and root.digest == item.root:
            try:
                yield from (blob.digest for blob in walk(self._depot, root))
            except DepotError:
                return
