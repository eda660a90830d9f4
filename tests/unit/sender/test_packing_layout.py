"""The layout: which bytes go into which chunk, the same for the same blobs."""

from dataclasses import dataclass
from hashlib import sha256

import pytest

from tidegate.bundle.tables import CHUNK_MAX_BYTES, Tables
from tidegate.errors import BlobDamagedError, LimitError
from tidegate.units import MIB, TIB
from tidegate_sender.packing.layout import Layout, lay_out

C = CHUNK_MAX_BYTES


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    size: int


def blobs(*sizes: int) -> list[Blob]:
    return [Blob(f"sha256:{sha256(bytes([number])).hexdigest()}", size) for number, size in enumerate(sizes)]


def places(layout: Layout, blob: Blob) -> list[tuple[int, int, int]]:
    """(chunk, offset, length) of a blob's segments."""
    tables = Tables(layout.blobs, layout.segments, layout.chunks, Tables.empty().required)
    at = tables.find_blob(blob.digest)
    assert at is not None
    first, count = int(layout.blobs[at]["first_segment"]), int(layout.blobs[at]["segment_count"])
    return [
        (int(item["where"]), int(item["offset"]), int(item["length"]))
        for item in layout.segments[first : first + count]
    ]


def test_small_blobs_share_a_chunk_in_their_order() -> None:
    given = blobs(10, 20, 5)
    layout = lay_out(given)
    assert [places(layout, blob) for blob in given] == [[(0, 0, 10)], [(0, 10, 20)], [(0, 30, 5)]]
    assert layout.chunks["raw"].tolist() == [35]


def test_the_run_of_small_blobs_is_cut_where_a_chunk_is_full() -> None:
    given = blobs(*[MIB - 1] * 5)
    layout = lay_out(given)
    assert layout.chunks["raw"].tolist() == [C, MIB - 5]
    assert places(layout, given[4]) == [(0, 4 * (MIB - 1), 4), (1, 0, MIB - 5)]


def test_a_large_blob_starts_a_chunk_of_its_own_after_all_small_ones() -> None:
    given = blobs(C + 1, 10, MIB, 20)
    layout = lay_out(given)
    assert [blob.size for blob in layout.reading] == [10, 20, C + 1, MIB]
    assert places(layout, given[0]) == [(1, 0, C), (2, 0, 1)]
    assert places(layout, given[2]) == [(3, 0, MIB)]
    assert layout.chunks["raw"].tolist() == [30, C, 1, MIB]


def test_a_blob_of_a_whole_number_of_chunks_leaves_none_empty() -> None:
    layout = lay_out(blobs(2 * C))
    assert layout.chunks["raw"].tolist() == [C, C]


def test_an_empty_blob_has_no_segment_and_must_have_the_right_name() -> None:
    empty = Blob(f"sha256:{sha256(b'').hexdigest()}", 0)
    layout = lay_out([*blobs(7), empty])
    assert places(layout, empty) == []
    with pytest.raises(BlobDamagedError):
        lay_out([Blob(f"sha256:{'11' * 32}", 0)])


def test_no_blob_at_all_is_an_empty_layout() -> None:
    layout = lay_out([])
    assert (len(layout.blobs), len(layout.segments), len(layout.chunks)) == (0, 0, 0)


def test_more_than_a_bundle_holds_is_refused_before_anything_is_made() -> None:
    with pytest.raises(LimitError):
        lay_out(blobs(3 * TIB, 2 * TIB))


def test_the_largest_content_has_its_segments_at_once() -> None:
    layout = lay_out(blobs(4 * TIB))
    assert len(layout.chunks) == 2**20
    assert layout.content_size == 4 * TIB
