"""``tidegate ledger``: read what happened, and check that nobody changed it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.ledger_witness import (
    accept,
    bundle_named,
    is_copy,
    receipt,
    side_options,
    transfers,
    verify_copy,
)
from tidegate.commands.options import Group, Invocation, shared_options
from tidegate.text import printable

if TYPE_CHECKING:
    from tidegate.ledger.entries import RecordedEntry

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@click.group("ledger", cls=Group, short_help="What happened on this side: list, verify, receipts.")
def command() -> None:
    """What happened on this side, and whether the record of it is whole."""


for _part in (accept, receipt, transfers):
    command.add_command(_part)


@command.command("list", short_help="Entries, oldest first.")
@click.option("--event", metavar="EVENT", help="Only entries of this event, for example load.")
@click.option("--bundle", metavar="BUNDLE", help="Only entries of this bundle (its name, number or id).")
@click.option("--since", metavar="TIME", help="Only entries from this time on, 2026-01-31, or 2026-01-31T08:00:00Z.")
@click.option("--last", metavar="N", type=click.IntRange(min=1), help="Only the last N of them.")
@side_options
@shared_options()
def list_entries(
    invocation: Invocation,
    event: str | None,
    bundle: str | None,
    since: str | None,
    last: int | None,
    side: str | None,
    channel: str | None,
) -> None:
    """Print the entries of the ledger; --json gives each as it was recorded, with its number. With --side low those of
    the low side's ledger that came with its bundles."""
    from tidegate.ledger.listing import list_recorded, select_entries

    workspace = invocation.workspace()
    if since is not None and _DAY.fullmatch(since):
        since += "T00:00:00Z"
    named = bundle_named(workspace, bundle) if bundle is not None else None
    if is_copy(workspace, side):
        from tidegate.ledger.low_side import choose_chain, low_entries

        raw = low_entries(workspace, choose_chain(workspace, channel))
        entries = select_entries(raw, event=event, bundle=named, since=since)
    else:
        entries = list_recorded(workspace.folder("ledger"), event=event, bundle=named, since=since)
    if not entries and event is not None:
        _refuse_unknown_event(event)
    chosen = entries if last is None else entries[-last:]
    report = invocation.report
    rows = []
    for item in chosen:
        report.object({"number": item.number, "entry": item.fields})
        what = item.text("bundle_name") or item.text("channel_name")
        cells = (item.text("time"), item.text("event"), item.text("outcome"), what, _remark(item))
        rows.append((str(item.number), *(printable(cell, 80) for cell in cells)))
    if rows:
        report.table(("number", "time", "event", "outcome", "about", ""), rows)
    elif not invocation.json_lines:
        report.line("no entry")


def _remark(item: "RecordedEntry") -> str:
    """Why, what more, and which medium; all of it is in ``--json``."""
    parts = [item.text("reason"), item.text("detail")]
    medium = (item.fields or {}).get("medium")
    if isinstance(medium, dict):
        parts.append(" ".join(str(medium[name]) for name in ("vendor", "product", "serial", "path") if name in medium))
    return "; ".join(part for part in parts if part)


def _refuse_unknown_event(event: str) -> None:
    """A mistyped event must not read as "it never happened"; one that this version does not know may be a newer one."""
    import difflib

    from tidegate.errors import UsageError
    from tidegate.ledger.entries import Event

    known = [str(item) for item in Event]
    if event in known:
        return
    close = difflib.get_close_matches(event, known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"no entry of an event {event!r}{meant}", hint='"tidegate ledger list" shows the words')


@command.command("verify", short_help="Recompute the whole ledger and compare it with its checkpoint.")
@click.option("--against", metavar="FILE", type=click.Path(path_type=Path), help="A checkpoint kept elsewhere.")
@side_options
@shared_options()
def verify(invocation: Invocation, against: Path | None, side: str | None, channel: str | None) -> None:
    """Recompute everything from the entries; where the record was changed, say exactly what differs (exit code 61)."""
    from tidegate.ledger.verify import verify_workspace

    workspace = invocation.workspace()
    if is_copy(workspace, side):
        verify_copy(invocation, workspace, channel, against)
        return
    found = verify_workspace(workspace, against)
    invocation.report.closing(found.summary, **found.as_object())
