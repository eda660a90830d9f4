"""Read blobs once, verify them, and bring them as chunks into a bundle file.

    this thread     read 4 MiB ─► [window of recycled buffers] ─► write chunks in order
    two workers                pack: sample, zstd, BLAKE3     hash: SHA-256 of large blobs     read what is sealed

The interpreter only hands buffers over: reading, hashing, compressing and writing all happen outside its lock. A large
blob's SHA-256 runs in a *lane*: its pieces are hashed in order by whichever worker is free, beside those of other
blobs. One that this process brought has a seal (`tidegate.depot.seals`): its chunks are its pieces, whose BLAKE3 is
made anyway, so that a worker reads, compares and packs each on its own. A blob whose bytes are not those that its
digest names stops the pack.
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

import blake3

from tidegate.bundle.chunks import SAMPLE_BYTES, ChunkPacker, PackedChunk, sample_offset
from tidegate.bundle.tables import CHUNK_MAX_BYTES, STORED, Records
from tidegate.depot.seals import Seal, Seals
from tidegate.errors import BlobDamagedError, BlobMissingError
from tidegate.files import host_error, read_all_at
from tidegate.hollow import chunks_of_one_piece
from tidegate_sender.packing.layout import SMALL_BELOW_BYTES, Layout, SizedBlob

WORKERS = 2
#: chunks in flight: one read, one written, three a worker; 32 MiB
WINDOW = 3 * WORKERS + 2


class BlobFolder(Protocol):
    """Where blobs lie, and the seals of those that this process brought there; the depot is one."""

    @property
    def seals(self) -> Seals: ...
    def blob_path(self, digest: str) -> Path: ...


class ChunkSink(Protocol):
    """Takes the stored bytes of the chunks in order; a bundle file is one."""

    @property
    def chunks_length(self) -> int: ...
    def append_chunk(self, stored: bytes | bytearray | memoryview) -> None: ...
    def skip_chunk(self, length: int) -> None: ...


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


@dataclass(frozen=True, slots=True)
class _SealedPiece:
    """A chunk that is one piece of a sealed blob: where it lies, and what it must be."""

    depot: BlobFolder
    blob: SizedBlob
    offset: int
    digest: bytes

    def read(self, view: memoryview, skip: int = 0) -> None:
        fd = open_blob(self.depot, self.blob)
        try:
            read_blob(fd, self.blob, view, self.offset + skip)
        finally:
            os.close(fd)

    def check(self, content: memoryview, packed: PackedChunk) -> None:
        """Raises BlobDamagedError."""
        found = packed.digest if packed.codec == STORED else blake3.blake3(content).digest()
        if found != self.digest:
            raise damaged(self.blob, "not those that were brought a moment ago")


@dataclass(slots=True)
class _Checks:
    """What is still to be compared of a buffer's content."""

    hashing: list[Future[None]] = field(default_factory=list)
    #: large blobs that end in this chunk
    ended: list[_Lane] = field(default_factory=list)
    sealed: _SealedPiece | None = None


@dataclass(slots=True)
class _Filled:
    """A buffer on its way: content that was read, and the hashes that still look at it."""

    buffer: bytearray
    packed: "Future[PackedChunk]"
    checks: _Checks


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
        self._seal: Seal | None = None
        self._small = sha256()

    def fill(self, view: memoryview) -> _Checks:
        """Fill `view` with the content that comes next, but where it is sealed; how it is compared."""
        if self._left == 0:
            self._open(next(self._blobs))
        if self._seal is not None:
            return _Checks(sealed=self._sealed_piece(self._seal, len(view)))
        checks = _Checks()
        filled = 0
        while filled < len(view):
            if self._left == 0:
                self._open(next(self._blobs))
            count = min(self._left, len(view) - filled)
            self._read(view[filled : filled + count], checks)
            filled += count
            if self._left == 0:
                checks.ended += self._end()
        return checks

    def _sealed_piece(self, seal: Seal, count: int) -> _SealedPiece:
        """The next chunk: a large blob has its chunks for itself, so each is a piece of the seal."""
        assert self._blob is not None
        offset = self._blob.size - self._left
        self._left -= count
        return _SealedPiece(self._depot, self._blob, offset, seal[offset // CHUNK_MAX_BYTES])

    def _open(self, blob: SizedBlob) -> None:
        self._blob, self._left = blob, blob.size
        is_large = blob.size >= SMALL_BELOW_BYTES
        self._seal = self._seal_of(blob) if is_large else None
        if self._seal is not None:
            return
        self._fd = open_blob(self._depot, blob)
        # A large blob is hashed by the workers; for a small one the hand-over would cost more than the hash.
        self._lane = _Lane(blob, self._workers) if is_large else None
        self._small = sha256()

    def _seal_of(self, blob: SizedBlob) -> Seal | None:
        """One of another length is of other bytes: then the blob's own digest says so."""
        seal = self._depot.seals.get(blob.digest)
        return seal if seal is not None and len(seal) == -(-blob.size // CHUNK_MAX_BYTES) else None

    def _read(self, piece: memoryview, checks: _Checks) -> None:
        assert self._blob is not None
        read_blob(self._fd, self._blob, piece, self._blob.size - self._left)
        self._left -= len(piece)
        if self._lane is not None:
            checks.hashing.append(self._lane.feed(piece))
        else:
            self._small.update(piece)

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

    def __init__(
        self, layout: Layout, depot: BlobFolder, writer: ChunkSink, progress: Progress, *, hollow: bool = False
    ) -> None:
        self._is_hollow = hollow
        self._may_be_hole = chunks_of_one_piece(layout.segments, len(layout.chunks)) & hollow
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
        checks = self._reader.fill(view)
        return _Filled(buffer, self._workers.submit(self._pack, view, checks.sealed), checks)

    def _pack(self, view: memoryview, sealed: _SealedPiece | None) -> PackedChunk:
        packer: ChunkPacker | None = getattr(self._packers, "packer", None)
        if packer is None:
            packer = self._packers.packer = ChunkPacker()
        if sealed is not None:
            if self._is_hollow and _is_stored(packer, sealed, view):
                return PackedChunk(STORED, len(view), view, sealed.digest)
            sealed.read(view)
        packed = packer.pack(view)
        if sealed is not None:
            sealed.check(view, packed)
        return packed

    def _write(self, filled: _Filled, chunks: Records, number: int) -> None:
        packed = filled.packed.result()
        chunks[number] = (
            self._writer.chunks_length, len(packed.stored), packed.raw, packed.codec, b"", packed.digest
        )  # fmt: skip
        if packed.codec == STORED and self._may_be_hole[number]:
            self._writer.skip_chunk(packed.raw)
        else:
            self._writer.append_chunk(packed.stored)
        for done in filled.checks.hashing:
            done.result()
        for lane in filled.checks.ended:
            lane.check()
        self._free.append(filled.buffer)
        self._progress(packed.raw)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.shutdown(cancel_futures=True)
        self._reader.close()


def _is_stored(packer: ChunkPacker, sealed: _SealedPiece, memory: memoryview) -> bool:
    """Whether a sealed chunk is stored as it is, by its sample alone; what it is read from is compared when it is sent.

    `memory` is written over.
    """
    at = sample_offset(len(memory))
    if at is None:
        return False
    sealed.read(memory[:SAMPLE_BYTES], at)
    return not packer.is_worth_trying(memory[:SAMPLE_BYTES])


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


def read_blob(fd: int, blob: SizedBlob, view: memoryview, offset: int) -> None:
    """Fill `view` from `offset` on. Raises BlobDamagedError where the file ends before, HostError."""
    try:
        count = read_all_at(fd, view, offset)
    except OSError as error:
        raise host_error(error, f"reading blob {blob.digest}") from None
    if count < len(view):
        raise BlobDamagedError(f"blob {blob.digest}: ends before its {blob.size} bytes")


def check_digest(blob: SizedBlob, found: str) -> None:
    """Raises BlobDamagedError when the bytes that were read are not the blob."""
    if blob.digest != f"sha256:{found}":
        raise damaged(blob, f"of the digest sha256:{found}")


def damaged(blob: SizedBlob, found: str) -> BlobDamagedError:
    return BlobDamagedError(
        f"blob {blob.digest}: its bytes are {found}",
        hint="the disk under the depot may be failing; remove the blob and collect the artifact again",
    )
