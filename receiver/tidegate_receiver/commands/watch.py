"""``tidegate watch``: receive by itself whatever is plugged in."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import TidegateError
from tidegate.report import Report, print_error
from tidegate.text import printable

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


@click.command("watch", short_help="Receive by itself from whatever is plugged in.")
@click.argument(
    "folders", metavar="[FOLDER]...", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option("--once", is_flag=True, help="Receive from what is there now, and end.")
@shared_options(writes=True)
def command(invocation: Invocation, folders: tuple[Path, ...], once: bool) -> None:
    """Watch the mount table, the media folders of the settings and each FOLDER until SIGTERM or ctrl-C. A medium that
    fails is told and left; nothing ends the loop."""
    from tidegate_receiver.watching.watch import Watcher, WatchOptions

    workspace = invocation.workspace(Role.HIGH)
    report = invocation.report
    options = WatchOptions(workspace.settings.media_folders, tuple(folder.absolute() for folder in folders), once)
    if invocation.dry_run:
        _show_what_is_there(report, workspace)
        return
    workspace.begin()

    def tell_error(folder: Path, error: Exception) -> None:
        if isinstance(error, TidegateError):
            print_error(error, json_lines=report.json_lines)
        else:
            report.warn(f"{printable(str(folder))}: {type(error).__name__}: {printable(str(error))}")

    watcher = Watcher(
        options,
        handle=lambda folder: _receive_from(report, workspace, folder),
        tell=lambda text: report.closing(text, watch=text),
        tell_error=tell_error,
    )
    watcher.run()


def _receive_from(report: Report, workspace: "Workspace", folder: Path) -> None:
    from tidegate.errors import NothingOnMediumError
    from tidegate_receiver.commands.receive import receive_and_load

    try:
        receive_and_load(report, workspace, folder, dry_run=False)
    except NothingOnMediumError as error:  # somebody's other drive: a line, not an alarm
        report.closing(error.message, folder=printable(str(folder)), outcome="nothing")


def _show_what_is_there(report: Report, workspace: "Workspace") -> None:
    from tidegate.media.plugged import plugged_media

    media = [printable(str(mount.point)) for mount in plugged_media(workspace.settings.media_folders)]
    report.closing(f"would receive from: {', '.join(media) or 'nothing that is plugged in now'}", media=media)
