"""``tidegate`` alone and ``tidegate status``: where this host stands, and the next sensible command."""

import contextlib
from collections.abc import Sequence

import click

from tidegate.clock import format_time
from tidegate.commands.options import Invocation, shared_options
from tidegate.config import ChannelSettings, Role
from tidegate.errors import TidegateError
from tidegate.report import Report
from tidegate.state.bundles import BundleRow, BundleState
from tidegate.text import printable
from tidegate.units import format_bytes
from tidegate.workspace import Workspace

RECENT = 8  # bundles that the status shows; "inbox" and "ledger list" show all
START = 'next: "tidegate init low --channel NAME --site SITE" here, "tidegate init high --site NAME" on the other side'


@click.command("status", short_help="Where this host stands, and what to do next.")
@shared_options()
def command(invocation: Invocation) -> None:
    """The root that commands work on, its bundles, and the next sensible command."""
    show_status(invocation)


def show_status(invocation: Invocation) -> None:
    """What `tidegate` without a command prints."""
    workspace = invocation.found_workspace()
    report = invocation.report
    if not workspace.is_initialised:
        report.line(f"{workspace.root}: no root yet")
        report.closing(START, root=str(workspace.root), initialised=False)
        return
    settings = workspace.settings
    with workspace.state.reading() as tx:
        from tidegate.state.bundles import list_bundles

        rows = list_bundles(tx)
    counts = {str(state): sum(row.state is state for row in rows) for state in BundleState}
    counts = {name: count for name, count in counts.items() if count}
    whose = f"channel {settings.channel}" if settings.role is Role.LOW else f"site {settings.sites[0]}"
    report.line(f"{workspace.root}: {settings.role} side of {whose}")
    report.line(f"bundles: {', '.join(f'{count} {name}' for name, count in counts.items()) or 'none yet'}")
    recent = [row for row in rows if row.state is not BundleState.DISCARDED][-RECENT:]
    _show_bundles(report, recent)
    forks = [row for row in rows if is_open_fork(row)]
    for row in forks:
        report.warn(f"two bundles have the number of {row.name}: their papers are in {evidence_of(row)}")
    report.closing(
        f"next: {next_step(workspace, rows)}",
        root=str(workspace.root),
        initialised=True,
        role=settings.role,
        bundles=counts,
        forks=[{"bundle": row.name, "bundle_id": row.bundle_id, "evidence": row.detail["evidence"]} for row in forks],
        recent=[{"bundle": row.name, "bundle_id": row.bundle_id, "state": row.state} for row in recent],
    )


def is_open_fork(row: BundleRow) -> bool:
    """Whether the row is of a second bundle with one number, and nobody has looked into it yet."""
    return row.state is BundleState.REFUSED and bool(row.detail.get("evidence"))


def evidence_of(row: BundleRow) -> str:
    """The folder in which the papers of all bundles with the row's number lie."""
    return str(row.detail["evidence"][-1]).rpartition("/")[0]


def _show_bundles(report: Report, rows: Sequence[BundleRow]) -> None:
    if not rows:
        return
    cells = [
        (row.name, row.state, format_time(row.created), format_bytes(row.content_size), _some_names(row))
        for row in rows
    ]
    report.table(("bundle", "state", "packed", "content", "artifacts"), cells)


def _some_names(row: BundleRow) -> str:
    names = ", ".join(printable(str(item["name"]), 60) for item in row.artifacts[:3])
    return names + (f" and {len(row.artifacts) - 3} more" if len(row.artifacts) > 3 else "")


def next_step(workspace: Workspace, rows: tuple[BundleRow, ...]) -> str:
    """The command that is most likely wanted now."""
    with contextlib.suppress(TidegateError, OSError):  # a damaged ledger is for "ledger verify"
        if workspace.recorder.is_behind():
            return '"tidegate restore --reason …": the ledger has more entries than state.db knows of'
    if workspace.settings.role is Role.LOW:
        packed = [row for row in rows if row.state is BundleState.PACKED]
        if packed:
            return f'"tidegate send {packed[-1].name}"'
        return '"tidegate pack IMAGE|./FOLDER|LIST.yaml"; "tidegate plan …" says what it would bring'
    if not workspace.trust.list():
        return '"tidegate trust add FILE --fingerprint …" with the low side\'s pairing file'
    forks = [row for row in rows if is_open_fork(row)]
    if forks:
        settle = f"tidegate admit {forks[0].bundle_id[:16]} --deny --reason …"
        return f'call the low side about {forks[0].name}; "{settle}" settles it'
    jumping = [row for row in rows if row.state is BundleState.WAITING]
    if jumping:
        name = jumping[0].name
        return f'ask the low side about {name}, then "tidegate admit {name} --reason …"; "tidegate inbox" says why'
    waiting = [row for row in rows if row.state is BundleState.QUARANTINED]
    if waiting:
        return f'"tidegate load {waiting[0].name}"'
    incomplete = [row for row in rows if row.state in (BundleState.INCOMPLETE, BundleState.RECEIVING)]
    if incomplete:
        return f'"tidegate receive" with the medium of {incomplete[0].name}, or another copy of it'
    if any(row.state is BundleState.LOADED for row in rows):
        return '"tidegate serve", or "tidegate receive" with the next medium'
    return '"tidegate receive" with a medium plugged in, or "tidegate watch"'


def show_settings(invocation: Invocation) -> None:
    """``--show-config``: every setting, its value, and where it came from."""
    from dataclasses import fields

    from tidegate.canonical import to_builtins

    settings = invocation.found_workspace().settings
    rows = []
    for item in fields(settings):
        if item.name == "origins":
            continue
        value, origin = getattr(settings, item.name), settings.origins.get(item.name, "default")
        rows.append((item.name, _as_text(value), origin))
        invocation.report.object({"name": item.name, "value": to_builtins(value), "origin": origin})
    invocation.report.table(("setting", "value", "from"), rows)


def _as_text(value: object) -> str:
    """A value as it would stand in tidegate.toml."""
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_as_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, ChannelSettings):
        return f'release = "{value.release}"'
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
