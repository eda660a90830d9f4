"""What a bundle is made of, wherever it lies, and what differs between two: artifacts by name, blobs by digest.

A bundle is a ``.tgb`` or, on the high side, its papers in quarantine, which stay when its content was loaded. Manifest
and tables are held to the bundle_id; who signed them is not asked here, that is what `verify` is for.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.errors import BundleUnknownError
from tidegate.names import is_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tidegate.bundle.manifest import Manifest
    from tidegate.bundle.tables import Tables
    from tidegate.workspace import Workspace


class Change(StrEnum):
    """What became of an artifact from one bundle to the other."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Contents:
    """A bundle's manifest and tables."""

    bundle_id: str
    manifest: "Manifest"
    tables: "Tables"

    @property
    def name(self) -> str:
        return self.manifest.name


@dataclass(frozen=True, slots=True)
class ArtifactChange:
    """One artifact that differs; the digest is None on the side where it is not."""

    name: str
    kind: str
    change: Change
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Amount:
    """Blobs, and their bytes."""

    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What leads from bundle A to bundle B. `blobs_*` count what the artifacts need, brought or not."""

    changes: tuple[ArtifactChange, ...]
    same_count: int
    blobs_added: Amount
    blobs_removed: Amount
    blobs_shared: Amount


def read_contents(workspace: "Workspace | None", text: str) -> Contents:
    """The bundle that `text` means; `workspace` may be None for a path.

    Raises BundleUnknownError where nothing of it is here, FormatError and DigestError where what is here is damaged.
    """
    if is_path(text):
        if not Path(text).is_file():
            raise BundleUnknownError(f"{text}: no such file", hint='"./NAME" means a file; a name is like 7f3a-0192')
        return _read_file(Path(text))
    if workspace is None:
        raise BundleUnknownError(f"{text}: no root is here that could know it", hint="name the path of its file")
    from tidegate.bundle.papers import PAPERS_FOLDER, PAPERS_ROOT
    from tidegate.lookup import resolve_bundle

    found = resolve_bundle(workspace, text)
    root = workspace.root
    for papers in (root / "quarantine" / found.bundle_id / PAPERS_FOLDER, root / PAPERS_ROOT / found.bundle_id):
        if papers.is_dir():
            return _read_papers(papers, found.bundle_id)
    return _read_file(found.file())


def _read_file(path: Path) -> Contents:
    from tidegate.bundle.container import BundleFile

    with BundleFile.open(path) as bundle:
        return Contents(bundle.bundle_id, bundle.manifest(), bundle.tables())


def _read_papers(folder: Path, name: str) -> Contents:
    from tidegate.bundle.papers import read_papers

    return Contents(name, *read_papers(folder, name))


def compare(before: Contents, after: Contents) -> Difference:
    """What changed from one bundle to the other."""
    import numpy as np

    old, new = ({item.name: item for item in contents.manifest.artifacts} for contents in (before, after))
    changes = []
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if was is not None and now is not None and (was.digest, was.annotations) == (now.digest, now.annotations):
            continue
        change = Change.ADDED if was is None else Change.REMOVED if now is None else Change.CHANGED
        kind = (now or was).kind  # type: ignore[union-attr]
        changes.append(ArtifactChange(name, kind, change, was.digest if was else None, now.digest if now else None))
    (old_keys, old_sizes), (new_keys, new_sizes) = _needed(before.tables), _needed(after.tables)
    is_new, is_gone = ~np.isin(new_keys, old_keys), ~np.isin(old_keys, new_keys)
    return Difference(
        changes=tuple(changes),
        same_count=sum(name in new for name in old) - sum(item.change is Change.CHANGED for item in changes),
        blobs_added=_amount(new_sizes[is_new]),
        blobs_removed=_amount(old_sizes[is_gone]),
        blobs_shared=_amount(new_sizes[~is_new]),
    )


def _needed(tables: "Tables") -> "tuple[NDArray[np.bytes_], NDArray[np.uint64]]":
    """Digests and sizes of all that is brought and all that is required."""
    import numpy as np

    from tidegate.bundle.tables import keys

    both = (tables.blobs, tables.required)
    return np.concatenate([keys(table) for table in both]), np.concatenate([table["size"] for table in both])


def _amount(sizes: "NDArray[np.uint64]") -> Amount:
    return Amount(len(sizes), int(sizes.sum()))
