"""``tidegate inbox``: bundles, their state, what is missing, what to do next."""

from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.state.bundles import BundleRow, BundleState
from tidegate.text import printable
from tidegate.units import format_bytes

if TYPE_CHECKING:
    from tidegate.state.db import Transaction
    from tidegate.workspace import Workspace
    from tidegate_receiver.intake.unverified import Unverified


@click.command("inbox", short_help="Bundles, their state, what is missing, what to do next.")
@shared_options()
def command(invocation: Invocation) -> None:
    """Every bundle that came, by channel and number, with its state and the next step."""
    from tidegate.clock import format_time
    from tidegate.commands.status import next_step
    from tidegate.state.bundles import list_bundles
    from tidegate_receiver.intake.unverified import list_unverified

    workspace = invocation.workspace(Role.HIGH)
    with workspace.state.reading() as tx:
        rows = list_bundles(tx)
        taken_back = _withdrawals(tx, rows)
    cells: list[tuple[str, str, str, str, str]] = []
    for row in rows:
        reason = taken_back.get(row.bundle_id)
        missing = what_is_missing(row) if reason is None else f"withdrawn: {printable(reason, 100)}"
        names = ", ".join(printable(str(item["name"]), 60) for item in row.artifacts[:3])
        more = f" and {len(row.artifacts) - 3} more" if len(row.artifacts) > 3 else ""
        cells.append((row.name, row.state, format_bytes(row.content_size), missing or "nothing", names + more))
        invocation.report.object(
            {
                "bundle": row.name,
                "bundle_id": row.bundle_id,
                "state": row.state,
                "created": format_time(row.created),
                "content_size": row.content_size,
                "artifacts": [item["name"] for item in row.artifacts],
                "missing": missing,
                "withdrawn": reason,
                "detail": row.detail,
            }
        )
    cells += [_show_unverified(invocation, item) for item in list_unverified(workspace)]
    if cells:
        invocation.report.table(("bundle", "state", "content", "missing", "artifacts"), cells)
    else:
        invocation.report.line("nothing has come yet")
    _show_gaps(invocation, workspace)
    invocation.report.line(f"next: {next_step(workspace, rows)}")


def _show_unverified(invocation: Invocation, item: "Unverified") -> tuple[str, str, str, str, str]:
    """A bundle that a carrier key announced, and of which no signature came yet: its cells."""
    missing = f"its table of contents; {format_bytes(item.kept_bytes)} came before it and are kept"
    invocation.report.object(
        {
            "bundle": item.name,
            "bundle_id": item.announcement.bundle_id,
            "state": "unverified",
            "content_size": item.content_bytes,
            "kept_bytes": item.kept_bytes,
            "missing": missing,
        }
    )
    return (item.name, "unverified", format_bytes(item.content_bytes), missing, "")


def _withdrawals(tx: "Transaction", rows: tuple[BundleRow, ...]) -> dict[str, str]:
    """bundle_id → why the low side took it back."""
    from tidegate_receiver.intake.numbering import read_void, withdrawal

    epochs = {(row.channel_id, int(row.detail.get("epoch", 1))) for row in rows}
    void = {key: read_void(tx, *key) for key in epochs}
    reasons = ((row, withdrawal(void[row.channel_id, int(row.detail.get("epoch", 1))], row)) for row in rows)
    return {row.bundle_id: reason for row, reason in reasons if reason is not None}


def _show_gaps(invocation: Invocation, workspace: "Workspace") -> None:
    """A line for each channel of which numbers have not come; what is void is no gap."""
    from tidegate_receiver.intake.numbering import highest_seen, read_standing
    from tidegate_receiver.listener.heard import sent_up_to

    for channel in workspace.trust.list():
        with workspace.state.reading() as tx:
            standing = read_standing(tx, workspace.root, channel.channel_id, channel.root.epoch)
            seen = highest_seen(tx, channel.channel_id, channel.root.epoch, standing)
            sent = sent_up_to(tx, channel.channel_id, channel.root)
        if standing.missing:
            missing = standing.missing.words()
            invocation.report.line(f'channel {channel.name}: {missing} missing; "tidegate slip" tells the office')
            invocation.report.object({"channel": channel.name, "missing_numbers": list(standing.missing)})
        if sent > seen:
            _show_not_here(invocation, channel.name, seen, sent)


def _show_not_here(invocation: Invocation, channel: str, seen: int, sent: int) -> None:
    """Numbers beyond the highest that came, which a heartbeat says were sent: as many as it likes, so none is listed.

    Where nothing came yet the site may have joined late, and the first ones are none of its own.
    """
    first = "" if sent == seen + 1 else f"{seen + 1} to " if seen else "up to "
    whose = f'"tidegate resend {sent if sent == seen + 1 else f"{seen + 1}-{sent}"}"' if seen else '"tidegate resend"'
    invocation.report.line(
        f"channel {channel}: {first}{sent} went over the link, as its heartbeat says, and nothing of it came;"
        f" the office: {whose}"
    )
    invocation.report.object({"channel": channel, "highest_here": seen, "sent_over_link": sent})


def _for_the_office(row: BundleRow) -> str:
    """How the low side sends just what is missing, where it is known."""
    pieces = row.detail.get("missing_pieces")
    return f'; the office: "tidegate resend {row.sequence}:{pieces}"' if isinstance(pieces, str) and pieces else ""


def what_is_missing(row: BundleRow) -> str:
    """In words, empty where nothing is."""
    done, total = row.detail.get("chunks_done"), row.detail.get("chunks")
    if row.state in (BundleState.INCOMPLETE, BundleState.RECEIVING):
        sticks = row.detail.get("missing_sticks")
        if isinstance(done, int) and isinstance(total, int):
            text = f"{total - done} of {total} pieces" + (f": {sticks}" if isinstance(sticks, str) else "")
            return text + _for_the_office(row)
        return "part of it was not read"
    if row.state is BundleState.WAITING:
        return printable(f"somebody who admits it: {row.detail.get('waits_for', '')}", 160)
    if row.state is BundleState.REFUSED and row.detail.get("evidence"):
        return printable(f"a fork: {row.detail.get('error', '')}; papers in {row.detail['evidence'][-1]}", 240)
    if row.state is BundleState.REFUSED:
        return printable(str(row.detail.get("error", "refused")), 100)
    needs = row.detail.get("needs") or ()
    return f"content of number {', '.join(map(str, needs))}" if needs and row.state is BundleState.QUARANTINED else ""
