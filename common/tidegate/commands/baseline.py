"""``tidegate baseline``: the high side writes it, the low side reads it. The two halves plug in by entry point."""

from importlib.metadata import EntryPoint, entry_points

import click

GROUP = "tidegate.commands.baseline"
DEFAULT = "write"


class BaselineGroup(click.Group):
    """Subcommands by entry point; without one a baseline is written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_found())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = _found().get(cmd_name)
        if point is None:
            return None
        command = point.load()
        assert isinstance(command, click.Command)  # an entry point of ours names nothing else
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*_found(), "-h", "--help"}:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@click.group("baseline", cls=BaselineGroup, short_help="What the high side has already: write it there, read it here.")
def command() -> None:
    """What the high side has already, so that the first bundle need not bring it: the high side writes a baseline, the
    low side reads it. Without a subcommand it is written: "tidegate baseline write --help" shows how."""
