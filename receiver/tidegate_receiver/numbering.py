"""Which numbers of a channel are here, which are missing, and which the low side has declared void.

A manifest may list numbers that will not come (docs/format/bundle.md, `void`); each bundle's row keeps what its own
manifest said. A void number is no gap. A bundle that was *withdrawn* may be here, and is not to be used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidegate.bundle.manifest import Manifest
from tidegate.slip.code import make_code
from tidegate.slip.numbers import Numbers
from tidegate.state.bundles import BundleRow, BundleState, list_bundles
from tidegate.state.db import Transaction
from tidegate_receiver.quarantine import QuarantinedBundle
from tidegate_receiver.requirements import missing_sequences

HELD = (BundleState.QUARANTINED, BundleState.LOADED)
_COMING = (BundleState.INCOMPLETE, BundleState.RECEIVING)


@dataclass(frozen=True, slots=True)
class Void:
    """A void number, the bundle that had it, and why it was withdrawn, if it was."""

    bundle_id: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One epoch of a channel. `held` are the bundles whose content is here, by number."""

    held: dict[int, BundleRow]
    missing: Numbers
    void: dict[int, Void]


def void_detail(manifest: Manifest) -> list[list[str | int | None]]:
    """What a manifest says is void, as the bundle's row keeps it."""
    return [[item.sequence, item.bundle_id, item.reason] for item in manifest.void or ()]


def read_void(tx: Transaction, channel_id: str, epoch: int) -> dict[int, Void]:
    """Every number that a bundle which is here has declared void; the newest bundle's word counts."""
    return _void_of([row for row in list_bundles(tx, channel_id=channel_id) if _epoch_of(row) == epoch])


def withdrawal(void: Mapping[int, Void], row: BundleRow) -> str | None:
    """Why the low side took this bundle back; None where it did not."""
    found = void.get(row.sequence)
    return found.reason if found is not None and found.bundle_id == row.bundle_id else None


def read_standing(tx: Transaction, root: Path, channel_id: str, epoch: int) -> Standing:
    """What is here and what is missing in one epoch of a channel; `root` is the folder of quarantine and depot."""
    rows = [row for row in list_bundles(tx, channel_id=channel_id) if _epoch_of(row) == epoch]
    void = _void_of(rows)
    held = {row.sequence: row for row in rows if _is_here(root, row) and withdrawal(void, row) is None}
    needed = _needed(root, held)
    expected = set(range(min(held), max(held) + 1)) if held else set()
    held = {number: row for number, row in held.items() if number not in needed}
    expected |= needed | {row.sequence for row in rows if row.state in _COMING}
    return Standing(held, Numbers.of(expected - set(held) - set(void)), void)


def _void_of(rows: list[BundleRow]) -> dict[int, Void]:
    void = {}
    for row in rows:
        if row.state in HELD:
            for sequence, bundle_id, reason in row.detail.get("void", ()):
                void[int(sequence)] = Void(str(bundle_id), reason)
    return void


def _is_here(root: Path, row: BundleRow) -> bool:
    """Whether a bundle's content is here; somebody may have emptied quarantine by hand."""
    if row.state is BundleState.QUARANTINED:
        return (root / "quarantine" / row.bundle_id).is_dir()
    return row.state is BundleState.LOADED


def _needed(root: Path, held: dict[int, BundleRow]) -> set[int]:
    """Numbers of bundles whose content a held one builds on and that is not here now, held or not."""
    quarantine = root / "quarantine"
    waiting = {number: row for number, row in held.items() if row.state is BundleState.QUARANTINED}
    places = {number: quarantine / row.bundle_id for number, row in waiting.items()}
    needed: set[int] = set()
    for row in waiting.values():
        if row.detail.get("needs"):
            tables = QuarantinedBundle(quarantine / row.bundle_id).tables()
            needed.update(missing_sequences(tables.required, root / "depot", places))
    return needed - {0}  # a baseline has no number that could be sent again


def _epoch_of(row: BundleRow) -> int:
    return int(row.detail.get("epoch", 1))


def code_text(row: BundleRow, site: str) -> str:
    """The short code of a bundle that is here; empty for one that an older Tidegate received."""
    receipt = row.detail.get("receipt")
    if not receipt:
        return ""
    facts = {"channel_id": row.channel_id, "site": site, "receipt": str(receipt)}
    return str(make_code(epoch=_epoch_of(row), sequence=row.sequence, **facts))
