"""Recompute a ledger from its entries, and say what differs and where.

Two trees are grown side by side: one from the entries, one from the hashes in the level-0 tiles. Which of them has
the root that the checkpoint signed tells whether an entry was changed or a tile. A log that is consistent in itself may
be an old copy; only a checkpoint from elsewhere shows that. Rules L-24 and L-25 of docs/format/ledger.md.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.config import Role
from tidegate.errors import FormatError, HostError, LedgerDamagedError, SignatureError
from tidegate.files import read_given
from tidegate.ledger.checkpoint import CHECKPOINT_MAX_BYTES, Checkpoint, NoteKey, open_checkpoint
from tidegate.ledger.log import CHECKPOINT_NAME, Log, LogFiles
from tidegate.ledger.merkle import HASH_BYTES, TILE_BITS, TILE_WIDTH, Edge, Tile, leaf_hash, split_tile
from tidegate.ledger.tiles import TILE_ROOT, TilePath, build_bundle, parse_tile_path

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

FINDINGS_MAX = 100  # then verifying stops: the rest would say no more


@dataclass(frozen=True, slots=True)
class OutsideCheckpoint:
    """A checkpoint of this log that was kept elsewhere; `source` says where."""

    source: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """A ledger in which nothing differs. `agrees_with` are the sources of outside checkpoints it goes on from."""

    origin: str
    size: int
    root: bytes
    agrees_with: tuple[str, ...] = ()
    #: files of a drain that was cut off, beyond the checkpoint: harmless, the next drain settles them
    leftovers: tuple[str, ...] = ()
    #: files under tile/ that no log has
    strangers: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The one sentence that may be said of it; without an outside checkpoint it is not "intact"."""
        entries = "1 entry agrees" if self.size == 1 else f"{self.size} entries agree"
        if not self.agrees_with:
            return f"ledger {self.origin}: {entries} with the checkpoint; not checked against any outside checkpoint"
        return f"ledger {self.origin}: {entries} with the checkpoint, and with that of {', '.join(self.agrees_with)}"

    def as_object(self) -> dict[str, str | int | list[str]]:
        """The same for ``--json``."""
        return {
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex(),
            "agrees_with": list(self.agrees_with),
            "leftovers": list(self.leftovers),
            "strangers": list(self.strangers),
        }


def verify_workspace(workspace: "Workspace", against: Path | None = None) -> LedgerReport:
    """Verify the ledger of a root with the key that its own root names, against the state and the file `against`."""
    from tidegate.state.outbox import remembered_checkpoint

    outside = []
    note = None
    # An auditor may read the ledger and not open the state; the summary then says that nothing outside was compared.
    with contextlib.suppress(HostError), workspace.state.reading() as tx:
        note = remembered_checkpoint(tx)
    if note is not None:
        outside.append(OutsideCheckpoint("the state", note))
    if against is not None:
        outside.append(_read_outside(against))
    folder = workspace.folder("ledger")
    key = _ledger_key(workspace, folder)
    return verify_ledger(folder, key, against=[*outside, *_cosigned(workspace, key)])


def _cosigned(workspace: "Workspace", key: NoteKey) -> list[OutsideCheckpoint]:
    """Heads of this log that a low side co-signed. Those under an earlier key of this log say nothing here."""
    from tidegate.ledger.witness_folder import cosigned_heads

    if workspace.settings.role is Role.LOW:
        return []
    found = []
    for source, note in cosigned_heads(workspace):
        with contextlib.suppress(FormatError, SignatureError):
            open_checkpoint(note, key)
            found.append(OutsideCheckpoint(source, note))
    return found


def _read_outside(path: Path) -> OutsideCheckpoint:
    return OutsideCheckpoint(str(path), read_given(path, CHECKPOINT_MAX_BYTES))


def _ledger_key(workspace: "Workspace", folder: Path) -> NoteKey:
    """The key of the role ``ledger`` that signed the checkpoint; the first one where none has."""
    is_low = workspace.settings.role is Role.LOW
    chain = workspace.trust.own_channel() if is_low else workspace.trust.site_chain()
    keys = [NoteKey(workspace.origin, key.public_bytes) for key in chain.newest.role_keys("ledger").values()]
    data = LogFiles(folder).read(CHECKPOINT_NAME, CHECKPOINT_MAX_BYTES)
    for key in keys:
        with contextlib.suppress(FormatError, SignatureError):
            open_checkpoint(data or b"", key)
            return key
    return keys[0]


def verify_ledger(folder: Path, key: NoteKey, *, against: Sequence[OutsideCheckpoint] = ()) -> LedgerReport:
    """Verify the whole log in `folder`.

    Raises LedgerDamagedError, whose `findings` name everything that differs, and HostError where it cannot be read.
    """
    log = Log(folder, key)
    checkpoint = log.checkpoint()
    outside = [_open_outside(item, key) for item in against]
    if checkpoint is None:
        return _without_checkpoint(log, outside)
    verification = _Verification(log, checkpoint, outside)
    verification.run()
    if verification.findings:
        raise _damaged(key, verification.findings)
    return LedgerReport(
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        tuple(source for source, _ in outside),
        tuple(verification.leftovers),
        tuple(verification.strangers),
    )


def _open_outside(item: OutsideCheckpoint, key: NoteKey) -> tuple[str, Checkpoint]:
    try:
        return item.source, open_checkpoint(item.data, key, what=f"checkpoint from {item.source}")
    except (FormatError, SignatureError) as error:
        raise LedgerDamagedError(
            str(error), hint="is this the checkpoint of another ledger, or of another key?"
        ) from None


def _without_checkpoint(log: Log, outside: Sequence[tuple[str, Checkpoint]]) -> LedgerReport:
    """A log that has not begun; damaged if somebody remembers that it had."""
    known = [f"checkpoint: is missing, {source} has one of {other.size} entries" for source, other in outside]
    if known:
        raise _damaged(log.key, known)
    leftovers = tuple(str(path) for path in _files(log.folder))
    return LedgerReport(log.key.name, 0, Edge().root(), leftovers=leftovers)


def _damaged(key: NoteKey, findings: Sequence[str]) -> LedgerDamagedError:
    """One line for each finding."""
    return LedgerDamagedError("\n".join(f"ledger {key.name}: {text}" for text in findings), findings=tuple(findings))


def _files(folder: Path) -> Iterator[str]:
    """Every file under tile/, as paths in the log, in order. The writer may remove some meanwhile."""
    for parent, folders, names in os.walk(folder / TILE_ROOT):
        folders.sort()
        yield from sorted(str((Path(parent) / name).relative_to(folder)) for name in names)


class _WalkEnds(Exception):  # noqa: N818 - never leaves this module
    """What was found is enough, or the rest cannot be walked."""


@dataclass(frozen=True, slots=True)
class _Difference:
    """A level-0 tile that is not what its entries give: per place, what the entry gives and what the tile says."""

    number: int
    places: tuple[tuple[int, bytes, bytes], ...]


class _Verification:
    """One walk over a log, first entry to last."""

    def __init__(self, log: Log, checkpoint: Checkpoint, outside: Sequence[tuple[str, Checkpoint]]) -> None:
        self.findings: list[str] = []
        self.leftovers: list[str] = []
        self.strangers: list[str] = []
        self._log = log
        self._checkpoint = checkpoint
        self._size = checkpoint.size
        self._outside = outside
        self._wanted_sizes = {other.size for _, other in outside}
        self._roots = {0: Edge().root()}
        self._by_entries = Edge()
        self._by_tiles = self._by_entries  # the same object as long as nothing differs
        self._differences: list[_Difference] = []

    def run(self) -> None:
        try:
            for number in range(-(-self._size // TILE_WIDTH)):
                self._walk_tile(number)
            self._compare_higher(self._by_entries.partial_tiles(), self._by_tiles.partial_tiles())
            self._judge_root()
            self._judge_outside()
            self._look_at_files()
        except _WalkEnds as end:
            self.findings.append(str(end))

    def _find(self, text: str) -> None:
        self.findings.append(text)
        if len(self.findings) >= FINDINGS_MAX:
            raise _WalkEnds(f"stopped after {FINDINGS_MAX} findings")

    # --- the walk -------------------------------------------------------------------------------

    def _walk_tile(self, number: int) -> None:
        """Take in bundle and tile `number`: leaf hashes from the entries, compared with the tile's."""
        width = min(TILE_WIDTH, self._size - number * TILE_WIDTH)
        by_tile = self._read_tile(0, number, width)
        by_entries = self._read_leaves(number, width)
        if by_entries is None and by_tile is None:
            raise _WalkEnds("without the entries and their tile nothing after them can be checked")
        leaves = by_entries or split_tile(by_tile or b"")
        hashes = split_tile(by_tile) if by_tile is not None else leaves
        if hashes != leaves:
            self._note_difference(number, leaves, hashes)
        self._grow(leaves, hashes)

    def _read_leaves(self, number: int, width: int) -> list[bytes] | None:
        try:
            return [leaf_hash(entry) for entry in self._log.read_bundle(number, width, self._size)]
        except LedgerDamagedError as error:
            first = number * TILE_WIDTH
            self._find(f"entries {first} to {first + width - 1}: {error}")
            return None

    def _read_tile(self, level: int, number: int, width: int) -> bytes | None:
        try:
            return self._log.read_tile(level, number, width, self._size)
        except LedgerDamagedError as error:
            self._find(str(error))
            return None

    def _note_difference(self, number: int, leaves: list[bytes], hashes: list[bytes]) -> None:
        pairs = zip(leaves, hashes, strict=True)
        places = tuple((place, leaf, found) for place, (leaf, found) in enumerate(pairs) if leaf != found)
        self._differences.append(_Difference(number, places))
        if sum(len(item.places) for item in self._differences) > FINDINGS_MAX:
            self._report_differences()

    def _grow(self, leaves: list[bytes], hashes: list[bytes]) -> None:
        """Append to both trees, comparing each tile above level 0 with its file as it gets full."""
        if self._by_tiles is self._by_entries and hashes != leaves:
            self._by_tiles = self._by_entries.copy()
        filled: tuple[Tile, ...] = ()
        for leaf in leaves:
            filled = self._by_entries.append(leaf)
            if self._by_entries.size in self._wanted_sizes:
                self._roots[self._by_entries.size] = self._by_entries.root()
        filled_by_tiles = filled
        if self._by_tiles is not self._by_entries:
            for found in hashes:
                filled_by_tiles = self._by_tiles.append(found)
        self._compare_higher(filled, filled_by_tiles)

    def _compare_higher(self, by_entries: Sequence[Tile], by_tiles: Sequence[Tile]) -> None:
        for tile, other in zip(by_entries, by_tiles, strict=True):
            if tile.level == 0:
                continue
            data = self._read_tile(tile.level, tile.number, tile.width)
            if data is not None and data not in (tile.data, other.data):
                self._report_higher(tile, other, data)

    # --- what is said ---------------------------------------------------------------------------

    def _report_higher(self, tile: Tile, other: Tile, data: bytes) -> None:
        """Name each hash above level 0 that is neither what the entries give nor what the tiles below give."""
        rows = zip(split_tile(data), split_tile(tile.data), split_tile(other.data), strict=True)
        span = 1 << (TILE_BITS * tile.level)
        path = TilePath(tile.level, tile.number, tile.width)
        for place, (found, by_entries, by_tiles) in enumerate(rows):
            if found not in (by_entries, by_tiles):
                first = (tile.number * TILE_WIDTH + place) * span
                self._find(
                    f"{path}: hash {place} is {_short(found)}, entries {first} to {first + span - 1}"
                    f" give {_short(by_entries)}"
                )

    def _judge_root(self) -> None:
        """Compare both trees with the checkpoint, which tells what each difference in level 0 was."""
        self._report_differences()
        signed = self._checkpoint.root
        by_entries, by_tiles = self._by_entries.root(), self._by_tiles.root()
        if signed not in (by_entries, by_tiles):
            self._find(
                f"root hash at size {self._size}: entries give {_short(by_entries)},"
                f" the checkpoint signs {_short(signed)}"
            )

    def _report_differences(self) -> None:
        is_complete = self._by_entries.size == self._size
        entries_hold = is_complete and self._by_entries.root() == self._checkpoint.root
        for item in self._differences:
            path = TilePath(0, item.number, min(TILE_WIDTH, self._size - item.number * TILE_WIDTH))
            for place, leaf, found in item.places:
                number = item.number * TILE_WIDTH + place
                if entries_hold:
                    self._find(
                        f"{path}: hash {place} is {_short(found)}, entry {number}, which holds, gives {_short(leaf)}"
                    )
                else:
                    self._find(f"entry {number}: was changed, its hash is {_short(leaf)}, {path} has {_short(found)}")
        self._differences.clear()

    def _judge_outside(self) -> None:
        for source, other in self._outside:
            if other.size > self._size:
                self._find(
                    f"rolled back: the log has {self._size} entries, the checkpoint from {source} has {other.size}"
                )
            elif self._roots.get(other.size) != other.root:
                found = self._roots.get(other.size, b"")
                self._find(
                    f"rewritten: at size {other.size} the root hash is {_short(found)},"
                    f" the checkpoint from {source} has {_short(other.root)}"
                )

    # --- files that the walk did not need -------------------------------------------------------

    def _look_at_files(self) -> None:
        """Old partial tiles must say the same as the newer ones; leftovers and strangers are counted."""
        for name in _files(self._log.folder):
            try:
                path = parse_tile_path(name)
            except FormatError:
                self.strangers.append(name)
                continue
            covered = self._size >> (TILE_BITS * (path.level or 0))
            width = min(TILE_WIDTH, covered - path.number * TILE_WIDTH)
            if path.width > width:
                self.leftovers.append(name)
            elif path.width < width:
                self._compare_old_partial(path, width)

    def _compare_old_partial(self, path: TilePath, width: int) -> None:
        limit = TILE_WIDTH * HASH_BYTES
        if path.level is None:
            current = self._read_leaves_again(path.number, width)[: path.width]
            expected = build_bundle(current)
            limit = len(expected)
        else:
            expected = (self._read_tile(path.level, path.number, width) or b"")[: path.width * HASH_BYTES]
        found = self._log.read(str(path), limit)
        if found not in (expected, None):  # None: the writer removed it meanwhile
            self._find(f"{path}: differs from the newer one of width {width}")

    def _read_leaves_again(self, number: int, width: int) -> tuple[bytes, ...]:
        try:
            return self._log.read_bundle(number, width, self._size)
        except LedgerDamagedError:  # the walk has named it
            return ()


def _short(digest: bytes) -> str:
    return f"{digest.hex()[:16]}…"
