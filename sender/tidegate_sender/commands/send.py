"""``tidegate send``: write a bundle to a medium or over several, read it back, and say when it may be removed.

Over a link: send_stream.py.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import REDUNDANCY_MAX, Role
from tidegate.errors import MediaFullError, UsageError
from tidegate.report import Report
from tidegate.units import format_bytes, format_duration, parse_bytes
from tidegate_sender.commands.link_options import LinkWords, link_options
from tidegate_sender.commands.send_labels import LabelSheet
from tidegate_sender.commands.send_set import READ_BACK_WORDS, SetSending

if TYPE_CHECKING:
    from tidegate.lookup import FoundBundle
    from tidegate.state.bundles import BundleRow
    from tidegate.workspace import Workspace
    from tidegate_sender.delivery import Delivery, SendOptions
    from tidegate_sender.media.writing import WriteEstimate


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
    invocation: Invocation,
    bundle: str,
    targets: tuple[str, ...],
    redundancy: str | None,
    spare: int | None,
    stick_size: str | None,
    accept_overhead: bool,
    again: int | None,
    new_set: bool,
    wait: bool,
    label: Path | None,
    no_read_back: bool,
    passes: int,
    **link_words: Any,
) -> None:
    """Write BUNDLE (a name, number or id) to the media at PATH; without PATH to the one that is plugged in; or send it
    over the link to udp://ADDRESS.

    What does not fit on one stick goes over several, one after another: run the same again with the next one in, today
    or tomorrow.
    """
    from tidegate.carrier.stream.address import is_stream_address
    from tidegate.lookup import resolve_bundle
    from tidegate_sender.commands.send_stream import send_over_link
    from tidegate_sender.delivery import SendOptions
    from tidegate_sender.sets.delivery import SetDelivery, SetOptions

    workspace = invocation.workspace(Role.LOW)
    found = resolve_bundle(workspace, bundle)
    if found.row is None:
        raise UsageError(f"{bundle}: this root did not pack that bundle", hint="send it with the root that packed it")
    share = None if redundancy is None else parse_percent(redundancy)
    words = LinkWords(**link_words)
    if any(map(is_stream_address, targets)):
        if len(targets) > 1:
            raise UsageError("a bundle goes over one link at a time", hint="run it once for each")
        send_over_link(invocation, workspace, found, targets[0], words, redundancy=share, passes=passes)
        return
    if words.given or passes > 1:
        given = ", ".join(words.given or ("--passes",))
        raise UsageError(f"{given}: only for a link", hint=f"tidegate send {bundle} udp://ADDRESS {given} …")
    media = tuple(map(Path, targets))
    options = SendOptions(
        redundancy=workspace.settings.redundancy if share is None else share,
        read_back=not no_read_back,
    )
    choice = SetOptions(
        spare=spare or 0,
        stick_bytes=parse_bytes(stick_size) if stick_size else None,
        accept_overhead=accept_overhead,
        new_set=new_set,
        again=again,
        volumes=len(media) if spare and len(media) > 1 else None,
        redundancy_given=redundancy is not None,
    )
    warn_of_expiry(invocation.report, found.row)
    with SetDelivery(workspace, found, options, choice) as delivery:
        sheet = LabelSheet(workspace, invocation.report, label)
        sending = SetSending(invocation, workspace, found, delivery, media, wait, sheet)
        places = sending.places()
        if not sending.is_wanted(places):
            place = places[0]
            estimate = _estimate(workspace, found, place, options, dry_run=invocation.dry_run)
            if estimate.room.is_enough and _is_within(estimate, choice.stick_bytes):
                _send_one(invocation, workspace, found, place, options, estimate, sheet)
                sending.tell_unused(places[1:])
                return
        try:
            sending.run(places)
        except MediaFullError as error:
            from tidegate_sender.commands.send_room import with_confirmed

            raise with_confirmed(workspace, places, error) from None
        finally:  # also of the sticks before one that failed
            sheet.print_labels()


def _is_within(estimate: "WriteEstimate", stick_bytes: int | None) -> bool:
    return stick_bytes is None or estimate.volume_bytes <= stick_bytes


def _estimate(
    workspace: "Workspace", found: "FoundBundle", place: Path, options: "SendOptions", *, dry_run: bool
) -> "WriteEstimate":
    from tidegate_sender.delivery import estimate_delivery

    return estimate_delivery(workspace, found, place, options, measure=not dry_run)


def _send_one(
    invocation: Invocation,
    workspace: "Workspace",
    found: "FoundBundle",
    place: Path,
    options: "SendOptions",
    estimate: "WriteEstimate",
    sheet: LabelSheet,
) -> None:
    """All of the bundle to one medium."""
    from tidegate.media.plugged import medium_for_ledger
    from tidegate_sender.delivery import deliver

    report, row = invocation.report, found.row
    assert row is not None, "looked at by the caller"
    if not estimate.has_copy:
        _announce(report, row, place, estimate)
    if invocation.dry_run:
        _close_dry_run(report, row, place, estimate)
        return
    started = time.monotonic()
    workspace.begin()
    with report.progress() as progress:
        delivery = deliver(workspace, found, place, medium_for_ledger(place), options, progress)
    sheet.add(delivery)
    sheet.print_labels()
    _close(report, delivery, time.monotonic() - started)


def parse_percent(text: str) -> float:
    """``10%``, ``10`` or ``0.1``: all a tenth."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        raise UsageError(f"{text!r} is no percentage: write it like 10%") from None
    share = value if value < 1 and "%" not in text else value / 100
    if not 0 <= share <= REDUNDANCY_MAX:
        raise UsageError(f"{text!r} is not within 0% and {REDUNDANCY_MAX * 100}%")
    return share


def _announce(report: Report, row: "BundleRow", place: Path, estimate: "WriteEstimate") -> None:
    time_text = ""
    if estimate.seconds is not None:
        low, high = (format_duration(seconds) for seconds in estimate.seconds)
        time_text = f", about {low}" if low == high else f", about {low} to {high}"
    report.line(f"bundle {row.name}: {format_bytes(estimate.volume_bytes)} to write to {place}{time_text}")


def warn_of_expiry(report: Report, row: "BundleRow") -> None:
    """Say so where the bundle has expired."""
    from tidegate import clock

    if row.expires and row.expires <= clock.now():
        report.warn(
            f"{row.name} expired {clock.format_time(row.expires)}: the high side may refuse it",
            '"tidegate pack" with the same words and --anyway makes a bundle that has not',
        )


def _close_dry_run(report: Report, row: "BundleRow", place: Path, estimate: "WriteEstimate") -> None:
    room = estimate.room
    values = {"bundle": row.name, "volume_bytes": estimate.volume_bytes, "needed": room.needed, "free": room.available}
    if estimate.has_copy:
        report.closing(f"nothing to do: {place} has a copy of {row.name} already", **values)
    elif room.is_enough:
        report.closing(f"it fits: {format_bytes(room.needed)} needed on {place}", **values)
    else:
        raise MediaFullError(
            f"{place}: {format_bytes(room.needed)} needed, {format_bytes(room.available or 0)} free",
            hint="use a larger medium, or make room on this one",
        )


def _close(report: Report, delivery: "Delivery", seconds: float) -> None:
    from tidegate.files import SYNCS
    from tidegate_sender.media.writing import WriteOutcome

    written = delivery.report
    size = format_bytes(written.volume_bytes)
    read_back = READ_BACK_WORDS[written.read_back.value]
    if written.outcome is WriteOutcome.ALREADY_THERE:
        text = f"nothing to do: {delivery.medium} has a whole copy of {delivery.bundle} already"
    else:
        text = f"sent {delivery.bundle}: {size} written{read_back} in {format_duration(seconds)}"
    removable = written.may_be_removed and (read_back or written.outcome is WriteOutcome.ALREADY_THERE)
    ending = (
        "unmount it, then it may be removed"
        if removable
        else f'not read back, do not rely on it yet; next: "tidegate verify {delivery.medium.absolute()}"'
    )
    report.closing(
        f"{text}; {ending}",
        bundle=delivery.bundle,
        bundle_id=delivery.bundle_id,
        outcome=written.outcome,
        medium=str(delivery.medium),
        volume_bytes=written.volume_bytes,
        read_back=written.read_back,
        may_be_removed=bool(removable),
        seconds=round(seconds, 3),
        write_seconds=round(written.write_seconds, 3),
        read_back_seconds=round(written.read_back_seconds, 3),
        syncs=SYNCS.count,
    )
