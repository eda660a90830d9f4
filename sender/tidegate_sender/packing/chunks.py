"""Read blobs once, verify them, and bring them as chunks into a bundle file.

    this thread     read 4 MiB ─► [window of recycled buffers] ─► write chunks in order
    two workers                pack: sample, zstd, BLAKE3     hash: SHA-256 of large blobs

The interpreter only hands buffers over: reading, hashing, compressing and writing all happen outside its lock. A large
blob's SHA-256 runs in a *lane*: its pieces are hashed in order by whichever worker is free, beside those of other
blobs. A blob whose bytes do not have the digest that names it stops the pack.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock, local
from typing import Protocol, Self

from tidegate.bundle.chunks import ChunkPacker, PackedChunk
from tidegate.bundle.tables import CHUNK_MAX_BYTES, Records
from tidegate.errors import BlobDamagedError, BlobMissingError
from tidegate.files import host_error
from tidegate_sender.packing.layout import SMALL_BELOW_BYTES, Layout, SizedBlob

WORKERS = 2
#: chunks in flight: one read, one written, three a worker; 32 MiB
WINDOW = 3 * WORKERS + 2


class BlobFolder(Protocol):
    """Where blobs lie; the depot is one."""

    def blob_path(self, digest: str) -> Path: ...


class ChunkSink(Protocol):
    """Takes the stored bytes of the chunks in order; a bundle file is one."""

    @property
    def chunks_length(self) -> int: ...
    def append_chunk(self, stored: bytes | bytearray | memoryview) -> None: ...


class Progress(Protocol):
    """Told how many bytes of content were brought since the last call."""

    def __call__(self, count: int, /) -> None: ...


class _Lane:
    """The SHA-256 of one blob, fed in order by the reader and worked on by one worker at a time."""

    def __init__(self, blob: SizedBlob, workers: ThreadPoolExecutor) -> None:
        self.blob = blob
        self._workers = workers
        self._hash = sha256()
        self._lock = Lock()
        self._waiting: deque[tuple[memoryview, Future[None]]] = deque()
        self._is_served = False

    def feed(self, piece: memoryview) -> "Future[None]":
        """Queue the next piece; the answer is done when its bytes are no longer needed."""
        done: Future[None] = Future()
        with self._lock:
            self._waiting.append((piece, done))
            if self._is_served:
                return done
            self._is_served = True
        self._workers.submit(self._serve)
        return done

    def _serve(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_served = False
                    return
                piece, done = self._waiting.popleft()
            self._hash.update(piece)
            piece.release()
            done.set_result(None)

    def check(self) -> None:
        """Compare the digest; every piece must be done."""
        check_digest(self.blob, self._hash.hexdigest())


@dataclass(slots=True)
class _Filled:
    """A buffer on its way: content that was read, and the hashes that still look at it."""

    view: memoryview
    buffer: bytearray
    packed: "Future[PackedChunk]"
    hashing: list[Future[None]] = field(default_factory=list)
    #: large blobs that end in this chunk
    ended: list[_Lane] = field(default_factory=list)


class _Reader:
    """Fills buffers with the content of the chunks, blob after blob."""

    def __init__(self, layout: Layout, depot: BlobFolder, workers: ThreadPoolExecutor) -> None:
        self._depot = depot
        self._workers = workers
        self._blobs: Iterator[SizedBlob] = iter([blob for blob in layout.reading if blob.size])
        self._blob: SizedBlob | None = None
        self._fd = -1
        self._left = 0
        self._lane: _Lane | None = None
        self._small = sha256()

    def fill(self, view: memoryview) -> tuple[list[Future[None]], list[_Lane]]:
        """Fill `view` with the content that comes next: what hashes it still, and which lanes end in it."""
        hashing: list[Future[None]] = []
        ended: list[_Lane] = []
        filled = 0
        while filled < len(view):
            if self._left == 0:
                self._open(next(self._blobs))
            count = min(self._left, len(view) - filled)
            piece = view[filled : filled + count]
            self._read(piece)
            self._left -= count
            filled += count
            if self._lane is None:
                self._small.update(piece)
            else:
                hashing.append(self._lane.feed(piece))
            if self._left == 0:
                ended += self._end()
        return hashing, ended

    def _open(self, blob: SizedBlob) -> None:
        self._blob = blob
        self._fd = open_blob(self._depot, blob)
        self._left = blob.size
        # A large blob is hashed by the workers; for a small one the hand-over would cost more than the hash.
        self._lane = _Lane(blob, self._workers) if blob.size >= SMALL_BELOW_BYTES else None
        self._small = sha256()

    def _read(self, piece: memoryview) -> None:
        assert self._blob is not None
        done = 0
        while done < len(piece):
            try:
                count = os.readv(self._fd, [piece[done:]])
            except OSError as error:
                raise host_error(error, f"reading blob {self._blob.digest}") from None
            if count == 0:
                raise BlobDamagedError(f"blob {self._blob.digest}: ends before its {self._blob.size} bytes")
            done += count

    def _end(self) -> list[_Lane]:
        assert self._blob is not None
        self.close()
        if self._lane is not None:
            return [self._lane]
        check_digest(self._blob, self._small.hexdigest())
        return []

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class ChunkPipeline:
    """Packs the chunks of a layout into a writer. Use as a context manager: it ends its threads."""

    def __init__(self, layout: Layout, depot: BlobFolder, writer: ChunkSink, progress: Progress) -> None:
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="pack")
        self._packers = local()
        self._layout = layout
        self._reader = _Reader(layout, depot, self._workers)
        self._writer = writer
        self._progress = progress
        self._free = [bytearray(CHUNK_MAX_BYTES) for _ in range(min(WINDOW, len(layout.chunks)))]

    def run(self) -> Records:
        """Bring every chunk into the writer; the chunks table, filled in."""
        chunks = self._layout.chunks.copy()
        window: deque[_Filled] = deque()
        written = 0
        for raw in chunks["raw"].tolist():
            if not self._free:
                self._write(window.popleft(), chunks, written)
                written += 1
            window.append(self._read(raw))
        while window:
            self._write(window.popleft(), chunks, written)
            written += 1
        return chunks

    def _read(self, raw: int) -> _Filled:
        buffer = self._free.pop()
        view = memoryview(buffer)[:raw]
        hashing, ended = self._reader.fill(view)
        return _Filled(view, buffer, self._workers.submit(self._pack, view), hashing, ended)

    def _pack(self, view: memoryview) -> PackedChunk:
        packer: ChunkPacker | None = getattr(self._packers, "packer", None)
        if packer is None:
            packer = self._packers.packer = ChunkPacker()
        return packer.pack(view)

    def _write(self, filled: _Filled, chunks: Records, number: int) -> None:
        packed = filled.packed.result()
        chunks[number] = (
            self._writer.chunks_length, len(packed.stored), packed.raw, packed.codec, b"", packed.digest
        )  # fmt: skip
        self._writer.append_chunk(packed.stored)
        for done in filled.hashing:
            done.result()
        for lane in filled.ended:
            lane.check()
        self._free.append(filled.buffer)
        self._progress(packed.raw)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.shutdown(cancel_futures=True)
        self._reader.close()


def open_blob(depot: BlobFolder, blob: SizedBlob) -> int:
    """A file descriptor of `blob`, whose size was compared. Raises BlobMissingError and BlobDamagedError."""
    path = depot.blob_path(blob.digest)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BlobMissingError(f"blob {blob.digest}: not in the depot", hint="collect the artifact again") from None
    except OSError as error:
        raise host_error(error, f"opening blob {blob.digest}") from None
    size = os.fstat(fd).st_size
    if size != blob.size:
        os.close(fd)
        raise BlobDamagedError(f"blob {blob.digest}: has {size} bytes, expected {blob.size}")
    return fd


def check_digest(blob: SizedBlob, found: str) -> None:
    """Raises BlobDamagedError when the bytes that were read are not the blob."""
    if blob.digest != f"sha256:{found}":
        raise BlobDamagedError(
            f"blob {blob.digest}: its bytes have the digest sha256:{found}",
            hint="the disk under the depot may be failing; remove the blob and collect the artifact again",
        )
