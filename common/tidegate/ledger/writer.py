"""Append to a log's files so that a crash at any system call leaves the old log or the new one.

Order: everything new into temporary files, synced; renamed into place; folders synced; the checkpoint last, in the same
manner. Only the recorder calls this, under the lock. Rules L-19 to L-21 of docs/format/ledger.md.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import LedgerDamagedError
from tidegate.files import sync_fd, sync_filesystem, sync_folders, write_all
from tidegate.ledger.checkpoint import Checkpoint, sign_checkpoint
from tidegate.ledger.log import CHECKPOINT_NAME, Log
from tidegate.ledger.merkle import HASH_BYTES, TILE_BITS, TILE_WIDTH, Edge, Tile, leaf_hash
from tidegate.ledger.tiles import BUNDLE_MAX_BYTES, TilePath, build_bundle
from tidegate.trust.keys import Signer

NEW_FOLDER = "new"
_BEGUN = "begun"
_FOLDER_MODE = 0o755  # whatever the umask allows: nobody else adds files to a log
SYNC_EACH_MAX = 16  # files; for more one syncfs is cheaper than an fsync for each

Files = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log: its checkpoint (None before the first one), its right edge, the entries of its last bundle."""

    checkpoint: Checkpoint | None
    edge: Edge
    tail: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return self.edge.size


def append(log: Log, head: Head, entries: Iterable[bytes], signer: Signer) -> Head:
    """Write `entries` after `head` and sign the new checkpoint; the new head, which is on the disk.

    Raises OSError, and LedgerDamagedError where a log without a checkpoint has other entries already.
    """
    edge, tail, files = _grow(head, entries)
    _begin(log.folder)
    _settle_leftovers(log, head, files)
    _publish(log.folder, [(str(path), data) for path, data in files])
    checkpoint = sign_checkpoint(log.key.name, edge.size, edge.root(), signer)
    write_checkpoint(log.folder, checkpoint)
    _remove_old_partials(log.folder, [path for path, _ in files])
    (log.folder / NEW_FOLDER / _BEGUN).unlink()
    return Head(checkpoint, edge, tail)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    _publish(folder, [(CHECKPOINT_NAME, checkpoint.data)])


def _grow(head: Head, entries: Iterable[bytes]) -> tuple[Edge, tuple[bytes, ...], list[tuple[TilePath, bytes]]]:
    """The edge and last entries after `entries`, and every file that is new, each once."""
    edge = head.edge.copy()
    pending = list(head.tail)
    files: list[tuple[TilePath, bytes]] = []
    for entry in entries:
        pending.append(entry)
        for tile in edge.append(leaf_hash(entry)):
            files.append((_tile_path(tile), tile.data))
            if tile.level == 0:
                files.append((TilePath(None, tile.number), build_bundle(pending)))
                pending.clear()
    files += [(_tile_path(tile), tile.data) for tile in edge.partial_tiles() if _is_new(tile, head)]
    if pending:
        files.append((TilePath(None, edge.size // TILE_WIDTH, len(pending)), build_bundle(pending)))
    return edge, tuple(pending), files


def _tile_path(tile: Tile) -> TilePath:
    return TilePath(tile.level, tile.number, tile.width)


def _is_new(tile: Tile, head: Head) -> bool:
    """Whether a partial tile has hashes that it had not at `head`."""
    return tile.number * TILE_WIDTH + tile.width > head.size >> (TILE_BITS * tile.level)


# --- leftovers of a crash ---------------------------------------------------------------------


def _begin(folder: Path) -> None:
    """Empty the folder for temporary files, and leave a mark in it until the append is over.

    Where a process was killed, folders may be seen that are not on the disk yet, and the next one would take them for
    made. The mark tells: then all is synced first. A power cut leaves only what is on the disk, mark or not.
    """
    new = folder / NEW_FOLDER
    new.mkdir(_FOLDER_MODE, exist_ok=True)
    left = list(new.iterdir())
    if left:
        sync_filesystem(folder)
    for path in left:
        path.unlink()
    (new / _BEGUN).touch()


def _settle_leftovers(log: Log, head: Head, files: Sequence[tuple[TilePath, bytes]]) -> None:
    """Remove files beyond the checkpoint that say something else than what is written now (L-21)."""
    for path, data in files:
        covered = head.size if path.level is None else head.size >> (TILE_BITS * path.level)
        covered_width = max(0, covered - path.number * TILE_WIDTH)
        for leftover in _beyond(log.folder, path, covered_width):
            _settle(log, head, leftover, data)


def _beyond(folder: Path, path: TilePath, covered_width: int) -> list[TilePath]:
    """The files of one tile, of any width, that are wider than what the checkpoint covers."""
    full = TilePath(path.level, path.number)
    widths = [TILE_WIDTH] if (folder / str(full)).exists() else []
    with contextlib.suppress(FileNotFoundError):
        names = [found.name for found in (folder / f"{full}.p").iterdir()]
        widths += [int(name) for name in names if name.isascii() and name.isdecimal() and len(name) <= 3]
    return [TilePath(path.level, path.number, width) for width in widths if width > covered_width]


def _settle(log: Log, head: Head, leftover: TilePath, data: bytes) -> None:
    limit = BUNDLE_MAX_BYTES if leftover.level is None else TILE_WIDTH * HASH_BYTES
    found = log.read(str(leftover), limit) or b""
    if found.startswith(data) or data.startswith(found):
        return
    if head.checkpoint is None:
        raise LedgerDamagedError(
            f"{log.folder}: has no checkpoint, and {leftover} holds other entries than the state has to record",
            hint="if this log was never in use, move the folder away; else its checkpoint was removed: restore it",
        )
    (log.folder / str(leftover)).unlink()


def _remove_old_partials(folder: Path, paths: Iterable[TilePath]) -> None:
    """Remove the partial tiles of tiles that are full by now; what a crash leaves of them does no harm (L-7)."""
    for path in paths:
        if path.width < TILE_WIDTH:
            continue
        partials = folder / f"{path}.p"
        with contextlib.suppress(OSError):
            for partial in partials.iterdir():
                partial.unlink()
            partials.rmdir()


# --- durable files ----------------------------------------------------------------------------


def _publish(folder: Path, files: Files) -> None:
    """Put `files` (path in `folder`, bytes) into place; all of them are on the disk afterwards."""
    sync_each = len(files) <= SYNC_EACH_MAX
    temporaries = [folder / NEW_FOLDER / str(place) for place in range(len(files))]
    (folder / NEW_FOLDER).mkdir(_FOLDER_MODE, exist_ok=True)
    for temporary, (_, data) in zip(temporaries, files, strict=True):
        _write(temporary, data, sync=sync_each)
    if not sync_each:
        sync_filesystem(folder)
    changed: set[Path] = set()
    for temporary, (path, _) in zip(temporaries, files, strict=True):
        target = folder / path
        _make_folders(target.parent, changed)
        temporary.rename(target)
        changed.add(target.parent)
    if sync_each:
        sync_folders(changed)
    else:
        sync_filesystem(folder)


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, data)
        if sync:
            sync_fd(fd)
    finally:
        os.close(fd)


def _make_folders(folder: Path, changed: set[Path]) -> None:
    """Make `folder` with its parents; adds to `changed` each folder in which a name is new."""
    if folder.is_dir():
        return
    _make_folders(folder.parent, changed)
    folder.mkdir(_FOLDER_MODE, exist_ok=True)
    changed.add(folder.parent)
