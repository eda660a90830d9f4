"""Baselines: any bytes end in a value or in one of our errors, and what is written reads back."""

import tracemalloc

import zstandard
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from tidegate.baseline import BASELINE_TYPE, HEADER, MAGIC, Baseline, build_baseline, read_signed
from tidegate.errors import TidegateError
from tidegate.trust.envelope import sign_detached
from tidegate.trust.keys import key_id


class Signer:
    """A key in memory."""

    def __init__(self) -> None:
        self._key = SigningKey(bytes(range(32)))
        self.public = bytes(self._key.verify_key)
        self.key_id = key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        return bytes(self._key.sign(message).signature)


SIGNER = Signer()
KEYS = {"plant-7": SIGNER.public}
BLOBS = st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(0, 2**42), max_size=20)


def refused_or_read(data: bytes) -> None:
    try:
        read_signed(data, KEYS)
    except TidegateError as error:
        assert error.message


def signed(frame: bytes) -> bytes:
    signatures = sign_detached(frame, BASELINE_TYPE, (SIGNER,))
    return HEADER.pack(MAGIC, len(signatures), len(frame)) + signatures + frame


@given(BLOBS)
def test_a_baseline_reads_back_and_equal_content_gives_equal_bytes(blobs: dict[bytes, int]) -> None:
    baseline = Baseline("plant-7", "2026-01-01T00:00:00Z", blobs)
    data = build_baseline(baseline, SIGNER)
    assert read_signed(data, KEYS)[0] == baseline
    turned = Baseline("plant-7", "2026-01-01T00:00:00Z", dict(reversed(blobs.items())))
    assert build_baseline(turned, SIGNER) == data


@given(st.binary(max_size=400))
def test_any_bytes_end_in_one_of_our_errors(data: bytes) -> None:
    refused_or_read(data)
    refused_or_read(MAGIC + data)
    refused_or_read(HEADER.pack(MAGIC, len(data) // 2, len(data) - len(data) // 2) + data)


@given(st.binary(max_size=400), st.booleans())
def test_any_signed_frame_ends_in_one_of_our_errors(payload: bytes, is_compressed: bool) -> None:
    refused_or_read(signed(zstandard.ZstdCompressor().compress(payload) if is_compressed else payload))


@given(BLOBS, st.data())
def test_a_changed_byte_is_always_refused(blobs: dict[bytes, int], draw: st.DataObject) -> None:
    data = bytearray(build_baseline(Baseline("plant-7", "2026-01-01T00:00:00Z", blobs), SIGNER))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    try:
        read_signed(bytes(data), KEYS)
    except TidegateError:
        return
    raise AssertionError(f"byte {at} was changed, and nobody noticed")


def test_a_frame_that_claims_to_be_huge_is_refused_before_memory_is_taken() -> None:
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(200 * 2**20))
    assert len(bomb) < 2**20
    refused_or_read(signed(bomb))
    try:
        read_signed(signed(bomb), KEYS)
    except TidegateError as error:
        assert "I-4" in error.message


def test_a_frame_that_unpacks_beyond_what_it_claims_is_given_up_at_its_claim() -> None:
    content = bytes(64 * 2**20)
    packer = zstandard.ZstdCompressor(level=1, write_content_size=True).compressobj(size=len(content))
    bomb = bytearray(packer.compress(content) + packer.flush())
    assert bomb[4] >> 6 == 2 and not bomb[4] & 0x20, "its size stands in four bytes behind the window"
    bomb[6:10] = (5_000_000).to_bytes(4, "little")
    skippable = (0x184D2A50).to_bytes(4, "little") + (1000).to_bytes(4, "little") + bytes(1000)
    for frame in (bytes(bomb), skippable, bytes(bomb[:100])):
        tracemalloc.start()
        try:
            read_signed(signed(frame), KEYS)
        except TidegateError as error:
            assert "I-4" in error.message
            assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
        else:
            raise AssertionError("it was believed")
        finally:
            tracemalloc.stop()
