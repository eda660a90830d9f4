"""Options that every command has, and what they make: an `Invocation`.

``--root``, ``--json`` and ``--quiet`` may stand before or after the command's name.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
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
