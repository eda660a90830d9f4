"""Canonical JSON: one form only, and nothing but our own error for any bytes."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import canonical
from tidegate.errors import FormatError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-canonical.INTEGER_MAX, canonical.INTEGER_MAX) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    label: str | None = None


@given(st.binary(max_size=200))
def test_loads_ends_in_a_value_or_a_format_error_for_any_bytes(data: bytes) -> None:
    try:
        value = canonical.loads(data, dict, what="test", max_bytes=200)
    except FormatError:
        return
    assert canonical.dumps(value) == data or None in value.values()


@given(st.integers(-canonical.INTEGER_MAX, canonical.INTEGER_MAX), st.none() | st.text(max_size=10))
def test_loads_gives_back_what_dumps_wrote(x: int, label: str | None) -> None:
    point = Point(x, label)
    assert canonical.loads(canonical.dumps(point), Point, what="test", max_bytes=1000) == point


@given(VALUES)
def test_loads_refuses_a_second_form_of_the_same_value(value: object) -> None:
    data = canonical.dumps({"value": value, "x": 1})
    with pytest.raises(FormatError):
        canonical.loads(b" " + data, dict, what="test", max_bytes=len(data) + 1)


@pytest.mark.parametrize(
    "data",
    [b'{"x":1,"x":1}', b'{"x":1.0}', b'{"x": 1}', b'{"label":"a","x":1}\n', b'{"x":9007199254740992}', b"[" * 100_000],
    ids=["repeated key", "float", "space", "newline", "integer too large", "nesting"],
)
def test_loads_refuses(data: bytes) -> None:
    with pytest.raises(FormatError):
        canonical.loads(data, Point, what="test", max_bytes=200_000)


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    """An object whose unknown field makes the whole nest `depth` deep."""
    return b'{"later":' + opening * (depth - 2) + b"[]" + closing * (depth - 2) + b',"x":1}'


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_nests_too_deep_is_refused_by_our_own_error_at_every_depth(opening: bytes, closing: bytes) -> None:
    deepest = nested(canonical.DEPTH_MAX, opening, closing)
    assert canonical.loads(deepest, Point, what="test", max_bytes=1 << 20) == Point(1)
    for depth in (canonical.DEPTH_MAX + 1, 200, 330, 500, 900, 980, 990, 995, 1000, 1100, 5000, 100_000):
        with pytest.raises(FormatError):
            canonical.loads(nested(depth, opening, closing), Point, what="test", max_bytes=1 << 20)
    with pytest.raises(FormatError, match="nests more than 64 deep"):
        canonical.loads(nested(65, opening, closing), Point, what="test", max_bytes=1 << 20)


@pytest.mark.parametrize("depth", [500, 990, 1000, 100_000])
def test_foreign_json_that_nests_deep_ends_in_a_value_or_our_own_error(depth: int) -> None:
    try:
        point = canonical.loads(nested(depth, b"[", b"]"), Point, what="test", max_bytes=1 << 20, exact=False)
    except FormatError:
        return
    assert point == Point(1)


def test_loads_checks_the_limit_before_it_parses() -> None:
    with pytest.raises(FormatError, match="the limit is 3"):
        canonical.loads(b"{}{}", dict, what="test", max_bytes=3)
