"""``tidegate discard``: take a bundle out of the channel that will not arrive."""

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role


@click.command("discard", short_help="Take out a bundle that will not arrive; no gap is left.")
@click.argument("bundle", metavar="BUNDLE")
@shared_options(writes=True)
def command(invocation: Invocation, bundle: str) -> None:
    """BUNDLE (a name, number or id) that was not sent gives its number to the next one. The number of one that was
    sent is void: the following bundles tell the other side not to wait for it."""
    from tidegate_sender.discarding import DiscardOutcome, discard

    workspace = invocation.workspace(Role.LOW)
    done = discard(workspace, bundle, dry_run=invocation.dry_run)
    would = "would be" if invocation.dry_run else "is"
    texts = {
        DiscardOutcome.NOTHING: f"nothing to do: {done.bundle} is discarded already",
        DiscardOutcome.GIVEN_BACK: f"{done.bundle} {would} discarded; the next bundle has its number",
        DiscardOutcome.VOID: f"{done.bundle} {would} discarded; the next bundle says that it will not come",
    }
    if done.builds_on_it:
        invocation.report.warn(f"{', '.join(done.builds_on_it)} build on its content, and will wait for it")
    invocation.report.closing(
        texts[done.outcome],
        bundle=done.bundle,
        bundle_id=done.bundle_id,
        outcome=done.outcome,
        builds_on_it=list(done.builds_on_it),
        dry_run=invocation.dry_run,
    )
