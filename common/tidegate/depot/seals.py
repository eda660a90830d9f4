"""What this process saw of the large blobs that it brought: BLAKE3 of each piece, beside the SHA-256 that names it.

A blob that is brought and then packed is read twice, and its bytes are compared both times. The second time a seal
will do: made of the very bytes that had the right SHA-256, as hard to forge, and a fifth of the work. Seals live in
memory and die with the process, so nobody can hand one in. Reasons: docs/decisions/0026-seals.md.
"""

import threading

import blake3

from tidegate.units import MIB

#: what is smaller is hashed again, which costs less than to remember it
SEALED_MIN_BYTES = 1 * MIB
#: as long as a chunk of a bundle: its digest is computed anyway when a blob is packed
PIECE_BYTES = 4 * MIB
DIGEST_BYTES = 32

#: BLAKE3 of a blob's pieces, in order; the last may be shorter
Seal = tuple[bytes, ...]


class Sealer:
    """Makes the seal of one blob from its bytes, in order."""

    def __init__(self) -> None:
        self._hash = blake3.blake3()
        self._room = PIECE_BYTES
        self._pieces: list[bytes] = []

    def update(self, data: memoryview) -> None:
        while len(data) >= self._room:
            self._hash.update(data[: self._room])
            data = data[self._room :]
            self._end_piece()
        if data:
            self._hash.update(data)
            self._room -= len(data)

    def _end_piece(self) -> None:
        self._pieces.append(self._hash.digest())
        self._hash, self._room = blake3.blake3(), PIECE_BYTES

    def finish(self) -> Seal:
        if self._room < PIECE_BYTES:
            self._end_piece()
        return tuple(self._pieces)


class Seals:
    """The seals of a depot's blobs that this process brought, by digest. Threads may share it."""

    def __init__(self) -> None:
        self._seals: dict[str, Seal] = {}
        self._lock = threading.Lock()

    def put(self, digest: str, seal: Seal) -> None:
        with self._lock:
            self._seals[digest] = seal

    def get(self, digest: str) -> Seal | None:
        """None for a blob that was here before, or is small."""
        return self._seals.get(digest)
