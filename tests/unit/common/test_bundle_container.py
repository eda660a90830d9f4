"""Bundle files: what is written is what is read, and nothing half written looks whole."""

import errno
import os
from hashlib import sha256
from pathlib import Path

import blake3
import numpy as np
import pytest
from made_bundles import manifest_for

from tidegate.bundle.container import CHUNKS, COVER, HEAD, BundleFile, BundleWriter, publish_bundle
from tidegate.bundle.cover import Piece, build_cover, signatures_piece
from tidegate.bundle.header import HEADER_BYTES
from tidegate.bundle.manifest import Artifact, Manifest, build_manifest
from tidegate.bundle.tables import BLOB, CHUNK, CHUNK_RANGE, SEGMENT, Tables, as_bytes
from tidegate.errors import DiskFullError, FormatError, HostError

CONTENT = b"hello, far side\n"


def small_tables() -> Tables:
    blobs, segments, chunks = np.zeros(1, BLOB), np.zeros(1, SEGMENT), np.zeros(1, CHUNK)
    blobs[0] = (sha256(CONTENT).digest(), len(CONTENT), 0, 1)
    segments[0] = (CHUNK_RANGE, 0, 0, 0, len(CONTENT))
    chunks[0] = (0, len(CONTENT), len(CONTENT), 0, b"", blake3.blake3(CONTENT).digest())
    return Tables(blobs, segments, chunks, Tables.empty().required)


def small_manifest(tables: Tables) -> Manifest:
    digest = f"sha256:{sha256(CONTENT).hexdigest()}"
    artifact = Artifact("files/hello", "files", "text/plain", digest, len(CONTENT))
    return manifest_for(tables, sequence=192, artifacts=(artifact,))


def write_small(path: Path, preamble: bytes = b"chain\n") -> str:
    tables = small_tables()
    writer = BundleWriter(path)
    writer.append_chunk(CONTENT)
    cover = build_cover((signatures_piece(b"{}"), Piece(2, b"note")))
    return writer.finish(
        build_manifest(small_manifest(tables)), [as_bytes(table) for table in tables.all()], cover, preamble
    )


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path) -> None:
    bundle_id = write_small(tmp_path / "x.tgb")
    with BundleFile.open(tmp_path / "x.tgb") as bundle:
        assert bundle.bundle_id == bundle_id == sha256(bundle.manifest_bytes()).hexdigest()
        assert bundle.name == "7f3a-0192"
        assert bundle.manifest() == small_manifest(small_tables())
        assert bundle.preamble == b"chain\n"
        assert [piece.data for piece in bundle.cover()] == [b"{}", b"note"]
        assert bundle.tables().blobs["size"].tolist() == [len(CONTENT)]
        assert bundle.part_lengths[CHUNKS] == len(CONTENT)
        assert bundle.file_length == (tmp_path / "x.tgb").stat().st_size


def test_read_into_fills_any_range_of_a_part(tmp_path: Path) -> None:
    write_small(tmp_path / "x.tgb")
    with BundleFile.open(tmp_path / "x.tgb") as bundle:
        buffer = bytearray(3)
        bundle.read_into(CHUNKS, 7, memoryview(buffer))
        assert bytes(buffer) == CONTENT[7:10]
        head = bytearray(bundle.part_lengths[HEAD])
        bundle.read_into(HEAD, 0, memoryview(head))
        assert bytes(head) == bundle.read_part(HEAD)
        with pytest.raises(ValueError, match="part 0"):
            bundle.read_into(COVER, bundle.part_lengths[COVER], memoryview(buffer))


def test_a_file_that_was_not_finished_is_no_bundle(tmp_path: Path) -> None:
    writer = BundleWriter(tmp_path / "x.tgb")
    writer.append_chunk(CONTENT)
    writer.close()
    with pytest.raises(FormatError):
        BundleFile.open(tmp_path / "x.tgb")


def test_a_missing_file_and_an_empty_one_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nothing"):
        BundleFile.open(tmp_path / "nothing.tgb")
    (tmp_path / "empty.tgb").write_bytes(b"")
    with pytest.raises(FormatError, match="B-23"):
        BundleFile.open(tmp_path / "empty.tgb")


def test_a_file_cut_under_the_reader_is_a_format_error(tmp_path: Path) -> None:
    write_small(tmp_path / "x.tgb")
    with BundleFile.open(tmp_path / "x.tgb") as bundle:
        os.truncate(tmp_path / "x.tgb", HEADER_BYTES)
        with pytest.raises(FormatError, match="B-23"):
            bundle.read_part(HEAD)


def test_a_read_error_of_the_disk_is_a_host_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small(tmp_path / "x.tgb")
    with BundleFile.open(tmp_path / "x.tgb") as bundle:

        def fail(*_: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(HostError, match="Input/output error"):
            bundle.read_part(HEAD)


def test_a_full_disk_is_named_and_abandon_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = BundleWriter(tmp_path / "x.tgb")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFullError):
        writer.append_chunk(CONTENT)
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_short_write_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: whole(fd, data[:5], offset))
    write_small(tmp_path / "x.tgb")
    with BundleFile.open(tmp_path / "x.tgb") as bundle:
        bundle.tables()


def test_the_quota_stops_a_bundle_before_it_is_passed(tmp_path: Path) -> None:
    writer = BundleWriter(tmp_path / "x.tgb", max_bytes=len(CONTENT) + 1)
    writer.append_chunk(CONTENT)
    with pytest.raises(DiskFullError, match="quota"):
        writer.append_chunk(b"ab")
    writer.abandon()


def test_publish_gives_the_name_and_an_old_file_of_it_is_replaced(tmp_path: Path) -> None:
    write_small(tmp_path / "part")
    (tmp_path / "x.tgb").write_bytes(b"old")
    publish_bundle(tmp_path / "part", tmp_path / "x.tgb")
    with BundleFile.open(tmp_path / "x.tgb") as bundle:
        assert bundle.name == "7f3a-0192"
    assert not (tmp_path / "part").exists()
