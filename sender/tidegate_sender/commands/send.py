"""``tidegate send``: write a bundle to a medium or over several, read it back, and say when it may be removed.

To media: send_media.py. Over a link: send_stream.py.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError
from tidegate.units import parse_bytes
from tidegate_sender.commands.amounts import parse_percent
from tidegate_sender.commands.link_options import link_options, take_link_words
from tidegate_sender.commands.send_words import own_row, warn_of_expiry

if TYPE_CHECKING:
    from tidegate_sender.sets.delivery import SetOptions


@dataclass(frozen=True, slots=True)
class MediumWords:
    """What a person said about the media, as typed."""

    spare: int | None
    stick_size: str | None
    accept_overhead: bool
    again: int | None
    new_set: bool
    wait: bool
    label: Path | None
    no_read_back: bool


@click.command("send", short_help="Write a bundle to a medium, or over several, and read it back; or over a link.")
@click.argument("bundle", metavar="BUNDLE")
@click.argument("targets", metavar="[PATH|udp://ADDRESS]...", nargs=-1)
@click.option("--redundancy", metavar="PERCENT", help="Repair data for the content, e.g. 10% [setting: 10%].")
@click.option("--spare", metavar="N", type=click.IntRange(1, 8), help="Make a set of which any N sticks may be lost.")
@click.option("--stick-size", metavar="SIZE", help="Use no more of a stick, e.g. 29G; with --dry-run: plan for such.")
@click.option("--accept-overhead", is_flag=True, help="Take a set with spares that costs more than 50 %.")
@click.option("--again", metavar="N", type=click.IntRange(1, 999), help="Write stick N of the newest set once more.")
@click.option("--new-set", is_flag=True, help="Begin a new set, whatever is under way.")
@click.option("--wait", is_flag=True, help="Wait for the next stick until the set is complete.")
@click.option("--label", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="A PDF of labels.")
@click.option("--passes", metavar="N", type=click.IntRange(1, 99), default=1, help="Link: send it so many times [1].")
@link_options
@click.option("--no-read-back", is_flag=True, help="Do not read back; the medium is then not declared removable.")
@shared_options(writes=True)
def command(
    invocation: Invocation, bundle: str, targets: tuple[str, ...], redundancy: str | None, passes: int, **words: Any
) -> None:
    """Write BUNDLE (a name, number or id) to the media at PATH; without PATH to the one that is plugged in; or send it
    over the link to udp://ADDRESS.

    What does not fit on one stick goes over several, one after another: run the same again with the next one in, today
    or tomorrow.
    """
    from tidegate.carrier.stream.address import is_stream_address
    from tidegate.lookup import resolve_bundle
    from tidegate_sender.commands.send_media import send_to_media
    from tidegate_sender.commands.send_stream import send_over_link
    from tidegate_sender.delivery import SendOptions

    workspace = invocation.workspace(Role.LOW)
    found = resolve_bundle(workspace, bundle)
    row = own_row(found, bundle)
    share = None if redundancy is None else parse_percent(redundancy)
    link, medium = take_link_words(words), MediumWords(**words)
    if any(map(is_stream_address, targets)):
        if len(targets) > 1:
            raise UsageError("a bundle goes over one link at a time", hint="run it once for each")
        send_over_link(invocation, workspace, found, targets[0], link, redundancy=share, passes=passes)
        return
    if link.given or passes > 1:
        given = ", ".join(link.given or ("--passes",))
        raise UsageError(f"{given}: only for a link", hint=f"tidegate send {bundle} udp://ADDRESS {given} …")
    media = tuple(map(Path, targets))
    choice = _set_options(medium, media, redundancy_given=redundancy is not None)
    warn_of_expiry(invocation.report, row)
    options = SendOptions(
        redundancy=workspace.settings.redundancy if share is None else share, read_back=not medium.no_read_back
    )
    send_to_media(invocation, workspace, found, media, options, choice, wait=medium.wait, label=medium.label)


def _set_options(words: MediumWords, media: tuple[Path, ...], *, redundancy_given: bool) -> "SetOptions":
    from tidegate_sender.sets.delivery import SetOptions

    return SetOptions(
        spare=words.spare or 0,
        stick_bytes=parse_bytes(words.stick_size) if words.stick_size else None,
        accept_overhead=words.accept_overhead,
        new_set=words.new_set,
        again=words.again,
        volumes=len(media) if words.spare and len(media) > 1 else None,
        redundancy_given=redundancy_given,
    )
