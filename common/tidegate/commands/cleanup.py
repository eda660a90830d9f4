"""``tidegate cleanup``: what lies here and is not needed any more, and why; with ``--remove`` it goes.

The two sides keep different things; their halves plug in by the entry-point group ``tidegate.cleanup``, by role.
"""

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.errors import UsageError
from tidegate.text import printable
from tidegate.units import format_bytes

if TYPE_CHECKING:
    from tidegate.config import Role
    from tidegate.report import Report
    from tidegate.retention import Cleaner, Cleanup


@click.command("cleanup", short_help="What is not needed any more, and why; --remove removes it.")
@click.option("--remove", is_flag=True, help="Remove it; without this it is only said.")
@click.option("--keep-days", metavar="DAYS", type=click.IntRange(0), help="Leave things for so long [setting: 90].")
@shared_options(writes=True)
def command(invocation: Invocation, remove: bool, keep_days: int | None) -> None:
    """Say what may go, how old and how large it is, and why the rest stays. Nothing is removed without --remove.

    What a stage, a bundle that waits, or the base of the next bundles needs stays in any case.
    """
    from tidegate.retention import Limits

    if remove and invocation.dry_run:
        raise UsageError("--remove and --dry-run exclude each other")
    workspace = invocation.workspace()
    limits = Limits.of(workspace.settings, keep_days)
    cleaner = find_cleaner(workspace.settings.role)
    if remove:
        with workspace.recording():
            found = cleaner(workspace, limits, True)
    else:
        found = cleaner(workspace, limits, False)
    again = "tidegate cleanup --remove" + (f" --keep-days {keep_days}" if keep_days is not None else "")
    show(invocation.report, found, None if remove else again)


def find_cleaner(role: "Role") -> "Cleaner":
    """The half of this side."""
    (point,) = entry_points(group="tidegate.cleanup", name=role.value)
    cleaner: Cleaner = point.load()
    return cleaner


def show(report: "Report", found: "Cleanup", following: str | None) -> None:
    """What goes, what stays, and one closing line; `following` is the command that removes it, None once it did."""
    removed = following is None
    if found.goes:
        rows = [
            (printable(item.name, 100), item.kind, format_bytes(item.size_bytes), _age(item.age_days), item.why)
            for item in found.goes
        ]
        report.table(("goes" if not removed else "gone", "", "size", "age", "why"), rows)
    if found.goes and found.stays:
        report.line()
    if found.stays:
        report.table(
            ("stays", "size", "why"),
            [(printable(item.name, 100), format_bytes(item.size_bytes), item.why) for item in found.stays],
        )
    report.closing(
        _summary(found, following),
        removed=removed,
        size=found.size_bytes,
        goes=[
            {
                "name": item.name,
                "kind": item.kind,
                "size": item.size_bytes,
                "age_days": item.age_days,
                "why": item.why,
                "bundle_id": item.bundle_id,
            }
            for item in found.goes
        ],
        stays=[{"name": item.name, "size": item.size_bytes, "why": item.why} for item in found.stays],
    )


def _age(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _summary(found: "Cleanup", following: str | None) -> str:
    if not found.goes:
        return "nothing to do: everything here is needed, or not old enough"
    size = format_bytes(found.size_bytes)
    count = len(found.goes)
    things = "1 thing" if count == 1 else f"{count} things"
    if following is None:
        return f"removed {things}, {size}; each is in the ledger"
    return f'{things} may go, {size}; nothing was removed; next: "{following}"'
