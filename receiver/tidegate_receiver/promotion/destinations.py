"""Where a bundle goes besides the stage: targets that a person named, and those that its list asks for.

One command may load to many targets. Each is looked at before anything is changed; one that cannot be reached stops the
others only where it is alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tidegate.config_tables import TargetSettings
from tidegate.errors import LoadError, NameTakenError, TidegateError, UsageError
from tidegate.registry.reference import split_place
from tidegate.state.names import list_names
from tidegate.state.placements import list_placements
from tidegate.workspace import Workspace
from tidegate_receiver.loaders.items import BlobSource, Loader, LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader
from tidegate_receiver.loaders.targets import open_loader
from tidegate_receiver.promotion.rewriting import check_free, new_place, rewritten
from tidegate_receiver.promotion.stages import holders_of, stage_folder


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """One target: who loads there, what goes there and under which places, and what its settings say."""

    loader: Loader
    items: tuple[LoadItem, ...]
    settings: TargetSettings
    #: why nothing can be loaded there now
    error: TidegateError | None = None

    @property
    def target(self) -> str:
        return self.loader.target


@dataclass(frozen=True, slots=True)
class AskedTargets:
    """What `plan_targets` found: the targets, and the names of those that the list asks for and nobody knows here."""

    targets: tuple[TargetPlan, ...] = ()
    unknown: tuple[str, ...] = ()


def plan_targets(
    workspace: Workspace,
    channel_id: str,
    items: tuple[LoadItem, ...],
    source: BlobSource,
    *,
    to: Sequence[str] = (),
    asked: bool = False,
) -> AskedTargets:
    """The targets named by `to`, and with `asked` all that the items ask for; each once, and looked at.

    Raises UsageError, LoadError, NameTakenError; and where there is one target only, what its check raises.
    """
    known = workspace.settings.targets
    wanted = dict.fromkeys(to)
    unknown: tuple[str, ...] = ()
    if asked:
        names = dict.fromkeys(name for item in items for name in item.load)
        wanted.update(dict.fromkeys(name for name in names if name in known))
        unknown = tuple(name for name in names if name not in known)
    planned: dict[str, TargetPlan] = {}
    for name in wanted:
        plan = _planned(workspace, channel_id, items, source, name)
        if plan.target in planned:
            raise UsageError(f"--to: {name} is {plan.target}, and that was named before")
        planned[plan.target] = plan
    alone = len(planned) == 1
    return AskedTargets(tuple(_checked(plan, alone=alone) for plan in planned.values()), unknown)


def open_target(workspace: Workspace, to: str, source: BlobSource) -> tuple[Loader, TargetSettings]:
    """The loader for `to`, the name of a target in the settings or what such a target says. Raises UsageError."""
    settings = workspace.settings.targets.get(to) or TargetSettings(to)
    holders = partial(_holders, workspace, settings)
    return open_loader(settings.to, source, workspace.registries, holders), settings


def _planned(
    workspace: Workspace, channel_id: str, items: tuple[LoadItem, ...], source: BlobSource, name: str
) -> TargetPlan:
    loader, settings = open_target(workspace, name, source)
    if name in workspace.settings.targets:
        items = tuple(item for item in items if name in item.load)
        if not items:
            raise LoadError(
                f"target {name}: nothing in the bundle asks for it", hint=f"to load all of it there: --to {settings.to}"
            )
    if settings.rewrite or settings.projects:
        if not isinstance(loader, RegistryLoader):
            raise UsageError(f"target {name}: rewrite and projects are for registries, and {loader.target} is none")
        items = rewritten(items, settings.rewrite, loader.target)
        with workspace.state.reading() as tx:
            check_free(items, channel_id, loader.target, list_placements(tx, loader.target))
    return TargetPlan(loader, items, settings)


def _checked(plan: TargetPlan, *, alone: bool) -> TargetPlan:
    try:
        plan.loader.check(plan.items)
    except (UsageError, NameTakenError):
        raise
    except TidegateError as error:
        if alone:
            raise
        return TargetPlan(plan.loader, plan.items, plan.settings, error)
    return plan


def _holders(workspace: Workspace, settings: TargetSettings) -> dict[str, tuple[str, ...]]:
    """For each blob of the stage the repositories of the target that have it, by the target's rules."""
    found = holders_of(stage_folder(workspace))
    if not settings.rewrite:
        return found
    moved: dict[str, dict[str, None]] = {}
    with workspace.state.reading() as tx:
        from tidegate.state.channels import list_channels

        for channel in list_channels(tx):
            for row in list_names(tx, channel.channel_id):
                old, new = (split_place(new_place(row.name, rules))[0] for rules in ({}, settings.rewrite))
                moved.setdefault(old, {})[new] = None
    return {
        digest: tuple(dict.fromkeys(new for name in names for new in moved.get(name, {name: None})))
        for digest, names in found.items()
    }
