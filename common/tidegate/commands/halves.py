"""A command whose two halves belong to different sides: its subcommands plug in by entry point.

The group is ``tidegate.commands.NAME`` for the command NAME; without a subcommand the default one runs.
"""

from typing import Any

import click

from tidegate.commands.options import PluginGroup


class HalvesGroup(PluginGroup):
    """`default` is what runs where no subcommand is named."""

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:
        super().__init__(*args, plugins=f"tidegate.commands.{kwargs.get('name')}", **kwargs)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.found(), "-h", "--help"}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)
