"""Where a medium is full: which bundles on it the sites have confirmed, so that somebody can make room."""

from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.carrier.medium import MEDIUM_FOLDER
from tidegate.errors import MediaFullError
from tidegate.state.bundles import BundleState, list_bundles
from tidegate.text import printable
from tidegate_sender.slips.memory import held_by_all

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

SHOWN_MAX = 4


def with_confirmed(workspace: "Workspace", places: tuple[Path, ...], error: MediaFullError) -> MediaFullError:
    """The error, its hint naming the folders on the media at `places` that hold nothing but confirmed bundles."""
    folders = [str(folder) for place in places for folder in confirmed_folders(workspace, place)]
    if not folders:
        return error
    more = f" and {len(folders) - SHOWN_MAX} more" if len(folders) > SHOWN_MAX else ""
    shown = ", ".join(printable(folder) for folder in folders[:SHOWN_MAX])
    hint = f"the sites have confirmed what lies in {shown}{more}: remove that, or use another medium"
    return MediaFullError(error.message, hint=hint)


def confirmed_folders(workspace: "Workspace", place: Path) -> tuple[Path, ...]:
    """Folders of our bundles on the medium whose bundle every site that it is for is known to hold."""
    channel = workspace.trust.own_channel()
    with workspace.state.reading() as tx:
        names = {
            row.bundle_id[:8]
            for row in list_bundles(tx, channel_id=channel.channel_id, states=(BundleState.SENT,))
            if row.sequence in held_by_all(tx, row.channel_id, row.epoch, row.detail.get("audience", ()))
        }
    try:
        found = sorted(path for path in (place / MEDIUM_FOLDER).iterdir() if path.name.lower() in names)
    except OSError:
        return ()
    return tuple(path for path in found if path.is_dir() and not path.is_symlink())
