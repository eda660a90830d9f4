"""``tidegate resend``: send again what did not arrive, the same bundles under the same signature."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import BundleUnknownError, PartialError, UsageError
from tidegate.names import is_path, parse_bundle_name
from tidegate.report import Report, counted
from tidegate.state.bundles import BundleState
from tidegate.units import format_bytes, format_duration
from tidegate_sender.commands.amounts import parse_percent
from tidegate_sender.commands.send_words import READ_BACK_WORDS, warn_of_expiry

if TYPE_CHECKING:
    from tidegate.workspace import Workspace
    from tidegate_sender.delivery import Delivery, SendOptions
    from tidegate_sender.resend_plan import ResendItem, ResendPlan
    from tidegate_sender.resending import PlannedVolume


@click.command("resend", short_help="Send again what a slip misses, or what is named; the same bundles.")
@click.argument("what", metavar="[NUMBERS]... [PATH]", nargs=-1)
@click.option("--redundancy", metavar="PERCENT", help="Repair data for the content, e.g. 10% [setting: 10%].")
@click.option("--no-read-back", is_flag=True, help="Do not read back; the medium is then not declared removable.")
@shared_options(writes=True)
def command(invocation: Invocation, what: tuple[str, ...], redundancy: str | None, no_read_back: bool) -> None:
    """Write bundles to the medium at PATH (with a /; else the one that is plugged in) once more: 188-191, or pieces of
    one as the other side names them, 191:40-55+80. Without NUMBERS: what the newest slip of each site misses."""
    from tidegate_sender.delivery import SendOptions
    from tidegate_sender.resending import plan_volume

    workspace = invocation.workspace(Role.LOW)
    plan = _plan(workspace, tuple(word for word in what if not is_path(word)))
    report = invocation.report
    if not plan.items and not plan.impossible:
        report.closing('nothing to do: no slip that was read misses anything; "tidegate resend BUNDLE" sends one again')
        return
    _refuse_only(plan)
    for left_out in plan.impossible:
        report.warn(left_out.why, left_out.hint)
    for item in plan.items:
        warn_of_expiry(report, item.row)
    share = workspace.settings.redundancy if redundancy is None else parse_percent(redundancy)
    options = SendOptions(redundancy=share, read_back=not no_read_back)
    volumes = [(item, plan_volume(workspace, item, share)) for item in plan.items]
    paths = [word for word in what if is_path(word)]
    if len(paths) > 1:
        raise UsageError("a resend goes to one medium", hint='"tidegate send BUNDLE" goes over several')
    if invocation.dry_run:
        _show(report, plan, volumes)
    else:
        _send(report, workspace, volumes, Path(paths[0]) if paths else None, options)
    if plan.impossible:
        numbers = ", ".join(str(item.number) for item in plan.impossible)
        raise PartialError(f"{numbers} cannot be sent again", hint=plan.impossible[0].hint)


def _plan(workspace: "Workspace", words: tuple[str, ...]) -> "ResendPlan":
    from tidegate_sender.resend_plan import parse_wish
    from tidegate_sender.resending import plan_resend, wishes_of_slips

    if words:
        return plan_resend(workspace, [wish for word in words for wish in parse_wish(_number(workspace, word))])
    wishes, sites = wishes_of_slips(workspace)
    return plan_resend(workspace, wishes, sites)


def _number(workspace: "Workspace", word: str) -> str:
    """``7f3a-0191`` and ``7f3a-0191:40-55`` by their number."""
    name, colon, pieces = word.partition(":")
    found = parse_bundle_name(name)
    if found is None:
        return word
    prefix, sequence = found
    own = workspace.trust.own_channel().channel_id[:4]
    if prefix != own:
        raise BundleUnknownError(f"{name}: is of channel {prefix}, this is {own}")
    return f"{sequence}{colon}{pieces}"


def _refuse_only(plan: "ResendPlan") -> None:
    """Nothing can be sent: the first reason is the error."""
    if not plan.items:
        first = plan.impossible[0]
        others = f"; so with {len(plan.impossible) - 1} more" if len(plan.impossible) > 1 else ""
        raise BundleUnknownError(first.why + others, hint=first.hint)


def _show(report: Report, plan: "ResendPlan", volumes: "list[tuple[ResendItem, PlannedVolume]]") -> None:
    for item, volume in volumes:
        report.line(f"{item.words}: {format_bytes(volume.size_bytes)}")
    total = sum(volume.size_bytes for _, volume in volumes)
    asked = f", asked for by {', '.join(plan.asked_by)}" if plan.asked_by else ""
    report.closing(
        f"would send {counted(len(volumes), 'bundle')} again{asked}: {format_bytes(total)}; nothing was changed",
        bundles=[_facts(item, volume) for item, volume in volumes],
        impossible=[{"number": item.number, "why": item.why} for item in plan.impossible],
        asked_by=list(plan.asked_by),
        volume_bytes=total,
        dry_run=True,
    )


def _facts(item: "ResendItem", volume: "PlannedVolume") -> dict[str, object]:
    from tidegate.pieces import pieces_text

    return {
        "bundle": item.row.name,
        "bundle_id": item.row.bundle_id,
        "pieces": pieces_text(item.pieces),
        "groups": volume.group_count,
        "volume_bytes": volume.size_bytes,
    }


def _send(
    report: Report,
    workspace: "Workspace",
    volumes: "list[tuple[ResendItem, PlannedVolume]]",
    given: Path | None,
    options: "SendOptions",
) -> None:
    """One after the other, each with its closing line: what was written before one that fails stays."""
    from tidegate.errors import MediaFullError
    from tidegate.media.plugged import choose_medium, medium_for_ledger
    from tidegate_sender.resending import resend

    place = choose_medium(given, workspace.settings.media_folders, to_write=True)
    workspace.begin()
    for done, (item, volume) in enumerate(volumes):
        started = time.monotonic()
        try:
            with report.progress() as progress:
                delivery = resend(workspace, volume, place, medium_for_ledger(place), options, progress)
        except MediaFullError as error:
            rest = " ".join(str(item.row.sequence) for item, _ in volumes[done:])
            hint = f'take another medium for the rest: "tidegate resend {rest}"; "tidegate send" goes over several'
            raise MediaFullError(error.message, hint=hint) from None
        _close(report, item, volume, delivery, time.monotonic() - started)


def _close(report: Report, item: "ResendItem", volume: "PlannedVolume", delivery: "Delivery", seconds: float) -> None:
    written = delivery.report
    there = written.outcome.value == "already-there"
    read_back = READ_BACK_WORDS[written.read_back.value]
    took = f"{format_bytes(written.volume_bytes)} written{read_back} in {format_duration(seconds)}"
    again = "" if item.row.state is BundleState.PACKED else " again"
    text = (
        f"nothing to do: {delivery.medium} has {item.words} already" if there else f"sent {item.words}{again}: {took}"
    )
    removable = written.may_be_removed and (bool(read_back) or there)
    ending = "unmount it, then it may be removed" if removable else "not read back, do not rely on it yet"
    report.closing(
        f"{text}; {ending}",
        **_facts(item, volume),
        outcome=written.outcome,
        medium=str(delivery.medium),
        read_back=written.read_back,
        may_be_removed=removable,
    )
