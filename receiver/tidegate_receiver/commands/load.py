"""``tidegate load``: promote a bundle, and put it where somebody asked to have it."""

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.report import counted
from tidegate.units import format_bytes


@click.command("load", short_help="Promote a bundle into the depot and a stage; also into a registry or folder.")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--to", metavar="TARGET", help="Also into this registry, folder, chart repository or tar.")
@shared_options(writes=True)
def command(invocation: Invocation, bundle: str, to: str | None) -> None:
    """Promote BUNDLE (a name, number or id) from quarantine.

    TARGET is HOST:PORT[/PROJECT], a registry; a folder, with a / in it: nothing is written outside of it;
    chartmuseum+URL or put+URL, for charts; tar:FILE or imgpkg:FILE, a tar of images; or the NAME of a target in the
    settings: then what the low side's list asks to have loaded there.
    """
    from tidegate_receiver.promotion import load

    workspace = invocation.workspace(Role.HIGH)
    report = invocation.report
    with report.progress() as progress:
        done = load(workspace, bundle, to=to, dry_run=invocation.dry_run, progress=progress)
    for item in done.items:
        place = done.target if done.dry_run and done.target else item.place
        report.line(f"{item.name}  ->  {place}  {'' if item.changed else '(there already)'}".rstrip())
    for note in done.notes:
        report.warn(note)
    for name in done.kept_names:
        report.warn(f"{name}: stays as a newer bundle set it")
    for name in done.removed:
        report.line(f"{name}: the low side no longer carries it; it stays here until somebody removes it")
    where = done.target or f"stage {done.stage}"
    size = format_bytes(sum(item.size_bytes for item in done.items))
    artifacts = counted(len(done.items), "artifact")
    if done.dry_run and not done.nothing_to_do:
        text = f"{done.bundle_name} would be loaded: {artifacts} to {where}"
    elif done.nothing_to_do:
        text = f"nothing to do: {done.bundle_name} is loaded to {where} already"
    else:
        text = f"loaded {done.bundle_name}: {artifacts} to {where}" + (f", {size}" if done.target else "")
    report.closing(
        f'{text}; next: "tidegate serve"' if done.target is None and not done.dry_run else text,
        bundle=done.bundle_name,
        bundle_id=done.bundle_id,
        stage=done.stage,
        target=done.target,
        outcome="nothing" if done.nothing_to_do else "loaded",
        items=[
            {"name": item.name, "place": item.place, "digest": item.digest, "changed": item.changed}
            for item in done.items
        ],
        kept_names=list(done.kept_names),
        removed=list(done.removed),
        dry_run=done.dry_run,
    )
