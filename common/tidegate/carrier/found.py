"""What looking through a medium found: volumes, their files, what is damaged and what is not ours. Values only."""

from dataclasses import dataclass
from pathlib import Path

from tidegate.carrier.frames import Frame

PATH_SHOWN_MAX = 1000  # characters


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One volume file, recognised by its content. `size` is what the medium says, in bytes."""

    path: Path
    number: int
    size: int


@dataclass(frozen=True, slots=True)
class FoundVolume:
    """Files that carry one announcement. Nothing is verified; `preamble` is None where no copy of it is whole.

    `spares` are further copies of a file that is there already, by number. `is_preamble_sure`: a label's digest says
    that the preamble is undamaged; without one it only looks like a chain of roots.
    """

    frame: Frame
    preamble: bytes | None
    preamble_length: int
    files: dict[int, FoundFile]
    spares: dict[int, tuple[FoundFile, ...]]
    is_preamble_sure: bool = True

    def copies(self, number: int) -> tuple[FoundFile, ...]:
        """All copies of a file, the largest first."""
        first = self.files.get(number)
        return (first, *self.spares.get(number, ())) if first else ()


@dataclass(frozen=True, slots=True)
class MediumContents:
    """A medium after one look. `strangers` and `damaged` hold paths, fit to be printed, relative to the folder.

    A file is damaged where it should be ours and nothing in it can be recognised, or it cannot be opened. Lists are
    bounded; `unlisted` counts the names that found no place. `token` is the medium's token file
    (docs/format/media-token.md), not verified.
    """

    volumes: tuple[FoundVolume, ...]
    strangers: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    unlisted: int = 0
    token: bytes | None = None
