"""One chunk: pack up to 4 MiB of content into a frame or leave it as it is, and back within its signed size.

Nothing is decompressed whose BLAKE3 digest was not compared with the signed table, and no frame is handed to the
decompressor before its header was read: content size as signed, window of at most 4 MiB, no dictionary. Rules:
docs/format/bundle.md, B-17 and B-18, and "How a sender lays chunks out".
"""

from dataclasses import dataclass

import blake3
import zstandard

from tidegate.bundle.manifest import Compressor
from tidegate.bundle.tables import CHUNK_MAX_BYTES, STORED, ZSTD
from tidegate.errors import DigestError, FormatError
from tidegate.units import KIB

LEVEL = 3
WINDOW_MAX_BYTES = CHUNK_MAX_BYTES
#: a chunk of this size or more is tried by a sample before it is compressed
SAMPLED_MIN_BYTES = 64 * KIB
SAMPLE_BYTES = 16 * KIB
SAMPLE_LEVEL = 1
SAMPLE_SAVING_PERCENT = 3
FRAME_SAVING_PERCENT = 1
_ZSTD_MAGIC = bytes.fromhex("28b52ffd")

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """A chunk as it will lie in part 2. `stored` may be the very buffer that was packed."""

    codec: int
    raw: int
    stored: Buffer
    digest: bytes


def sample_offset(raw: int) -> int | None:
    """Where the sample of a chunk of `raw` bytes begins; None for one that is compressed without."""
    return (raw - SAMPLE_BYTES) // 2 if raw >= SAMPLED_MIN_BYTES else None


def compressor() -> Compressor:
    """What packs chunks in this process."""
    return Compressor("zstd", ".".join(map(str, zstandard.ZSTD_VERSION)), LEVEL)


class ChunkPacker:
    """Packs chunks; one for each thread. The same content gives the same bytes with the same zstd."""

    def __init__(self) -> None:
        self._sample = zstandard.ZstdCompressor(level=SAMPLE_LEVEL)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)

    def pack(self, content: memoryview) -> PackedChunk:
        """Pack 1 … 4194304 bytes of content."""
        codec, stored = self._encode(content)
        return PackedChunk(codec, len(content), stored, blake3.blake3(stored).digest())

    def _encode(self, content: memoryview) -> tuple[int, Buffer]:
        raw = len(content)
        at = sample_offset(raw)
        if at is not None and not self.is_worth_trying(content[at : at + SAMPLE_BYTES]):
            return STORED, content
        frame = self._compressor.compress(content)
        if len(frame) * 100 > raw * (100 - FRAME_SAVING_PERCENT):
            return STORED, content
        return ZSTD, frame

    def is_worth_trying(self, sample: memoryview) -> bool:
        """Whether a chunk with this sample is compressed; else it is stored as it is."""
        return len(self._sample.compress(sample)) * 100 <= SAMPLE_BYTES * (100 - SAMPLE_SAVING_PERCENT)


class ChunkOpener:
    """Verifies and unpacks chunks; one for each thread."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX_BYTES)

    def open(self, number: int, stored: Buffer, codec: int, raw: int, digest: bytes) -> Buffer:
        """The content of chunk `number`: digest first (B-18), then codec and size (B-17).

        For a chunk that is stored as it is, the answer is `stored` itself. Raises DigestError and FormatError.
        """
        verify_chunk(number, stored, digest)
        return self.decode(number, stored, codec, raw)

    def decode(self, number: int, stored: Buffer, codec: int, raw: int) -> Buffer:
        """The content of a chunk whose digest was compared before. Raises FormatError."""
        if codec == STORED:
            if len(stored) != raw:
                raise FormatError(f"chunk {number}: {len(stored)} bytes stored as they are, expected {raw} (B-17)")
            return stored
        if codec != ZSTD:
            raise FormatError(f"chunk {number}: codec {codec} is unknown (B-17)")
        _check_frame(number, stored, raw)
        try:
            content = self._decompressor.decompress(
                stored, max_output_size=raw, read_across_frames=False, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise FormatError(f"chunk {number}: the frame does not decompress: {error} (B-17)") from None
        if len(content) != raw:
            raise FormatError(f"chunk {number}: the frame holds {len(content)} bytes, expected {raw} (B-17)")
        return content


def verify_chunk(number: int, stored: Buffer, digest: bytes) -> None:
    """B-18. Raises DigestError."""
    found = blake3.blake3(stored).digest()
    if found != digest:
        raise DigestError(f"chunk {number}: BLAKE3 {found.hex()}, the signed table says {digest.hex()} (B-18)")


def _check_frame(number: int, stored: Buffer, raw: int) -> None:
    """B-17: what a frame asks for is read from its header before anything is allocated for it."""
    # A skippable frame has other magics; the library would answer for it with sizes that mean nothing.
    if bytes(stored[:4]) != _ZSTD_MAGIC:
        raise FormatError(f"chunk {number}: starts with {bytes(stored[:4]).hex()}, no zstd frame (B-17)")
    try:
        frame = zstandard.get_frame_parameters(stored)
    except zstandard.ZstdError as error:
        raise FormatError(f"chunk {number}: the frame's header is damaged: {error} (B-17)") from None
    if raw > CHUNK_MAX_BYTES or frame.content_size != raw:
        raise FormatError(f"chunk {number}: the frame says {frame.content_size} bytes, expected {raw} (B-17)")
    if frame.window_size > WINDOW_MAX_BYTES:
        raise FormatError(f"chunk {number}: window of {frame.window_size}, the limit is {WINDOW_MAX_BYTES} (B-17)")
    if frame.dict_id != 0:
        raise FormatError(f"chunk {number}: needs dictionary {frame.dict_id} (B-17)")
