"""Pieces of a bundle as people tell them, and the groups of a carrier's code that hold them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.bundle.tables import CHUNK
from tidegate.carrier.parts import plan_parts
from tidegate.errors import UsageError
from tidegate.pieces import ChunkRange, joined, parse_pieces, pieces_text
from tidegate_sender.resend_plan import NUMBERS_MAX, groups_of, parse_wish

RANGES = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(1, 300)).map(lambda pair: ChunkRange(pair[0], pair[0] + pair[1])),
    min_size=1,
    max_size=40,
)


def chunks_of(ranges: tuple[ChunkRange, ...]) -> set[int]:
    return {number for item in ranges for number in range(item.first, item.end)}


@given(RANGES)
def test_what_one_side_tells_the_other_reads(ranges: list[ChunkRange]) -> None:
    told = joined(ranges)
    assert parse_pieces(pieces_text(told)) == told
    assert chunks_of(told) == chunks_of(tuple(ranges))


@given(RANGES, st.integers(1, 10))
def test_few_ranges_hold_all_that_many_did(ranges: list[ChunkRange], limit: int) -> None:
    few = joined(ranges, limit)
    assert len(few) <= limit
    assert chunks_of(tuple(ranges)) <= chunks_of(few)
    assert all(before.end < after.first for before, after in pairwise(few))


@given(st.text(max_size=40) | st.from_regex(r"[0-9:+,-]{1,30}", fullmatch=True))
def test_any_words_are_a_wish_or_a_usage_error(text: str) -> None:
    try:
        wishes = parse_wish(text)
    except UsageError:
        return
    assert 1 <= len(wishes) <= NUMBERS_MAX
    assert all(wish.number >= 1 for wish in wishes)


@given(st.lists(st.integers(1, 4 << 20), min_size=1, max_size=200), st.data())
def test_the_groups_hold_every_byte_of_the_pieces(stored: list[int], data: st.DataObject) -> None:
    chunks = np.zeros(len(stored), CHUNK)
    chunks["stored"] = stored
    chunks["offset"] = np.cumsum(stored) - stored
    geometry = plan_parts((100, 100, sum(stored)))[2]
    first = data.draw(st.integers(0, len(stored) - 1))
    end = data.draw(st.integers(first + 1, len(stored)))
    groups = groups_of(chunks, (ChunkRange(first, end),), geometry)
    covered = [geometry.group_extent(group) for low, high in groups for group in range(low, high)]
    assert covered[0][0] <= int(chunks["offset"][first])
    assert covered[-1][0] + covered[-1][1] >= int(chunks["offset"][end - 1]) + stored[end - 1]
    assert all(low < high <= geometry.group_count for low, high in groups)


def test_pieces_that_the_bundle_does_not_have_are_refused() -> None:
    geometry = plan_parts((100, 100, 1000))[2]
    with pytest.raises(UsageError, match="the bundle has 3"):
        groups_of(np.ones(3, CHUNK), (ChunkRange(2, 4),), geometry)
