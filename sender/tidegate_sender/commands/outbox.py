"""``tidegate outbox``: a folder that is sent by itself, and the words with which its queue is ordered."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.commands.options import Group, Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError
from tidegate.report import Report, counted
from tidegate.units import format_bytes, parse_bytes
from tidegate_sender.commands.amounts import parse_percent, parse_seconds
from tidegate_sender.commands.link_options import LinkWords, link_options, open_link, slip_words, stream_options
from tidegate_sender.commands.send_words import own_row

if TYPE_CHECKING:
    from tidegate.state.bundles import BundleRow
    from tidegate.workspace import Workspace
    from tidegate_sender.outbox.queue import QueueItem
    from tidegate_sender.outbox.runner import RunnerOptions, RunnerReport
    from tidegate_sender.stream.delivery import Sent
    from tidegate_sender.stream.link import Link


@click.group("outbox", cls=Group, short_help="A folder that is sent over a link by itself; its queue.")
def command() -> None:
    """Send over a link what is put into a folder, by priority, and again while the link is idle."""


def _to(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--to", "to", metavar="udp://ADDRESS", help="The link [the one that ran last].")(function)


@command.command("run", short_help="Send what is put into a folder, until stopped.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--to", "to", metavar="udp://ADDRESS", required=True, help="The link.")
@click.option("--redundancy", metavar="PERCENT", help="Repair data for the content, e.g. 10% [setting: 10%].")
@link_options
@click.option("--keep", metavar="TIME", default="7d", show_default=True, help="Repeat what was sent for so long.")
@click.option("--keep-bytes", metavar="SIZE", default="64G", show_default=True, help="Repeat at most so much.")
@click.option(
    "--repeat-every", metavar="TIME", default="1h", show_default=True, help="Between two repeats of a bundle."
)
@click.option("--heartbeat", metavar="TIME", default="60s", show_default=True, help="Between signs of life; 0s: none.")
@click.option("--canary", metavar="TIME", default="1d", show_default=True, help="Between canary bundles; 0s: none.")
@click.option("--until-empty", is_flag=True, help="End when nothing waits any more; nothing is repeated.")
@shared_options()
def run_command(
    invocation: Invocation,
    folder: Path,
    to: str,
    redundancy: str | None,
    keep: str,
    keep_bytes: str,
    repeat_every: str,
    heartbeat: str,
    canary: str,
    until_empty: bool,
    **link_words: Any,
) -> None:
    """Send transfer lists (.yaml) and bundles (.tgb) that are put into FOLDER, those in FOLDER/urgent first and those
    in FOLDER/bulk last; what was taken goes to FOLDER/done, what cannot be sent to FOLDER/failed."""
    from tidegate.carrier.stream.address import parse_address
    from tidegate_sender.outbox.pulse import PulseOptions
    from tidegate_sender.outbox.repeats import Retention
    from tidegate_sender.outbox.runner import RunnerOptions
    from tidegate_sender.stream.delivery import link_in_use

    words = LinkWords(**link_words)
    pulse = PulseOptions(_heartbeat_seconds(heartbeat), parse_seconds(canary))
    retention = Retention(parse_seconds(keep), parse_bytes(keep_bytes), parse_seconds(repeat_every))
    workspace = invocation.workspace(Role.LOW)
    link, schedule = open_link(parse_address(to), words)
    with link, link_in_use(workspace, str(link.address)):
        share = parse_percent(redundancy) if redundancy is not None else None
        stream = stream_options(workspace.settings, schedule, words, share)
        options = RunnerOptions(stream, retention, pulse, until_empty)
        done = _run(invocation.report, workspace, folder.absolute(), link, options)
    _close_run(invocation.report, workspace, done)


def _run(
    report: Report, workspace: "Workspace", folder: Path, link: "Link", options: "RunnerOptions"
) -> "RunnerReport":
    """Send what comes into `folder` over `link` until a signal, or until nothing waits where that is wanted."""
    from tidegate_sender.outbox.folder import OutboxFolder
    from tidegate_sender.outbox.runner import Runner

    workspace.begin()
    runner = Runner(
        workspace,
        OutboxFolder(folder),
        link,
        options,
        tell=report.line,
        warn=report.warn,
        on_sent=lambda sent, is_repeat: _tell_sent(report, sent, is_repeat=is_repeat),
        stop=_stop_on_signal(),
    )
    done = runner.run()
    workspace.finish()
    return done


def _close_run(report: Report, workspace: "Workspace", done: "RunnerReport") -> None:
    heard = slip_words(workspace)
    report.closing(
        f"outbox stopped: {counted(done.sent, 'bundle')} sent, {counted(done.repeats, 'repeat')};"
        f" arrival unknown, {heard}",
        outcome="stopped",
        arrival="unknown",
        last_slip=heard,
        sent=done.sent,
        repeats=done.repeats,
        heartbeats=done.heartbeats,
        failed=done.failed,
        sent_bytes=done.sent_bytes,
    )


def _stop_on_signal() -> threading.Event:
    """Set by SIGTERM or SIGINT: the group that is under way is finished, and the rest keeps its place."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _heartbeat_seconds(text: str) -> int:
    seconds = parse_seconds(text)
    if seconds and not 1 <= seconds <= 3600:
        raise UsageError(f"a heartbeat every {text} is not within 1s … 1h")
    return int(seconds)


def _tell_sent(report: Report, sent: "Sent", *, is_repeat: bool) -> None:
    values = {"bundle": sent.bundle, "bundle_id": sent.bundle_id, "link": sent.link, "sent_bytes": sent.sent_bytes}
    outcome = "repeated" if is_repeat else "sent"
    report.object({**values, "outcome": outcome, "passes": sent.passes, "resumed_at": sent.resumed_at})
    if not is_repeat:
        report.line(f"sent {sent.bundle}: {format_bytes(sent.sent_bytes)} to {sent.link}; arrival unknown")


@command.command("list", short_help="What waits, and what was sent.")
@_to
@shared_options()
def list_command(invocation: Invocation, to: str | None) -> None:
    """What waits, in its order, then what was sent, the newest first."""
    from tidegate.clock import format_time
    from tidegate_sender.outbox.queue import list_queue

    workspace = invocation.workspace(Role.LOW)
    items = list_queue(workspace, _address(to) if to else None)
    report = invocation.report
    for item in items:
        report.object(_as_object(item))
    rows = [
        (
            item.name,
            item.sending.state.value,
            item.sending.priority.name.lower() if item.sending.state.value in {"waiting", "held"} else "",
            format_time(item.sending.last) if item.sending.last else "",
            str(item.sending.passes),
            item.sending.link,
        )
        for item in items
    ]
    if rows:
        report.table(("bundle", "state", "priority", "last sent", "times", "link"), rows)
    waiting = sum(item.sending.state.value in {"waiting", "held"} for item in items)
    heard = slip_words(workspace)
    text = f"{counted(waiting, 'bundle')} waiting; arrival of what was sent is unknown, {heard}"
    report.closing(
        text if items else "nothing to do: nothing waits, and nothing was sent", waiting=waiting, last_slip=heard
    )


def _as_object(item: "QueueItem") -> dict[str, Any]:
    sending = item.sending
    return {
        "bundle": item.name,
        "bundle_id": sending.bundle_id,
        "link": sending.link,
        "state": sending.state,
        "priority": sending.priority.name.lower(),
        "passes": sending.passes,
        "queued": sending.queued,
        "sent": sending.sent,
        "last": sending.last,
        "pieces": sending.pieces,
        **sending.detail,
    }


def _order_command(verb: str, short: str, done: str) -> None:
    @command.command(verb, short_help=short, help=f"{short} BUNDLE is a name, number or id.")
    @click.argument("bundle", metavar="BUNDLE")
    @_to
    @shared_options(writes=True)
    def ordered(invocation: Invocation, bundle: str, to: str | None) -> None:
        from tidegate_sender.outbox.queue import change

        workspace = invocation.workspace(Role.LOW)
        row = _row(workspace, bundle)
        if invocation.dry_run:
            invocation.report.closing(f"{row.name} would be {done}", bundle=row.name, outcome="nothing")
            return
        links = change(workspace, row, _address(to) if to else None, verb)
        invocation.report.closing(
            f"{row.name} is {done}, for {', '.join(links)}", bundle=row.name, outcome=done, links=links
        )


_order_command("hold", "Let a bundle wait until it is released.", "held")
_order_command("release", "Let a bundle that was held go on.", "released")
_order_command("cancel", "Do not send a bundle that waits.", "cancelled")
_order_command("first", "Send a bundle before all others.", "first")


@command.command("add", short_help="Let a bundle that was packed wait for the link.")
@click.argument("bundle", metavar="BUNDLE")
@_to
@click.option("--urgent", is_flag=True, help="Before everything else.")
@click.option("--bulk", is_flag=True, help="After everything else.")
@shared_options(writes=True)
def add_command(invocation: Invocation, bundle: str, to: str | None, urgent: bool, bulk: bool) -> None:
    """Put BUNDLE (a name, number or id) into the queue of the link."""
    from tidegate.state.sendings import Priority
    from tidegate_sender.outbox.queue import enqueue, usual_link

    if urgent and bulk:
        raise UsageError("--urgent and --bulk: give one")
    workspace, report = invocation.workspace(Role.LOW), invocation.report
    priority = Priority.URGENT if urgent else Priority.BULK if bulk else Priority.NORMAL
    row = _row(workspace, bundle)
    link = _address(to) if to else usual_link(workspace)
    if invocation.dry_run:
        report.closing(f"{row.name} would wait for {link}", bundle=row.name, link=link, outcome="nothing")
        return
    with workspace.recording():
        is_new = enqueue(workspace, row, link, priority)
    text = f"{row.name} waits for {link}" if is_new else f"nothing to do: {row.name} waits for {link} already"
    report.closing(text, bundle=row.name, link=link, outcome="waiting" if is_new else "nothing")


@command.command("resend", short_help="Send again what was sent since a time, or bundles by number.")
@click.argument("numbers", metavar="[NUMBERS]...", nargs=-1)
@click.option("--since", metavar="TIME", help="What was sent since then: 'fri 18:00', 36h, 2026-01-30T18:00.")
@_to
@shared_options(writes=True)
def resend_command(invocation: Invocation, numbers: tuple[str, ...], since: str | None, to: str | None) -> None:
    """Let bundles wait again: 188-191, or pieces of one as the other side names them, 191:40-55+80; or what was sent
    --since a time. They are the same bundles, with other symbols first: whoever has them ignores them."""
    from tidegate_sender.outbox.queue import usual_link
    from tidegate_sender.outbox.resend import queue_resend

    if bool(numbers) == (since is not None):
        raise UsageError("either NUMBERS or --since TIME", hint="tidegate outbox resend 188-191")
    workspace, report = invocation.workspace(Role.LOW), invocation.report
    link = _address(to) if to else usual_link(workspace)
    done = queue_resend(workspace, link, numbers, since, dry_run=invocation.dry_run)
    for text in done.left_out:
        report.warn(text)
    words = "would wait" if invocation.dry_run else "waits" if len(done.queued) == 1 else "wait"
    text = f"{', '.join(done.queued)} {words} for {link}" if done.queued else "nothing to do: nothing was sent then"
    report.closing(
        text, bundles=done.queued, left_out=done.left_out, link=link, outcome="waiting" if done.queued else "nothing"
    )


def _row(workspace: "Workspace", bundle: str) -> "BundleRow":
    from tidegate.lookup import resolve_bundle

    return own_row(resolve_bundle(workspace, bundle), bundle)


def _address(text: str) -> str:
    from tidegate.carrier.stream.address import parse_address

    return str(parse_address(text))
