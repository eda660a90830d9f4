"""``tidegate admit``: let in, or turn away, a bundle that waits."""

from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role


@click.command("admit", short_help="Let in, or turn away, a bundle whose number or time jumps.")
@click.argument("bundle")
@click.option("--reason", metavar="TEXT", required=True, help="Why: whom you asked, and what they said.")
@click.option("--trust-time", is_flag=True, help="Its time of creation is right: the floor of time rises to it.")
@click.option("--deny", is_flag=True, help="Turn it away and remove its content; settles a fork, too.")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path), help="The approver's key; keys/approver.key.")
@shared_options(writes=True)
def command(invocation: Invocation, bundle: str, reason: str, trust_time: bool, deny: bool, key: Path | None) -> None:
    """Let in BUNDLE, which is whole in quarantine and waits because its number or its time of creation jumps; or deny
    it. Ask the low side first whether the jump is right. An approver's key decides, and an entry says whose."""
    from tidegate.clock import format_time
    from tidegate_receiver.intake.admission import admit as admit_bundle
    from tidegate_receiver.intake.admission import deny as deny_bundle

    workspace = invocation.workspace(Role.HIGH)
    signer = workspace.signer_of(key) if key else workspace.signer("approver")
    report = invocation.report
    if deny:
        decision = deny_bundle(workspace, bundle, signer, reason, dry_run=invocation.dry_run)
        done, then = "would be denied" if invocation.dry_run else "is denied", "its papers stay"
    else:
        decision = admit_bundle(workspace, bundle, signer, reason, trust_time=trust_time, dry_run=invocation.dry_run)
        done = "would be admitted" if invocation.dry_run else "is admitted"
        then = f'next: "tidegate load {decision.row.name}"'
    if not decision.is_new:
        name, state = decision.row.name, decision.row.state
        report.closing(f"nothing to do: {name} is {state}", bundle=name, new=False)
        return
    lifted = f"; the floor of time is {format_time(decision.floor)}" if decision.floor is not None else ""
    report.closing(
        f"{decision.row.name} {done} by {decision.holder}{lifted}; {then}",
        bundle=decision.row.name,
        bundle_id=decision.row.bundle_id,
        new=True,
        by=decision.holder,
        waited_for=decision.waits_for,
    )
