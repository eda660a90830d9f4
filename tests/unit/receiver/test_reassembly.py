"""Reassembly: whatever carriers give, only what was signed becomes content, and nothing is done twice."""

import random
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bundles import MadeBundle, MemorySource, content, make_announcement, make_body, make_manifest, manifest_bytes

from tidegate.bundle.tables import Tables
from tidegate.erasure.buffer import GroupBuffer
from tidegate.errors import DigestError, DiskFullError, FormatError, RefusedError, TamperedError, VolumeMissingError
from tidegate_receiver.reassembly.progress import Progress
from tidegate_receiver.reassembly.reassembly import Reassembly
from tidegate_receiver.reassembly.spool import Spool

CHANNEL = "c0" * 32
BLOBS = [content(1, 150_000), b"", content(2, 10), content(3, 5_000), content(4, 333_333), content(5, 4096)]


def make_bundle(blobs: list[bytes] | None = None, *, chunk_bytes: int = 9_000) -> MadeBundle:
    blobs = BLOBS if blobs is None else blobs
    body = make_body(blobs, chunk_bytes=chunk_bytes)
    manifest = make_manifest(body, blobs, channel=CHANNEL)
    return MadeBundle(manifest, manifest_bytes(manifest), body, b"")


def make_source(bundle: MadeBundle, **options: int) -> MemorySource:
    return MemorySource(make_announcement(bundle, **options), bundle.parts)


def make_spool(folder: Path) -> Spool:
    spool = Spool(folder / ("ab" * 32))
    spool.create()
    return spool


def fill(spool: Spool, bundle: MadeBundle, source: MemorySource) -> Reassembly:
    with Reassembly(spool, bundle.body.tables) as reassembly:
        reassembly.fill(source)
        if reassembly.content.is_filled:
            assert reassembly.verify_blobs() == 0
            reassembly.content.save()
        return reassembly


def assert_whole(spool: Spool, blobs: list[bytes] = BLOBS) -> None:
    assert {path.name: path.read_bytes() for path in spool.blobs_folder.iterdir()} == {
        sha256(blob).hexdigest(): blob for blob in blobs
    }


def test_an_undamaged_bundle_becomes_its_blobs(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    assert fill(spool, bundle, make_source(bundle)).progress.is_complete
    assert_whole(spool)


@pytest.mark.parametrize("chunk_bytes", [1, 100, 4096, 70_000, 1 << 22])
def test_chunks_may_be_smaller_or_larger_than_a_group(chunk_bytes: int, tmp_path: Path) -> None:
    blobs = [content(1, 900), content(2, 31)] if chunk_bytes == 1 else BLOBS
    bundle, spool = make_bundle(blobs, chunk_bytes=chunk_bytes), make_spool(tmp_path)
    fill(spool, bundle, make_source(bundle, source_count=2, repair_count=1, interleave=1))
    assert_whole(spool, blobs)


def test_a_bundle_without_any_content_is_whole_at_once(tmp_path: Path) -> None:
    bundle, spool = make_bundle([]), make_spool(tmp_path)
    assert fill(spool, bundle, make_source(bundle)).progress.is_complete


def test_an_empty_blob_gets_its_file(tmp_path: Path) -> None:
    bundle, spool = make_bundle([b""]), make_spool(tmp_path)
    fill(spool, bundle, make_source(bundle))
    assert_whole(spool, [b""])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_up_to_r_lost_symbols_a_block_are_mended(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path_factory.mktemp("spool"))
    source = make_source(bundle)
    geometry, chance = source.announcement.geometry(2), random.Random(seed)
    for block in range(geometry.block_count):
        symbols = range(geometry.block_source_count(block) + geometry.repair_count)
        source.lost |= {(2, block, symbol) for symbol in chance.sample(symbols, geometry.repair_count)}
    fill(spool, bundle, source)
    assert_whole(spool)


def lose_block(source: MemorySource, block: int) -> None:
    repairs = source.announcement.geometry(2).repair_count
    source.lost |= {(2, block, symbol) for symbol in range(repairs + 1)}


def test_one_lost_symbol_too_many_is_refused_and_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    source = make_source(bundle)
    lose_block(source, 3)
    with Reassembly(spool, bundle.body.tables) as reassembly:
        report = reassembly.fill(source)
        assert [block.number for block in report.lost] == [3]
        error = reassembly.missing_error(source, report)
        assert isinstance(error, VolumeMissingError)
        assert "block 3 has 3 of 10 pieces damaged or missing, 2 can be repaired" in error.message
        # Three symbols of 4096 bytes are gone: at most three chunks of up to 9000 bytes, and those they share.
        assert 0 < reassembly.content.missing_chunks() <= 4


def test_a_second_copy_fills_what_the_first_could_not_give(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    first, second = make_source(bundle), make_source(bundle)
    for block in range(0, first.announcement.geometry(2).block_count, 2):
        lose_block(first, block)
    for block in range(1, second.announcement.geometry(2).block_count, 2):
        lose_block(second, block)
    assert not fill(spool, bundle, first).content.is_filled
    assert fill(spool, bundle, second).content.is_filled
    assert_whole(spool)


def test_what_is_there_is_not_read_again(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    first, second, third = make_source(bundle), make_source(bundle), make_source(bundle)
    lose_block(first, 3)
    fill(spool, bundle, first)
    fill(spool, bundle, second)
    fill(spool, bundle, third)
    assert second.groups_read == [(2, 1)]
    assert third.groups_read == []


def test_groups_that_are_not_on_a_volume_are_named(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    source = make_source(bundle)
    source.absent_groups = {(2, 1), (2, 2)}
    with Reassembly(spool, bundle.body.tables) as reassembly:
        error = reassembly.missing_error(source, reassembly.fill(source))
    assert "groups 1, 2 are not here" in error.message
    fill(spool, bundle, make_source(bundle))
    assert_whole(spool)


def test_a_copy_with_another_code_fills_the_same_bundle(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    first, second = make_source(bundle), make_source(bundle, source_count=20, repair_count=5, interleave=1)
    lose_block(first, 0)
    fill(spool, bundle, first)
    fill(spool, bundle, second)
    assert_whole(spool)


def test_work_that_was_saved_survives_and_work_that_was_not_is_done_again(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)

    class KilledError(Exception):
        pass

    def kill(_part: int, group: int, _buffer: GroupBuffer) -> None:
        if group == 2:
            saved.append(spool.load_progress(len(bundle.body.tables.chunks), len(bundle.body.tables.blobs)))
            raise KilledError

    saved: list[Progress] = []
    source = make_source(bundle)
    source.tamper = kill
    with Reassembly(spool, bundle.body.tables, save_seconds=0) as reassembly, pytest.raises(KilledError):
        reassembly.fill(source)
    assert 0 < saved[0].chunks_done < len(bundle.body.tables.chunks)
    again = make_source(bundle)
    fill(spool, bundle, again)
    assert (2, 0) not in again.groups_read
    assert_whole(spool)


def test_damaged_progress_counts_as_none(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    fill(spool, bundle, make_source(bundle))
    path = spool.folder / "progress"
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)
    source = make_source(bundle)
    fill(spool, bundle, source)
    assert len(source.groups_read) == source.announcement.geometry(2).group_count
    assert_whole(spool)


def test_content_that_went_bad_in_the_spool_is_read_once_more(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    first = make_source(bundle)
    lose_block(first, 0)
    fill(spool, bundle, first)
    (spool.blobs_folder / sha256(BLOBS[4]).hexdigest()).write_bytes(b"what a power cut left")
    progress = spool.load_progress(len(bundle.body.tables.chunks), len(bundle.body.tables.blobs))
    progress.blobs[:] = False
    spool.save_progress(progress)
    with Reassembly(spool, bundle.body.tables) as reassembly:
        source = make_source(bundle)
        reassembly.fill(source)
        assert reassembly.verify_blobs() == 1
        assert not reassembly.content.is_filled
        reassembly.fill(source)
        assert reassembly.verify_blobs() == 0
    assert_whole(spool)


def test_a_blob_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    blobs = bundle.body.tables.blobs.copy()
    blobs["sha256"][0] = bytes(32)
    tables = Tables(blobs, *bundle.body.tables.all()[1:])
    with (
        Reassembly(spool, tables) as reassembly,
        pytest.raises(DigestError, match=r"blob sha256:0000.* have the digest"),
    ):
        reassembly.fill(make_source(bundle))
        reassembly.verify_blobs()
        reassembly.fill(make_source(bundle))
        reassembly.verify_blobs()


# --- bytes that are there and wrong -----------------------------------------------------------


def flip(block: int, symbols: tuple[int, ...], geometry_interleave: int = 2) -> object:
    def tamper(part: int, group: int, buffer: GroupBuffer) -> None:
        if part == 2 and group == block // geometry_interleave:
            for symbol in symbols:
                buffer.slot(block % geometry_interleave, symbol)[77] ^= 0x40

    return tamper


def test_a_wrong_symbol_that_was_listed_as_right_is_located_and_mended(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    source = make_source(bundle)
    source.tamper = flip(2, (5,))  # type: ignore[assignment]
    with Reassembly(spool, bundle.body.tables) as reassembly:
        report = reassembly.fill(source)
        assert report.symbols_wrong >= 1
        assert reassembly.content.is_filled
        reassembly.verify_blobs()
    assert_whole(spool)


def test_a_wrong_symbol_under_a_chunk_of_two_groups_is_found_in_either(tmp_path: Path) -> None:
    # Chunks of about 60 KB in groups of 64 KiB: nearly each of them reaches over an edge.
    bundle = make_bundle(chunk_bytes=110_000)
    for block in range(3):
        spool = make_spool(tmp_path / str(block))
        source = make_source(bundle)
        source.tamper = flip(block, (7,))  # type: ignore[assignment]
        fill(spool, bundle, source)
        assert_whole(spool)


def test_more_wrong_symbols_than_can_be_told_are_refused_as_tampered(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    source = make_source(bundle)
    source.tamper = flip(2, (1, 3, 5))  # type: ignore[assignment]
    with Reassembly(spool, bundle.body.tables) as reassembly:
        with pytest.raises((TamperedError, DigestError)):
            reassembly.fill(source)
        # What was verified before stays, and an honest copy brings the rest.
        assert reassembly.progress.chunks_done
        reassembly.fill(make_source(bundle))
        reassembly.verify_blobs()
    assert_whole(spool)


def test_a_forged_codeword_is_refused_by_the_chunks_digest(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    forged = bytearray(bundle.body.chunks)
    forged[50_000:50_100] = bytes(100)
    source = MemorySource(make_announcement(bundle), (b"", bundle.head, bytes(forged)))
    with Reassembly(spool, bundle.body.tables) as reassembly, pytest.raises(DigestError, match="B-18"):
        reassembly.fill(source)


def test_a_frame_that_lies_about_its_size_is_refused_before_it_is_decompressed(tmp_path: Path) -> None:
    bundle, spool = make_bundle(), make_spool(tmp_path)
    chunks = bundle.body.tables.chunks.copy()
    packed = np.flatnonzero(chunks["codec"] == 1)[0]
    chunks["raw"][packed] += 1
    tables = Tables(bundle.body.tables.blobs, bundle.body.tables.segments, chunks, bundle.body.tables.required)
    with Reassembly(spool, tables) as reassembly, pytest.raises(FormatError, match="B-17"):
        reassembly.fill(make_source(bundle))


def test_a_full_disk_is_named_and_the_same_command_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    bundle, spool = make_bundle(), make_spool(tmp_path)
    real, calls = os.pwrite, []

    def full(fd: int, data: memoryview, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 20:
            raise OSError(28, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with Reassembly(spool, bundle.body.tables) as reassembly, pytest.raises(DiskFullError):
        reassembly.fill(make_source(bundle))
    monkeypatch.undo()
    source = make_source(bundle)
    fill(spool, bundle, source)
    assert (2, 0) not in source.groups_read
    assert_whole(spool)


# --- the progress file ------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), max_size=40))
def test_progress_reads_back_as_it_was_written(chunks: list[bool], blobs: list[bool]) -> None:
    progress = Progress(np.array(chunks, np.bool_), np.array(blobs, np.bool_))
    again = Progress.from_bytes(progress.to_bytes(), len(chunks), len(blobs))
    assert (again.chunks.tolist(), again.blobs.tolist()) == (chunks, blobs)


@given(st.binary(max_size=200), st.integers(0, 100), st.integers(0, 100))
def test_any_bytes_are_progress_or_refused(data: bytes, chunks: int, blobs: int) -> None:
    try:
        Progress.from_bytes(data, chunks, blobs)
    except RefusedError:
        return


def test_progress_of_another_bundle_is_refused() -> None:
    with pytest.raises(FormatError, match="is not of 9 chunks"):
        Progress.from_bytes(Progress.nothing(10, 3).to_bytes(), 9, 3)
