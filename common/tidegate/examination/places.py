"""What BUNDLE|PATH on a command line of `show` and `verify` means: a file, a medium, or a bundle that this host has."""

from pathlib import Path

from tidegate.errors import BundleUnknownError, NotInitialisedError
from tidegate.media.plugged import choose_medium
from tidegate.names import is_path
from tidegate.report import printable
from tidegate.state.bundles import find_bundle
from tidegate.workspace import Workspace


def find_place(workspace: Workspace, what: str | None) -> Path:
    """The file or folder to look at: nothing given means the one medium that is plugged in.

    Raises BundleUnknownError, MediaNotFoundError, NotInitialisedError (a name, and this host has no root).
    """
    if what is None:
        return choose_medium(None, workspace.settings.media_folders)
    if is_path(what):
        path = Path(what)
        if not path.exists():
            raise BundleUnknownError(f"{printable(what)}: no such file or folder")
        return path
    if not workspace.is_initialised:
        raise NotInitialisedError(f"{printable(what)!r} is no path, and this host has no root that could know a bundle")
    with workspace.state.reading() as tx:
        row = find_bundle(tx, what)
    held = [place for place in _places(workspace, row.bundle_id, row.path) if place.exists()]
    if not held:
        raise BundleUnknownError(f"bundle {row.name}: its content is not on this host any more")
    return held[0]


def _places(workspace: Workspace, bundle_id: str, path: str | None) -> tuple[Path, ...]:
    """Where a bundle's bytes may lie: the row's path, the spool, the quarantine."""
    named = (workspace.root / path,) if path else ()
    return (*named, workspace.root / "spool" / f"{bundle_id}.tgb", workspace.root / "quarantine" / bundle_id)
