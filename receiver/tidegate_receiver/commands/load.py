"""``tidegate load``: promote a bundle, and put it where somebody asked to have it."""

from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import PartialError, UsageError
from tidegate.report import Report, counted
from tidegate.units import format_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.workspace import Workspace
    from tidegate_receiver.naming.formats import ReportFormat
    from tidegate_receiver.promotion.promotion import LoadReport


@click.command("load", short_help="Promote a bundle into the depot and a stage; also into registries or folders.")
@click.argument("what", metavar="BUNDLE", nargs=-1, required=True)
@click.option("--to", metavar="TARGET", multiple=True, help="Also there: a registry, folder, tar …; repeatable.")
@click.option("--asked", is_flag=True, help="Also to every target that the low side's list asks for by load.")
@click.option("--direct", is_flag=True, help="Bring and load lists or images from here; no bundle.")
@click.option("--report", "reports", metavar="FORMAT:FILE", multiple=True, help="Then write this; see names.")
@shared_options(writes=True)
def command(
    invocation: Invocation,
    what: tuple[str, ...],
    to: tuple[str, ...],
    asked: bool,
    direct: bool,
    reports: tuple[str, ...],
) -> None:
    """Promote BUNDLE (a name, number or id) from quarantine.

    TARGET is HOST:PORT[/PROJECT], a registry; a folder, with a / in it: nothing is written outside of it;
    chartmuseum+URL or put+URL, for charts; tar:FILE or imgpkg:FILE, a tar of images; or the NAME of a target in the
    settings: then what the low side's list asks to have loaded there.

    With --direct, BUNDLE is a transfer list or an image, as pack takes them, from registries that this host reaches.
    """
    from tidegate_receiver.naming.formats import parse_report_option
    from tidegate_receiver.promotion.after_load import follow
    from tidegate_receiver.promotion.promotion import load

    wanted = tuple(map(parse_report_option, reports))
    workspace = invocation.workspace(Role.HIGH)
    report = invocation.report
    if direct:
        if invocation.dry_run:
            raise UsageError("--direct has no --dry-run", hint='"tidegate plan" on a low side says what a list brings')
        _load_directly(report, workspace, what, to, wanted, asked=asked)
        return
    if len(what) != 1:
        raise UsageError("one bundle at a time", hint="--direct takes several lists")
    with report.progress() as progress:
        done = load(workspace, what[0], to=to, asked=asked or None, dry_run=invocation.dry_run, progress=progress)
    if not done.dry_run:
        for note in follow(workspace, done, wanted):
            report.warn(note)
    show_load(report, done)


def _load_directly(
    report: Report,
    workspace: "Workspace",
    what: tuple[str, ...],
    to: tuple[str, ...],
    reports: "tuple[tuple[ReportFormat, Path], ...]",
    *,
    asked: bool,
) -> None:
    from tidegate_receiver.promotion.after_load import follow
    from tidegate_receiver.promotion.direct import load_directly

    with report.progress() as progress:
        done, failures = load_directly(workspace, what, to=to, asked=asked, progress=progress)
    for note in follow(workspace, done, reports):
        report.warn(note)
    for label, error in failures:
        report.warn(f"not brought: {label}: {error.message}", error.hint)
    show_load(report, done)
    if failures:
        raise PartialError(f"{counted(len(failures), 'item')} could not be brought: {failures[0][0]}")


def show_load(report: Report, done: "LoadReport") -> None:
    """What a load did, item by item. Raises PartialError where one of several targets failed."""
    from tidegate_receiver.loaders.items import LEFT_OUT

    for item in done.items:
        is_old = not item.changed and item.place != LEFT_OUT
        report.line(f"{item.name}  ->  {item.place}  {'(there already)' if is_old else ''}".rstrip())
    for note in done.notes:
        report.warn(note)
    for name in done.unknown_targets:
        report.warn(f"the list asks for target {name}, and the settings of this side have none of that name")
    for name in done.kept_names:
        report.warn(f"{name}: stays as a newer bundle set it")
    for name in done.removed:
        report.line(f"{name}: the low side no longer carries it; it stays here until somebody removes it")
    for found in done.failures:
        assert found.error is not None
        report.warn(f"{found.target}: {found.error.message}", found.error.hint)
    text = _words(done)
    report.closing(
        f'{text}; next: "tidegate serve"' if done.target is None and not done.dry_run else text,
        bundle=done.bundle_name,
        bundle_id=done.bundle_id,
        stage=done.stage,
        target=done.target,
        targets=[
            {"target": found.target, "items": len(found.items), "error": found.error.message if found.error else None}
            for found in done.targets
        ],
        unknown_targets=list(done.unknown_targets),
        outcome="nothing" if done.nothing_to_do else "partial" if done.failures else "loaded",
        items=[
            {"name": item.name, "place": item.place, "digest": item.digest, "changed": item.changed}
            for item in done.items
        ],
        kept_names=list(done.kept_names),
        removed=list(done.removed),
        dry_run=done.dry_run,
    )
    if done.failures and not done.dry_run:
        names = ", ".join(found.target for found in done.failures)
        raise PartialError(
            f"{len(done.failures)} of {len(done.targets)} targets could not be loaded to: {names}",
            hint="the others are done; run the same command again when that is mended: it goes on where it stopped",
        )


def _words(done: "LoadReport") -> str:
    where = ", ".join(found.target for found in done.targets if found.error is None) or f"stage {done.stage}"
    artifacts = counted(sum(item.changed for item in done.items), "artifact")
    there = len(done.items) - sum(item.changed for item in done.items)
    if there:
        artifacts += f" ({there} there already)"
    if done.nothing_to_do:
        return f"nothing to do: {done.bundle_name} is loaded to {where} already"
    if done.dry_run:
        return f"{done.bundle_name} would be loaded: {artifacts} to {where}"
    size = f", {format_bytes(sum(item.size_bytes for item in done.items))}" if done.targets else ""
    return f"loaded {done.bundle_name}: {artifacts} to {where}{size}"
