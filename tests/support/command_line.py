"""One side as a person at a terminal has it: a root, the folder they are in, and the installed command."""

import os
from pathlib import Path
from typing import Any

from two_sides import Answer, run_command


class Host:
    """A root and the folder that commands run in."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder

    def __call__(self, *arguments: str | Path, code: int = 0, **environment: str) -> Answer:
        """Run a command that must end with `code`, and never with words of Python's."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        variables = {
            **clean,
            "TIDEGATE_ROOT": str(self.root),
            "TIDEGATE_MEDIA_FOLDERS": str(self.folder / "media"),
            **environment,
        }
        answer = run_command([str(word) for word in arguments], variables, self.folder)
        assert answer.code == code and answer.is_ours, f"tidegate {' '.join(map(str, arguments))}: {answer}"
        return answer

    def values(self, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
        """The one object of a command's ``--json``."""
        (found,) = self(*arguments, "--json", code=code).objects
        return found
