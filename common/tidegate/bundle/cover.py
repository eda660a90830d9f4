"""The cover: a list of pieces, the signatures first of all, and what rides along.

The cover is the one part that may differ between copies of a bundle; its symbols belong to one volume or session.
Pieces of unknown type are skipped unless they are marked critical. Format: docs/format/bundle.md, "Cover".
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from tidegate.bundle.header import COVER_MAX_BYTES
from tidegate.errors import FeatureUnknownError, FormatError
from tidegate.units import KIB

PIECES_MAX = 4096
SIGNATURES_MAX_BYTES = 64 * KIB
_CRITICAL = 1
_HEAD = struct.Struct("<HHI")


class PieceType(IntEnum):
    """The types that format 1 names."""

    SIGNATURES = 1
    LEDGER_CHECKPOINT = 2
    LEDGER_ENTRIES = 3
    LEDGER_PROOFS = 4
    COSIGNATURES = 5
    APPROVALS = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a cover. `type` may be a number that this version does not know."""

    type: int
    data: bytes
    critical: bool = False


def build_cover(pieces: Iterable[Piece]) -> bytes:
    """The bytes of a cover. Raises FormatError when the pieces break a limit."""
    listed = tuple(pieces)
    out = b"".join(_HEAD.pack(piece.type, _CRITICAL * piece.critical, len(piece.data)) + piece.data for piece in listed)
    if len(out) > COVER_MAX_BYTES or len(listed) > PIECES_MAX:
        raise FormatError(f"cover: {len(listed)} pieces in {len(out)} bytes are above the limit (B-1)")
    return out


def signatures_piece(envelope: bytes) -> Piece:
    """The piece that holds the detached DSSE envelope of the manifest."""
    return Piece(PieceType.SIGNATURES, envelope, critical=True)


def parse_cover(data: bytes | memoryview) -> tuple[Piece, ...]:
    """The pieces of a cover. Raises FormatError (B-1, B-3, B-4) and FeatureUnknownError (B-2)."""
    if len(data) > COVER_MAX_BYTES:
        raise FormatError(f"cover: {len(data)} bytes, the limit is {COVER_MAX_BYTES} (B-1)")
    pieces: list[Piece] = []
    offset = 0
    while offset < len(data):
        if len(pieces) == PIECES_MAX:
            raise FormatError(f"cover: more than {PIECES_MAX} pieces (B-1)")
        piece = _parse_piece(data, offset, len(pieces))
        pieces.append(piece)
        offset += _HEAD.size + len(piece.data)
    _check_signatures(pieces)
    return tuple(pieces)


def find_signatures(pieces: Iterable[Piece]) -> bytes:
    """The detached envelope of a parsed cover (there is exactly one)."""
    return next(piece.data for piece in pieces if piece.type == PieceType.SIGNATURES)


def _parse_piece(data: bytes | memoryview, offset: int, number: int) -> Piece:
    if len(data) - offset < _HEAD.size:
        raise FormatError(f"cover: piece {number} is cut off at byte {offset} (B-3)")
    type_, flags, length = _HEAD.unpack_from(data, offset)
    start = offset + _HEAD.size
    if flags & ~_CRITICAL:
        raise FormatError(f"cover: piece {number} has flags {flags:#06x}, only bit 0 is known (B-2)")
    if length > len(data) - start:
        raise FormatError(f"cover: piece {number} has {length} bytes, {len(data) - start} are left (B-3)")
    if flags & _CRITICAL and type_ not in PieceType.__members__.values():
        raise FeatureUnknownError(f"cover: critical piece of type {type_}, which this version does not know (B-2)")
    return Piece(type_, bytes(data[start : start + length]), bool(flags & _CRITICAL))


def _check_signatures(pieces: list[Piece]) -> None:
    found = [piece for piece in pieces if piece.type == PieceType.SIGNATURES]
    if len(found) != 1:
        raise FormatError(f"cover: {len(found)} signature pieces, expected one (B-4)")
    if not found[0].critical:
        raise FormatError("cover: the signature piece is not marked critical (B-4)")
    if len(found[0].data) > SIGNATURES_MAX_BYTES:
        raise FormatError(f"cover: signatures of {len(found[0].data)} bytes, the limit is {SIGNATURES_MAX_BYTES} (B-4)")
