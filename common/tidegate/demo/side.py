"""One side of the demonstration: its root, and the installed command run on it in a process of its own."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import TidegateError
from tidegate.report import Report


class DemoError(TidegateError):
    """A step of the demonstration did not end as it must."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side's root, and the command run on it."""

    name: str
    root: Path
    report: Report

    def run(self, *arguments: str) -> str:
        """Run ``tidegate …`` on this side, show it and what it says; raises DemoError unless it ends with 0."""
        self.report.line(f"\n{self.name}$ tidegate {' '.join(_shown(item) for item in arguments)}")
        done = self._call(arguments)
        for text in (done.stdout + done.stderr).splitlines():
            self.report.line(f"  {text}")
        if done.returncode != 0:
            raise DemoError(f'"tidegate {arguments[0]}" ended with {done.returncode}: {done.stderr.strip()}')
        return done.stdout

    def ask(self, *arguments: str) -> dict[str, object]:
        """The last JSON object of a command, without showing it."""
        done = self._call((*arguments, "--json"))
        if done.returncode != 0:
            raise DemoError(f'"tidegate {arguments[0]}" ended with {done.returncode}: {done.stderr.strip()}')
        answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def _call(self, arguments: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*tidegate_command(), *arguments], env=self.environment, capture_output=True, text=True, check=False
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command that runs beside the others, its output in pipes."""
        command = [*tidegate_command(), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TIDEGATE_ROOT": str(self.root)}


def tidegate_command() -> list[str]:
    """The command as it is installed beside the running Python."""
    script = Path(sysconfig.get_path("scripts")) / "tidegate"
    return [str(script)] if script.is_file() else [sys.executable, "-c", "from tidegate.cli import main; main()"]


def _shown(argument: str) -> str:
    return f'"{argument}"' if " " in argument else argument
