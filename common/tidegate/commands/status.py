"""``tidegate`` alone and ``tidegate status``: where this host stands, and the next sensible command."""

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.state.bundles import BundleRow, BundleState
from tidegate.workspace import Workspace

START = 'next: "tidegate init low --channel NAME --site SITE" here, "tidegate init high --site NAME" on the other side'


@click.command("status", short_help="Where this host stands, and what to do next.")
@shared_options()
def command(invocation: Invocation) -> None:
    """The root that commands work on, its bundles, and the next sensible command."""
    show_status(invocation)


def show_status(invocation: Invocation) -> None:
    """What `tidegate` without a command prints."""
    workspace = invocation.found_workspace()
    report = invocation.report
    if not workspace.is_initialised:
        report.line(f"{workspace.root}: no root yet")
        report.closing(START, root=str(workspace.root), initialised=False)
        return
    settings = workspace.settings
    with workspace.state.reading() as tx:
        from tidegate.state.bundles import list_bundles

        rows = list_bundles(tx)
    counts = {str(state): sum(row.state is state for row in rows) for state in BundleState}
    counts = {name: count for name, count in counts.items() if count}
    whose = f"channel {settings.channel}" if settings.role is Role.LOW else f"site {settings.sites[0]}"
    report.line(f"{workspace.root}: {settings.role} side of {whose}")
    report.line(f"bundles: {', '.join(f'{count} {name}' for name, count in counts.items()) or 'none yet'}")
    report.closing(
        f"next: {next_step(workspace, rows)}",
        root=str(workspace.root),
        initialised=True,
        role=settings.role,
        bundles=counts,
    )


def next_step(workspace: Workspace, rows: tuple[BundleRow, ...]) -> str:
    """The command that is most likely wanted now."""
    if workspace.settings.role is Role.LOW:
        packed = [row for row in rows if row.state is BundleState.PACKED]
        if packed:
            return f'"tidegate send {packed[-1].name}"'
        return '"tidegate pack IMAGE|./FOLDER|LIST.yaml"; "tidegate plan …" says what it would bring'
    if not workspace.trust.list():
        return '"tidegate trust add FILE --fingerprint …" with the low side\'s pairing file'
    waiting = [row for row in rows if row.state is BundleState.QUARANTINED]
    if waiting:
        return f'"tidegate load {waiting[0].name}"'
    incomplete = [row for row in rows if row.state in (BundleState.INCOMPLETE, BundleState.RECEIVING)]
    if incomplete:
        return f'"tidegate receive" with the medium of {incomplete[0].name}, or another copy of it'
    if any(row.state is BundleState.LOADED for row in rows):
        return '"tidegate serve", or "tidegate receive" with the next medium'
    return '"tidegate receive" with a medium plugged in, or "tidegate watch"'


def show_settings(invocation: Invocation) -> None:
    """``--show-config``: every setting, its value, and where it came from."""
    from dataclasses import fields

    settings = invocation.found_workspace().settings
    rows = []
    for item in fields(settings):
        if item.name == "origins":
            continue
        value, origin = getattr(settings, item.name), settings.origins.get(item.name, "default")
        rows.append((item.name, str(value), origin))
        invocation.report.object({"name": item.name, "value": str(value), "origin": origin})
    invocation.report.table(("setting", "value", "from"), rows)
