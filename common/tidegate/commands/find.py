"""``tidegate find``: where a thing is, as far as this side knows."""

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.report import counted
from tidegate.text import printable


@click.command("find", short_help="Where is this thing: packed, sent, waiting, loaded, or not listed?")
@click.argument("name", metavar="NAME")
@shared_options()
def command(invocation: Invocation, name: str) -> None:
    """Every bundle that carries NAME and how far it came. NAME may leave out host and tag, be a pattern (* ?), or be a
    digest."""
    from tidegate.whereabouts import find

    workspace = invocation.workspace()
    report = invocation.report
    found = find(workspace, name)
    for item in found:
        report.line(f"{printable(item.name)} {item.digest.removeprefix('sha256:')[:12]}: {item.text}")
        report.object(
            {
                "name": item.name,
                "digest": item.digest,
                "bundle": item.bundle or None,
                "state": item.state,
                "text": item.text,
                "stages": list(item.stages),
            }
        )
    side = f"the {workspace.settings.role} side"
    if not found:
        report.closing(f"{printable(name)}: not listed in any bundle that {side} knows", name=name, found=0)
        return
    names = len({item.name for item in found})
    places = f"{counted(len(found), 'place')} of {counted(names, 'name')}"
    report.closing(f"{places}, as far as {side} knows", name=name, found=len(found))
