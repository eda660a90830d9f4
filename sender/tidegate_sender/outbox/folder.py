"""The folder of an outbox: what lies in it, and where it goes.

    FOLDER/           transfer lists (.yaml) and bundles (.tgb), in the order of their names
    FOLDER/urgent/    the same, before everything else
    FOLDER/bulk/      the same, after everything else
    FOLDER/done/      what was taken
    FOLDER/failed/    what could not be, each with NAME.error.txt

A file is taken when it has not changed for a moment, so that one which is still being copied is not. Links, folders,
hidden files and files of other kinds are left alone. Names are never trusted: what a bundle is its own bytes say.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import HostError, UsageError
from tidegate.files import host_error
from tidegate.state.sendings import Priority

SETTLE_SECONDS = 1.0
FILES_MAX = 10_000  # looked at in one go; the others have their turn later
LIST_ENDINGS = (".yaml", ".yml")
BUNDLE_ENDING = ".tgb"
DONE, FAILED = "done", "failed"
PRIORITY_FOLDERS = {"urgent": Priority.URGENT, "": Priority.NORMAL, "bulk": Priority.BULK}


@dataclass(frozen=True, slots=True)
class PutDown:
    """A file that somebody put down."""

    path: Path
    priority: Priority

    @property
    def is_bundle(self) -> bool:
        return self.path.suffix == BUNDLE_ENDING


class OutboxFolder:
    """The folder; `prepare` makes what is missing of it."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock

    def prepare(self) -> None:
        """Raises UsageError where there is no such folder, HostError where it cannot be written."""
        if not self.path.is_dir():
            raise UsageError(f"{self.path}: no such folder", hint="make it, and let those who may send write to it")
        for name in (*filter(None, PRIORITY_FOLDERS), DONE, FAILED):
            try:
                (self.path / name).mkdir(exist_ok=True)
            except OSError as error:
                raise host_error(error, "preparing the outbox") from None

    def settled(self) -> tuple[PutDown, ...]:
        """Files that can be taken, the most urgent first, then by name."""
        return self._look(SETTLE_SECONDS)

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies here that is taken now or in a moment."""
        return not self._look(0.0)

    def _look(self, settle_seconds: float) -> tuple[PutDown, ...]:
        found = []
        for name, priority in PRIORITY_FOLDERS.items():
            found += [PutDown(path, priority) for path in self._files(self.path / name, settle_seconds)]
        return tuple(sorted(found, key=lambda item: (item.priority, item.path.name)))

    def _files(self, folder: Path, settle_seconds: float) -> list[Path]:
        found: list[Path] = []
        try:
            with os.scandir(folder) as entries:
                for item in entries:
                    if len(found) >= FILES_MAX:
                        break
                    if self._is_settled(item, settle_seconds):
                        found.append(Path(item.path))
        except OSError as error:
            raise HostError(f"{folder}: {error.strerror or error}") from None
        return found

    def _is_settled(self, item: "os.DirEntry[str]", settle_seconds: float) -> bool:
        if item.name.startswith(".") or not item.name.endswith((*LIST_ENDINGS, BUNDLE_ENDING)):
            return False
        with contextlib.suppress(OSError):  # it went away while we looked
            facts = item.stat(follow_symlinks=False)
            changed = max(facts.st_mtime, facts.st_ctime)
            return stat.S_ISREG(facts.st_mode) and not 0 <= self._clock() - changed < settle_seconds
        return False

    def take(self, item: PutDown) -> None:
        """Move a file that was taken to ``done``."""
        self._move(item.path, DONE)

    def reject(self, item: PutDown, text: str) -> None:
        """Move a file that cannot be sent to ``failed``, and say beside it why."""
        moved = self._move(item.path, FAILED)
        with contextlib.suppress(OSError):  # the ledger and the log have it too
            moved.with_name(moved.name + ".error.txt").write_text(text + "\n", encoding="utf-8", errors="replace")

    def _move(self, path: Path, folder: str) -> Path:
        target = self.path / folder / path.name
        number = 1
        while target.exists():
            number += 1
            target = self.path / folder / f"{path.stem}.{number}{path.suffix}"
        try:
            path.rename(target)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise host_error(error, f"moving {path}") from None
        return target
