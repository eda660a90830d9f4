"""Documents hold together: links lead somewhere, decisions are numbered, and every command line is one that runs."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from tidegate import cli
from tidegate.commands.halves import HalvesGroup

PROJECT = Path(__file__).resolve().parents[2]
DECISIONS = PROJECT / "docs" / "decisions"
ROOT = click.Context(cli.command)
#: options that every command has
SHARED = {"--root", "--json", "--quiet", "-q", "--help", "--version"}
#: where the command ends and another one, or words about it, begin
ENDS = re.compile(r"\s(?:#|\||>|;|&&|→|…\s*$)|;|\s{3,}|\)\s")


def documents() -> list[Path]:
    places = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    assert len(places) > 50
    return places


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """What a heading is called in a link: lower case, no punctuation, dashes for spaces."""
    heads = re.findall(r"^#+ (.*)$", without_code(document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(document: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"{document.relative_to(PROJECT)}: {link}"


def test_every_link_between_documents_leads_to_a_file_and_a_heading() -> None:
    assert [broken for document in documents() for broken in broken_links(document)] == []


def test_every_document_that_is_named_is_there() -> None:
    """``docs/operating/diode.md`` in a message, a comment, a unit or another document."""
    missing = []
    for place in [*documents(), *every_source()]:
        for name in re.findall(
            r"(?<![\w/])(?:docs|tests/[a-z]+|bench|systemd)/[\w./-]+\.(?:md|py|sh)\b", place.read_text()
        ):
            if not (PROJECT / name).exists() and not (DECISIONS.parent / name).exists():
                missing.append(f"{place.relative_to(PROJECT)}: {name}")
    assert missing == []


def test_every_decision_has_a_number_of_its_own_without_a_gap() -> None:
    pages = sorted(DECISIONS.glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    titles = {page.name: page.read_text().splitlines()[0] for page in pages}
    assert {name: title for name, title in titles.items() if not title.startswith(f"# {int(name[:4])}. ")} == {}


def test_every_decision_that_is_named_is_there() -> None:
    numbers = {page.name[:4] for page in DECISIONS.glob("*.md")}
    named = {
        f"{place.relative_to(PROJECT)}: {number}"
        for place in [*documents(), *every_source()]
        for number in re.findall(r"decisions/(\d{4})", place.read_text())
        if number not in numbers
    }
    assert named == set()


def every_source() -> Iterator[Path]:
    for folder in ("common", "sender", "receiver", "bench", "systemd", "udev"):
        for path in (PROJECT / folder).rglob("*"):
            if path.suffix in {".py", ".service", ".timer", ".rules", ".sh"}:
                yield path


def lines_of(document: Path) -> Iterator[str]:
    """What follows the word ``tidegate`` in blocks of code and in quoted code."""
    text = document.read_text()
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if found := re.match(
                r"(?:(?:low|high)(?: side)?[$ ]|\$|[\w/.]*/|ExecStart=\S*|#)*\s*(?:\w+=\S+ )*tidegate (.*)", line
            ):
                yield found[1]
    for quoted in re.findall(r"`tidegate ([^`]*)`", without_code(text)):
        yield quoted
    for quoted in re.findall(r"\"tidegate ([^\"`]*)\"", text):
        yield quoted


def hints_of(source: Path) -> Iterator[str]:
    """What messages tell an operator to type: ``"tidegate inbox --json"`` or ``'tidegate …'`` inside of a string."""
    yield from re.findall(r"[\"'`]tidegate ([^\"'`\n]*)[\"'`]", source.read_text())


def faults_of(line: str) -> Iterator[str]:
    """What click would refuse: commands and options that are not there, options without their value."""
    spoken = ENDS.split(line.replace("[", " ").replace("]", " "), maxsplit=1)[0]
    try:
        words = shlex.split(spoken)
    except ValueError:
        words = spoken.split()
    command: click.Command = cli.command
    while words and isinstance(command, click.Group):
        found = command.get_command(ROOT, words[0])
        if found is None and isinstance(command, HalvesGroup):
            found = command.get_command(ROOT, command.default)
            words = [command.default, *words]
        if found is None and re.fullmatch(r"[a-z][a-z-]*", words[0]):
            yield f"no command {words[0]}"
        if found is None:
            return
        command, words = found, words[1:]
    known = {name: parameter for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for place, word in enumerate(words):
        name, given, _ = word.rstrip(",.:").partition("=")
        if not re.fullmatch(r"--[a-z][a-z-]*|-[a-zA-Z]", name) or name in SHARED:
            continue
        option = known.get(name)
        if not isinstance(option, click.Option):
            yield f"no option {name}"
        elif len(words) > place + 2 and not option.is_flag and not given and words[place + 1].startswith("--"):
            yield f"{name} lacks its value"
        elif given and option.is_flag:
            yield f"{name} takes no value"


def test_every_command_line_of_a_document_has_commands_and_options_that_there_are() -> None:
    lines = [(document, line) for document in documents() for line in lines_of(document)]
    assert len(lines) > 300
    assert [
        f"{place.relative_to(PROJECT)}: {fault} in: {line}" for place, line in lines for fault in faults_of(line)
    ] == []


def test_every_command_line_of_a_message_has_commands_and_options_that_there_are() -> None:
    lines = [(path, line) for path in every_source() if "bench" not in path.parts for line in hints_of(path)]
    assert len(lines) > 100
    assert [
        f"{place.relative_to(PROJECT)}: {fault} in: {line}" for place, line in lines for fault in faults_of(line)
    ] == []


def test_a_line_that_would_be_refused_is_found() -> None:
    assert list(faults_of("pack ./docs --full")) == []
    assert list(faults_of("sendd 1")) == ["no command sendd"]
    assert list(faults_of("send 1 --rat 9gbit   and words about it --no-option")) == ["no option --rat"]
    assert list(faults_of("outbox run /srv --to --rate 9gbit")) == ["--to lacks its value"]


def test_every_test_that_a_document_names_is_there() -> None:
    """``test_a_name``, ``test_its_beginning…`` or ``…a_part_of_it…``, perhaps with a parameter, and names of files."""
    files = [path for path in (PROJECT / "tests").rglob("test_*.py") if path.is_file()]
    names = {name for path in files for name in re.findall(r"^ *def (test_\w+)", path.read_text(), re.MULTILINE)}
    known = " ".join(sorted(names)) + " "
    missing = []
    for document in documents():
        for quoted in re.findall(
            r"`([\w/]*test_[\w….]*(?:\[[^\]]*\])?|…\w+_[\w…]*(?:\[[^\]]*\])?)`", document.read_text()
        ):
            plain = re.sub(r"\[.*", "", quoted)
            if plain.endswith(".py"):
                is_there = any(str(path).endswith("/" + plain) for path in files)
            elif re.fullmatch(r"test_\w+", plain):
                is_there = plain in names
            else:
                parts = [part for part in plain.split("…") if part]
                is_there = all((" " + part if part.startswith("test_") else part) in " " + known for part in parts)
            if not is_there:
                missing.append(f"{document.relative_to(PROJECT)}: {quoted}")
    assert missing == []
