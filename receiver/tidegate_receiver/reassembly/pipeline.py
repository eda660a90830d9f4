"""Verified bytes of chunks go in, content of blobs comes out on the disk: the fast path of receiving.

Threads compare a chunk's digest, decompress it and write its pieces; all three release the GIL. The caller's thread
settles the chunks in the order in which they were given, so that blobs are hashed from their first byte to their last.
What is in flight is bounded by `WINDOW_CHUNKS`. The bytes given are a view of the caller's memory: `drain` comes
before that memory is used again.
"""

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from tidegate.bundle.chunks import ChunkOpener
from tidegate.bundle.placement import Piece, Placement
from tidegate.bundle.tables import Tables
from tidegate.errors import DigestError
from tidegate_receiver.reassembly.blobs import BlobDigests, BlobFiles
from tidegate_receiver.reassembly.progress import Progress

THREADS = 2
WINDOW_CHUNKS = THREADS + 2  # of at most 4 MiB of content each


@dataclass(frozen=True, slots=True)
class _Opened:
    """A chunk whose content is written, with what is needed to hash it."""

    pieces: tuple[Piece, ...]
    content: memoryview


class ChunkPipeline:
    """Opens chunks of one bundle in threads. `progress` is marked as chunks and blobs are verified."""

    def __init__(self, tables: Tables, placement: Placement, files: BlobFiles, progress: Progress) -> None:
        self._chunks = tables.chunks
        self._placement = placement
        self._files = files
        self._digests = BlobDigests(files)
        self._progress = progress
        self._threads = ThreadPoolExecutor(THREADS, "chunks")
        self._local = threading.local()
        self._waiting: deque[tuple[int, Future[_Opened]]] = deque()
        self._failed: list[tuple[int, DigestError]] = []
        self.stored_bytes = 0

    def submit(self, chunk: int, stored: memoryview) -> None:
        """Give the whole stored bytes of a chunk. Raises what an earlier chunk came to, but for a wrong digest."""
        while len(self._waiting) >= WINDOW_CHUNKS:
            self._settle_oldest()
        self._waiting.append((chunk, self._threads.submit(self._open, chunk, stored)))

    def drain(self) -> tuple[tuple[int, DigestError], ...]:
        """Settle all that was given; the chunks whose bytes are not what was signed, each with its error."""
        while self._waiting:
            self._settle_oldest()
        failed, self._failed = tuple(self._failed), []
        return failed

    def close(self) -> None:
        """Wait until no thread touches the caller's memory any more; what was not settled is forgotten."""
        futures = [future for _, future in self._waiting]
        self._waiting.clear()
        for future in futures:
            future.cancel()
        wait(futures)
        self._threads.shutdown()

    def _open(self, chunk: int, stored: memoryview) -> _Opened:
        record = self._chunks[chunk]
        content = memoryview(
            self._opener.open(chunk, stored, int(record["codec"]), int(record["raw"]), record["digest"].tobytes())
        )
        pieces = tuple(self._placement.pieces(chunk))
        for piece in pieces:
            self._files.write(piece, content)
        return _Opened(pieces, content)

    @property
    def _opener(self) -> ChunkOpener:
        opener: ChunkOpener | None = getattr(self._local, "opener", None)
        if opener is None:
            opener = self._local.opener = ChunkOpener()
        return opener

    def _settle_oldest(self) -> None:
        chunk, future = self._waiting.popleft()
        try:
            opened = future.result()
        except DigestError as error:
            self._failed.append((chunk, error))
            return
        for piece in opened.pieces:
            if self._digests.add(piece, opened.content):
                self._files.finish(piece.blob)
                self._progress.blobs[piece.blob] = True
        self._progress.chunks[chunk] = True
        self.stored_bytes += int(self._chunks["stored"][chunk])
