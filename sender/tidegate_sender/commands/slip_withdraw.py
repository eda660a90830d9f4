"""``tidegate slip withdraw``: what a site confirmed counts no more."""

from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role

if TYPE_CHECKING:
    from tidegate_sender.slips.withdrawing import SlipWithdrawal


NEXT = 'next: "tidegate pack …" brings the content again, --anyway where nothing changed since'


@click.command("withdraw", short_help="Low side: undo what slips and codes of a site confirmed.")
@click.argument("site", metavar="SITE")
@click.option("--reason", metavar="TEXT", help="Why, for the ledger.")
@shared_options(writes=True)
def command(invocation: Invocation, site: str, reason: str | None) -> None:
    """What the slips and codes of SITE confirmed counts no more: its content rides again. The next slip counts, also
    the same one once more; an older one does not."""
    from tidegate_sender.slips.withdrawing import withdraw_slip

    workspace = invocation.workspace(Role.LOW)
    done = withdraw_slip(workspace, site, reason, dry_run=invocation.dry_run)
    if done.builds_on_it:
        invocation.report.warn(
            f"{', '.join(done.builds_on_it)} build on it, and wait at {done.site} for what it does not hold"
        )
    invocation.report.closing(
        _summary(done, dry_run=invocation.dry_run),
        site=done.site,
        outcome="withdrawn" if done.is_new else "nothing",
        held=str(done.held),
        missing=str(done.missing),
        builds_on_it=list(done.builds_on_it),
        dry_run=invocation.dry_run,
    )


def _summary(done: "SlipWithdrawal", *, dry_run: bool) -> str:
    if not done.is_new:
        return f"nothing to do: no slip or code of {done.site} counts"
    would = "would be" if dry_run else "is"
    parts = [f"what {done.site} confirmed {would} withdrawn: {done.held.words() or 'nothing'}"]
    if done.missing:
        parts.append(f"its slip asks for {done.missing.words()} no more")
    return "; ".join([*parts, "nothing was changed" if dry_run else NEXT])
