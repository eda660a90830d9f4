"""``tidegate media``: the register of media, from the label that is glued on to what came back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.clock import format_time
from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.text import printable

if TYPE_CHECKING:
    from tidegate.media.register import ReturnReport
    from tidegate.report import Report
    from tidegate.state.media import MediumRow

SHOWN_MAX = 200  # differences printed; --json and the ledger have more


@click.group("media", short_help="The register of media: register, list, show, lost, found, return, label.")
def command() -> None:
    """The register of media: which stick is which, where each one is, and what came back on it."""


@command.command("register", short_help="Give a medium its label and token.")
@click.argument("medium", metavar="PATH", type=click.Path(path_type=Path))
@click.argument("label")
@click.option("--replace", "replace_token", is_flag=True, help="Also where it has a token: it gets one of its own.")
@shared_options(writes=True)
def register_command(invocation: Invocation, medium: Path, label: str, replace_token: bool) -> None:
    """Write a token onto the medium at PATH and register it as LABEL, which is what you write on it."""
    from tidegate.media.custody import device_text
    from tidegate.media.register import RegisterOutcome, check_registrable, register
    from tidegate.media.sighting import device_of

    workspace = invocation.workspace(Role.LOW)
    if invocation.dry_run:
        outcome, seen = check_registrable(workspace, medium, label, replace_token=replace_token)
    else:
        with workspace.recording():
            outcome, seen = register(workspace, medium, label, replace_token=replace_token)
    for alarm in seen.alarms:
        invocation.report.warn(alarm.text)
    values = {"label": label, "token": seen.facts.token, "outcome": outcome, "dry_run": invocation.dry_run}
    if outcome is RegisterOutcome.ALREADY:
        invocation.report.closing(f"nothing to do: {printable(medium)} is registered as {label} already", **values)
        return
    device = device_text(device_of(seen.facts))
    done = "would be registered" if invocation.dry_run else "registered"
    text = f'{done} {label} ({device}); next: "tidegate media label {label} --out {label}.pdf"'
    invocation.report.closing(text, **values)


@command.command("list", short_help="Every medium: label, where it is, what it carries.")
@shared_options()
def list_command(invocation: Invocation) -> None:
    """Every medium that this side knows."""
    from tidegate.media.custody import device_text
    from tidegate.media.register import bundles_of, list_rows

    report = invocation.report
    rows = list_rows(invocation.workspace())
    for row in rows:
        report.object(_values(row))
    if not rows:
        report.line('no medium is known; "tidegate media register PATH LABEL" registers one on the low side')
        return
    heads = ("label", "state", "counter", "since", "carries", "device")
    report.table(
        heads,
        [
            (
                row.label,
                row.state.value,
                str(row.counter),
                format_time(row.updated),
                printable(", ".join(bundles_of(row))),
                device_text(row.device),
            )
            for row in rows
        ],
    )


@command.command("show", short_help="The chain of custody of one medium.")
@click.argument("label")
@shared_options()
def show_command(invocation: Invocation, label: str) -> None:
    """Everything that the ledger of this side knows of the medium LABEL, oldest first."""
    from tidegate.media.custody import custody_cells, custody_of, device_text
    from tidegate.media.register import find_rows

    workspace = invocation.workspace()
    report = invocation.report
    for row in find_rows(workspace, label):
        report.object(_values(row))
        report.line(f"{row.label}: {row.state.value}, {device_text(row.device)}, token {row.token}")
        entries = custody_of(workspace, row)
        for item in entries:
            report.object({"number": item.number, "entry": item.fields})
        heads = ("number", "time", "event", "outcome", "bundle", "by", "counter", "")
        report.table(heads, [tuple(printable(cell, 120) for cell in custody_cells(item)) for item in entries])


@command.command("lost", short_help="Say that a medium is lost.")
@click.argument("label")
@click.option("--reason", metavar="TEXT", help="What happened, for the ledger.")
@shared_options(writes=True)
def lost_command(invocation: Invocation, label: str, reason: str | None) -> None:
    """Say that the medium LABEL is lost. When it turns up, every use of it warns until it is found or returned."""
    _set_lost(invocation, label, lost=True, reason=reason)


@command.command("found", short_help="Say that a lost medium was found.")
@click.argument("label")
@click.option("--reason", metavar="TEXT", help="Where it was, for the ledger.")
@shared_options(writes=True)
def found_command(invocation: Invocation, label: str, reason: str | None) -> None:
    """Say that the medium LABEL was found again. `media return` then says whether anybody wrote on it."""
    _set_lost(invocation, label, lost=False, reason=reason)


def _set_lost(invocation: Invocation, label: str, *, lost: bool, reason: str | None) -> None:
    from tidegate.media.register import find_row, set_lost
    from tidegate.state.media import MediumState

    workspace = invocation.workspace(Role.LOW)
    row = find_row(workspace, label)
    word = "lost" if lost else "found"
    if (row.state is MediumState.LOST) is lost:
        is_what = "is marked as lost already" if lost else "is not marked as lost"
        invocation.report.closing(f"nothing to do: {row.label} {is_what}", label=row.label, state=row.state.value)
        return
    if not invocation.dry_run:
        with workspace.recording():
            set_lost(workspace, row, lost=lost, reason=reason)
    ending = _if_lost(row) if lost else ""
    if not lost:
        ending = '; compare it before it is used again: "tidegate media return PATH"'
    done = "would be marked" if invocation.dry_run else "is marked"
    invocation.report.closing(f"{row.label} {done} as {word}{ending}", label=row.label, state=word)


def _if_lost(row: "MediumRow") -> str:
    """What a lost medium carried, and what to do where the site does not have it."""
    from tidegate.media.register import bundles_of

    names = bundles_of(row)
    if not names:
        return ""
    name = names[-1]
    again = f"send {name}"
    if row.detail.get("volumes") != 1:
        again += f" --again {row.detail.get('volume', 1)}"
    choice = f'"tidegate {again}" writes it once more, "tidegate discard {name}" closes the gap with the next bundle'
    return f"; it carried {', '.join(names)}; where the site does not have it, {choice}"


@command.command("return", short_help="A medium came back: compare it with what was written.")
@click.argument("medium", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--label", metavar="LABEL", help="Which one it is, where its token is gone.")
@shared_options(writes=True)
def return_command(invocation: Invocation, medium: Path, label: str | None) -> None:
    """Compare the medium at PATH with what was written to it. Anything added, changed or missing ends with exit
    code 28. Open nothing on it before."""
    from tidegate.media.plugged import choose_medium
    from tidegate.media.register import compare_medium, record_return

    workspace = invocation.workspace(Role.LOW)
    place = choose_medium(medium, workspace.settings.media_folders)
    report = invocation.report
    if not invocation.dry_run:
        workspace.begin()
    with report.progress() as progress:
        found, seen = compare_medium(workspace, place, label, progress)
    if not invocation.dry_run:
        record_return(workspace, found, seen)
    _close_return(report, found)


@command.command("label", short_help="Print the label and the custody slip of a medium.")
@click.argument("label")
@click.option("--out", required=True, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="A PDF.")
@shared_options(writes=True)
def label_command(invocation: Invocation, label: str, out: Path) -> None:
    """Write a PDF to FILE: a label with what the medium LABEL carries, and a custody slip with lines to sign."""
    from tidegate.media.labels import label_of_row, write_labels
    from tidegate.media.register import find_row

    workspace = invocation.workspace(Role.LOW)
    row = find_row(workspace, label)
    if not invocation.dry_run:
        write_labels(out, (label_of_row(workspace, row),))
    done = "would be written" if invocation.dry_run else "written"
    text = f"{out} {done}: label and custody slip of {row.label}"
    invocation.report.closing(text, file=str(out), label=row.label, pages=1)


def _close_return(report: "Report", found: "ReturnReport") -> None:
    from tidegate.errors import MediumChangedError

    lines = tuple(found.changes.lines())
    for line in lines[:SHOWN_MAX]:
        report.line(line)
    if len(lines) > SHOWN_MAX:
        report.line(f"and {len(lines) - SHOWN_MAX} more")
    for alarm in found.alarms:
        report.warn(alarm.text)
    values = {
        "label": found.row.label,
        "token": found.row.token,
        "added": [printable(name) for name in found.changes.added],
        "changed": [printable(name) for name in found.changes.changed],
        "missing": [printable(name) for name in found.changes.missing],
        "unchanged": found.changes.unchanged,
        "alarms": [alarm.reason.value for alarm in found.alarms],
        "compared": found.is_compared,
    }
    if not found.is_clean:
        report.object(values)
        raise MediumChangedError(f"medium {found.row.label} is not as it was given away: {_what_changed(found)}")
    if not found.is_compared:
        text = f"{found.row.label} is back, but the last writing to it did not end: nothing could be compared"
        report.closing(f"{text}; format it before it is used again", **values)
        return
    names = "name" if found.changes.unchanged == 1 else "names"
    text = (
        f"{found.row.label} is back as it was given away: {found.changes.unchanged} {names}, nothing added or changed"
    )
    report.closing(text, **values)


def _what_changed(found: "ReturnReport") -> str:
    changes = found.changes
    counts = (("added", changes.added), ("changed", changes.changed), ("missing", changes.missing))
    parts = [f"{len(paths)} {word}" for word, paths in counts if paths]
    if not found.has_token:
        parts.append("no token that counts")
    return ", ".join([*parts, *(alarm.text for alarm in found.alarms)])


def _values(row: "MediumRow") -> dict[str, object]:
    return {
        "label": row.label,
        "token": row.token,
        "state": row.state.value,
        "counter": row.counter,
        "registered": format_time(row.registered),
        "updated": format_time(row.updated),
        "device": row.device,
        "carries": row.detail,
    }
