"""What a command says: results to stdout, progress and faults to stderr, `--json` one object a line.

Progress is shown only on a terminal, a few times a second, and is erased at the end; the closing line stays.
Text from outside (names on a medium, a registry's message) goes through `printable`, which also cuts it; whatever is
said here goes through `screen_lines` besides, so that no terminal escape of a stranger reaches a screen.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.errors import TidegateError
from tidegate.text import printable, screen_json, screen_lines
from tidegate.units import format_bytes, format_duration

#: called with (done, total, phase); what pipelines report to, without knowing who listens
ProgressCallback = Callable[[int, int, str], None]


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 artifact``, ``2 artifacts``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


@dataclass(slots=True)
class Report:
    """The voice of one command. `json_lines` and `quiet` are its options."""

    json_lines: bool = False
    quiet: bool = False

    def line(self, text: str = "") -> None:
        """A line of the result for a person, seen at once: some commands go on for months, and a log reads them."""
        self._line(text, flush=True)

    def _line(self, text: str, *, flush: bool) -> None:
        if not self.json_lines and not self.quiet:
            print(screen_lines(text), flush=flush)

    def closing(self, text: str, **values: Any) -> None:
        """The last line: the outcome first, what to do next last; under ``--json`` the values as one object."""
        if self.json_lines:
            self.object({**values, "summary": text})
        elif not self.quiet:
            print(screen_lines(text), flush=True)

    def object(self, values: dict[str, Any]) -> None:
        """One JSON object on a line of its own, only under ``--json``."""
        if self.json_lines:
            print(screen_json(json.dumps(values, ensure_ascii=False, sort_keys=True)), flush=True)

    def warn(self, text: str, hint: str = "") -> None:
        if self.quiet:
            return
        print(f"tidegate: warning: {screen_lines(text)}", file=sys.stderr, flush=True)
        if hint:
            print(f"tidegate: hint: {screen_lines(hint)}", file=sys.stderr, flush=True)

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns wide enough for their longest cell; nothing is cut, so that a log keeps everything."""
        cells = [tuple(heads), *(tuple(map(str, row)) for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
        for row in cells:
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._line(text.rstrip(), flush=False)

    @contextlib.contextmanager
    def progress(self) -> Iterator[ProgressCallback]:
        """A callback for pipelines: a bar with rate and rest on a terminal, silence elsewhere."""
        if self.quiet or self.json_lines or not sys.stderr.isatty():
            yield lambda _done, _total, _phase: None
            return
        bar = _Bar()
        try:
            yield bar.update
        finally:
            bar.erase()


class _Bar:
    """One line on stderr, rewritten at most five times a second."""

    def __init__(self) -> None:
        self._phase = ""
        self._started = self._shown = 0.0

    def update(self, done: int, total: int, phase: str) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._started, self._shown = phase, now, 0.0
        if now - self._shown < 0.2:
            return
        self._shown = now
        rate = done / max(now - self._started, 0.001)
        share = f"{100 * done // total:3d} %" if total else ""
        rest = f", {format_duration((total - done) / rate)} left" if total > done and rate > 0 else ""
        amount = f"{format_bytes(done)} of {format_bytes(total)}, {format_bytes(int(rate))}/s"
        print(f"\r\x1b[K{printable(phase)}: {share} {amount}{rest}", end="", file=sys.stderr, flush=True)

    def erase(self) -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def print_error(error: TidegateError, *, json_lines: bool = False) -> None:
    """One fault a line, then its hint; under ``--json`` also an object on stdout."""
    for text in error.message.splitlines() or [""]:
        print(f"tidegate: error: {printable(text, 1000)}", file=sys.stderr)
    if error.hint:
        print(f"tidegate: hint: {screen_lines(error.hint)}", file=sys.stderr)
    if json_lines:
        values = {"error": error.message, "class": type(error).__name__, "exit_code": error.exit_code}
        try:
            Report(json_lines=True).object({**values, "hint": error.hint})
        except BrokenPipeError:
            drop_output()  # the exit code still says what happened


def drop_output() -> None:
    """Whoever read our output went away: let what is left go nowhere, without a complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
