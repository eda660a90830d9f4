"""Patterns of tags: which fit, which are taken away, which are the newest; and what is no pattern."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UsageError
from tidegate_sender.collect.tags import check_patterns, choose_tags

SIGNATURE = f"sha256-{'a' * 64}.sig"
TAGS = ("1.0.0", "1.2.0", "1.10.0", "2.0.0-rc1", "2.0.0", "latest", SIGNATURE, f"sha256-{'b' * 64}")


@pytest.mark.parametrize(
    ("patterns", "newest", "chosen"),
    [
        (["1.*"], 0, ("1.0.0", "1.2.0", "1.10.0")),
        (["*", "!1.*", "!/rc/"], 0, ("2.0.0", "latest")),
        (["!latest", "!/rc/", "!1.*"], 0, ("2.0.0",)),
        (["/^1[.]1/"], 0, ("1.10.0",)),
        ([">=1.2 <2"], 0, ("1.2.0", "1.10.0")),
        (["*"], 2, ("2.0.0", "2.0.0-rc1")),
        (["1.*"], 1, ("1.10.0",)),
        (["9.*"], 0, ()),
    ],
)
def test_tags_that_fit(patterns: list[str], newest: int, chosen: tuple[str, ...]) -> None:
    assert choose_tags(TAGS, patterns, newest) == chosen


@pytest.mark.parametrize("pattern", ["/(/", "!/[/", ">=x.y.z!"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        check_patterns([pattern])


@given(st.lists(st.text(max_size=12), max_size=4), st.lists(st.text(max_size=12), max_size=4))
def test_any_pattern_chooses_or_is_refused(patterns: list[str], tags: list[str]) -> None:
    try:
        check_patterns(patterns)
        assert set(choose_tags(tags, patterns)) <= set(tags)
    except UsageError:
        pass
