"""Compare chunks with their signed digests while the bytes of part 2 go by in order.

Bytes come as ranges, some of them known to be missing; a chunk that lies across two ranges is joined, and the
memory is bounded by the size of one chunk. Digests are computed in two threads (BLAKE3 releases the GIL).
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import blake3
import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.tables import Tables

THREADS = 2
IN_FLIGHT = 16


class ChunkCheck:
    """Feed it the ranges of part 2, rising and without a gap; ask for `wrong` afterwards. A context manager."""

    def __init__(self, tables: Tables) -> None:
        chunks = tables.chunks
        self._offsets: NDArray[np.uint64] = chunks["offset"]
        self._stored: NDArray[np.uint32] = chunks["stored"]
        self._digests = chunks["digest"]
        self._next = 0
        self._carried = bytearray()
        self._carried_whole = True
        self._pool = ThreadPoolExecutor(THREADS, "chunks")
        self._running: deque[Future[bool]] = deque()
        self.wrong = 0

    def feed(self, offset: int, data: memoryview, missing: tuple[tuple[int, int], ...] = ()) -> None:
        """The bytes of part 2 from `offset`; `missing` are ranges (offset in the part, length) without meaning.

        `data` is not used after this call returns.
        """
        end = offset + len(data)
        while self._next < len(self._offsets):
            start, length = int(self._offsets[self._next]), int(self._stored[self._next])
            begin = max(start, offset)
            piece = data[begin - offset : min(start + length, end) - offset]
            whole = not any(lost < start + length and start < lost + size for lost, size in missing)
            if start + length > end:
                self._carried += piece
                self._carried_whole = self._carried_whole and whole
                break
            if start < offset:
                whole = whole and self._carried_whole
                self._submit(bytes(self._carried + piece), whole)
                self._carried, self._carried_whole = bytearray(), True
            else:
                self._submit(piece, whole)
            self._next += 1
        while self._running:
            self._collect()

    def _submit(self, stored: bytes | memoryview, whole: bool) -> None:
        digest = bytes(self._digests[self._next])
        if not whole:
            self.wrong += 1
            return
        self._running.append(self._pool.submit(_matches, stored, digest))
        if len(self._running) >= IN_FLIGHT:
            self._collect()

    def _collect(self) -> None:
        if not self._running.popleft().result():
            self.wrong += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown()


def _matches(stored: bytes | memoryview, digest: bytes) -> bool:
    return blake3.blake3(stored).digest() == digest
