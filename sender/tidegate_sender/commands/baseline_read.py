"""``tidegate baseline read`` and ``forget``: on the low side, take what a site has."""

from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError
from tidegate.names import NAME
from tidegate.units import format_bytes


@click.command("read", short_help="Low side: take a site's baseline.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@shared_options(writes=True)
def command(invocation: Invocation, file: Path) -> None:
    """Verify FILE by the site's key (the one that signs its slips) and keep it: from now on bundles for this site
    alone, or for sites that all gave one, leave out what it lists. "pack --full" brings everything all the same."""
    from tidegate_sender.packing.baseline import take_baseline

    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    taken = take_baseline(invocation.workspace(Role.LOW), file, dry_run=invocation.dry_run)
    amount = f"{taken.count} blobs, {format_bytes(taken.size)}, as of {taken.created}"
    if not taken.is_new:
        text = f"nothing to do: this baseline of {taken.site} was read before; {amount}"
    elif invocation.dry_run:
        text = f"the baseline of {taken.site} holds: {amount}; nothing was changed"
    else:
        text = f'read the baseline of {taken.site}: {amount}; next: "tidegate pack …" leaves these out'
    invocation.report.closing(
        text,
        site=taken.site,
        created=taken.created,
        baseline_id=taken.baseline_id,
        blobs=taken.count,
        size=taken.size,
        outcome="read" if taken.is_new else "nothing",
        dry_run=invocation.dry_run,
    )


@click.command("forget", short_help="Low side: count on a site's baseline no more.")
@click.argument("site", metavar="SITE")
@shared_options(writes=True)
def forget_command(invocation: Invocation, site: str) -> None:
    """Remove the baseline of SITE: the next bundle brings what it listed, unless slips confirmed it since."""
    import re

    from tidegate_sender.packing.baseline import forget_baseline

    if not re.match(NAME, site):
        raise UsageError(f"{site!r} is no name of a site")
    was_there = forget_baseline(invocation.workspace(Role.LOW), site, dry_run=invocation.dry_run)
    text = f"the baseline of {site} counts no more" if was_there else f"nothing to do: no baseline of {site} was read"
    invocation.report.closing(
        text, site=site, outcome="forgotten" if was_there else "nothing", dry_run=invocation.dry_run
    )
