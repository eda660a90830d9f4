"""``tidegate demo``: the whole way of the data on this host, with a stick that gets damaged and a link that loses."""

import tempfile
from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.units import format_bytes


@click.command("demo", short_help="Carry images and folders over a damaged stick and a lossy link, here and now.")
@click.option("--keep", metavar="DIR", help="Use this new folder and leave it there, to look around.")
@shared_options()
def command(invocation: Invocation, keep: str | None) -> None:
    """Show the main job end to end: two roots in a temporary folder, an image and a folder of local files, a stick
    that is damaged on the way, an independent client that pulls the result, and a second bundle over a link without a
    way back that loses datagrams."""
    from tidegate.demo.steps import run_demo

    if keep is not None:
        folder = Path(keep).absolute()
        folder.mkdir(parents=True)
        facts = run_demo(folder, invocation.report)
    else:
        with tempfile.TemporaryDirectory(prefix="tidegate-demo-") as temporary:
            facts = run_demo(Path(temporary), invocation.report)
    hole = format_bytes(int(str(facts["hole_bytes"])))
    invocation.report.closing(
        f"\ndemo: bundle {facts['bundle']} crossed a stick that lost {hole} and {facts['pages']} pages more; nothing is"
        f" missing; {facts['client']} pulled {str(facts['digest'])[:19]}… as it was packed, {facts['files']} files are"
        f" equal; {facts['link_bundle']} crossed a link that lost {facts['link_lost']} of its datagrams; both ledgers"
        f" verify; {facts['seconds']}s",
        **facts,
    )
