"""``tidegate draft``: a first transfer list."""

from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.errors import PartialError, UsageError
from tidegate.report import counted
from tidegate.text import printable

_PATH = click.Path(path_type=Path)


@click.command("draft", short_help="Write a first transfer list: from manifests, charts, or a cluster's pod list.")
@click.argument("sources", metavar="FILE|FOLDER|CHART.tgz|-...", nargs=-1, required=True)
@click.option("--output", "-o", metavar="LIST.yaml", type=_PATH, help="Write it there; else it is printed.")
@click.option("--values", "values", metavar="FILE", type=_PATH, multiple=True, help="Values for charts; repeatable.")
@shared_options(writes=True)
def command(invocation: Invocation, sources: tuple[str, ...], output: Path | None, values: tuple[Path, ...]) -> None:
    """List the images that Kubernetes manifests and charts need. - is standard input, as in:
    kubectl get pods -A -o json | tidegate draft - -o transfer.yaml"""
    from tidegate.wanted import gather_wanted
    from tidegate_sender.drafting import format_draft

    wanted = gather_wanted(sources, values)
    if output is not None and output.exists():
        raise UsageError(f"{output}: is there already", hint="name another file, or remove this one first")
    text = format_draft(wanted, output.parent if output is not None else Path())
    if output is None:
        if not invocation.json_lines:
            click.echo(text, nl=False)
    elif not invocation.dry_run:
        _write(output, text)
    report = invocation.report
    for place in wanted.images.unresolved:
        report.warn(f"not understood: {printable(place, 300)}")
    count = counted(len(wanted.images.references), "image")
    if output is not None or invocation.json_lines:
        where = f" in {output}" if output is not None else ""
        report.closing(
            f"{count} and {counted(len(wanted.charts), 'chart')}{where}; look it over, then"
            f' "tidegate plan {output or "LIST.yaml"}"',
            images=list(wanted.images.references),
            charts=[str(chart.path) for chart in wanted.charts],
            unresolved=list(wanted.images.unresolved),
            output=str(output) if output is not None else None,
        )
    if wanted.images.unresolved:
        raise PartialError(f"{counted(len(wanted.images.unresolved), 'place')} not understood, listed above")


def _write(path: Path, text: str) -> None:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
