"""Chunks: the rules by which content is compressed or left, and back within the signed size."""

import random

import blake3
import pytest
import zstandard

from tidegate.bundle.chunks import ChunkOpener, ChunkPacker, compressor
from tidegate.bundle.tables import STORED, ZSTD
from tidegate.errors import DigestError, FormatError

TEXT = b"the tide comes in, the tide goes out, "


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("content", [b"x", TEXT * 100, TEXT * 100_000, noise(100), noise(70_000), bytes(4 << 20)])
def test_what_is_packed_opens_to_the_same_content(content: bytes) -> None:
    packed = ChunkPacker().pack(memoryview(content))
    stored = bytes(packed.stored)
    assert packed.digest == blake3.blake3(stored).digest()
    assert bytes(ChunkOpener().open(7, stored, packed.codec, packed.raw, packed.digest)) == content


def test_content_that_does_not_compress_is_stored_in_the_buffer_it_came_in() -> None:
    view = memoryview(noise(1 << 20))
    packed = ChunkPacker().pack(view)
    assert packed.codec == STORED
    assert packed.stored is view


def test_a_large_chunk_whose_middle_does_not_compress_is_not_tried() -> None:
    middle = noise(16 << 10)
    side = bytes(((64 << 10) - len(middle)) // 2)
    assert ChunkPacker().pack(memoryview(side + middle + side)).codec == STORED
    # One byte below the limit there is no sample, and the sides compress well.
    assert ChunkPacker().pack(memoryview((side + middle + side)[1:])).codec == ZSTD


def test_a_frame_that_saves_less_than_a_hundredth_is_not_used() -> None:
    side = noise(1 << 20)
    content = side + bytes(18 << 10) + side[::-1]  # the sample in the middle is promising, the whole is not
    frame = zstandard.ZstdCompressor(level=3).compress(content)
    assert len(content) * 99 < len(frame) * 100 < len(content) * 100
    assert ChunkPacker().pack(memoryview(content)).codec == STORED


def test_equal_content_gives_equal_bytes_in_every_packer() -> None:
    content = memoryview(TEXT * 50_000)
    used = ChunkPacker()
    used.pack(memoryview(noise(5000) + TEXT * 10))
    assert used.pack(content) == ChunkPacker().pack(content)


def test_the_compressor_names_its_version() -> None:
    assert compressor().version == ".".join(map(str, zstandard.ZSTD_VERSION))


def test_nothing_is_decompressed_whose_digest_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = ChunkPacker().pack(memoryview(TEXT * 100))
    opener = ChunkOpener()
    monkeypatch.setattr(opener, "decode", lambda *_: pytest.fail("decoded"))
    for at in range(len(packed.stored)):
        broken = bytearray(packed.stored)
        broken[at] ^= 1
        with pytest.raises(DigestError, match="chunk 3"):
            opener.open(3, broken, packed.codec, packed.raw, packed.digest)


def test_a_frame_is_held_to_the_signed_size() -> None:
    frame = bytes(ChunkPacker().pack(memoryview(TEXT * 100)).stored)
    for raw in (len(TEXT * 100) - 1, len(TEXT * 100) + 1, 0):
        with pytest.raises(FormatError, match="B-17"):
            ChunkOpener().decode(0, frame, ZSTD, raw)


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 28))
    with pytest.raises(FormatError, match="the frame says 268435456 bytes"):
        ChunkOpener().decode(0, bomb, ZSTD, 4 << 20)
    with pytest.raises(FormatError, match="B-17"):
        ChunkOpener().decode(0, bomb, ZSTD, 1 << 28)
