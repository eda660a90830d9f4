"""What the high side knows of its links: the files that its listeners write, read and put into words."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.link_status import LinkReport
from tidegate.text import printable
from tidegate.units import format_bytes, format_duration
from tidegate.workspace import Workspace
from tidegate_receiver.listener.counting import WRITE_SECONDS

STATUS_MAX_BYTES = 1 << 20
#: a listener that has not written for so long does not run, or hangs
STALE_SECONDS = 10 * WRITE_SECONDS
_JUNK = (
    "junk_magic",
    "junk_checksum",
    "junk_kind",
    "junk_fields",
    "junk_length",
    "truncated",
    "unknown_tag",
    "foreign",
)


def link_status(workspace: Workspace) -> tuple[LinkReport, ...]:
    """Every link that was ever listened on under this root."""
    folder = workspace.root / "links"
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return tuple(made for path in paths for made in _read(path))


def _read(path: Path) -> Iterator[LinkReport]:
    try:
        if path.stat().st_size > STATUS_MAX_BYTES:
            return
        facts = json.loads(path.read_bytes())
        metrics = path.with_suffix(".prom").read_text(encoding="utf-8")
        yield _report(facts, metrics)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Our own file, written by rename: only another version's, or somebody's hand, can be wrong in it.
        yield LinkReport(path.stem, (f"{printable(path)}: cannot be read",), is_well=False)


def _report(facts: dict[str, Any], metrics: str) -> LinkReport:
    address, counts, now = printable(str(facts["address"])), facts["counts"], time.time()
    runs = not facts["stopped"] and _is_alive(int(facts["pid"])) and now - float(facts["written"]) < STALE_SECONDS
    canaries = facts.get("canaries", {})
    silent = [name for found in (facts["heartbeats"], canaries) for name, item in found.items() if not item["alive"]]
    lines = [
        f"{address}: {'listening' if runs else 'nobody listens'};"
        f" last datagram {_ago(facts['last_datagram'], now)}, last bundle {_bundle(facts, now)}",
        f"  bundles: {counts['bundles_received']} received, {counts['bundles_incomplete']} incomplete,"
        f" {counts['bundles_refused']} refused, {counts['bundles_failed']} failed,"
        f" {counts['bundles_duplicate']} here already",
        f"  datagrams: {counts['datagrams']} ({format_bytes(counts['bytes'])}); lost: {counts['lost_on_wire']} on the"
        f" wire, {counts['lost_in_kernel']} in the kernel, {counts['lost_for_memory']} for want of memory here",
        f"  not ours or damaged: {sum(counts[name] for name in _JUNK)};"
        f" announcements refused: {counts['announcements_refused']}",
    ]
    for name, beat in facts["heartbeats"].items():
        word = "heard" if beat["alive"] else "SILENT, last heard"
        sent = f"; bundles were sent up to number {beat['sequence']}" if beat["sequence"] else ""
        lines.append(f"  heartbeat {printable(name)}: {word} {_ago(beat['heard'], now)}, number {beat['number']}{sent}")
    for name, canary in canaries.items():
        word = "came whole" if canary["alive"] else "STAYS AWAY, last one"
        bundle = printable(str(canary["bundle"]))
        lines.append(f"  canary {printable(name)}: {word} {_ago(canary['time'], now)}, {bundle}")
    lines += [
        f"  under way: {item['bundle']}, {item['datagrams']} datagrams, {item['lost']} lost so far"
        for item in facts["sessions"]
        if runs
    ]
    if counts["lost_in_kernel"]:
        lines.append(
            f"  the kernel's buffer was full ({format_bytes(facts['buffer_bytes'])}):"
            " raise net.core.rmem_max, or have the low side send slower"
        )
    return LinkReport(address, tuple(lines), {**facts, "listening": runs}, metrics, runs and not silent)


def _bundle(facts: dict[str, Any], now: float) -> str:
    name = printable(str(facts["last_bundle"]))
    return f"{name} {_ago(facts['last_bundle_time'], now)}" if name else "none since it started"


def _ago(moment: float, now: float) -> str:
    return f"{format_duration(max(0.0, now - moment))} ago" if moment else "never"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
