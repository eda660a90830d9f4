"""The command itself: unknown words, errors as exit codes, machine output."""

import io
import json
import sys
from pathlib import Path

import pytest

from tidegate import cli
from tidegate.errors import TidegateError
from tidegate.report import Report, print_error


def test_an_unknown_command_is_answered_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recieve"]) == 2
    assert "did you mean 'receive'" in capsys.readouterr().err


def test_an_unknown_option_is_a_usage_error_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["keys", "list", "--jsno"]) == 2
    said = capsys.readouterr().err
    assert "--jsno" in said and "tidegate: hint:" in said


def test_a_command_on_a_host_without_a_root_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["--root", str(tmp_path / "none"), "keys", "list"]) == 71
    assert "tidegate init low" in capsys.readouterr().err


def test_an_error_under_json_is_an_object_with_class_and_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["keys", "list", "--root", str(tmp_path), "--json"]) == 71
    answer = json.loads(capsys.readouterr().out)
    assert (answer["class"], answer["exit_code"]) == ("NotInitialisedError", 71)


def test_an_error_that_quotes_a_stranger_shows_no_terminal_escape(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(TidegateError("file \x1b[2Jevil"))
    assert "\x1b" not in capsys.readouterr().err


EVIL = "a\x1b[2J\x9b31m\u202e\u2028\x7f\udcff\U000e0041b"


def test_nothing_that_is_said_holds_a_terminal_escape_whoever_forgot_it(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.line(EVIL)
    report.closing(f"two\r\nlines\tand a tab {EVIL}")
    report.warn(EVIL, hint=EVIL)
    report.table(["name"], [[EVIL]])
    print_error(TidegateError(EVIL, hint=EVIL))
    captured = capsys.readouterr()
    for said in (captured.out, captured.err):
        assert "\\x1b" in said and all(letter.isprintable() or letter in "\r\n\t" for letter in said)
    assert "two\r\nlines\tand a tab a\\x1b" in captured.out


def test_a_line_is_seen_at_once_also_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outbox goes on for months, and the journal reads its output through a pipe."""
    seen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(seen, 1 << 16)))  # type: ignore[arg-type]
    Report().line("sent 7f3a-0001")
    assert seen.getvalue() == b"sent 7f3a-0001\n"


def test_json_lines_hold_no_terminal_escape_and_the_same_value(capsys: pytest.CaptureFixture[str]) -> None:
    Report(json_lines=True).object({"name": EVIL, "kept": "Grüße 漢字"})
    said = capsys.readouterr().out
    assert said.rstrip("\n").isprintable() and "Grüße 漢字" in said
    assert json.loads(said)["name"] == EVIL


def test_help_names_every_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ") and line.strip()]
    named = [word for word in words if word in cli.command.found()]
    assert sorted(named) == sorted(cli.command.found())


def test_a_quiet_report_says_nothing_and_json_says_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    Report(quiet=True).closing("done", count=1)
    Report(json_lines=True).closing("done", count=1)
    assert json.loads(capsys.readouterr().out) == {"count": 1, "summary": "done"}


def test_progress_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Report().progress() as progress:
        progress(1, 2, "reading")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
