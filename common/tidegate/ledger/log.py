"""A log's files, for reading: checkpoint, tiles, entry bundles, and the right edge at any size.

Readers need no lock: a file beyond ``new/`` never changes, the checkpoint is replaced as a whole, and a partial tile is
only removed when the full one is there, which is read in its place. Layout: docs/format/ledger.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import FormatError, LedgerDamagedError, SignatureError
from tidegate.files import host_error
from tidegate.ledger.checkpoint import CHECKPOINT_MAX_BYTES, Checkpoint, NoteKey, open_checkpoint
from tidegate.ledger.merkle import (
    HASH_BYTES,
    TILE_BITS,
    TILE_WIDTH,
    Edge,
    leaf_hash,
    split_tile,
    subtree_root,
    tile_widths,
)
from tidegate.ledger.tiles import BUNDLE_MAX_BYTES, TilePath, parse_bundle

CHECKPOINT_NAME = "checkpoint"
LOCK_NAME = "lock"


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of the log in `folder`. Needs no key, so nothing that it gives is proven yet."""

    folder: Path

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """The bytes of a file of the log, None where it is not there. One that is too long is read no further."""
        try:
            with (self.folder / path).open("rb") as file:
                return file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise host_error(error, "reading the ledger") from None

    def read_tile(self, level: int, number: int, width: int, size: int) -> bytes:
        """The first `width` hashes of a tile, in a log that has `size` entries. Raises LedgerDamagedError."""
        wanted = TilePath(level, number, width)
        path, data = self._read_widest(wanted, size >> (TILE_BITS * level), TILE_WIDTH * HASH_BYTES)
        if len(data) != path.width * HASH_BYTES:
            raise LedgerDamagedError(f"{path}: has {len(data)} bytes, not {path.width * HASH_BYTES}")
        return data[: width * HASH_BYTES]

    def read_bundle(self, number: int, width: int, size: int) -> tuple[bytes, ...]:
        """The first `width` entries of a bundle, in a log that has `size` entries. Raises LedgerDamagedError."""
        wanted = TilePath(None, number, width)
        path, data = self._read_widest(wanted, size, BUNDLE_MAX_BYTES)
        try:
            entries, rest = parse_bundle(data, path.width, what=str(path))
        except FormatError as error:
            raise LedgerDamagedError(str(error)) from None
        if rest:
            raise LedgerDamagedError(f"{path}: goes on for {rest} bytes after its last entry")
        return entries[:width]

    def _read_widest(self, wanted: TilePath, hashes: int, max_bytes: int) -> tuple[TilePath, bytes]:
        """The file of `wanted`, or a wider one of the same tile in a level of `hashes` hashes."""
        now = min(TILE_WIDTH, hashes - wanted.number * TILE_WIDTH)
        for width in dict.fromkeys((wanted.width, now, TILE_WIDTH)):
            path = TilePath(wanted.level, wanted.number, width)
            data = self.read(str(path), max_bytes) if width >= wanted.width else None
            if data is not None:
                return path, data
        raise LedgerDamagedError(f"{wanted}: is missing")

    def node_reader(self, size: int) -> Callable[[int, int], bytes]:
        """Reads the root of a perfect subtree by (level, index) from the tiles of a log that has `size` entries."""
        tiles: dict[tuple[int, int], list[bytes]] = {}

        def read(level: int, index: int) -> bytes:
            tile_level, rest = divmod(level, TILE_BITS)
            first = index << rest
            number, place = divmod(first, TILE_WIDTH)
            if (tile_level, number) not in tiles:
                hashes = size >> (TILE_BITS * tile_level)
                width = min(TILE_WIDTH, hashes - number * TILE_WIDTH)
                tiles[tile_level, number] = split_tile(self.read_tile(tile_level, number, width, size))
            return subtree_root(tiles[tile_level, number][place : place + (1 << rest)])

        return read

    def raw_entries(self, size: int, *, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """(number, bytes) of the entries from `start` up to `size`, unchecked."""
        for number in range(start // TILE_WIDTH, -(-size // TILE_WIDTH)):
            first = number * TILE_WIDTH
            entries = self.read_bundle(number, min(TILE_WIDTH, size - first), size)
            for place in range(max(0, start - first), len(entries)):
                yield first + place, entries[place]


@dataclass(frozen=True, slots=True)
class Log(LogFiles):
    """The log in `folder`, whose checkpoint `key` signs."""

    key: NoteKey

    def checkpoint(self) -> Checkpoint | None:
        """The signed checkpoint; None for a log that has none yet. Raises LedgerDamagedError where it does not hold."""
        data = self.read(CHECKPOINT_NAME, CHECKPOINT_MAX_BYTES)
        if data is None:
            return None
        try:
            return open_checkpoint(data, self.key)
        except (FormatError, SignatureError) as error:
            raise LedgerDamagedError(f"{self.folder}: {error}") from None

    def edge(self, size: int, log_size: int) -> Edge:
        """The right edge of the tree at `size`, from the tiles of a log that has `log_size` entries.

        Its root tells whether these tiles are the ones that a checkpoint signed.
        """
        levels = []
        for level, full, width in tile_widths(size):
            levels.append(split_tile(self.read_tile(level, full, width, log_size)) if width else [])
        return Edge(size, levels)

    def tail(self, edge: Edge) -> tuple[bytes, ...]:
        """The entries after the last full bundle, checked against the hashes of `edge`, which is the log's own."""
        number, width = divmod(edge.size, TILE_WIDTH)
        if not width:
            return ()
        entries = self.read_bundle(number, width, edge.size)
        hashes = edge.partial_tiles()[0].data
        for place, entry in enumerate(entries):
            if leaf_hash(entry) != hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES]:
                raise LedgerDamagedError(f"entry {number * TILE_WIDTH + place}: its hash is not the one in its tile")
        return entries
