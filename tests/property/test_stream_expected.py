"""Tags of data without a session: bounded whatever comes, and the one with the most data is always there."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate_receiver.listener.expected import TAGS_MAX, ExpectedTags


@given(st.lists(st.sets(st.integers(1, 2**64 - 1), max_size=300), max_size=20))
def test_a_flood_of_tags_is_bounded_and_does_not_displace_a_session(batches: list[set[int]]) -> None:
    expected = ExpectedTags()
    session = 2**63 + 1
    for flood in [{5}, *batches]:
        tags = np.array([session, *(flood - {session})], np.uint64)
        counts = np.ones(len(tags), np.int64)
        counts[0] = 40
        expected.note(tags, counts)
        assert session in expected
        assert len(expected.tags()) <= TAGS_MAX
    expected.forget(session)
    assert session not in expected
