"""``tidegate check``: is what these manifests and charts need here?"""

from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import ContentMissingError
from tidegate.report import counted
from tidegate.text import printable

_TAGS_SHOWN = 8


@click.command("check", short_help="Is what these manifests or charts need here? Lists what is missing.")
@click.argument("sources", metavar="FILE|FOLDER|CHART.tgz|-...", nargs=-1, required=True)
@click.option("--stage", metavar="STAGE", help="The stage to look at; by default the one of the settings.")
@click.option(
    "--values", "values", metavar="FILE", type=click.Path(path_type=Path), multiple=True, help="Values for charts."
)
@shared_options()
def command(invocation: Invocation, sources: tuple[str, ...], stage: str | None, values: tuple[Path, ...]) -> None:
    """Say of every image that Kubernetes manifests and charts need whether a stage has it. - is standard input."""
    from tidegate.wanted import gather_wanted
    from tidegate_receiver.availability import Presence, check_wanted
    from tidegate_receiver.promotion.stages import find_stage
    from tidegate_receiver.serving.catalog import StageCatalog

    workspace = invocation.workspace(Role.HIGH)
    folder = find_stage(workspace, stage)
    wanted = gather_wanted(sources, values)
    checked = check_wanted(wanted, StageCatalog(folder).catalog())
    report = invocation.report
    for item in checked:
        tags = f" ({', '.join(item.tags[:_TAGS_SHOWN])})" if item.tags else ""
        report.line(f"{item.presence:14} {item.kind:6} {item.name}{tags}")
        report.object(
            {
                "name": item.name,
                "kind": item.kind,
                "presence": item.presence,
                "digest": item.digest,
                "tags": list(item.tags),
            }
        )
    for place in wanted.images.unresolved:
        report.warn(f"not understood: {printable(place, 300)}")
    missing = [item.name for item in checked if item.presence is not Presence.THERE]
    report.closing(
        f"{len(checked) - len(missing)} of {len(checked)} are in stage {folder.name}"
        + (f"; {counted(len(wanted.images.unresolved), 'place')} not understood" if wanted.images.unresolved else ""),
        stage=folder.name,
        needed=len(checked),
        missing=missing,
        unresolved=list(wanted.images.unresolved),
    )
    if missing or wanted.images.unresolved:
        raise ContentMissingError(
            f"stage {folder.name}: {counted(len(missing), 'thing')} missing: {', '.join(missing[:5])}"
            if missing
            else f"stage {folder.name}: nothing is known to be missing, but not everything was understood",
            hint='ask the low side for them: "tidegate draft" with the same files writes the list',
        )
