"""``tidegate send``: write a bundle to a medium, read it back, and say when it may be removed."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import REDUNDANCY_MAX, Role
from tidegate.errors import MediaFullError, UsageError
from tidegate.report import Report
from tidegate.units import format_bytes, format_duration

if TYPE_CHECKING:
    from tidegate.state.bundles import BundleRow
    from tidegate_sender.delivery import Delivery
    from tidegate_sender.media import WriteEstimate


#: how it was read back, by `tidegate_sender.media.ReadBack`
_READ_BACK = {
    "direct": ", read back from the drive itself",
    "cache-dropped": ", read back past the cache",
    "unproven": ", read back, perhaps from this host's own memory",
    "skipped": "",
}


@click.command("send", short_help="Write a bundle to a medium and read it back.")
@click.argument("bundle", metavar="BUNDLE")
@click.argument("medium", metavar="[PATH]", required=False, type=click.Path(path_type=Path))
@click.option("--redundancy", metavar="PERCENT", help="Repair data for the content, e.g. 10% [setting: 10%].")
@click.option("--no-read-back", is_flag=True, help="Do not read back; the medium is then not declared removable.")
@shared_options(writes=True)
def command(
    invocation: Invocation, bundle: str, medium: Path | None, redundancy: str | None, no_read_back: bool
) -> None:
    """Write BUNDLE (a name, number or id) to the medium at PATH; without PATH to the one that is plugged in."""
    from tidegate.lookup import resolve_bundle
    from tidegate.media.plugged import choose_medium, medium_for_ledger
    from tidegate_sender.delivery import SendOptions, deliver, estimate_delivery

    workspace = invocation.workspace(Role.LOW)
    found = resolve_bundle(workspace, bundle)
    if found.row is None:
        raise UsageError(f"{bundle}: this root did not pack that bundle", hint="send it with the root that packed it")
    row = found.row
    place = choose_medium(medium, workspace.settings.media_folders)
    options = SendOptions(
        redundancy=workspace.settings.redundancy if redundancy is None else parse_percent(redundancy),
        read_back=not no_read_back,
    )
    report = invocation.report
    estimate = estimate_delivery(workspace, found, place, options, measure=not invocation.dry_run)
    if not estimate.has_copy:
        _announce(report, row, place, estimate)
    _warn_of_expiry(report, row)
    if invocation.dry_run:
        _close_dry_run(report, row, place, estimate)
        return
    started = time.monotonic()
    workspace.begin()
    with report.progress() as progress:
        delivery = deliver(workspace, found, place, medium_for_ledger(place), options, progress)
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


def _warn_of_expiry(report: Report, row: "BundleRow") -> None:
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
    from tidegate_sender.media import WriteOutcome

    written = delivery.report
    size = format_bytes(written.volume_bytes)
    read_back = _READ_BACK[written.read_back.value]
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
