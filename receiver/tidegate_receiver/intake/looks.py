"""One look at a medium, however it was taken: what lies there, which medium it is, and how its volumes are read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tidegate.carrier.announcement import Announcement
from tidegate.carrier.found import FoundVolume, MediumContents
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.reader import VolumeReader
from tidegate.ledger.entries import Medium
from tidegate.media.plugged import medium_for_ledger


@dataclass(frozen=True, slots=True)
class Look:
    """What lies on a medium; nothing is verified. `open_reader` takes a verified announcement."""

    contents: MediumContents
    medium: Medium
    open_reader: Callable[[FoundVolume, Announcement], VolumeReader]


def look_into(folder: Path) -> Look:
    """Look through the files of a medium. Raises as `find_volumes`."""
    return Look(find_volumes(folder), medium_for_ledger(folder), VolumeReader)
