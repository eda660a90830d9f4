"""``tidegate baseline``: the high side writes it, the low side reads it. The two halves plug in by entry point."""

import click

from tidegate.commands.halves import HalvesGroup


@click.group(
    "baseline",
    cls=HalvesGroup,
    default="write",
    short_help="What the high side has already: write it there, read it here.",
)
def command() -> None:
    """What the high side has already, so that the first bundle need not bring it: the high side writes a baseline, the
    low side reads it. Without a subcommand it is written: "tidegate baseline write --help" shows how."""
