"""What was put where, rebuilt from the ledger: each `load` entry says which names stand at which target.

    load STAGE          places begin with the stage
    load TARGET         places as the target has them
    discover TARGET …   something that belongs to an image, also of a load that did not come to its end
    prune NAME          taken away again

What an artifact is and who must have signed it is not in the ledger but in the bundle's papers; where these are gone,
or there never was a bundle, it is left open until it is loaded again. What a target was told by hand nobody knows here.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tidegate.clock import parse_time
from tidegate.errors import TidegateError
from tidegate.ledger.entries import Event, Outcome, RecordedEntry
from tidegate.registry.reference import is_host
from tidegate.state.db import Transaction
from tidegate.state.placements import STAGE, Placement, list_placements, list_targets, put_placements, remove_placement
from tidegate_receiver.intake.quarantine import QuarantinedBundle
from tidegate_receiver.loaders.items import LEFT_OUT, LoadItem
from tidegate_receiver.promotion.bundle import items_of
from tidegate_receiver.promotion.direct import CHANNEL as DIRECT

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

Key = tuple[str, str, str]  # target, channel, name
_FINE = (Outcome.DONE, Outcome.NOTHING)
#: what a target that is a file says beside its path, which is the place of all that is in it
_KINDS_OF_FILES = ("", "tar:", "imgpkg:")


def rebuild_placements(workspace: "Workspace", tx: Transaction, entries: Iterable[RecordedEntry]) -> int:
    """Bring the placements up to what the ledger says; how many were not known."""
    before = {_key(row): row for target in list_targets(tx) for row in list_placements(tx, target)}
    folder = workspace.root / "stages"
    stages = frozenset({workspace.settings.stage, *(path.name for path in folder.glob("*") if path.is_dir())})
    found: dict[Key, Placement] = {}
    for item in entries:
        event, outcome = item.text("event"), item.text("outcome")
        subject, _, step = item.text("event_id").rpartition("/")[0].rpartition("/")
        if event == Event.LOAD and outcome in _FINE:
            found.update((_key(row), row) for row in _placed(item, step, stages))
        elif event == Event.DELETE and outcome == Outcome.DONE and step.startswith("prune "):
            for name in (item.fields or {}).get("names") or ():
                key = (subject, item.text("channel"), str(name))
                found.pop(key, None)
                if key in before:
                    remove_placement(tx, before.pop(key))
    papers = _Papers(workspace)
    rows = [papers.fill(row) for row in found.values() if not _is_known(row, before)]
    put_placements(tx, rows)
    return len(rows)


def _placed(item: RecordedEntry, step: str, stages: frozenset[str]) -> Iterator[Placement]:
    fields = item.fields or {}
    channel = item.text("channel") or (DIRECT if item.text("channel_name") == DIRECT else "")
    kinds = tuple(fields.get("kinds") or ())
    for told in fields.get("targets") or ():
        if not channel or not isinstance(told, dict) or not told.get("digest") or told.get("place") == LEFT_OUT:
            continue
        name, digest = str(told["name"]), str(told["digest"])
        target = _target_of(step, name, where := str(told["place"]), stages)
        if target:
            yield Placement(
                target=target,
                channel_id=channel,
                name=name,
                place=where.removeprefix(f"{target.removeprefix(STAGE)}/") if target.startswith(STAGE) else where,
                digest=digest,
                root=digest,
                kind=str(kinds[0]) if len(kinds) == 1 else "",
                expect="",
                bundle_id=item.text("bundle"),
                loaded=parse_time(item.text("time")),
            )


def _target_of(step: str, name: str, place: str, stages: frozenset[str]) -> str:
    """The target as placements have it; "" where the entry is about none.

    A step has ``-`` for each ``/`` of the target. Every place begins with its target, so that gives it back.
    """
    verb, _, rest = step.partition(" ")
    if verb == "discover":
        rest = rest.removesuffix(f" {_as_step(name)}")
    elif verb != "load":
        return ""
    for kind in _KINDS_OF_FILES:
        target = f"{kind}{place}"[: len(rest)]
        is_whole = f"{kind}{place}"[len(rest) : len(rest) + 1] in ("", "/")
        if is_whole and _as_step(target) == rest:
            is_elsewhere = kind or "+" in target or target.startswith("/") or is_host(target.partition("/")[0])
            return target if is_elsewhere and target not in stages else f"{STAGE}{target}"
    return ""


def _as_step(text: str) -> str:
    return text.replace("/", "-")


def _is_known(row: Placement, before: dict[Key, Placement]) -> bool:
    other = before.get(_key(row))
    return other is not None and (other.place, other.digest, other.bundle_id) == (row.place, row.digest, row.bundle_id)


def _key(row: Placement) -> Key:
    return row.target, row.channel_id, row.name


class _Papers:
    """What the bundles' papers say of artifacts, each read once."""

    def __init__(self, workspace: "Workspace") -> None:
        self._folder = workspace.root / "quarantine"
        self._items: dict[str, dict[str, LoadItem]] = {}

    def fill(self, row: Placement) -> Placement:
        item = self._of(row.bundle_id).get(row.name) if row.bundle_id else None
        return row if item is None else replace(row, root=item.root.digest, kind=item.kind, expect=item.expect)

    def _of(self, bundle_id: str) -> dict[str, LoadItem]:
        if bundle_id not in self._items:
            self._items[bundle_id] = {}
            with contextlib.suppress(TidegateError, OSError):
                manifest = QuarantinedBundle(self._folder / bundle_id).manifest()
                self._items[bundle_id] = {item.name: item for item in items_of(manifest)}
        return self._items[bundle_id]
