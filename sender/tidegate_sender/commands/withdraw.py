"""``tidegate withdraw``: take back a bundle that was sent, and say why."""

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role


@click.command("withdraw", short_help="Take back a bundle that was sent, with a reason.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--reason", metavar="TEXT", required=True, help="One line; the other side reads it in the next bundle.")
@shared_options(writes=True)
def command(invocation: Invocation, bundle: str, reason: str) -> None:
    """The following bundles tell the other side not to take or load BUNDLE (a name, number or id), and why. What is
    loaded there already stays until somebody removes it."""
    from tidegate_sender.discarding import DiscardOutcome, withdraw

    workspace = invocation.workspace(Role.LOW)
    done = withdraw(workspace, bundle, reason, dry_run=invocation.dry_run)
    would = "would be" if invocation.dry_run else "is"
    if done.outcome is DiscardOutcome.NOTHING:
        text = f"nothing to do: {done.bundle} is withdrawn already"
    else:
        text = f'{done.bundle} {would} withdrawn; the next bundle tells it: "tidegate pack …"'
    if done.builds_on_it:
        invocation.report.warn(f"{', '.join(done.builds_on_it)} build on its content, and will wait for it")
    invocation.report.closing(
        text,
        bundle=done.bundle,
        bundle_id=done.bundle_id,
        outcome=done.outcome,
        builds_on_it=list(done.builds_on_it),
        dry_run=invocation.dry_run,
    )
