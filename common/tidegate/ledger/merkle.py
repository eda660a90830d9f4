"""RFC 6962 hashing, and the right edge of a growing tree.

`Edge` is all that is needed to append to a tree of any size: for each level of tiles the hashes that do not fill a
tile yet. Whatever fills one is handed out as a finished tile. Format: docs/format/ledger.md, "Tree and tiles".
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

TILE_WIDTH = 256  # hashes; c2sp.org/tlog-tiles has no other
TILE_BITS = 8
HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()

_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    return _sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\1" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over `hashes` as leaves, at least one.

    Pairing neighbours and carrying an odd last one up is the same as RFC 6962's split at the largest power of two.
    """
    level = list(hashes)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]


def split_tile(data: bytes) -> list[bytes]:
    """The hashes of a tile's bytes; their number is the caller's to check."""
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def tile_widths(size: int) -> Iterator[tuple[int, int, int]]:
    """For each level of a tree of `size`: (level, number of full tiles, width of the partial tile, 0 for none)."""
    level = 0
    while hashes := size >> (TILE_BITS * level):
        yield level, hashes // TILE_WIDTH, hashes % TILE_WIDTH
        level += 1


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile as it is at one moment: `width` hashes in `data`, 256 where it is full."""

    level: int
    number: int
    data: bytes

    @property
    def width(self) -> int:
        return len(self.data) // HASH_BYTES


class Edge:
    """The right edge of a tree: its size, and per level the hashes of the tile that is not full yet."""

    __slots__ = ("_levels", "size")

    def __init__(self, size: int = 0, levels: Iterable[Sequence[bytes]] = ()) -> None:
        """An edge as `tile_widths` describes it for `size`; `levels` are the hashes of the partial tiles."""
        self.size = size
        self._levels = [list(level) for level in levels]

    def copy(self) -> "Edge":
        return Edge(self.size, self._levels)

    def append(self, leaf: bytes) -> tuple[Tile, ...]:
        """Add one leaf hash; the tiles that it filled, lowest level first."""
        if not self._levels:
            self._levels.append([])
        self._levels[0].append(leaf)
        self.size += 1
        if self.size % TILE_WIDTH:
            return ()
        return tuple(self._fill())

    def _fill(self) -> Iterator[Tile]:
        """Take out every full tile, putting its root into the level above."""
        for level, hashes in enumerate(self._levels):
            if len(hashes) < TILE_WIDTH:
                return
            yield Tile(level, (self.size >> (TILE_BITS * (level + 1))) - 1, b"".join(hashes))
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(subtree_root(hashes))
            hashes.clear()

    def partial_tiles(self) -> tuple[Tile, ...]:
        """The tiles that are not full, lowest level first; none of them is empty."""
        return tuple(
            Tile(level, self.size >> (TILE_BITS * (level + 1)), b"".join(hashes))
            for level, hashes in enumerate(self._levels)
            if hashes
        )

    def root(self) -> bytes:
        """The root hash: each level's hashes with the root of what lies below and is not whole as the last one."""
        below: list[bytes] = []
        for hashes in self._levels:
            if hashes or below:
                below = [subtree_root([*hashes, *below])]
        return below[0] if below else EMPTY_ROOT
