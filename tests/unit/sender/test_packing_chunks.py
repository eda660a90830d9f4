"""The pipeline of chunks: every blob verified while it is read, everything in order, nothing hangs when one fails."""

import errno
import os
import random
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from tidegate.bundle.chunks import ChunkOpener
from tidegate.bundle.container import BundleWriter
from tidegate.bundle.header import HEADER_BYTES
from tidegate.bundle.placement import Placement
from tidegate.bundle.tables import STORED, ZSTD, Tables
from tidegate.depot.seals import Sealer, Seals
from tidegate.errors import BlobDamagedError, BlobMissingError, DiskFullError, HostError
from tidegate.units import MIB
from tidegate_sender.packing.chunks import ChunkPipeline
from tidegate_sender.packing.layout import lay_out


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Folder:
    """Blobs as files, as in a depot."""

    path: Path
    seals: Seals = field(default_factory=Seals)

    def blob_path(self, digest: str) -> Path:
        return self.path / digest.removeprefix("sha256:")

    def add(self, data: bytes) -> Blob:
        digest = f"sha256:{sha256(data).hexdigest()}"
        self.blob_path(digest).write_bytes(data)
        return Blob(digest, len(data))

    def add_sealed(self, data: bytes) -> Blob:
        blob, sealer = self.add(data), Sealer()
        sealer.update(memoryview(data))
        self.seals.put(blob.digest, sealer.finish())
        return blob


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "blobs").mkdir()
    return Folder(tmp_path / "blobs")


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def run(folder: Folder, blobs: list[Blob], target: Path) -> tuple[Tables, bytes]:
    layout = lay_out(blobs)
    writer = BundleWriter(target)
    counted: list[int] = []
    try:
        with ChunkPipeline(layout, folder, writer, counted.append) as pipeline:
            chunks = pipeline.run()
    finally:
        writer.close()
    assert sum(counted) == sum(blob.size for blob in blobs)
    return Tables(layout.blobs, layout.segments, chunks, Tables.empty().required), target.read_bytes()[HEADER_BYTES:]


def test_every_blob_comes_back_from_the_chunks(folder: Folder, tmp_path: Path) -> None:
    contents = [
        b"",
        b"a",
        noise(1000),
        b"text " * 100_000,
        noise(MIB),
        bytes(9 * MIB),
        noise(5 * MIB, 2),
        noise(70_000),
    ]
    blobs = [folder.add(data) for data in contents]
    tables, part = run(folder, blobs, tmp_path / "x")
    placement = Placement.of(tables)
    found = [bytearray(int(size)) for size in tables.blobs["size"]]
    for number, chunk in enumerate(tables.chunks):
        stored = part[int(chunk["offset"]) :][: int(chunk["stored"])]
        content = ChunkOpener().open(number, stored, int(chunk["codec"]), int(chunk["raw"]), bytes(chunk["digest"]))
        for piece in placement.pieces(number):
            source = memoryview(content)[piece.chunk_offset : piece.chunk_offset + piece.length]
            found[piece.blob][piece.blob_offset : piece.blob_offset + piece.length] = source
    for blob, data in zip(blobs, contents, strict=True):
        assert bytes(found[tables.find_blob(blob.digest) or 0]) == data


def test_the_same_blobs_give_the_same_bytes(folder: Folder, tmp_path: Path) -> None:
    blobs = [folder.add(noise(size, size)) for size in (10, MIB, 9 * MIB)] + [folder.add(b"tide " * 2_000_000)]
    first = run(folder, blobs, tmp_path / "x")
    second = run(folder, blobs, tmp_path / "y")
    assert first[1] == second[1]
    assert first[0].chunks.tobytes() == second[0].chunks.tobytes()


@pytest.mark.parametrize("size", [10, MIB - 1, MIB, 4 * MIB, 9 * MIB + 3, 40 * MIB])
@pytest.mark.parametrize("at", ["first", "last"])
def test_a_flipped_byte_of_a_blob_stops_the_pack(folder: Folder, tmp_path: Path, size: int, at: str) -> None:
    blob = folder.add(noise(size))
    path = folder.blob_path(blob.digest)
    data = bytearray(path.read_bytes())
    data[0 if at == "first" else -1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BlobDamagedError, match=blob.digest):
        run(folder, [folder.add(b"before"), blob, folder.add(noise(3 * MIB, 9))], tmp_path / "x")


@pytest.mark.parametrize("content", [noise(9 * MIB + 3), b"compressible " * MIB], ids=["stored", "compressed"])
def test_a_sealed_blob_gives_the_same_bundle(folder: Folder, tmp_path: Path, content: bytes) -> None:
    blobs = [folder.add(b"before"), folder.add(content), folder.add(noise(5 * MIB, 9))]
    plain = run(folder, blobs, tmp_path / "x")
    assert set(plain[0].chunks["codec"].tolist()) <= {STORED, ZSTD}
    folder.add_sealed(content)
    sealed = run(folder, blobs, tmp_path / "y")
    assert (plain[1], plain[0].chunks.tobytes()) == (sealed[1], sealed[0].chunks.tobytes())


@pytest.mark.parametrize("content", [noise(9 * MIB), b"compressible " * MIB], ids=["stored", "compressed"])
@pytest.mark.parametrize("at", [0, 5 * MIB, -1])
def test_a_flipped_byte_of_a_sealed_blob_stops_the_pack(
    folder: Folder, tmp_path: Path, content: bytes, at: int
) -> None:
    blob = folder.add_sealed(content)
    damaged = bytearray(content)
    damaged[at] ^= 1
    folder.blob_path(blob.digest).write_bytes(damaged)
    with pytest.raises(BlobDamagedError, match=f"{blob.digest}: its bytes are not those that were brought"):
        run(folder, [folder.add(b"before"), blob, folder.add(noise(3 * MIB, 9))], tmp_path / "x")


def test_a_seal_of_another_length_counts_for_nothing(folder: Folder, tmp_path: Path) -> None:
    blob = folder.add(noise(9 * MIB))
    folder.seals.put(blob.digest, (b"",))
    run(folder, [blob], tmp_path / "x")
    folder.blob_path(blob.digest).write_bytes(noise(9 * MIB, 2))
    with pytest.raises(BlobDamagedError, match="its bytes are of the digest sha256:"):
        run(folder, [blob], tmp_path / "y")


@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_a_blob_of_another_length_is_refused_before_it_is_read(folder: Folder, tmp_path: Path, size: int) -> None:
    blob = folder.add(noise(size))
    for length in (size - 1, size + 1):
        os.truncate(folder.blob_path(blob.digest), length)
        with pytest.raises(BlobDamagedError, match=f"has {length} bytes, expected {size}"):
            run(folder, [blob], tmp_path / f"x{length}")


def test_a_missing_blob_is_named(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(BlobMissingError, match="sha256:11"):
        run(folder, [folder.add(noise(5 * MIB)), Blob("sha256:" + "11" * 32, 5)], tmp_path / "x")


def test_a_read_error_is_a_host_error(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = folder.add(noise(9 * MIB))

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(HostError, match=blob.digest):
        run(folder, [blob], tmp_path / "x")


def test_a_full_disk_in_the_middle_ends_the_threads_and_is_named(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = [folder.add(noise(40 * MIB))]
    written, whole = 0, os.pwrite

    def fill_up(fd: int, data: memoryview, offset: int) -> int:
        nonlocal written
        written += len(data)
        if written > 10 * MIB:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", fill_up)
    with pytest.raises(DiskFullError):
        run(folder, blobs, tmp_path / "x")
