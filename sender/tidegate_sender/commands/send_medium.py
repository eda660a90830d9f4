"""``tidegate send`` to one medium that has room for all of the bundle."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.commands.options import Invocation
from tidegate.errors import MediaFullError
from tidegate.report import Report
from tidegate.units import format_bytes, format_duration
from tidegate_sender.commands.send_labels import LabelSheet
from tidegate_sender.commands.send_words import READ_BACK_WORDS

if TYPE_CHECKING:
    from tidegate.lookup import FoundBundle
    from tidegate.state.bundles import BundleRow
    from tidegate.workspace import Workspace
    from tidegate_sender.delivery import Delivery, SendOptions
    from tidegate_sender.media.writing import WriteEstimate


def send_to_medium(
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


def _announce(report: Report, row: "BundleRow", place: Path, estimate: "WriteEstimate") -> None:
    time_text = ""
    if estimate.seconds is not None:
        low, high = (format_duration(seconds) for seconds in estimate.seconds)
        time_text = f", about {low}" if low == high else f", about {low} to {high}"
    report.line(f"bundle {row.name}: {format_bytes(estimate.volume_bytes)} to write to {place}{time_text}")


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
