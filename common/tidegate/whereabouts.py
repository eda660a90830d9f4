"""Where a thing is, as far as this side knows: in which bundles, how far they came, and what stands on a stage.

Names are compared as people type them: whole, by the end of the name, without its tag, or by a pattern (``*``, ``?``).
A digest finds what has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tidegate.config import Role
from tidegate.depot.store import Depot
from tidegate.errors import UsageError
from tidegate.registry.reference import place_of
from tidegate.state.bundles import BundleRow, BundleState, list_bundles

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

_WORDS = {
    BundleState.PACKED: "packed in {}, not sent yet",
    BundleState.SENT: "sent in {}",
    BundleState.DISCARDED: "was packed in {}, which was discarded",
    BundleState.RECEIVING: "comes in {}, which is being received",
    BundleState.INCOMPLETE: "comes in {}, which is not whole yet",
    BundleState.WAITING: "came in {}, which waits until somebody admits it",
    BundleState.QUARANTINED: "waits in quarantine in {}",
    BundleState.LOADED: "loaded with {}",
    BundleState.REFUSED: "came in {}, which was refused",
    BundleState.DENIED: "came in {}, which was denied",
    BundleState.CLEANED: "came in {}, which was loaded and has been cleaned up",
}


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """One place where a thing is or was. `bundle` is empty for what is in the depot or on a stage alone."""

    name: str
    digest: str
    bundle: str
    state: str
    #: in words, for a person
    text: str
    #: ``STAGE/PLACE`` of every stage that offers this very digest
    stages: tuple[str, ...] = ()


def fits_name(pattern: str, name: str) -> bool:
    """Whether a person who types `pattern` may mean the artifact `name`."""
    if name == pattern or name.endswith(f"/{pattern}"):
        return True
    forms = (pattern, f"{pattern}:*", f"{pattern}@*")
    return any(fnmatchcase(name, form) or fnmatchcase(name, f"*/{form}") for form in forms)


def find(workspace: "Workspace", pattern: str) -> tuple[Whereabouts, ...]:
    """Everything that `pattern` may mean, by name and bundle. Empty: it is not listed anywhere on this side."""
    with workspace.state.reading() as tx:
        rows = list_bundles(tx)
    stages = _stages(workspace)
    found: list[Whereabouts] = []
    for row in rows:
        found += _in_bundle(row, pattern, stages)
    known = {(item.name, item.digest) for item in found} | {(_place(item.name), item.digest) for item in found}
    found += [item for item in _elsewhere(workspace, pattern, stages) if (item.name, item.digest) not in known]
    return tuple(sorted(found, key=lambda item: item.name))


def _in_bundle(row: BundleRow, pattern: str, stages: dict[tuple[str, str], str]) -> Iterator[Whereabouts]:
    for item in row.artifacts:
        name, digest = str(item["name"]), str(item["digest"])
        if not (fits_name(pattern, name) or digest == pattern):
            continue
        place = _place(name)
        offered = tuple(sorted(stage for (stage, at), root in stages.items() if at == place and root == digest))
        text = _WORDS[row.state].format(row.name)
        if row.detail.get("void") and row.state is not BundleState.DISCARDED:
            text += ", which was withdrawn"
        if row.state is BundleState.LOADED:
            others = [stage for (stage, at), root in stages.items() if at == place and root != digest]
            text += f" as {place}"
            text += f", offered by stage {', '.join(offered)}" if offered else ""
            text += "; a newer one stands there now" if others and not offered else ""
        yield Whereabouts(name, digest, row.name, row.state, text, tuple(f"{stage}/{place}" for stage in offered))


def _elsewhere(workspace: "Workspace", pattern: str, stages: dict[tuple[str, str], str]) -> Iterator[Whereabouts]:
    """What was collected and packed nowhere, and what a stage offers though no bundle of this state brought it."""
    folder = workspace.root / "depot"
    if workspace.settings.role is Role.LOW and (folder / "index.json").is_file():
        for name, root in Depot(folder, create=False).references().items():
            if fits_name(pattern, name) or root.digest == pattern:
                text = "collected, in no bundle; the next pack that asks for it brings it"
                yield Whereabouts(name, root.digest, "", "collected", text)
    for (stage, place), digest in stages.items():
        if fits_name(pattern, place) or digest == pattern:
            yield Whereabouts(place, digest, "", "staged", f"offered by stage {stage}", (f"{stage}/{place}",))


def _stages(workspace: "Workspace") -> dict[tuple[str, str], str]:
    """(stage, place) → digest of everything that is offered."""
    if workspace.settings.role is not Role.HIGH:
        return {}
    offered = {}
    for index in sorted((workspace.root / "stages").glob("*/index.json")):
        for place, root in Depot(index.parent, create=False).references().items():
            offered[index.parent.name, place] = root.digest
    return offered


def _place(name: str) -> str:
    try:
        return place_of(name)
    except UsageError:
        return name
