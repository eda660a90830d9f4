"""A command whose two halves belong to different sides: its subcommands plug in by entry point.

The group is ``tidegate.commands.NAME`` for the command NAME; without a subcommand the default one runs.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click


class HalvesGroup(click.Group):
    """Subcommands by entry point, imported when they run; `default` is what runs where none is named."""

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default = default

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._found())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = self._found().get(cmd_name)
        if point is None:
            return None
        command = point.load()
        assert isinstance(command, click.Command)  # an entry point of ours names nothing else
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self._found(), "-h", "--help"}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def _found(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=f"tidegate.commands.{self.name}")}
