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
from tidegate.state.bundles import BundleRow, BundleState, bundles_with_voids, list_bundles, set_bundle_state
from tidegate.state.channels import get_channel
from tidegate.state.db import Transaction
from tidegate_receiver.intake.quarantine import QuarantinedBundle, holds_content
from tidegate_receiver.intake.requirements import missing_sequences
from tidegate_receiver.intake.verification import SEQUENCE_WINDOW

HELD = (BundleState.QUARANTINED, BundleState.LOADED)
_COMING = (BundleState.INCOMPLETE, BundleState.RECEIVING)
#: decided for good: neither held nor waited for, unless a bundle that waits builds on it
_SETTLED = (BundleState.DENIED, BundleState.CLEANED)
#: in a bundle's detail: when `cleanup` let it go; slips name it no more, and later its content is removed
LET_GO = "let_go"
#: in the detail of one that was let go: when the first slip that does not name it was printed
LET_GO_TOLD = "let_go_told"


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
    return _void_of([row for row in bundles_with_voids(tx, channel_id) if _epoch_of(row) == epoch])


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
    settled = {row.sequence for row in rows if _is_settled(row)} - set(held)
    # One that waits is here and not missing; one that was denied may have had any number.
    aside = {row.sequence for row in rows if row.state in (BundleState.WAITING, BundleState.DENIED)} - set(held)
    known = (settled | set(held)) - aside
    channel = get_channel(tx, channel_id)
    if known and channel is not None and channel.epoch == epoch and channel.highest_sequence:
        known.add(channel.highest_sequence)  # it came once, or somebody said after a restore that it was sent
    # What lies below the window cannot come any more, and a number may have jumped far.
    expected = set(range(max(min(known), max(known) - SEQUENCE_WINDOW + 1), max(known) + 1)) if known else set()
    expected -= settled | aside
    held = {number: row for number, row in held.items() if number not in needed}
    expected |= needed | {row.sequence for row in rows if row.state in _COMING}
    return Standing(held, Numbers.of(expected - set(held) - set(void)), void)


def highest_seen(tx: Transaction, channel_id: str, epoch: int, standing: Standing) -> int:
    """The highest number of an epoch of which anything that was believed is known here; 0 for none."""
    rows = list_bundles(tx, channel_id=channel_id)
    came = (row.sequence for row in rows if _epoch_of(row) == epoch and row.state is not BundleState.REFUSED)
    channel = get_channel(tx, channel_id)
    taken = channel.highest_sequence if channel is not None and channel.epoch == epoch else 0
    return max(taken, standing.missing.highest, *standing.void, *came, 0)


def _void_of(rows: list[BundleRow]) -> dict[int, Void]:
    void = {}
    for row in rows:
        if row.state in (*HELD, *_SETTLED):
            for sequence, bundle_id, reason in row.detail.get("void", ()):
                void[int(sequence)] = Void(str(bundle_id), reason)
    return void


def _is_here(root: Path, row: BundleRow) -> bool:
    """Whether a bundle's content is here; somebody may have emptied quarantine by hand."""
    if row.state is BundleState.QUARANTINED:
        return holds_content(root / "quarantine" / row.bundle_id)
    return row.state is BundleState.LOADED and LET_GO not in row.detail


def _is_settled(row: BundleRow) -> bool:
    return row.state in _SETTLED or (row.state is BundleState.LOADED and LET_GO in row.detail)


def is_wanted(tx: Transaction, root: Path, row: BundleRow) -> bool:
    """Whether content of this bundle, which is not here, is what a bundle in quarantine builds on."""
    return row.sequence in read_standing(tx, root, row.channel_id, _epoch_of(row)).missing


def note_told(tx: Transaction, channel_id: str, held: Numbers, time: int) -> None:
    """A slip with these numbers is printed: what was let go and is not named waits for its end from now on."""
    for row in list_bundles(tx, channel_id=channel_id, states=(BundleState.LOADED,)):
        if LET_GO in row.detail and LET_GO_TOLD not in row.detail and row.sequence not in held:
            set_bundle_state(tx, row.bundle_id, row.state, detail={LET_GO_TOLD: time})


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
