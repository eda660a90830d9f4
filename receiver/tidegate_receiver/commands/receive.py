"""``tidegate receive``: read, repair, verify and quarantine what a medium holds."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError
from tidegate.report import Report, print_error
from tidegate_receiver.commands.receive_report import load_automatically, show_medium

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


@click.command("receive", short_help="Read, repair, verify and quarantine what a medium holds.")
@click.argument("places", metavar="[PATH | udp://ADDRESS:PORT]...", nargs=-1)
@click.option(
    "--damaged", is_flag=True, help="The file system is broken: find what is ours on the device or in an image of it."
)
@click.option("--interface", metavar="NAME", default="", help="Of a stream to a multicast group: where it comes in.")
@click.option("--bundles", metavar="N", type=click.IntRange(min=1), help="Of a stream: end after N bundles.")
@shared_options(writes=True)
def command(
    invocation: Invocation, places: tuple[str, ...], *, damaged: bool, interface: str, bundles: int | None
) -> int:
    """Receive every bundle of the media at PATH; without PATH of the one that is plugged in. Twice is harmless, and
    a second copy fills what a first one lacks. Sticks of a set come one after another, or named together. At
    udp://ADDRESS:PORT listen for what a data diode brings, until SIGTERM or ctrl-C."""
    from tidegate.carrier.stream.address import is_stream_address
    from tidegate.media.plugged import choose_medium

    if any(map(is_stream_address, places)):
        if len(places) > 1 or damaged:
            raise UsageError("a stream is received alone: one udp:// address, no media and no --damaged")
        from tidegate_receiver.commands.receive_stream import receive_stream

        return receive_stream(invocation, places[0], interface=interface, stop_after=bundles or 0)
    if interface or bundles:
        raise UsageError("--interface and --bundles are for streams: name an address like udp://10.9.0.2:5300")
    media = tuple(map(Path, places))
    workspace = invocation.workspace(Role.HIGH)
    if damaged:
        if not media:
            raise UsageError("--damaged: which medium? name its device, an image of it, or where it is mounted")
        return receive_and_load(invocation.report, workspace, *media, dry_run=invocation.dry_run, damaged=True)
    folders = workspace.settings.media_folders
    chosen = tuple(dict.fromkeys(choose_medium(medium, folders) for medium in media or (None,)))
    return receive_and_load(invocation.report, workspace, *chosen, dry_run=invocation.dry_run)


def receive_and_load(
    report: Report, workspace: "Workspace", *places: Path, dry_run: bool, damaged: bool = False
) -> int:
    """Receive from `places`, load what an automatic channel brought, and tell; the exit code of the worst."""
    from tidegate_receiver.intake.intake import ReceiveOptions, receive_media

    with report.progress() as progress:
        found = receive_media(workspace, places, ReceiveOptions(dry_run=dry_run, progress=progress, damaged=damaged))
    if dry_run:
        return show_medium(report, found)
    loaded, failures = load_automatically(workspace, found)
    code = show_medium(report, found, loaded)
    for error in failures:
        print_error(error, json_lines=report.json_lines)
    return max([code, *(error.exit_code for error in failures)])
