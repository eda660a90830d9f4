"""What BUNDLE|PATH on a command line of `show` and `verify` means: a file, a medium, or a bundle that this host has."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tidegate.bundle.papers import PAPERS_FOLDER
from tidegate.errors import BundleUnknownError, NotInitialisedError
from tidegate.lookup import resolve_bundle
from tidegate.media.plugged import choose_medium
from tidegate.names import is_path
from tidegate.text import printable
from tidegate.workspace import Workspace


class PlaceKind(StrEnum):
    """How a place is examined."""

    FILE = "file"
    MEDIUM = "medium"
    PAPERS = "papers"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look, and how."""

    kind: PlaceKind
    path: Path


def find_place(workspace: Workspace, what: str | None) -> Place:
    """The place to look at: nothing given means the one medium that is plugged in.

    Raises BundleUnknownError, MediaNotFoundError, NotInitialisedError (a name, and this host has no root).
    """
    if what is None:
        return Place(PlaceKind.MEDIUM, choose_medium(None, workspace.settings.media_folders))
    if is_path(what):
        path = Path(what)
        if not path.exists():
            raise BundleUnknownError(f"{printable(what)}: no such file or folder")
        return Place(PlaceKind.FILE if path.suffix == ".tgb" else PlaceKind.MEDIUM, path)
    if not workspace.is_initialised:
        raise NotInitialisedError(f"{printable(what)!r} is no path, and this host has no root that could know a bundle")
    try:
        found = resolve_bundle(workspace, what)
    except BundleUnknownError as error:
        if Path(what).exists():
            error.hint = f"to look at the folder or file {printable(what)}, write ./{printable(what)}"
        raise
    if found.path is not None and found.path.is_file():
        return Place(PlaceKind.FILE, found.path)
    quarantine = workspace.root / "quarantine" / found.bundle_id
    if (quarantine / PAPERS_FOLDER).is_dir():
        return Place(PlaceKind.PAPERS, quarantine)
    name = found.row.name if found.row is not None else found.bundle_id[:16]
    raise BundleUnknownError(f"bundle {name}: its content is not on this host")
