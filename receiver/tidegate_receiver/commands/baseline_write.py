"""``tidegate baseline``: on the high side, write down what the depot has, for the office."""

from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.units import format_bytes


@click.command("write", short_help="High side: write what the depot has.")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to; SITE.baseline here by default.")
@shared_options(writes=True)
def command(invocation: Invocation, out: Path | None) -> None:
    """Write the digests and sizes of all blobs of the depot, signed by this site, into a file. Somebody carries it to
    the low side: "tidegate baseline read FILE"; its next bundle leaves these blobs out."""
    from tidegate_receiver.inventory import ENDING, write_baseline

    workspace = invocation.workspace(Role.HIGH)
    target = (out or Path(f"{workspace.settings.sites[0]}{ENDING}")).absolute()
    made = write_baseline(workspace, target, dry_run=invocation.dry_run)
    amount = f"{made.count} blobs, {format_bytes(made.size)}"
    if made.path is None:
        text = f"a baseline of site {made.site} would list {amount}; nothing was changed"
    else:
        text = f'wrote {made.path}: {amount}, {format_bytes(made.file_size)}; on the low side: "tidegate baseline read"'
    invocation.report.closing(
        text,
        site=made.site,
        created=made.created,
        blobs=made.count,
        size=made.size,
        file_size=made.file_size,
        baseline_id=made.baseline_id,
        path=str(made.path) if made.path else None,
    )
