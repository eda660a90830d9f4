"""The low side's half of ``tidegate link status``: what was sent and what waits. Never what arrived."""

from typing import TYPE_CHECKING

from tidegate.clock import format_time
from tidegate.link_status import LinkReport
from tidegate.report import counted
from tidegate_sender.commands.link_options import slip_words

if TYPE_CHECKING:
    from tidegate.workspace import Workspace
    from tidegate_sender.outbox.queue import QueueItem


def link_status(workspace: "Workspace") -> tuple[LinkReport, ...]:
    """Every link that something was sent over, or waits for."""
    from tidegate_sender.outbox.queue import list_queue

    by_link: dict[str, list[QueueItem]] = {}
    for item in list_queue(workspace):
        by_link.setdefault(item.sending.link, []).append(item)
    heard = slip_words(workspace)
    return tuple(_report(link, items, heard) for link, items in sorted(by_link.items()))


def _report(link: str, items: "list[QueueItem]", heard: str) -> LinkReport:
    waiting = [item for item in items if item.sending.state.value in {"waiting", "held"}]
    sent = [item for item in items if item.sending.last]
    newest = max(sent, key=lambda item: item.sending.last or 0, default=None)
    last = newest.sending.last if newest is not None else None
    lines = [f"{link}: {counted(len(sent), 'bundle')} sent, {len(waiting)} waiting; arrival unknown, {heard}"]
    if newest is not None and last is not None:
        times = counted(newest.sending.passes, "time")
        lines.append(f"  last: {newest.name}, sent {times}, {format_time(last)}")
    values = {"sent_bundles": len(sent), "waiting_bundles": len(waiting), "last_sent_seconds": last or 0}
    metrics = "".join(f'tidegate_link_{name}{{link="{link}"}} {value}\n' for name, value in values.items())
    facts: dict[str, object] = {
        "sent": len(sent),
        "waiting": len(waiting),
        "last_sent": format_time(last) if last else None,
        "last_bundle": newest.name if newest is not None else None,
        "arrival": "unknown",
        "last_slip": heard,
    }
    return LinkReport(link, tuple(lines), facts, metrics)
