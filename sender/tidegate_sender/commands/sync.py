"""``tidegate sync``: what a timer runs: collect, pack, send or let it wait, and an alarm where it fails."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import BusyError, PartialError, TidegateError, UsageError
from tidegate.report import Report, counted
from tidegate.units import format_bytes
from tidegate_sender.commands.link_options import LinkWords, link_options

if TYPE_CHECKING:
    from tidegate.state.bundles import BundleRow
    from tidegate.workspace import Workspace
    from tidegate_sender.packing.request import RequestReport

LOCK_FILE = "sync.lock"


@dataclass(frozen=True, slots=True)
class _Way:
    """Where a bundle goes when it is packed, as it was typed."""

    to: str | None
    link_words: LinkWords
    read_back: bool
    queue: bool

    @property
    def is_link(self) -> bool:
        from tidegate.carrier.stream.address import is_stream_address

        return self.to is not None and is_stream_address(self.to)

    def check(self) -> None:
        """Raises UsageError for words that do not go together."""
        if self.to is not None and self.queue:
            raise UsageError("--to and --queue exclude each other")
        if self.link_words.given and not self.is_link:
            raise UsageError(f"{', '.join(self.link_words.given)}: only with --to udp://ADDRESS")
        if not self.read_back and (self.to is None or self.is_link):
            raise UsageError("--no-read-back: only with --to PATH")


@click.command("sync", short_help="For a timer: collect, pack what is new, send it; an alarm where it fails.")
@click.argument("what", metavar="LIST.yaml...", nargs=-1, required=True)
@click.option("--to", metavar="PATH|udp://ADDRESS", help="Send it at once: to this medium, or over this link.")
@click.option("--no-read-back", is_flag=True, help="With --to PATH: do not read back what was written.")
@click.option("--queue", is_flag=True, help="Let it wait for the link of an outbox that runs.")
@click.option("--expires", "expire_days", metavar="DAYS", type=click.IntRange(0), help="Days until it expires.")
@link_options
@shared_options()
def command(
    invocation: Invocation,
    what: tuple[str, ...],
    to: str | None,
    no_read_back: bool,
    queue: bool,
    expire_days: int | None,
    **words: Any,
) -> None:
    """Bring what the lists name, pack it if anything is new, and send it to a medium or over a link; without --to and
    --queue it waits for a medium: "tidegate send BUNDLE".

    One run at a time: a second one ends with 74 and touches nothing. Exit codes: docs/guides/sync.md.
    """
    from tidegate.files import locked

    way = _Way(to, LinkWords(**words), read_back=not no_read_back, queue=queue)
    way.check()
    workspace = invocation.workspace(Role.LOW)
    subject = f"Tidegate sync of {workspace.settings.channel}"
    lock = workspace.folder("spool") / LOCK_FILE
    with locked(lock, busy="another sync is under way on this root"):
        try:
            _run(invocation, workspace, what, way, expire_days)
        except BusyError:
            raise  # somebody packs or sends by hand: the next run finds it free
        except TidegateError as error:
            _alarm(invocation.report, workspace, f"{subject}: {type(error).__name__}", error)
            raise
        from tidegate_sender.alarm import end_alarm

        for note in end_alarm(workspace, f"{subject}: well again"):
            invocation.report.warn(note)


def _alarm(report: Report, workspace: "Workspace", subject: str, error: TidegateError) -> None:
    from tidegate_sender.alarm import raise_alarm

    text = "\n".join(filter(None, (error.message, error.hint, f"exit code {error.exit_code}")))
    try:
        for note in raise_alarm(workspace, subject, text):
            report.warn(note)
    except TidegateError as failure:  # the trouble itself may be that nothing can be recorded
        report.warn(f"alarm: {failure.message}")


def _run(
    invocation: Invocation,
    workspace: "Workspace",
    what: tuple[str, ...],
    way: "_Way",
    expire_days: int | None,
) -> None:
    from tidegate.state.bundles import get_bundle
    from tidegate_sender.collect.lists.arguments import items_from_arguments
    from tidegate_sender.packing.pack import PackOptions
    from tidegate_sender.packing.request import fulfil

    report = invocation.report
    items = items_from_arguments(what)
    with report.progress() as progress:
        done = fulfil(workspace, items, PackOptions(expire_days=expire_days, hollow=True), progress)
    _log_items(report, done)
    with workspace.state.reading() as tx:
        row = get_bundle(tx, done.packed.bundle_id)
    assert row is not None, "it was packed just now, or found"
    outcome = _forward(invocation, workspace, row, way)
    _close(report, done, row, outcome)


def _log_items(report: Report, done: "RequestReport") -> None:
    """A line for each item, as logs want it: ``item=brought name=… digest=… bytes=…``."""
    for artifact in done.collected.artifacts:
        facts = {
            "name": artifact.name,
            "kind": str(artifact.kind),
            "digest": artifact.descriptor.digest,
            "bytes": artifact.size_bytes,
            "new_bytes": artifact.new_bytes,
        }
        _log(report, "brought", facts)
    for failure in done.collected.failures:
        _log(report, "failed", {"name": failure.label, "error": failure.error.message})


def _log(report: Report, outcome: str, facts: dict[str, Any]) -> None:
    report.object({"item": outcome, **facts})
    report.line(" ".join((f"item={outcome}", *(f"{key}={_value(value)}" for key, value in facts.items()))))


def _value(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _forward(invocation: Invocation, workspace: "Workspace", row: "BundleRow", way: _Way) -> str:
    """Send what was not sent, or let it wait; the outcome."""
    from tidegate.lookup import resolve_bundle
    from tidegate.state.bundles import BundleState

    if row.state is not BundleState.PACKED:
        return "nothing"
    if way.to is not None and way.is_link:
        from tidegate_sender.commands.send_stream import send_over_link

        found = resolve_bundle(workspace, row.bundle_id)
        send_over_link(invocation, workspace, found, way.to, way.link_words, redundancy=None, passes=1)
        return "sent"
    if way.to is not None:
        return _to_medium(invocation, workspace, row, Path(way.to), read_back=way.read_back)
    if way.queue:
        from tidegate.state.sendings import Priority
        from tidegate_sender.outbox.queue import enqueue, usual_link

        with workspace.recording():
            enqueue(workspace, row, usual_link(workspace), Priority.NORMAL)
        return "queued"
    return "waits"


def _to_medium(
    invocation: Invocation, workspace: "Workspace", row: "BundleRow", medium: Path, *, read_back: bool
) -> str:
    """As ``tidegate send BUNDLE PATH`` does it, in this process; the outcome."""
    from tidegate.lookup import resolve_bundle
    from tidegate.state.bundles import BundleState, get_bundle
    from tidegate_sender.commands.send_media import send_to_media
    from tidegate_sender.delivery import SendOptions
    from tidegate_sender.sets.delivery import SetOptions

    options = SendOptions(redundancy=workspace.settings.redundancy, read_back=read_back)
    found = resolve_bundle(workspace, row.bundle_id)
    send_to_media(invocation, workspace, found, (medium,), options, SetOptions())
    with workspace.state.reading() as tx:
        sent = get_bundle(tx, row.bundle_id)
    return "begun" if sent is not None and sent.state is BundleState.PACKED else "sent"


def _close(report: Report, done: "RequestReport", row: "BundleRow", outcome: str) -> None:
    from tidegate_sender.packing.pack import PackOutcome

    packed, failures = done.packed, done.collected.failures
    is_new = packed.outcome is not PackOutcome.NOTHING
    words = {
        "nothing": f"nothing to do: {row.name} has the same artifacts, and was sent",
        "sent": f"{row.name} was sent",
        "begun": f'{row.name} needs more room; next: insert another medium and "tidegate send {row.name}"',
        "queued": f"{row.name} waits for its link",
        "waits": f'{row.name} waits for a medium; next: "tidegate send {row.name}"',
    }[outcome]
    size = f"packed {row.name}, {counted(packed.artifact_count, 'artifact')}, {format_bytes(packed.size)}; "
    report.closing(
        (size if is_new else "") + words,
        outcome=outcome,
        packed=is_new,
        bundle=row.name,
        bundle_id=row.bundle_id,
        size=packed.size,
        artifacts=packed.artifact_count,
        failures=[{"what": item.label, "error": item.error.message} for item in failures],
    )
    if failures:
        raise PartialError(
            f"{len(failures)} of {len(failures) + len(done.collected.artifacts)} could not be brought:\n"
            + "\n".join(item.text for item in failures[:20]),
            hint="the others are packed; what is named is tried again by the next run",
        )
