"""``tidegate prune``: what upstream removed and is still here, listed; and removed when somebody says so."""

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import PartialError
from tidegate.report import counted


@click.command("prune", short_help="List what upstream removed and is still at a target; remove it with --remove.")
@click.option("--to", metavar="TARGET", help="A registry, or another target, as load --to has it [the stage].")
@click.option("--remove", is_flag=True, help="Remove it; each is in the ledger before and after.")
@shared_options()
def command(invocation: Invocation, to: str | None, remove: bool) -> None:
    """Nothing is ever removed because the low side left it out: this lists what it left out and is still there.

    What was changed there since, or has the same content as something that stays, is left and named.
    """
    from tidegate_receiver.promotion.pruning import PruneState, prune

    report = invocation.report
    found = prune(invocation.workspace(Role.HIGH), to, remove=remove)
    if found.items:
        rows = [(item.placement.name, item.placement.place, str(item.state), item.why) for item in found.items]
        report.table(("name", "place", "", "why"), rows)
    goes, gone, failed = (found.count(state) for state in (PruneState.GOES, PruneState.GONE, PruneState.FAILED))
    again = "tidegate prune" + (f" --to {to}" if to else "") + " --remove"
    if goes:
        text = f'{counted(goes, "artifact")} may go from {found.target}; nothing was removed; next: "{again}"'
    elif gone:
        text = f"removed {counted(gone, 'artifact')} from {found.target}; each is in the ledger"
    elif failed:
        text = f"nothing was removed from {found.target}"
    else:
        text = f"nothing to do: nothing may go from {found.target}"
    report.closing(
        text,
        target=found.target,
        removed=remove,
        items=[
            {
                "name": item.placement.name,
                "place": item.placement.place,
                "digest": item.placement.digest,
                "state": str(item.state),
                "why": item.why,
            }
            for item in found.items
        ],
    )
    if failed:
        raise PartialError(
            f"{failed} of {len(found.items)} could not be removed from {found.target}",
            hint="many registries delete only where their configuration allows it, and accounts need the right to",
        )
