"""``tidegate clock``: what time it certainly is, and the way back where that is wrong."""

from pathlib import Path

import click

from tidegate.clock import format_time, now, parse_time
from tidegate.commands.options import Group, Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError


@click.group("clock", cls=Group, short_help="What time it certainly is; lower it, where it is wrong.")
def command() -> None:
    """The floor of time: what is certainly over by what was signed. Expiry is judged by it."""


@command.command("show", short_help="The floor of time, the own clock, what would wait.")
@shared_options()
def show(invocation: Invocation) -> None:
    """The floor of time, the own clock, and from which time of creation on a bundle waits to be admitted."""
    from tidegate_receiver.trusted_time import read_time

    workspace = invocation.workspace(Role.HIGH)
    with workspace.state.reading() as tx:
        time = read_time(tx, workspace)
    counts = "counts" if workspace.settings.clock_trusted else "does not count"
    invocation.report.line(f"it is {format_time(time.floor)} or later, by what was signed")
    invocation.report.line(f"this host's clock says {format_time(now())}, and {counts}")
    if time.clock_behind is not None:
        invocation.report.warn("this host's clock is wrong: it stands before what is certainly over")
    invocation.report.closing(
        f"a bundle created after {format_time(time.created_limit)} waits until somebody admits it",
        floor=format_time(time.floor),
        clock=format_time(now()),
        clock_counts=workspace.settings.clock_trusted,
        clock_is_behind=time.clock_behind is not None,
        created_limit=format_time(time.created_limit),
    )


@command.command("lower", short_help="Lower the floor of time: two people.")
@click.option("--to", "to", metavar="TIME", help="What time it is at least, as 2026-03-01T00:00:00Z.")
@click.option("--reason", metavar="TEXT", help="Why it stands too high.")
@click.option(
    "--key", "keys", metavar="FILE", multiple=True, type=click.Path(path_type=Path), help="An approver's key."
)
@click.option("--by", "declared", metavar="NAME", multiple=True, help="Who wants it, where the policy takes names.")
@click.option("--file", "file", metavar="ACT", type=click.Path(path_type=Path), help="What the other one signs, too.")
@shared_options(writes=True)
def lower(
    invocation: Invocation,
    to: str | None,
    reason: str | None,
    keys: tuple[Path, ...],
    declared: tuple[str, ...],
    file: Path | None,
) -> None:
    """Lower the floor of time, where a wrong clock somewhere has raised it too far. Two approvers sign: with both
    keys here, or one after the other by way of the file ACT."""
    from tidegate_receiver.lowering import lower_floor

    workspace = invocation.workspace(Role.HIGH)
    try:
        seconds = parse_time(to) if to is not None else None
    except ValueError as error:
        raise UsageError(str(error)) from None
    signers = () if declared else tuple(map(workspace.signer_of, keys)) or (workspace.signer("approver"),)
    done = lower_floor(
        workspace,
        to=seconds,
        reason=reason,
        signers=signers,
        declared=declared,
        file=file,
        dry_run=invocation.dry_run,
    )
    people = " and ".join(done.people)
    facts = {"floor_before": format_time(done.before), "floor": format_time(done.after), "people": list(done.people)}
    if not done.is_done:
        invocation.report.closing(
            f'signed by {people} alone; another approver goes on with "tidegate clock lower --file {file}"',
            done=False,
            **facts,
        )
        return
    verb = "would be lowered" if invocation.dry_run else "is lowered"
    invocation.report.closing(f"the floor of time {verb} to {format_time(done.after)}, by {people}", done=True, **facts)
