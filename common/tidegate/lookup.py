"""What BUNDLE on a command line means: a name, a number, 8 or more hex of the bundle_id, or the path of a ``.tgb``.

The words are looked up in the state (`tidegate.state.bundles.find_bundle`); a path is opened, and the state is asked
whether it knows that bundle.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.errors import BundleUnknownError
from tidegate.names import is_path

if TYPE_CHECKING:
    from tidegate.state.bundles import BundleRow
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A bundle that a person named. `row` is None for a file that this root does not know."""

    bundle_id: str
    row: "BundleRow | None"
    path: Path | None

    def file(self) -> Path:
        """The ``.tgb``. Raises BundleUnknownError where there is none."""
        if self.path is None or not self.path.is_file():
            raise gone_error(self.row, self.bundle_id)
        return self.path


def gone_error(row: "BundleRow | None", bundle_id: str) -> BundleUnknownError:
    """What to say of a bundle whose file is not here: why, and what to do in its place."""
    name = row.name if row is not None else bundle_id[:16]
    text = f"bundle {name}: its file is not here any more"
    if row is not None and "cleaned" in row.detail:
        from tidegate.clock import format_time

        text = f"bundle {name}: its file was cleaned up on {format_time(int(row.detail['cleaned']))[:10]}"
    return BundleUnknownError(
        text,
        hint=f'a new bundle brings it: "tidegate pack" with the same words and --full; if {name} never arrived,'
        f' "tidegate discard {name}" closes its gap',
    )


def bundle_path(workspace: "Workspace", row: "BundleRow") -> Path | None:
    """Where the bundle's ``.tgb`` lies or lay; rows hold it relative to the root."""
    return workspace.root / row.path if row.path else None


def resolve_bundle(workspace: "Workspace", text: str) -> FoundBundle:
    """The bundle that `text` means. Raises BundleUnknownError, UsageError, and FormatError for a path to no bundle."""
    from tidegate.state.bundles import find_bundle, get_bundle

    if not is_path(text):
        with workspace.state.reading() as tx:
            row = find_bundle(tx, text)
        return FoundBundle(row.bundle_id, row, bundle_path(workspace, row))
    path = Path(text)
    if not path.is_file():
        raise BundleUnknownError(f"{text}: no such file", hint='"./NAME" means a file; a bundle name is like 7f3a-0192')
    from tidegate.bundle.container import BundleFile

    with BundleFile.open(path) as bundle:
        bundle.manifest_bytes()  # the header alone does not say which bundle it is
        bundle_id = bundle.bundle_id
    with workspace.state.reading() as tx:
        return FoundBundle(bundle_id, get_bundle(tx, bundle_id), path)
