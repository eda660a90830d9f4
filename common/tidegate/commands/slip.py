"""``tidegate slip``: the high side prints it, the low side reads it. The two halves plug in by entry point."""

import click

from tidegate.commands.halves import HalvesGroup


@click.group(
    "slip",
    cls=HalvesGroup,
    default="print",
    short_help="The return slip: print it on the high side, read it on the low side.",
)
def command() -> None:
    """The return slip: the high side prints what arrived and what is missing, the low side reads it. Without a
    subcommand it is printed: "tidegate slip print --help" shows how."""
