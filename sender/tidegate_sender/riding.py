"""What of the own ledger rides in a bundle's cover, and the cover that is sent.

    confirmed and earlier bundles ─► checkpoint ─► new entries, as many as fit ─► proofs ─► co-signatures

A bundle is packed with what the ledger says then. When it is first sent its cover is made once more, so that its own
packing and signing ride with it, and kept beside the bundle's file: every later copy has the same. Format:
docs/format/witness.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.bundle.container import BundleFile
from tidegate.bundle.cover import Piece, PieceType, build_cover, find_signatures, parse_cover, signatures_piece
from tidegate.bundle.header import COVER_MAX_BYTES
from tidegate.errors import FormatError
from tidegate.files import host_error, write_durably
from tidegate.hollow import open_bundle
from tidegate.ledger.log import Log
from tidegate.ledger.merkle import TILE_WIDTH
from tidegate.ledger.proofs import consistency_path, read_range
from tidegate.ledger.riding import (
    COSIGNATURES_MAX,
    ENTRIES_MAX,
    ENTRIES_PIECE_MAX,
    RAW_MAX,
    Proof,
    RidingEntries,
    build_entries,
    build_proofs,
)
from tidegate.ledger.tiles import LENGTH_BYTES
from tidegate.lookup import bundle_path
from tidegate.state.bundles import BundleRow, get_bundle, list_bundles, set_bundle_state
from tidegate.units import KIB
from tidegate_sender.slips.memory import get_confirmed, list_cosigned

if TYPE_CHECKING:
    from tidegate.ledger.checkpoint import Checkpoint
    from tidegate.lookup import FoundBundle
    from tidegate.state.db import Transaction
    from tidegate.trust.keys import Signer
    from tidegate.workspace import Workspace

SIZES_KEY = "ledger_sizes"  # in a bundle's row: the sizes of the ledger that its covers showed
SIZES_MAX = 4
EARLIER_BUNDLES = 16
BUDGET_LEAST = 24 * KIB
BUDGET_SHARE = 100
#: entries get about seven times smaller; more than this is not looked at
RATIO_MOST = 12
COVER_ENDING = ".cover"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back the receivers' memory may lie: the entries since `since`, and proofs from `sizes`."""

    since: int
    sizes: tuple[int, ...]


def ledger_pieces(
    workspace: "Workspace", audience: tuple[str, ...], stored: int, exclude: str = ""
) -> tuple[tuple[Piece, ...], int]:
    """The pieces for a bundle with `stored` bytes of content, and the size of the ledger that they show.

    `exclude` is the bundle_id of the bundle itself. No pieces and 0 where the ledger is empty.
    """
    recorder = workspace.recorder
    checkpoint = recorder.checkpoint()
    if checkpoint is None or not checkpoint.size:
        return (), 0
    chain = workspace.trust.own_channel()
    with workspace.state.reading() as tx:
        reach = _reach(tx, chain.channel_id, chain.newest.epoch, audience, exclude)
        notes = list_cosigned(tx, audience)
    budget = min(ENTRIES_PIECE_MAX, max(BUDGET_LEAST, stored // BUDGET_SHARE))
    log, signer = recorder.log, workspace.signer("ledger")
    pieces = [
        Piece(PieceType.LEDGER_CHECKPOINT, checkpoint.data),
        Piece(PieceType.LEDGER_ENTRIES, _entries(log, checkpoint, reach.since, budget, signer)),
    ]
    proofs = _proofs(log, checkpoint, reach.sizes)
    if proofs:
        pieces.append(Piece(PieceType.LEDGER_PROOFS, build_proofs(proofs)))
    pieces += [Piece(PieceType.COSIGNATURES, note) for note in notes[:COSIGNATURES_MAX]]
    return tuple(pieces), checkpoint.size


def _reach(tx: "Transaction", channel_id: str, epoch: int, audience: tuple[str, ...], exclude: str) -> Reach:
    rows = [row for row in list_bundles(tx, channel_id=channel_id) if row.bundle_id != exclude]
    shown = {row.sequence: sizes_of(row) for row in rows if row.detail.get("epoch") == epoch and sizes_of(row)}
    confirmed: list[tuple[int, ...]] = []
    for site in audience:
        held = [number for number in get_confirmed(tx, channel_id, epoch, site).all_held if number in shown]
        confirmed.append(shown[max(held)] if held else ())
    earlier = sorted(rows, key=lambda row: (row.detail.get("epoch", 1), row.sequence))[-EARLIER_BUNDLES:]
    reached = {size for some in (*confirmed, *map(sizes_of, earlier)) for size in some}
    since = min((min(some, default=0) for some in confirmed), default=0)
    return Reach(since, tuple(sorted(reached)))


def sizes_of(row: BundleRow) -> tuple[int, ...]:
    """The sizes of the ledger that the covers of a bundle showed."""
    return tuple(int(size) for size in row.detail.get(SIZES_KEY, ()))


def _entries(log: Log, checkpoint: "Checkpoint", since: int, budget: int, signer: "Signer") -> bytes:
    """The piece with the newest entries, from `since` on where all of them fit."""
    size = checkpoint.size
    entries = _newest(log, size, min(since, size - 1), min(RAW_MAX, budget * RATIO_MOST))
    while True:
        first = size - len(entries)
        nodes = read_range(first, log.node_reader(size)).nodes
        piece = build_entries(RidingEntries(first, nodes, tuple(entries)), signer)
        if len(piece) <= budget or len(entries) == 1:
            return piece
        entries = entries[-max(1, len(entries) * budget * 9 // (len(piece) * 10)) :]


def _newest(log: Log, size: int, since: int, room: int) -> list[bytes]:
    """The entries from `since` on, or as many of the last ones as fit into `room` bytes, and at least one."""
    taken: list[bytes] = []
    for number in reversed(range(since // TILE_WIDTH, -(-size // TILE_WIDTH))):
        start = number * TILE_WIDTH
        found = log.read_bundle(number, min(TILE_WIDTH, size - start), size)
        for data in reversed(found[max(0, since - start) :]):
            room -= LENGTH_BYTES + len(data)
            if taken and (room < 0 or len(taken) == ENTRIES_MAX):
                return taken[::-1]
            taken.append(data)
    return taken[::-1]


def _proofs(log: Log, checkpoint: "Checkpoint", sizes: Iterable[int]) -> tuple[Proof, ...]:
    read = log.node_reader(checkpoint.size)
    return tuple(
        Proof(old, read_range(old, read).root(), consistency_path(old, checkpoint.size, read))
        for old in sizes
        if 0 < old < checkpoint.size
    )


# --- the cover that is sent -------------------------------------------------------------------


def open_carried(found: "FoundBundle") -> BundleFile:
    """The bundle as it is carried: with the cover it was first sent with, else with the one it was packed with."""
    path = found.file()
    bundle = open_bundle(path)
    kept = path.with_suffix(COVER_ENDING)
    try:
        cover = kept.read_bytes() if kept.stat().st_size <= COVER_MAX_BYTES else b""
        if find_signatures(parse_cover(cover)) == find_signatures(bundle.cover()):
            return bundle.with_cover(cover)
    except (OSError, FormatError):  # none, or one that is cut off: the bundle's own is as good
        pass
    return bundle


def make_cover(workspace: "Workspace", found: "FoundBundle") -> bool:
    """Make the cover that the bundle is sent with, once, before its first write; whether it was made now.

    Raises HostError where it cannot be written. The caller has made sure that the ledger can be written.
    """
    row = found.row
    if row is None or row.detail.get("write_begun") or row.path is None:
        return False
    path = found.file()
    kept = path.with_suffix(COVER_ENDING)
    if path != bundle_path(workspace, row) or kept.is_file():
        return False
    with BundleFile.open(path) as bundle:
        audience, stored = bundle.manifest().audience, bundle.part_lengths[2]
        pieces, size = ledger_pieces(workspace, tuple(audience), stored, row.bundle_id)
        cover = build_cover((signatures_piece(find_signatures(bundle.cover())), *pieces))
    with workspace.state.transaction() as tx:
        current = get_bundle(tx, row.bundle_id)
        if current is None:
            return False
        shown = tuple(dict.fromkeys((*sizes_of(current), size)))[-SIZES_MAX:]
        set_bundle_state(tx, row.bundle_id, current.state, detail={SIZES_KEY: list(shown)})
    try:
        write_durably(kept, cover)
    except OSError as error:
        raise host_error(error, f"writing {kept}") from None
    return True
