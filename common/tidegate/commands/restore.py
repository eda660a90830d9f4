"""``tidegate restore``: after a backup was put back, and before anything else."""

import re
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError
from tidegate.report import counted

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


@click.command("restore", short_help="After a backup was put back: before anything else.")
@click.option("--reason", metavar="TEXT", required=True, help="What was restored, and why; for the ledger.")
@click.option("--last", metavar="NUMBER", help="The last bundle that was sent, or arrived, by what a person knows.")
@shared_options(writes=True)
def command(invocation: Invocation, reason: str, last: str | None) -> None:
    """Rebuild the state from the ledger: numbers, bundles, names. Where the whole root was put back, the ledger is too
    old as well: ask the other side for the last number, and give it with --last (193, or 7f3a-0193); on the low side it
    is never given again, on the high side the next slip asks for what is missing up to it."""
    from tidegate.restoring import restore

    workspace = invocation.workspace()
    confirmed = None
    if last is not None:
        match = re.fullmatch(r"(?:([0-9a-f]{4})-)?([0-9]{1,15})", last)
        if match is None:
            raise UsageError(f"{last!r} is no number of a bundle")
        chains = workspace.trust.chains()
        fitting = [chain for chain in chains if chain.channel_id.startswith(match[1] or "")]
        if len(fitting) != 1:
            raise UsageError(
                f"{last!r} is a number of {len(fitting)} channels here",
                hint="give the bundle's whole name, as 7f3a-0193",
            )
        confirmed = (fitting[0].channel_id, fitting[0].newest.epoch, int(match[2]))
    if invocation.dry_run:
        with workspace.state.reading() as tx:
            from tidegate.state.channels import list_channels

            rows = list_channels(tx)
        is_low = workspace.settings.role is Role.LOW
        known = ", ".join(f"{row.name} {row.next_sequence - 1 if is_low else row.highest_sequence}" for row in rows)
        invocation.report.closing(f"would be rebuilt; the last numbers known here: {known or 'none'}", new=True)
        return
    done = restore(workspace, reason, last=confirmed)
    invocation.report.closing(
        f"{counted(done.entries_adopted, 'entry', 'entries')} of the ledger were not known here;"
        f" {counted(done.bundles, 'bundle')}, {counted(done.names, 'name')} and"
        f" {counted(done.media, 'medium', 'media')} rebuilt{_numbers(workspace, confirmed)}",
        entries=done.entries_adopted,
        bundles=done.bundles,
        names=done.names,
        media=done.media,
        last=confirmed[2] if confirmed else None,
    )


def _numbers(workspace: "Workspace", confirmed: tuple[str, int, int] | None) -> str:
    """What becomes of the number that a person gave."""
    if confirmed is None:
        return ""
    number = confirmed[2]
    if workspace.settings.role is Role.LOW:
        return f"; the next bundle is number {number + 1}"
    return f'; what is missing up to number {number} stands on the next slip: "tidegate slip"'
