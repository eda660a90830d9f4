"""``tidegate ledger``: read what happened, and check that nobody changed it."""

from pathlib import Path

import click

from tidegate.commands.options import Group, Invocation, shared_options
from tidegate.text import printable


@click.group("ledger", cls=Group, short_help="What happened on this side: list, verify.")
def command() -> None:
    """What happened on this side, and whether the record of it is whole."""


@command.command("list", short_help="Entries, oldest first.")
@click.option("--event", metavar="EVENT", help="Only entries of this event, for example load.")
@click.option("--bundle", metavar="BUNDLE", help="Only entries of this bundle (its name or id).")
@click.option("--since", metavar="TIME", help="Only entries from this time on, for example 2026-01-31T08:00:00Z.")
@click.option("--last", metavar="N", type=click.IntRange(min=1), help="Only the last N of them.")
@shared_options()
def list_entries(
    invocation: Invocation, event: str | None, bundle: str | None, since: str | None, last: int | None
) -> None:
    """Print the entries of the ledger; --json gives each as it was recorded, with its number."""
    from tidegate.ledger.listing import list_recorded

    workspace = invocation.workspace()
    entries = list_recorded(workspace.folder("ledger"), event=event, bundle=bundle, since=since)
    chosen = entries if last is None else entries[-last:]
    report = invocation.report
    rows = []
    for item in chosen:
        report.object({"number": item.number, "entry": item.fields})
        what = item.text("bundle_name") or item.text("channel_name")
        reason = item.text("reason") or item.text("detail")
        cells = (item.text("time"), item.text("event"), item.text("outcome"), what, reason)
        rows.append((str(item.number), *(printable(cell, 80) for cell in cells)))
    if rows:
        report.table(("number", "time", "event", "outcome", "bundle", ""), rows)
    elif not invocation.json_lines:
        report.line("no entry")


@command.command("verify", short_help="Recompute the whole ledger and compare it with its checkpoint.")
@click.option("--against", metavar="FILE", type=click.Path(path_type=Path), help="A checkpoint kept elsewhere.")
@shared_options()
def verify(invocation: Invocation, against: Path | None) -> None:
    """Recompute everything from the entries; where the record was changed, say exactly what differs (exit code 61)."""
    from tidegate.ledger.verify import verify_workspace

    workspace = invocation.workspace()
    found = verify_workspace(workspace, against)
    invocation.report.closing(found.summary, **found.as_object())
