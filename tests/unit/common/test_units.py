"""Sizes and names as people read and type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UsageError
from tidegate.names import bundle_name, is_path, parse_bundle_name
from tidegate.text import printable
from tidegate.units import format_bytes, format_duration, parse_bytes


@pytest.mark.parametrize(
    ("text", "count"), [("32G", 32 << 30), ("1.5 GiB", 3 << 29), ("4096", 4096), ("500M", 500 << 20), ("7 kb", 7168)]
)
def test_parse_bytes_reads_what_people_type(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "G", "-1", "1X", "1e9", "1..5G"])
def test_parse_bytes_refuses_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        parse_bytes(text)


def test_format_bytes_and_durations_are_short() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1024, 19_542_101_196)] == ["0 B", "1023 B", "1.0 KiB", "18.2 GiB"]
    assert [format_duration(s) for s in (0.84, 59.4, 401, 3720)] == ["0.8s", "59s", "6m 41s", "1h 02m"]


@given(st.integers(1, 10**15), st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_a_bundle_name_reads_back(sequence: int, channel: str) -> None:
    assert parse_bundle_name(bundle_name(channel, sequence)) == (channel[:4], sequence)


def test_a_bundle_argument_with_a_slash_or_the_ending_is_a_path() -> None:
    assert is_path("./a") and is_path("x.tgb") and not is_path("7f3a-0192")


@given(st.text())
def test_printable_lets_no_control_character_through(text: str) -> None:
    assert all(c.isprintable() for c in printable(text))
