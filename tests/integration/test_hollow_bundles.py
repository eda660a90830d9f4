"""A hollow bundle, which `sync` makes: carried like a whole one, and never with a byte that was not packed."""

import os
import random
from pathlib import Path

import pytest
from stream_reader import StreamReader
from two_sides import Sides, noise

from tidegate.bundle.container import CHUNKS
from tidegate.errors import BlobDamagedError, BlobMissingError
from tidegate.hollow import HOLLOW_ENDING, HollowBundle, open_bundle
from tidegate_sender.packing.body import build_body
from tidegate_sender.packing.content import gather
from tidegate_sender.packing.reproduction import listed_artifacts

LARGE_BYTES = 9_500_000


@pytest.fixture
def hollow(sides: Sides) -> Path:
    """The file of a bundle with large and small files, of which one compresses."""
    docs = sides.make_files(count=2, size=LARGE_BYTES)
    sides.make_files(count=2, size=4000, name="docs/small")
    (docs / "zeros").write_bytes(bytes(5_000_000) + noise(7, 1000))
    (sides.folder / "list.yaml").write_text(f"tidegate: 1\nfiles: [{docs}]\n")
    sides.low.good("sync", sides.folder / "list.yaml")
    (path,) = (sides.low.root / "spool").glob("*.tgb")
    return path


def large_blob(sides: Sides) -> Path:
    blobs = (sides.low.root / "depot" / "blobs" / "sha256").iterdir()
    return min(path for path in blobs if path.stat().st_size >= LARGE_BYTES)


class _Whole:
    """The part 2 that a whole bundle of the same content has."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def chunks_length(self) -> int:
        return len(self.data)

    def append_chunk(self, stored: bytes | bytearray | memoryview) -> None:
        self.data += stored

    def skip_chunk(self, length: int) -> None:
        raise AssertionError("nothing is left out here")


def whole_part(sides: Sides, bundle: HollowBundle) -> bytes:
    """Part 2 as a whole bundle of this content has it, packed once more from the depot."""
    sink, manifest = _Whole(), bundle.manifest()
    with sides.low.workspace() as workspace:
        content = gather(workspace.depot, listed_artifacts(manifest))
        build_body(manifest, tuple(content.blobs.values()), bundle.tables().required, workspace.depot, sink)
    return bytes(sink.data)


def test_it_takes_little_room_and_any_range_of_it_reads_as_the_whole_one(sides: Sides, hollow: Path) -> None:
    assert hollow.name.endswith(HOLLOW_ENDING)
    assert hollow.stat().st_size > 2 * LARGE_BYTES
    assert hollow.stat().st_blocks * 512 < LARGE_BYTES / 4
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    with open_bundle(hollow) as bundle:
        assert isinstance(bundle, HollowBundle)
        whole = whole_part(sides, bundle)
        length = bundle.part_lengths[CHUNKS]
        assert len(whole) == length
        ranges = [(0, length), (length, length), *(sorted(chosen.choices(range(length), k=2)) for _ in range(60))]
        for first, end in ranges:
            memory = bytearray(end - first)
            bundle.read_into(CHUNKS, first, memoryview(memory))
            assert memory == whole[first:end], (first, end)


def test_it_is_the_bundle_that_a_second_person_builds(sides: Sides, hollow: Path) -> None:
    assert "reproduced" in sides.low.good("reproduce", "1").out
    assert "whole" in sides.low.good("verify", hollow).out


def test_a_stick_a_resend_and_a_link_carry_it_whole(sides: Sides, hollow: Path) -> None:
    (row,) = sides.low.rows()
    sides.send(row.name)
    sides.assert_arrives(row.name)
    other = sides.folder / "other"
    other.mkdir()
    sides.low.good("resend", "1", other)
    assert sides.high.good("receive", other)
    with StreamReader() as reader:
        sides.low.good("send", row.name, reader.address, "--rate", "1gbit", "--mtu", "1500")
        reader.finish()
        (session,) = reader.sessions.values()
    with open_bundle(hollow) as bundle:
        memory = bytearray(bundle.part_lengths[CHUNKS])
        bundle.read_into(CHUNKS, 0, memoryview(memory))
    assert session.part(CHUNKS) == memory


def test_what_rotted_in_the_depot_is_not_sent(sides: Sides, hollow: Path) -> None:
    blob = large_blob(sides)
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(LARGE_BYTES // 2)
        file.write(b"rotten")
    answer = sides.low.fails(16, "send", "1", sides.stick)
    assert blob.name in answer.err
    assert [row.state for row in sides.low.rows()] == ["packed"]
    with open_bundle(hollow) as bundle, pytest.raises(BlobDamagedError):
        bundle.read_into(CHUNKS, 0, memoryview(bytearray(bundle.part_lengths[CHUNKS])))


def test_what_is_missing_in_the_depot_is_named(sides: Sides, hollow: Path) -> None:
    blob = large_blob(sides)
    blob.unlink()
    answer = sides.low.fails(15, "send", "1", sides.stick)
    assert blob.name in answer.err
    assert "collect" in answer.err
    with open_bundle(hollow) as bundle, pytest.raises(BlobMissingError):
        bundle.read_into(CHUNKS, 0, memoryview(bytearray(bundle.part_lengths[CHUNKS])))


def test_cleanup_keeps_what_an_unconfirmed_one_stands_for(sides: Sides, hollow: Path) -> None:
    sides.send(sides.low.rows()[0].name)
    sides.make_files(count=2, size=LARGE_BYTES, seed=2)
    sides.low.good("sync", sides.folder / "list.yaml")
    for path in (sides.low.root / "depot" / "blobs" / "sha256").iterdir():
        os.utime(path, (0, 0))
    found = sides.low.good("cleanup", "--remove", "--json").objects[-1]
    (kept,) = [item for item in found["stays"] if item["name"].endswith("-0001")]  # type: ignore[attr-defined]
    assert kept["size"] < LARGE_BYTES / 4
    with open_bundle(hollow) as bundle:
        bundle.read_into(CHUNKS, 0, memoryview(bytearray(bundle.part_lengths[CHUNKS])))
