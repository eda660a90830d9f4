"""``tidegate pack``: bring what was asked for, and make one signed bundle of it."""

from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import PartialError, UsageError
from tidegate.report import Report, counted
from tidegate.state.bundles import BundleState, get_bundle
from tidegate.text import printable
from tidegate.units import format_bytes, format_duration, parse_bytes
from tidegate_sender.commands.asked_options import asked_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_sender.packing.pack import PackReport
    from tidegate_sender.packing.request import RequestReport


@click.command("pack", short_help="Collect images, folders and lists into one signed bundle.")
@asked_options
@click.option(
    "--expires", "expire_days", metavar="DAYS", type=click.IntRange(0), help="Days until it expires; 0: never."
)
@click.option("--for", "audience", multiple=True, metavar="SITE", help="Only for this site of the channel; repeatable.")
@click.option("--classification", metavar="TEXT", help="Written into the manifest and the ledger.")
@click.option("--again-max", metavar="SIZE", help="Let so much unconfirmed content ride again; 0: all [setting: 32G].")
@click.option("--anyway", is_flag=True, help="Pack although the newest bundle has the same artifacts.")
@shared_options(writes=True)
def command(
    invocation: Invocation,
    what: tuple[str, ...],
    platforms: tuple[str, ...],
    since: str | None,
    full: bool,
    expire_days: int | None,
    audience: tuple[str, ...],
    classification: str | None,
    again_max: str | None,
    anyway: bool,
) -> None:
    """Collect what is named and pack it. ./ ../ and / begin a path; a YAML file with "tidegate: 1" is a transfer
    list; anything else is an image reference by Docker's rules; oci:FOLDER:TAG is an OCI layout, tar:FILE a tar of
    images, chart:FILE or oci://… a Helm chart, imgpkg:IMAGE a bundle of imgpkg, list:FILE the list of another tool."""
    from tidegate_sender.collect.lists.arguments import items_from_arguments
    from tidegate_sender.packing.pack import PackOptions

    if full and since is not None:
        raise UsageError("--full and --since exclude each other")
    workspace = invocation.workspace(Role.LOW)
    items = items_from_arguments(what, platforms=platforms)
    if invocation.dry_run:
        from tidegate_sender.commands.plan import Basis, show_plan

        show_plan(invocation.report, workspace, items, Basis(since, full=full), None)
        return
    from tidegate_sender.packing.request import fulfil

    again_bytes = parse_bytes(again_max) if again_max is not None else None
    options = PackOptions(since, expire_days, audience or None, classification, anyway, full, again_bytes)
    with invocation.report.progress() as progress:
        done = fulfil(workspace, items, options, progress)
    with workspace.state.reading() as tx:
        row = get_bundle(tx, done.packed.bundle_id)
    _report(invocation.report, done, is_sent=row is not None and row.state is not BundleState.PACKED)


def _report(report: Report, done: "RequestReport", *, is_sent: bool) -> None:
    from tidegate_sender.packing.pack import PackOutcome

    packed, failures = done.packed, done.collected.failures
    _warn(report, done)
    following = f'next: "tidegate send {packed.name}"'
    if packed.outcome is PackOutcome.NOTHING:
        text = f"nothing to do: {packed.name} has the same artifacts (--anyway packs them again)"
        if is_sent:
            following = f'it was sent; "tidegate send {packed.name}" writes another copy'
    else:
        text = "; ".join(_packed_words(packed))
    report.closing(f"{text}; {following}", **_values(done))
    if failures:
        raise PartialError(
            f"{len(failures)} of {len(failures) + len(done.collected.artifacts)} could not be brought:"
            f" {', '.join(item.label for item in failures[:5])}",
            hint='the others are packed; mend these and run it again, or mark them "required: true" to stop instead',
        )


def _warn(report: Report, done: "RequestReport") -> None:
    """What was left out of artifacts, what is to be said of them, and what could not be brought."""
    for artifact in done.collected.artifacts:
        left_out = [f"{printable(name)} is no file, folder or link, and is left out" for name in artifact.skipped]
        for note in (*left_out, *artifact.notes):
            report.warn(f"{artifact.source}: {printable(note, 600)}")
    for failure in done.collected.failures:
        report.warn(f"not brought: {printable(failure.text, 600)}", failure.error.hint)


def _packed_words(packed: "PackReport") -> "Iterator[str]":
    from tidegate_sender.packing.pack import PackOutcome

    sizes = f"{format_bytes(packed.content_size)} in {format_bytes(packed.size)}"
    artifacts = counted(packed.artifact_count, "artifact")
    yield f"packed {packed.name}: {artifacts}, {sizes}, {format_duration(packed.seconds)}"
    if packed.required_count:
        blobs = counted(packed.required_count, "blob")
        yield f"builds on {blobs} ({format_bytes(packed.required_size)}) sent before"
    if packed.again.count:
        yield packed.again.words
    if packed.removed:
        yield f"it lists {_left(packed.removed)} as no longer carried"
    if packed.void:
        yield f"it tells that {', '.join(map(str, packed.void))} will not come"
    if packed.outcome is PackOutcome.REPLACED:
        yield "it takes the place of the unsent bundle of this number"


def _values(done: "RequestReport") -> dict[str, object]:
    from tidegate.files import SYNCS

    packed = done.packed
    return {
        "bundle": packed.name,
        "bundle_id": packed.bundle_id,
        "outcome": packed.outcome,
        "path": str(packed.path),
        "size": packed.size,
        "content_size": packed.content_size,
        "artifacts": packed.artifact_count,
        "required": packed.required_count,
        "replaced": packed.replaced,
        "again_size": packed.again.size,
        "again_numbers": list(packed.again.sequences),
        "removed": list(packed.removed),
        "void": list(packed.void),
        "notes": [note for artifact in done.collected.artifacts for note in artifact.notes],
        "failures": [{"what": item.label, "error": item.error.message} for item in done.collected.failures],
        "collect_seconds": round(done.collect_seconds, 3),
        "pack_seconds": round(packed.seconds, 3),
        "syncs": SYNCS.count,
    }


def _left(names: tuple[str, ...]) -> str:
    """Names that left the list, the first few of many."""
    shown = ", ".join(printable(name, 80) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
