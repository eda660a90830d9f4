"""Seals: BLAKE3 of each piece of a large blob, made as it is written, of bytes that had the digest that names it."""

import random
from hashlib import sha256
from pathlib import Path

import blake3
import pytest

from tidegate.bundle.tables import CHUNK_MAX_BYTES
from tidegate.depot.seals import PIECE_BYTES, SEALED_MIN_BYTES, Sealer
from tidegate.depot.store import Depot
from tidegate.errors import BlobDamagedError
from tidegate.units import MIB


def pieces(data: bytes) -> tuple[bytes, ...]:
    return tuple(
        blake3.blake3(data[start : start + PIECE_BYTES]).digest() for start in range(0, len(data), PIECE_BYTES)
    )


def digest_of(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_a_piece_is_as_long_as_a_chunk() -> None:
    assert PIECE_BYTES == CHUNK_MAX_BYTES


@pytest.mark.parametrize("size", [MIB, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 8 * MIB, 9 * MIB + 5])
@pytest.mark.parametrize("step", [MIB, 3 * MIB + 7, 20 * MIB])
def test_a_seal_does_not_depend_on_how_the_bytes_came(size: int, step: int) -> None:
    data, sealer = noise(size), Sealer()
    for start in range(0, size, step):
        sealer.update(memoryview(data)[start : start + step])
    assert sealer.finish() == pieces(data)


def test_a_large_blob_that_is_brought_is_sealed_and_a_small_one_is_not(tmp_path: Path) -> None:
    depot = Depot(tmp_path / "depot")
    large, small = noise(SEALED_MIN_BYTES), noise(SEALED_MIN_BYTES - 1)
    with depot.commit(seal=True) as commit:
        commit.add(large)
        commit.add(small)
    assert depot.seals.get(digest_of(large)) == pieces(large)
    assert depot.seals.get(digest_of(small)) is None


def test_a_blob_of_unknown_length_is_sealed_when_it_turns_out_to_be_large(tmp_path: Path) -> None:
    depot, data = Depot(tmp_path / "depot"), noise(5 * MIB)
    with depot.commit(seal=True) as commit, commit.writer() as writer:
        writer.write(data)
        writer.finish()
    assert depot.seals.get(digest_of(data)) == pieces(data)


def test_what_has_not_its_digest_leaves_no_seal(tmp_path: Path) -> None:
    depot, data = Depot(tmp_path / "depot"), noise(2 * MIB)
    wanted = digest_of(b"another")
    with depot.commit(seal=True) as commit, pytest.raises(BlobDamagedError), commit.writer(wanted, len(data)) as writer:
        writer.write(data)
        writer.finish()
    assert depot.seals.get(wanted) is None
    assert depot.seals.get(digest_of(data)) is None


def test_a_commit_that_nobody_asked_to_seal_leaves_none_and_no_process_inherits_them(tmp_path: Path) -> None:
    depot, data = Depot(tmp_path / "depot"), noise(2 * MIB)
    with depot.commit() as commit:
        commit.add(data)
    assert depot.seals.get(digest_of(data)) is None
    with depot.commit(seal=True) as commit:
        commit.add(noise(3 * MIB))
    assert Depot(tmp_path / "depot").seals.get(digest_of(noise(3 * MIB))) is None
