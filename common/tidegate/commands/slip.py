"""``tidegate slip``: the high side prints it, the low side reads it. The two halves plug in by entry point."""

from importlib.metadata import EntryPoint, entry_points

import click

GROUP = "tidegate.commands.slip"
DEFAULT = "print"


class SlipGroup(click.Group):
    """Subcommands by entry point; without one the slip is printed."""

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


@click.group("slip", cls=SlipGroup, short_help="The return slip: print it on the high side, read it on the low side.")
def command() -> None:
    """The return slip: the high side prints what arrived and what is missing, the low side reads it. Without a
    subcommand it is printed: "tidegate slip print --help" shows how."""
