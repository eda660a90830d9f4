"""Tables: views without copies, digests before records, placement by chunk, and limits in seconds."""

from hashlib import sha256

import numpy as np
import pytest
from made_bundles import manifest_for

from tidegate.bundle.manifest import Manifest, build_manifest
from tidegate.bundle.placement import Piece, Placement
from tidegate.bundle.tables import (
    BLOB,
    CHUNK,
    CHUNK_RANGE,
    REQUIRED,
    SEGMENT,
    Tables,
    as_bytes,
    check_tables,
    digest_of,
    parse_tables,
    split_tables,
)
from tidegate.errors import DigestError, FormatError


def tables_of(blob_parts: list[list[tuple[int, int, int]]], raws: list[int]) -> Tables:
    """Tables of blobs given as lists of (chunk, offset, length); digests are the numbers of the blobs."""
    blobs = np.zeros(len(blob_parts), BLOB)
    segments = np.zeros(sum(map(len, blob_parts)), SEGMENT)
    chunks = np.zeros(len(raws), CHUNK)
    at = 0
    for number, parts in enumerate(blob_parts):
        blobs[number] = (number.to_bytes(32, "big"), sum(part[2] for part in parts), at, len(parts))
        for where, offset, length in parts:
            segments[at] = (CHUNK_RANGE, 0, where, offset, length)
            at += 1
    chunks["raw"] = chunks["stored"] = raws
    chunks["offset"] = np.cumsum(raws) - raws
    return Tables(blobs, segments, chunks, np.zeros(0, REQUIRED))


def head_of(tables: Tables) -> tuple[bytes, int, Manifest]:
    manifest = manifest_for(tables, sequence=2)
    data = build_manifest(manifest)
    return data + b"".join(as_bytes(table) for table in tables.all()), len(data), manifest


SPREAD = [[(0, 0, 4)], [(1, 2, 3), (0, 4, 6)], [], [(1, 0, 2)]]


def test_records_have_the_sizes_of_the_format() -> None:
    assert [record.itemsize for record in (BLOB, SEGMENT, CHUNK, REQUIRED)] == [48, 24, 56, 48]


def test_tables_read_back_as_they_were_written_without_a_copy() -> None:
    head, manifest_length, manifest = head_of(tables_of(SPREAD, [10, 5]))
    tables = parse_tables(head, manifest_length, manifest, 15)
    assert tables.blobs["size"].tolist() == [4, 9, 0, 2]
    assert not tables.blobs.flags.owndata
    assert not tables.blobs.flags.writeable
    assert digest_of(tables.blobs[3]) == "sha256:" + (3).to_bytes(32, "big").hex()
    assert tables.find_blob(digest_of(tables.blobs[3])) == 3
    assert tables.find_blob("sha256:" + "ff" * 32) is None
    assert tables.find_required("sha256:" + "ff" * 32) is None


def test_empty_tables_are_whole() -> None:
    head, manifest_length, manifest = head_of(Tables.empty())
    parse_tables(head, manifest_length, manifest, 0)
    assert list(Placement.of(Tables.empty()).first) == [0]


def test_a_changed_table_is_refused_by_its_digest_before_its_records_are_read() -> None:
    head, manifest_length, manifest = head_of(tables_of(SPREAD, [10, 5]))
    for at in range(manifest_length, len(head)):
        broken = head[:at] + bytes([head[at] ^ 0x80]) + head[at + 1 :]
        with pytest.raises(DigestError, match="B-24"):
            parse_tables(broken, manifest_length, manifest, 15)


def test_counts_that_do_not_fit_the_head_are_refused_before_allocation() -> None:
    head, manifest_length, manifest = head_of(tables_of(SPREAD, [10, 5]))
    with pytest.raises(FormatError, match="B-10"):
        split_tables(head[:-1], manifest_length, manifest.tables)
    with pytest.raises(FormatError, match="B-10"):
        split_tables(b"", manifest_length, manifest.tables)


@pytest.mark.parametrize("shift", [-1, 1])
def test_segments_that_shift_by_one_byte_are_refused(shift: int) -> None:
    tables = tables_of([[(0, 0, 4)], [(0, 4 + shift, 6 - max(shift, 0))]], [10])
    with pytest.raises(FormatError, match="B-15"):
        check_tables(manifest_for(tables, sequence=2), tables)


def test_two_wrongs_that_add_up_right_are_refused() -> None:
    # A byte twice in chunk 0 and a byte of chunk 1 never: the sums agree, the cover does not.
    tables = tables_of([[(0, 0, 5)], [(0, 4, 6)], [(1, 0, 4)]], [10, 5])
    with pytest.raises(FormatError, match="B-15"):
        check_tables(manifest_for(tables, sequence=2), tables)


def test_a_segment_that_runs_from_one_chunk_into_the_next_is_refused() -> None:
    tables = tables_of([[(0, 0, 15)]], [10, 5])
    with pytest.raises(FormatError, match="B-15"):
        check_tables(manifest_for(tables, sequence=2), tables)


def test_sizes_that_would_wrap_around_are_refused() -> None:
    tables = tables_of([[(0, 0, 4)], [(0, 4, 6)]], [10])
    tables.blobs["size"] = [2**64 - 6, 16]
    with pytest.raises(FormatError, match="B-13"):
        check_tables(manifest_for(tables_of([[(0, 0, 4)], [(0, 4, 6)]], [10]), sequence=2), tables)


def test_a_record_far_behind_the_first_slice_is_checked_and_named() -> None:
    count = 2**18 + 5
    blobs, segments = np.zeros(count, BLOB), np.zeros(count, SEGMENT)
    digests = np.zeros((count, 32), np.uint8)
    digests[:, 24:] = np.arange(count, dtype=">u8").view(np.uint8).reshape(count, 8)
    blobs["sha256"] = digests.view("V32")[:, 0]
    blobs["size"] = blobs["segment_count"] = 1
    blobs["first_segment"] = np.arange(count)
    segments["kind"], segments["where"], segments["length"] = CHUNK_RANGE, np.arange(count), 1
    chunks = np.zeros(count, CHUNK)
    chunks["raw"] = chunks["stored"] = 1
    chunks["offset"] = np.arange(count)
    tables = Tables(blobs, segments, chunks, np.zeros(0, REQUIRED))
    manifest = manifest_for(tables, sequence=2)
    check_tables(manifest, tables)
    segments["flags"][-1] = 1
    with pytest.raises(FormatError, match=f"record {count - 1}: flags"):
        check_tables(manifest, tables)
    segments["flags"][-1] = 0
    chunks["offset"][-2] += 1
    with pytest.raises(FormatError, match=f"record {count - 2}: offset"):
        check_tables(manifest, tables)
    chunks["offset"][-2] -= 1
    blobs["sha256"][-1] = blobs["sha256"][-2]
    with pytest.raises(FormatError, match=rf"record {count - 1}: .*B-11"):
        check_tables(manifest, tables)


def test_digests_that_differ_in_trailing_zeros_are_told_apart() -> None:
    tables = tables_of([[(0, 0, 4)], [(0, 4, 6)]], [10])
    tables.blobs["sha256"][0] = b"a" * 31 + b"\0"
    tables.blobs["sha256"][1] = b"a" * 31 + b"\1"
    check_tables(manifest_for(tables, sequence=2), tables)
    assert tables.find_blob("sha256:" + (b"a" * 31 + b"\0").hex()) == 0


def test_placement_lists_the_pieces_of_each_chunk_in_the_order_of_its_content() -> None:
    placement = Placement.of(tables_of(SPREAD, [10, 5]))
    assert list(placement.pieces(0)) == [Piece(0, 0, 0, 4), Piece(1, 3, 4, 6)]
    assert list(placement.pieces(1)) == [Piece(3, 0, 0, 2), Piece(1, 0, 2, 3)]


def test_entries_are_counts_and_digests_of_the_bytes() -> None:
    tables = tables_of(SPREAD, [10, 5])
    assert tables.entries().chunks.count == 2
    assert tables.entries().chunks.sha256 == sha256(tables.chunks.tobytes()).hexdigest()
