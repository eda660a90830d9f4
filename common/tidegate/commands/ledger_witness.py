"""Parts of ``tidegate ledger`` that look beyond the own record: the low side's copy, transfers, receipts, a fork."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError
from tidegate.report import counted

if TYPE_CHECKING:
    from tidegate.ledger.log_copy import CopyReport
    from tidegate.workspace import Workspace


def side_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--side`` and ``--channel``."""
    side = click.option(
        "--side",
        type=click.Choice(["low", "high"]),
        help="On the high side: low is what came of the low side's ledger.",
    )
    channel = click.option(
        "--channel", metavar="NAME", help="With --side low: the channel, where there is more than one."
    )
    return side(channel(function))


def is_copy(workspace: "Workspace", side: str | None) -> bool:
    """Whether the other side's ledger is meant, whose copy the high side has. Raises UsageError on the low side."""
    if side is None or side == workspace.settings.role:
        return False
    if workspace.settings.role is Role.LOW:
        raise UsageError("the high side's ledger is on the high side; here are only the heads that its slips showed")
    return True


def verify_copy(invocation: Invocation, workspace: "Workspace", channel: str | None, against: Path | None) -> None:
    """Verify what came of the low side's ledger, and say what is not here."""
    from tidegate.ledger.low_side import choose_chain, verify_low

    chain = choose_chain(workspace, channel)
    found = verify_low(workspace, chain, against)
    for source in found.not_compared:
        invocation.report.warn(f"{source}: no entries here reach its size; nothing was compared with it")
    invocation.report.closing(
        _summary(f"{chain.newest.name}/low", found),
        origin=f"{chain.newest.name}/low",
        size=found.size,
        held=found.held,
        holes=[list(hole) for hole in found.holes],
        heads=found.heads,
        unlinked=list(found.unlinked),
        forks=list(found.forks),
        heard=found.heard,
        compared=list(found.compared),
        not_compared=list(found.not_compared),
    )


def _summary(origin: str, found: "CopyReport") -> str:
    heard = f"the last heartbeat told of {found.heard} entries" if found.heard else ""
    if not found.size:
        return "; ".join(filter(None, (f"ledger {origin}: nothing of it has come yet", heard)))
    heads = counted(found.heads, "head")
    parts = [f"ledger {origin}: {found.held} of {found.size} entries are here and lead to {heads} that were seen"]
    if found.holes:
        parts.append("not here: " + ", ".join(f"{first} to {last}" for first, last in found.holes))
    if found.unlinked:
        parts.append(f"not linked up yet: size {', '.join(map(str, found.unlinked))}")
    if heard:
        parts.append(heard)
    if found.forks:
        parts.append(f"contradicted by heads of size {', '.join(map(str, found.forks))}, kept under evidence/")
    if found.compared:
        parts.append(f"compared with {', '.join(found.compared)}")
    return "; ".join(parts)


@click.command("transfers", short_help="High side: each bundle from packing to loading, and what never came.")
@click.option("--channel", metavar="NAME", help="The channel, where there is more than one.")
@shared_options()
def transfers(invocation: Invocation, channel: str | None) -> None:
    """Each bundle of a channel through both ledgers: when it was packed and sent, received and loaded; what was sent
    and never came. The low side's times are from its own entries, as far as they have come."""
    from dataclasses import asdict

    from tidegate.ledger.low_side import choose_chain, list_transfers

    workspace = invocation.workspace(Role.HIGH)
    found = list_transfers(workspace, choose_chain(workspace, channel))
    report = invocation.report
    for item in found:
        report.object({**asdict(item), "remark": item.remark})
    if found:
        rows = [(item.name, item.packed, item.sent, item.received, item.loaded, item.remark) for item in found]
        report.table(("bundle", "packed", "sent", "received", "loaded", ""), rows)
    elif not invocation.json_lines:
        report.line("no bundle")


@click.command("accept", short_help="High side: load a bundle though the low side's ledger contradicts itself.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--reason", metavar="TEXT", required=True, help="Why: it stands in the ledger.")
@shared_options(writes=True)
def accept(invocation: Invocation, bundle: str, reason: str) -> None:
    """Let a bundle be loaded that waits because the low side's ledger contradicts what was seen of it before. What this
    bundle says is the low side's ledger from now on; both stories stay under evidence/."""
    from tidegate.ledger.low_side import accept_fork
    from tidegate.lookup import resolve_bundle
    from tidegate.text import check_reason

    workspace = invocation.workspace(Role.HIGH)
    row = resolve_bundle(workspace, bundle).row
    if row is None:
        raise UsageError(f"{bundle}: no bundle of this root")
    check_reason(reason)
    if not invocation.dry_run:
        with workspace.recording():
            accept_fork(workspace, row, reason)
    done = "would be accepted" if invocation.dry_run else "accepted"
    invocation.report.closing(
        f'{row.name} {done}; next: "tidegate load {row.name}"',
        bundle=row.name,
        bundle_id=row.bundle_id,
        outcome="accepted",
    )


@click.command("receipt", short_help="What the ledger says of one bundle, for somebody who has only its public key.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Default: receipt-BUNDLE.")
@shared_options(writes=True)
def receipt(invocation: Invocation, bundle: str, out: Path | None) -> None:
    """Write a receipt (C2SP tlog-proof) for every entry about a bundle: with the ledger's public key anybody can check
    offline that it is in this ledger. docs/operating/check_receipt.py does it with nothing but Python."""
    from tidegate.ledger.receipts import make_receipts, write_receipts

    workspace = invocation.workspace()
    name = bundle_named(workspace, bundle)
    workspace.begin()
    log = workspace.recorder.log
    made = make_receipts(log, name)
    folder = out or Path(f"receipt-{name}")
    if not invocation.dry_run:
        write_receipts(made, folder, str(log.key))
        _record_export(workspace, name, len(made), folder)
    did = "would be written" if invocation.dry_run else "written"
    invocation.report.closing(
        f"{len(made)} receipts for {name} {did} to {folder}; the verifier key is {log.key}",
        bundle=name,
        receipts=[{"number": item.number, "event": item.event, "time": item.time} for item in made],
        folder=str(folder),
        vkey=str(log.key),
        dry_run=invocation.dry_run,
    )


def _record_export(workspace: "Workspace", name: str, count: int, folder: Path) -> None:
    from tidegate.ledger.entries import Event, entry

    made = entry(
        Event.EXPORT,
        subject=name,
        step="receipt",
        bundle_name=name,
        counts={"receipts": count},
        detail=f"receipts to {folder}",
    )
    with workspace.state.transaction() as tx:
        tx.queue(made)
    workspace.finish()


def bundle_named(workspace: "Workspace", text: str) -> str:
    """A number as the bundle's name; anything else as it is, since the ledger may know more bundles than the state."""
    if not text.isdecimal() or len(text) >= 8:
        return text
    from tidegate.state.bundles import find_bundle

    with workspace.state.reading() as tx:
        return find_bundle(tx, text).name
