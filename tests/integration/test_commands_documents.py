"""Documents and hints name the commands, options and settings that there are.

``python tests/integration/test_commands_documents.py`` writes the list in docs/operating/commands.md anew.
"""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from tidegate import cli
from tidegate.config import ChannelSettings, RegistrySettings, Settings
from tidegate.config_tables import AfterLoadSettings, AlarmSettings, TargetSettings

PROJECT = Path(__file__).resolve().parents[2]
COMMANDS = PROJECT / "docs" / "operating" / "commands.md"
SETTINGS = PROJECT / "docs" / "operating" / "settings.md"
#: options that every command has; the document says so once
SHARED = {"--root", "--json", "--quiet"}


def walk(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(command)
    if not isinstance(command, click.Group):
        yield " ".join(words), command
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from walk(found, (*words, name))


EVERY_COMMAND = dict(walk(cli.command, ("tidegate",)))


def document_line(words: str, command: click.Command) -> str:
    """What docs/operating/commands.md says of a command."""
    parts = [words]
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            metavar = parameter.metavar or (parameter.name or "").upper()
            parts.append(metavar if parameter.required or metavar.startswith("[") else f"[{metavar}]")
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not SHARED & set(parameter.opts):
            name = max(parameter.opts, key=len)
            shown = name if parameter.is_flag else f"{name} {value_of(parameter)}"
            parts.append(shown if parameter.required else f"[{shown}]")
    return f"- `{' '.join(parts)}`: {command.get_short_help_str(200)}"


def value_of(option: click.Option) -> str:
    """What stands for an option's value: its name, or the words that there are."""
    if option.metavar is None and isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return str(option.metavar)


@pytest.mark.parametrize("words", EVERY_COMMAND)
def test_the_document_has_a_line_for_each_command_with_its_options(words: str) -> None:
    line = document_line(words, EVERY_COMMAND[words])
    assert line in COMMANDS.read_text().splitlines(), f"docs/operating/commands.md lacks this line:\n{line}"


def test_the_document_has_no_command_that_there_is_not() -> None:
    lines = re.findall(r"^- `(tidegate .*)`: ", COMMANDS.read_text(), re.MULTILINE)
    assert len(lines) == len(EVERY_COMMAND)


def test_every_option_says_what_it_is_for() -> None:
    silent = [
        f"{words} {parameter.opts[0]}"
        for words, command in EVERY_COMMAND.items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert not silent


def test_the_document_has_a_row_for_each_setting() -> None:
    text = SETTINGS.read_text()
    kinds = (Settings, ChannelSettings, RegistrySettings, TargetSettings, AfterLoadSettings, AlarmSettings)
    tables = {"origins", "channels", "registries", "targets", "after_load", "alarm"}
    names = {item.name for kind in kinds for item in fields(kind)} - tables
    assert {name for name in names if f"| `{name}` |" not in text} == set()


def sources() -> Iterator[Path]:
    for folder in ("common", "sender", "receiver", "docs/guides", "docs/operating", "README.md"):
        place = PROJECT / folder
        yield from [place] if place.is_file() else (path for path in place.rglob("*") if path.suffix in {".py", ".md"})


def test_every_command_that_a_hint_or_document_quotes_is_there() -> None:
    """``"tidegate inbox" lists them`` and `` `tidegate inbox` ``; the words of a group are looked at, too."""
    wrong = []
    for path in sources():
        for quoted in re.findall(r"[\"`]tidegate ([a-z]+(?: [a-z]+)?)", path.read_text()):
            first, _, second = quoted.partition(" ")
            group = cli.command.get_command(click.Context(cli.command), first)
            lacks = group is None or (isinstance(group, click.Group) and second and second not in group.commands)
            if lacks and not is_lazy(group, second):
                wrong.append(f"{path.relative_to(PROJECT)}: tidegate {quoted}")
    assert not wrong


def is_lazy(group: click.Command | None, name: str) -> bool:
    """Whether a group finds the command by entry point."""
    return isinstance(group, click.Group) and group.get_command(click.Context(group), name) is not None


def write_commands() -> None:
    """The list of the document, anew."""
    kept = [line for line in COMMANDS.read_text().splitlines() if not line.startswith("- `tidegate")]
    place = kept.index("<!-- commands -->") + 1
    lines = [document_line(words, command) for words, command in EVERY_COMMAND.items()]
    COMMANDS.write_text("\n".join([*kept[:place], *lines, *kept[place:]]) + "\n")


if __name__ == "__main__":
    write_commands()
