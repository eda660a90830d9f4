"""The low side's half of ``tidegate link status``: what was sent and what waits. Never what arrived."""

from typing import TYPE_CHECKING

from tidegate.clock import format_time
from tidegate.link_status import LinkReport
from tidegate.metrics import Metrics
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
    metrics = Metrics()
    metrics.gauge("tidegate_link_sent_bundles", "Bundles that were sent; arrival is unknown.", len(sent), link=link)
    metrics.gauge("tidegate_link_waiting_bundles", "Bundles that wait or are held.", len(waiting), link=link)
    metrics.gauge(
        "tidegate_link_last_sent_seconds", "Last sent, in seconds since 1970, 0 for never.", last or 0, link=link
    )
    facts: dict[str, object] = {
        "sent": len(sent),
        "waiting": len(waiting),
        "last_sent": format_time(last) if last else None,
        "last_bundle": newest.name if newest is not None else None,
        "arrival": "unknown",
        "last_slip": heard,
    }
    return LinkReport(link, tuple(lines), facts, metrics.text())
