"""Options that every command has, and what they make: an `Invocation`.

``--root``, ``--json`` and ``--quiet`` may stand before or after the command's name.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import click

from tidegate.report import Report

if TYPE_CHECKING:
    from tidegate.config import Role
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a command was called: the options that all of them share."""

    root: str | None = None
    json_lines: bool = False
    quiet: bool = False
    dry_run: bool = False

    @property
    def report(self) -> Report:
        return Report(self.json_lines, self.quiet)

    def workspace(self, role: "Role | None" = None) -> "Workspace":
        """The root that the command works on; raises NotInitialisedError."""
        from tidegate.workspace import Workspace

        return Workspace.open(self.root, role=role)

    def found_workspace(self) -> "Workspace":
        """The root as it is, initialised or not: for commands that also work without one."""
        from tidegate.workspace import Workspace

        return Workspace.find(self.root)


class Group(click.Group):
    """Commands under one name: a wrong or missing one is told in one line, with what was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], names, n=1, cutoff=0.5)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"no command {args[0]!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not self.invoke_without_command:
            raise click.UsageError(f"{ctx.info_name} needs one of: {', '.join(self.list_commands(ctx))}", ctx)
        return super().parse_args(ctx, args)


class PluginGroup(Group):
    """Subcommands that plug in by entry point, of the group named `plugins`, and are imported when they run."""

    def __init__(self, *args: Any, plugins: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plugins = plugins
        self._found: dict[str, EntryPoint] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.found())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = self.found().get(cmd_name)
        if point is None:
            return None
        command = point.load()
        assert isinstance(command, click.Command)  # an entry point of ours names nothing else
        return command

    def found(self) -> dict[str, EntryPoint]:
        """The entry points by name; looked for once, for every package that is installed is asked."""
        if self._found is None:
            self._found = {point.name: point for point in entry_points(group=self.plugins)}
        return self._found


def shared_options(*, writes: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command ``--root --json --quiet`` (and ``--dry-run`` where it writes); it gets an `Invocation` first."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.pass_context
        @functools.wraps(function)
        def called(ctx: click.Context, /, **values: Any) -> Any:
            outer = ctx.find_object(Invocation) or Invocation()
            invocation = Invocation(
                root=values.pop("root") or outer.root,
                json_lines=values.pop("json_lines") or outer.json_lines,
                quiet=values.pop("quiet") or outer.quiet,
                dry_run=values.pop("dry_run", False),
            )
            return function(invocation, **values)

        wrapped: Callable[..., Any] = called
        if writes:
            wrapped = click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")(wrapped)
        for option in (
            click.option("--quiet", "-q", is_flag=True, help="No text but errors."),
            click.option("--json", "json_lines", is_flag=True, help="One JSON object a line instead of text."),
            click.option("--root", metavar="DIR", help="Where state, keys and content lie."),
        ):
            wrapped = option(wrapped)
        return wrapped

    return decorate
