"""``tidegate send BUNDLE udp://…``: over a link, after which nobody here can say whether it arrived."""

import time
from typing import TYPE_CHECKING, Any

from tidegate.commands.options import Invocation
from tidegate.report import Report
from tidegate.text import printable
from tidegate.units import format_bytes, format_duration
from tidegate_sender.commands.link_options import LinkWords, open_link, slip_words, stream_options

if TYPE_CHECKING:
    from tidegate.lookup import FoundBundle
    from tidegate.workspace import Workspace
    from tidegate_sender.stream.delivery import Sent, StreamOptions
    from tidegate_sender.stream.estimate import StreamEstimate
    from tidegate_sender.stream.link import Link

LINK_WAIT_SECONDS = 60.0  # for an interface that is down, before the command gives up


def send_over_link(
    invocation: Invocation,
    workspace: "Workspace",
    found: "FoundBundle",
    address: str,
    words: LinkWords,
    *,
    redundancy: float | None,
    passes: int,
) -> None:
    """Send the bundle `passes` times over the link to `address`, or with ``--dry-run`` say what that takes."""
    from tidegate.carrier.stream.address import parse_address
    from tidegate_sender.riding import open_carried
    from tidegate_sender.stream.estimate import estimate_stream

    report = invocation.report
    link, schedule = open_link(parse_address(address), words)
    with link:
        options = stream_options(workspace.settings, schedule, words, redundancy)
        with open_carried(found) as bundle:
            estimate = estimate_stream(bundle.part_lengths, link, options)
        _announce(report, found, link, options, estimate, passes)
        if invocation.dry_run:
            _close_dry_run(report, found, link, options, estimate, passes)
            return
        _send(report, workspace, found, link, options, passes)


def _send(
    report: Report, workspace: "Workspace", found: "FoundBundle", link: "Link", options: "StreamOptions", passes: int
) -> None:
    from tidegate_sender.stream.delivery import link_in_use

    with link_in_use(workspace, str(link.address)):
        _send_passes(report, workspace, found, link, options, passes)


def _send_passes(
    report: Report, workspace: "Workspace", found: "FoundBundle", link: "Link", options: "StreamOptions", passes: int
) -> None:
    from tidegate_sender.stream.delivery import BundleSending
    from tidegate_sender.stream.pacing import TokenBucket
    from tidegate_sender.stream.session import LinkPatience

    bucket = TokenBucket(options.schedule)
    patience = LinkPatience(LINK_WAIT_SECONDS, tell=report.warn)
    workspace.begin()
    started, sent_bytes = time.monotonic(), 0
    with report.progress() as progress:
        for number in range(passes):
            phase = "sending" if passes == 1 else f"pass {number + 1} of {passes}"
            with BundleSending(workspace, found, link, bucket, options, patience=patience) as sending:
                for step in sending.steps():
                    progress(step.sent_bytes, step.sent_bytes * step.total // max(step.done, 1), phase)
            assert sending.result is not None, "it came to its end"
            sent_bytes += sending.result.sent_bytes
            last = sending.result
    _close(report, workspace, link, last, sent_bytes, time.monotonic() - started)


def _announce(
    report: Report,
    found: "FoundBundle",
    link: "Link",
    options: "StreamOptions",
    estimate: "StreamEstimate",
    passes: int,
) -> None:
    from tidegate_sender.stream.pacing import format_rate

    name = found.row.name if found.row else found.bundle_id[:16]
    total = estimate.wire_bytes * passes
    report.line(
        f"bundle {name}: {format_bytes(total)} to send to {link.address} at {format_rate(options.schedule.now())},"
        f" about {format_duration(estimate.seconds * passes)}"
    )
    if not link.segmentation:
        report.warn(f"{printable(link.why_no_segmentation)}: every datagram is handed over by itself, which is slower")


def _close_dry_run(
    report: Report,
    found: "FoundBundle",
    link: "Link",
    options: "StreamOptions",
    estimate: "StreamEstimate",
    passes: int,
) -> None:
    chunks = estimate.parts[2]
    twice = "; it is sent twice for that" if estimate.is_sent_twice else ""
    report.line(
        f"{estimate.datagrams} datagrams of up to {link.mtu} bytes in {estimate.groups} groups,"
        f" {chunks.source_count}+{chunks.repair_count} symbols a block: {estimate.overhead * 100:.0f} % more than the"
        f" bundle's {format_bytes(estimate.content_bytes)}"
    )
    report.line(
        f"bears {estimate.loss * 100:.2g} % of random loss, and a gap of {_gap(estimate.burst_seconds)}"
        f" ({format_bytes(estimate.burst_bytes)}){twice}"
    )
    report.closing(
        f"nothing was sent: {format_bytes(estimate.wire_bytes * passes)} would take"
        f" {format_duration(estimate.seconds * passes)}",
        **_facts(found, link),
        rate_bytes=options.schedule.now(),
        wire_bytes=estimate.wire_bytes * passes,
        content_bytes=estimate.content_bytes,
        seconds=round(estimate.seconds * passes, 6),
        datagrams=estimate.datagrams * passes,
        groups=estimate.groups,
        source_count=chunks.source_count,
        repair_count=chunks.repair_count,
        interleave=chunks.interleave,
        symbol_size=chunks.symbol_size,
        overhead=round(estimate.overhead, 4),
        bears_loss=round(estimate.loss, 6),
        bears_burst_bytes=estimate.burst_bytes,
        bears_burst_seconds=round(estimate.burst_seconds, 6),
        sent_twice=estimate.is_sent_twice,
    )


def _gap(seconds: float) -> str:
    return f"{seconds * 1000:.2g} ms" if seconds < 1 else format_duration(seconds)


def _facts(found: "FoundBundle", link: "Link") -> dict[str, Any]:
    return {
        "bundle": found.row.name if found.row else "",
        "bundle_id": found.bundle_id,
        "link": str(link.address),
        "mtu": link.mtu,
        "interface": link.interface or "",
        "segmentation": link.segmentation,
    }


def _close(report: Report, workspace: "Workspace", link: "Link", sent: "Sent", sent_bytes: int, seconds: float) -> None:
    from tidegate_sender.stream.pacing import format_rate

    heard = slip_words(workspace)
    resumed = f", from group {sent.resumed_at + 1} on where it had stopped" if sent.resumed_at else ""
    report.closing(
        f"sent {sent.bundle}: {format_bytes(sent_bytes)} in {format_duration(seconds)}"
        f" ({format_rate(sent_bytes / max(seconds, 1e-6))}) to {sent.link}{resumed}; arrival unknown, {heard}",
        bundle=sent.bundle,
        bundle_id=sent.bundle_id,
        outcome="sent",
        arrival="unknown",
        last_slip=heard,
        link=sent.link,
        mtu=link.mtu,
        segmentation=link.segmentation,
        sent_bytes=sent_bytes,
        groups=sent.groups,
        passes=sent.passes,
        resumed_at=sent.resumed_at,
        seconds=round(seconds, 3),
    )
