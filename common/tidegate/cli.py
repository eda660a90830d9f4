"""The command ``tidegate``: finds subcommands by entry point, imports the one that runs, turns errors into exit codes.

The only place that catches everything. Subcommands are entry points of the group ``tidegate.commands``; `role` in the
settings decides which ones ``--help`` shows first.
"""

import errno
import gc
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from tidegate import __version__
from tidegate.commands.options import Invocation, PluginGroup
from tidegate.errors import HostError, TidegateError, UsageError
from tidegate.files import host_error
from tidegate.report import drop_output, print_error

INTERRUPTED = 130

#: in the order of the work; the role's own come first in --help
SECTIONS = (
    (
        "low side",
        (
            "draft",
            "lock",
            "plan",
            "pack",
            "sync",
            "reproduce",
            "diff",
            "send",
            "outbox",
            "resend",
            "discard",
            "withdraw",
        ),
    ),
    (
        "high side",
        ("receive", "watch", "inbox", "admit", "load", "names", "prune", "check", "serve", "baseline", "clock"),
    ),
    ("both sides", ("status", "link", "show", "verify", "slip", "ledger", "init", "keys", "trust", "doctor", "demo")),
    ("upkeep", ("find", "media", "cleanup", "restore")),
)


class CommandsGroup(PluginGroup):
    """All commands, in `SECTIONS`."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The role's own commands first."""
        found = set(self.found())
        for title, names in _ordered_sections(_role_of(ctx)):
            rows = [(name, self._short_help(ctx, name)) for name in names if name in found]
            with formatter.section(title[0].upper() + title[1:]):
                formatter.write_dl(rows)

    def _short_help(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        return command.get_short_help_str(100) if command else ""


def _role_of(ctx: click.Context) -> str:
    from tidegate.workspace import Workspace

    try:
        workspace = Workspace.find(ctx.params.get("root"))
    except TidegateError:
        return ""
    return f"{workspace.settings.role} side" if workspace.is_initialised else ""


def _ordered_sections(first: str) -> list[tuple[str, tuple[str, ...]]]:
    return sorted(SECTIONS, key=lambda section: section[0] != first)


@click.group(
    cls=CommandsGroup,
    plugins="tidegate.commands",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--root", metavar="DIR", help="Where state, keys and content lie [TIDEGATE_ROOT].")
@click.option("--json", "json_lines", is_flag=True, help="One JSON object a line instead of text.")
@click.option("--quiet", "-q", is_flag=True, help="No text but errors.")
@click.option("--show-config", is_flag=True, help="Every setting, its value, and where it came from.")
@click.version_option(__version__, prog_name="tidegate")
@click.pass_context
def command(ctx: click.Context, root: str | None, json_lines: bool, quiet: bool, show_config: bool) -> None:
    """Moves software one way: from a connected network to one that nothing can reach.

    Without a command: the status of this host, and what to do next.
    """
    ctx.obj = Invocation(root=root, json_lines=json_lines, quiet=quiet)
    if show_config:
        from tidegate.commands.status import show_settings

        show_settings(ctx.obj)
        ctx.exit(0)
    if ctx.invoked_subcommand is None:
        from tidegate.commands.status import show_status

        show_status(ctx.obj)


def main() -> NoReturn:
    """Entry point: runs the command; every error becomes a message, a hint and its exit code."""
    _tune_process()
    sys.exit(run(sys.argv[1:]))


def _tune_process() -> None:
    """Save what a short command need not spend: a sixth of the start-up's CPU time, measured.

    Imports allocate much that is never garbage, and numpy's linear algebra, which nothing here uses, starts threads.
    """
    gc.set_threshold(50_000, 20, 20)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    json_lines = "--json" in arguments
    try:
        code = command.main(arguments, prog_name="tidegate", standalone_mode=False)
    except TidegateError as error:
        print_error(error, json_lines=json_lines)
        return error.exit_code
    except click.ClickException as error:
        return _usage_error(error, json_lines=json_lines)
    except (click.Abort, KeyboardInterrupt):
        print("tidegate: interrupted; what was done so far is kept", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        drop_output()
        return 1
    except OSError as error:
        ours = _refused_by_host(error)
        print_error(ours, json_lines=json_lines)
        return ours.exit_code
    except Exception as error:  # noqa: BLE001 - the one place that catches everything
        return _unexpected(error, json_lines=json_lines)
    return code if isinstance(code, int) else 0


def _refused_by_host(error: OSError) -> TidegateError:
    """An OSError that no room turned into something of its own: the path first, and who could do it."""
    name = error.filename
    if name is None or error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return host_error(error, "writing" if name is None else "this host")
    hints = {
        errno.EACCES: f"run it as the user whom {Path(os.fsdecode(name)).parent} belongs to, or name another place",
        errno.EROFS: "it is mounted read-only: is the medium write-protected?",
    }
    return HostError(f"{os.fsdecode(name)}: {error.strerror or error}", hint=hints.get(error.errno or 0))


def _unexpected(error: Exception, *, json_lines: bool) -> int:
    """A fault of ours: say so in one line, and show the traceback to whoever asks for it."""
    if os.environ.get("TIDEGATE_DEBUG"):
        raise error
    what = f"{type(error).__name__}: {error}"
    hint = "this is a fault of Tidegate; TIDEGATE_DEBUG=1 shows where, for a report"
    print_error(TidegateError(f"unexpected: {what}", hint=hint), json_lines=json_lines)
    return TidegateError.exit_code


def _usage_error(error: click.ClickException, *, json_lines: bool) -> int:
    where = getattr(error, "ctx", None)
    hint = f'"{where.command_path} --help" shows what it takes' if where is not None else ""
    print_error(UsageError(_usage_message(error), hint=hint), json_lines=json_lines)
    return UsageError.exit_code


def _usage_message(error: click.ClickException) -> str:
    """Click's message in our form: small initial, no full stop, the one option that was meant."""
    if isinstance(error, click.NoSuchOption):
        import difflib

        close = difflib.get_close_matches(error.option_name, error.possibilities or (), n=1)
        return f"no option {error.option_name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:]
