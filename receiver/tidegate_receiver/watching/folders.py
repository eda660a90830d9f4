"""Folders that stand for media: the subfolders of the media folders, and what somebody names.

A folder is filled while we look at it, so it counts only when two looks in a row saw the same: `FolderLooks` remembers
what it saw. When to look is not its business: watchdog says that something happened, a timer covers what it misses.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.carrier.medium import MEDIUM_FOLDER

#: looked at in one folder; what has more is judged by these
ENTRIES_MAX = 4096
SUBFOLDERS_MAX = 1024
DEPTH_MAX = 3

#: what tells one state of a folder from another: (name, size, time of change) of its files
Fingerprint = tuple[tuple[str, int, int], ...]


def fingerprint(folder: Path) -> Fingerprint | None:
    """The state of what `folder` holds of ours; None where it holds nothing of ours or cannot be looked into."""
    try:
        with os.scandir(folder) as entries:
            ours = [entry.path for entry in entries if entry.name.upper() == MEDIUM_FOLDER]
    except OSError:
        return None
    files: list[tuple[str, int, int]] = []
    for path in ours:
        _gather(Path(path), files, DEPTH_MAX)
    return tuple(sorted(files)) or None


def _gather(folder: Path, files: list[tuple[str, int, int]], depth: int) -> None:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(files) >= ENTRIES_MAX:
                    return
                if entry.is_dir(follow_symlinks=False):
                    if depth:
                        _gather(Path(entry.path), files, depth - 1)
                    continue
                status = entry.stat(follow_symlinks=False)
                files.append((entry.path, status.st_size, status.st_mtime_ns))
    except OSError:
        return  # gone, or damaged: the next look sees


def subfolders(folders: Iterable[str], mount_points: frozenset[Path]) -> tuple[Path, ...]:
    """The real subfolders of `folders` that nothing is mounted on."""
    found: list[Path] = []
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                found += [
                    Path(entry.path)
                    for entry, _ in zip(entries, range(SUBFOLDERS_MAX), strict=False)
                    if entry.is_dir(follow_symlinks=False) and Path(entry.path) not in mount_points
                ]
        except OSError:
            continue  # not there, or not ours to read
    return tuple(sorted(found))


@dataclass(slots=True)
class FolderLooks:
    """What was seen of each folder at the last look, and in which state it was handed on."""

    _seen: dict[Path, Fingerprint] = field(default_factory=dict)
    _taken: dict[Path, Fingerprint] = field(default_factory=dict)

    def look(self, folders: Iterable[Path], *, patient: bool = True) -> tuple[Path, ...]:
        """The folders that hold something new and have come to rest; without patience all that hold something new."""
        now: dict[Path, Fingerprint] = {}
        for folder in folders:
            state = fingerprint(folder)
            if state is not None:
                now[folder] = state
        ready = tuple(
            folder
            for folder, state in now.items()
            if self._taken.get(folder) != state and (not patient or self._seen.get(folder) == state)
        )
        self._seen = now
        self._taken = {folder: state for folder, state in self._taken.items() if folder in now}
        self._taken.update({folder: now[folder] for folder in ready})
        return ready

    @property
    def is_settling(self) -> bool:
        """Whether something was seen that was not handed on yet."""
        return any(self._taken.get(folder) != state for folder, state in self._seen.items())
