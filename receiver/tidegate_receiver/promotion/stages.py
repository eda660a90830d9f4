"""Stages: what the high side offers under which names, each an OCI layout of its own under ``stages/``.

A stage holds hard links to blobs of the depot, exactly those that its index reaches: whoever reads the folder (`serve`,
``skopeo … oci:``, another web server) sees nothing else of the depot. Names in a stage are places: ``app:1``,
``files/docs:latest`` (docs/format/content.md, "Names").
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import DepotError, StageUnknownError
from tidegate.names import NAME
from tidegate.registry.reference import split_place
from tidegate.workspace import Workspace


def stage_folder(workspace: Workspace, name: str | None = None) -> Path:
    """The folder of a stage, by default the one of the settings. Raises StageUnknownError for what is no name."""
    name = name or workspace.settings.stage
    if not re.match(NAME, name):
        raise StageUnknownError(f"{name!r} is no name of a stage")
    return workspace.folder("stages") / name


def find_stage(workspace: Workspace, name: str | None = None) -> Path:
    """The folder of a stage that is there. Raises StageUnknownError, naming those that are."""
    folder = stage_folder(workspace, name)
    if not (folder / "index.json").is_file():
        known = ", ".join(list_stages(workspace)) or "none"
        hint = '"tidegate load BUNDLE" makes the stage'
        raise StageUnknownError(f"no stage {folder.name!r} is here; there are: {known}", hint=hint)
    return folder


def list_stages(workspace: Workspace) -> tuple[str, ...]:
    """The names of all stages."""
    return tuple(sorted(path.parent.name for path in workspace.folder("stages").glob("*/index.json")))


def stage_lacks(folder: Path, places: Mapping[str, Descriptor]) -> dict[str, Descriptor]:
    """Those of `places` that the stage does not have as given. A stage names only what it holds."""
    if not (folder / "index.json").is_file():
        return dict(places)
    present = Depot(folder, create=False).references()
    return {place: root for place, root in places.items() if present.get(place) != root}


def holders_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """For each blob of a stage the repositories that have it. What cannot be walked is left out: this is a hint."""
    if not (folder / "index.json").is_file():
        return {}
    stage = Depot(folder, create=False)
    found: dict[str, dict[str, None]] = {}
    for place, root in stage.references().items():
        repository, _ = split_place(place)
        with suppress(DepotError):
            for blob in walk(stage, root):
                found.setdefault(blob.digest, {})[repository] = None
    return {digest: tuple(repositories) for digest, repositories in found.items()}


def put_on_stage(folder: Path, depot: Depot, places: Mapping[str, Descriptor]) -> None:
    """Link everything that `places` reach into the stage, sync it, and only then let its index name them."""
    stage = Depot(folder)
    stage.remove_abandoned()
    with stage.commit() as commit:
        for place, root in places.items():
            for blob in walk(depot, root):
                if not commit.has(blob.digest, blob.size):
                    # Not read again: it was checked when it entered the depot. A copy, where no link can be, is.
                    commit.adopt(depot.blob_path(blob.digest), blob.digest, check=False)
            commit.reference(place, root)
