"""Paths of tiles and entry bundles, and the bytes of a bundle.

Format: docs/format/ledger.md, "Tree and tiles". No file is opened here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.errors import FormatError
from tidegate.ledger.entries import ENTRY_MAX_BYTES
from tidegate.ledger.merkle import TILE_WIDTH

TILE_ROOT = "tile"
LENGTH_BYTES = 2
BUNDLE_MAX_BYTES = TILE_WIDTH * (LENGTH_BYTES + ENTRY_MAX_BYTES)
LEVEL_MAX = 63
NUMBER_MAX = 2**53 // TILE_WIDTH

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<number>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class TilePath:
    """Which tile, or which bundle of entries (`level` None), and how wide: 256 is full."""

    level: int | None
    number: int
    width: int = TILE_WIDTH

    def __str__(self) -> str:
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"{TILE_ROOT}/{level}/{number_path(self.number)}{partial}"


def number_path(number: int) -> str:
    """``x001/x234/067`` for 1234067."""
    parts = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        parts.append(f"x{number % 1000:03d}")
    return "/".join(reversed(parts))


def parse_tile_path(text: str) -> TilePath:
    """The tile of a path relative to the log. Raises FormatError for anything that no tile's path can be."""
    match = _PATH.fullmatch(text) if len(text) <= 256 else None
    if match is None:
        raise FormatError(f"{text[:256]!r} is no path of a tile")
    level = None if match["level"] == "entries" else int(match["level"])
    number = int(match["number"].replace("x", "").replace("/", ""))
    path = TilePath(level, number, int(match["width"] or TILE_WIDTH))
    if str(path) != text or (level or 0) > LEVEL_MAX or number > NUMBER_MAX or (match["width"] and path.width > 255):
        raise FormatError(f"{text!r} is no path of a tile")
    return path


def build_bundle(entries: Iterable[bytes]) -> bytes:
    """The bytes of an entry bundle; every entry has 1 to 65,535 bytes."""
    return b"".join(part for entry in entries for part in (len(entry).to_bytes(LENGTH_BYTES, "big"), entry))


def parse_bundle(data: bytes, count: int, *, what: str) -> tuple[tuple[bytes, ...], int]:
    """The first `count` entries of a bundle, and how many bytes follow them.

    Raises FormatError naming `what` where it holds fewer, breaks off within one, or has an empty one.
    """
    entries: list[bytes] = []
    offset = 0
    while len(entries) < count:
        start = offset + LENGTH_BYTES
        if start > len(data):
            raise FormatError(f"{what}: ends after {len(entries)} entries, {count} are expected")
        offset = start + int.from_bytes(data[offset:start], "big")
        if offset > len(data):
            raise FormatError(f"{what}: ends within its entry {len(entries)}")
        if offset == start:
            raise FormatError(f"{what}: its entry {len(entries)} is empty")
        entries.append(data[start:offset])
    return tuple(entries), len(data) - offset
