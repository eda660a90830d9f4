"""``tidegate reproduce``: a second person builds the same bundle and compares one digest."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import BundleUnknownError, CollectError, NotReproducedError, UsageError
from tidegate.names import is_path
from tidegate.report import Report, counted
from tidegate.text import printable
from tidegate.units import format_bytes

if TYPE_CHECKING:
    from tidegate.depot.store import Depot
    from tidegate_sender.packing.reproduction import Reproduction


@click.command("reproduce", short_help="Build a bundle once more without any key, and compare its digest.")
@click.argument("bundle", metavar="BUNDLE")
@click.argument("what", metavar="[LIST.yaml|IMAGE|./FOLDER]...", nargs=-1)
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH", help="Only these platforms; repeatable.")
@click.option("--work", metavar="DIR", type=click.Path(path_type=Path), help="Where content is collected meanwhile.")
@shared_options()
def command(
    invocation: Invocation, bundle: str, what: tuple[str, ...], platforms: tuple[str, ...], work: Path | None
) -> None:
    """Collect WHAT was packed from its sources (a list is held to its lock), build the body of BUNDLE from it, and
    compare the bundle_id. No key and no root are needed: BUNDLE is then the path of its file. Without WHAT the depot of
    this root is the source."""
    from tidegate_sender.packing.reproduction import reproduce

    path = _file_of(invocation, bundle)
    with invocation.report.progress() as progress:

        def building(done: int, total: int) -> None:
            progress(done, total, "building")

        if not what:
            found = reproduce(path, _own_depot(invocation), progress=building)
        else:
            from tidegate.depot.store import Depot
            from tidegate_sender.collect.lists.arguments import items_from_arguments
            from tidegate_sender.collect.pipeline import collect

            items = items_from_arguments(what, platforms=platforms)
            with tempfile.TemporaryDirectory(prefix="tidegate-reproduce-", dir=work) as folder:
                depot = Depot(Path(folder) / "depot")
                factory = invocation.found_workspace().registries.client
                collected = collect(items, depot, progress=progress, client_factory=factory)
                if collected.failures:
                    lines = [f"{failure.label}: {failure.error.message}" for failure in collected.failures]
                    raise CollectError("\n".join(lines), hint="all sources are needed to build the bundle again")
                found = reproduce(path, depot, collected.artifacts, building)
    _report(invocation.report, found)


def _file_of(invocation: Invocation, text: str) -> Path:
    if is_path(text):
        if not Path(text).is_file():
            raise BundleUnknownError(f"{text}: no such file")
        return Path(text)
    from tidegate.lookup import resolve_bundle

    return resolve_bundle(invocation.workspace(Role.LOW), text).file()


def _own_depot(invocation: Invocation) -> "Depot":
    from tidegate.depot.store import Depot

    folder = invocation.found_workspace().root / "depot"
    if not (folder / "index.json").is_file():
        raise UsageError("no depot is here to build it from", hint="name the transfer list that was packed")
    return Depot(folder, create=False)


def _report(report: Report, found: "Reproduction") -> None:
    from tidegate_sender.packing.reproduction import Verdict

    theirs, own = found.compressor, found.own_compressor
    tools = f"made with {theirs.name} {theirs.version} level {theirs.level}, here is {own.name} {own.version}"
    values = {
        "verdict": found.verdict,
        "bundle": found.name,
        "bundle_id": found.bundle_id,
        "built_id": found.built_id,
        "compressor": f"{theirs.name} {theirs.version}",
        "own_compressor": f"{own.name} {own.version}",
        "artifacts": found.artifact_count,
        "blobs": found.blob_count,
        "content_size": found.content_size,
        "differences": list(found.differences),
    }
    what = f"{counted(found.artifact_count, 'artifact')}, {counted(found.blob_count, 'blob')} brought"
    amount = f"{what}, {format_bytes(found.content_size)}"
    if found.verdict is Verdict.DIFFERENT:
        report.object(values)
        shown = [printable(text, 300) for text in found.differences[:20]] or ["the manifests differ"]
        raise NotReproducedError("\n".join(f"bundle {found.name}: {text}" for text in shown))
    if found.verdict is Verdict.SAME_CONTENT:
        text = f"same content as {found.name}, not the same bytes ({tools}): {amount}; every digest of a blob is equal"
    else:
        text = f"reproduced {found.name}: {amount}; bundle_id {found.bundle_id}"
    report.closing(text, **values)
