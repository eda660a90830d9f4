"""``tidegate plan``: what a pack would bring, how large, what is new, and whether it fits; changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import MediaFullError, PartialError
from tidegate.report import Report, counted
from tidegate.text import printable
from tidegate.units import format_bytes
from tidegate_sender.commands.asked_options import asked_options

if TYPE_CHECKING:
    from tidegate.workspace import Workspace
    from tidegate_sender.collect.items import Item
    from tidegate_sender.packing.planning import Plan


@dataclass(frozen=True, slots=True)
class Basis:
    """What is left out: what slips confirmed, what `since` and its bases brought, or with `full` nothing."""

    since: str | None = None
    full: bool = False


@click.command("plan", short_help="What would be brought: sizes, what is new, does it fit. Changes nothing.")
@asked_options
@click.option("--on", "medium", metavar="PATH", type=click.Path(path_type=Path), help="Does it fit this medium?")
@shared_options()
def command(
    invocation: Invocation,
    what: tuple[str, ...],
    platforms: tuple[str, ...],
    since: str | None,
    full: bool,
    medium: Path | None,
) -> None:
    """Say what `tidegate pack` with the same words would bring. Images are asked for their manifests only."""
    from tidegate_sender.collect.lists.arguments import items_from_arguments

    workspace = invocation.workspace(Role.LOW)
    items = items_from_arguments(what, platforms=platforms)
    show_plan(invocation.report, workspace, items, Basis(since, full=full), medium)


def show_plan(
    report: Report, workspace: "Workspace", items: "Sequence[Item]", basis: Basis, medium: Path | None
) -> None:
    """Print the plan; raises PartialError where something cannot be had, the first failure where nothing can, and
    MediaFullError where it does not fit."""
    from tidegate_sender.packing.planning import plan

    planned = plan(workspace, items, since=basis.since, full=basis.full, medium=medium)
    _show_table(report, planned)
    for failure in planned.failures if planned.artifacts else planned.failures[1:]:
        report.warn(printable(failure.text, 600), failure.error.hint)
    report.closing(_summary(planned), **_as_object(planned))
    if planned.failures and not planned.artifacts:
        raise planned.failures[0].error  # as `pack` would
    if planned.failures:
        labels = ", ".join(failure.label for failure in planned.failures[:5])
        raise PartialError(f"{len(planned.failures)} of {len(items)} cannot be had: {labels}")
    if planned.room is not None and not planned.room.fits:
        raise MediaFullError(
            f"{planned.room.medium}: up to {format_bytes(planned.room.needed)} needed,"
            f" {format_bytes(planned.room.free)} free",
            hint="use a larger medium, or leave out what the high side has with --since",
        )


def _show_table(report: Report, planned: "Plan") -> None:
    rows = [
        (item.name, item.kind, item.novelty, format_bytes(item.size), format_bytes(item.new_size))
        for item in planned.artifacts
    ]
    if rows:
        against = f"new since {planned.newest}" if planned.newest else "new"
        report.table(("artifact", "kind", "", "size", against), rows)
    for name in planned.removed:
        report.line(f"removed: {printable(name)} is not asked for any more")


def _summary(planned: "Plan") -> str:
    if not planned.artifacts:
        return "nothing of it can be had; nothing was changed"
    parts = [
        f"{planned.bundle} would bring {counted(len(planned.artifacts), 'artifact')},"
        f" {format_bytes(planned.brought_size)}, at most {format_bytes(planned.volume_bytes)} on a medium"
    ]
    if planned.required_size:
        parts.append(f"{format_bytes(planned.required_size)} are left out, sent before")
    if planned.again.size:
        parts.append(planned.again.words)
    if planned.removed:
        parts.append(f"{counted(len(planned.removed), 'name')} left the list and would be listed as removed")
    if planned.missing_size:
        parts.append(f"{format_bytes(planned.missing_size)} are to be collected first")
    if planned.replaces:
        parts.append(f"it takes the place of the unsent {planned.replaces}")
    if planned.room is not None and planned.room.fits:
        parts.append(f"it fits {planned.room.medium}")
    return "; ".join([*parts, "nothing was changed"])


def _as_object(planned: "Plan") -> dict[str, object]:
    return {
        "bundle": planned.bundle,
        "replaces": planned.replaces,
        "newest": planned.newest,
        "artifacts": [
            {
                "name": item.name,
                "kind": item.kind,
                "novelty": item.novelty,
                "size": item.size,
                "new_size": item.new_size,
                "missing_size": item.missing_size,
            }
            for item in planned.artifacts
        ],
        "failures": [{"what": item.label, "error": item.error.message} for item in planned.failures],
        "content_size": planned.content_size,
        "brought_size": planned.brought_size,
        "required_size": planned.required_size,
        "new_size": planned.new_size,
        "missing_size": planned.missing_size,
        "again_size": planned.again.size,
        "again_numbers": list(planned.again.sequences),
        "removed": list(planned.removed),
        "volume_bytes": planned.volume_bytes,
        "fits": planned.room.fits if planned.room else None,
    }
