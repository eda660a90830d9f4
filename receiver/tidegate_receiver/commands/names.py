"""``tidegate names``: what was loaded where, under which old and new names, in the form that a tool reads."""

from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.config_tables import TargetSettings
from tidegate.report import Report, counted
from tidegate_receiver.naming.formats import ReportFormat


@click.command("names", short_help="Old and new names at a target, for OpenShift, containerd, Podman, kbld, Kyverno …")
@click.option("--to", metavar="TARGET", help="A target, as load --to has it; without it all targets are listed.")
@click.option("--stage", is_flag=True, help="What the stage has, served at --host.")
@click.option("--host", default="", metavar="HOST[:PORT]", help="Where the stage is served.")
@click.option("--format", "kind", type=click.Choice([str(item) for item in ReportFormat]), default="csv", help="[csv]")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Into this file; for hosts: this folder.")
@shared_options()
def command(invocation: Invocation, to: str | None, stage: bool, host: str, kind: str, out: Path | None) -> None:
    """Write a report of everything that was loaded to TARGET from here, the same for the same loads.

    csv and json have all artifacts; the others images alone. hosts makes HOST/hosts.toml for each old registry.
    """
    from tidegate.depot.store import Depot
    from tidegate.errors import UsageError
    from tidegate.state.placements import STAGE, list_targets
    from tidegate_receiver.naming.formats import make_report, write_report
    from tidegate_receiver.promotion.destinations import open_target

    workspace = invocation.workspace(Role.HIGH)
    report = invocation.report
    if to is None and not stage:
        with workspace.state.reading() as tx:
            targets = list_targets(tx)
        for target in targets:
            report.line(target)
        report.closing(counted(len(targets), "target"), targets=list(targets))
        return
    if to is not None and stage:
        raise UsageError("--to and --stage exclude each other")
    settings = TargetSettings()
    target = f"{STAGE}{workspace.settings.stage}"
    if to is not None:
        loader, settings = open_target(workspace, to, Depot(workspace.root / "depot", create=False))
        target = loader.target
    access = workspace.registries.access
    with workspace.state.reading() as tx:
        made = make_report(tx, target, ReportFormat(kind), host=host, settings=settings, access=access)
    for note in made.notes:
        report.warn(note)
    if out is None:
        _print(report, made.files)
        return
    written = write_report(made, out)
    report.closing(
        f"wrote {', '.join(map(str, written)) or 'nothing'}", files=[str(path) for path in written], target=target
    )


def _print(report: Report, files: dict[str, str]) -> None:
    for name, text in files.items():
        if report.json_lines:
            report.object({"file": name, "text": text})
            continue
        if name:
            report.line(f"# {name}")
        report.line(text.replace("\r\n", "\n").rstrip("\n"))  # the lines of a CSV end as others on a screen
