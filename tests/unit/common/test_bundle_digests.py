"""Digests as columns: told, sorted by their first eight bytes, and looked up, rightly also where these are alike."""

from binascii import Error as HexError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.bundle.digests import are_rising, column_of, column_of_files, heads_of, places_of, sorting_order
from tidegate.bundle.tables import REQUIRED, Records


def column(*digests: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(digests), "S32")


def table(*digests: bytes) -> Records:
    records = np.zeros(len(digests), REQUIRED)
    records["sha256"] = np.frombuffer(b"".join(digests), "V32")
    return records


ALIKE = [b"\x01" * 8 + bytes([last]) * 24 for last in (9, 3, 200, 3)]
RANDOM = [np.random.default_rng(seed).bytes(32) for seed in range(500)]


@pytest.mark.parametrize("digests", [ALIKE, RANDOM, RANDOM + ALIKE + RANDOM[:5], []])
def test_the_order_is_that_of_all_bytes_and_stable(digests: list[bytes]) -> None:
    expected = sorted(range(len(digests)), key=lambda at: digests[at])
    assert sorting_order(column(*digests)).tolist() == expected


@pytest.mark.parametrize("known", [RANDOM, RANDOM + ALIKE[:3], RANDOM[:1], []])
def test_what_is_known_is_found_where_it_stands_and_nothing_else(known: list[bytes]) -> None:
    rising = sorted(known)
    strangers = [b"\x01" * 31 + b"\x02", bytes(32), b"\xff" * 32]
    places = places_of(column(*known, *strangers), table(*rising)).tolist()
    assert [rising[at] for at in places[: len(known)]] == known
    assert places[len(known) :] == [-1, -1, -1]


def test_heads_rise_only_where_the_digests_are_sorted_and_each_once() -> None:
    rising = sorted(RANDOM)
    assert are_rising(heads_of(column(*rising)))
    assert are_rising(heads_of(table(*rising)))
    assert not are_rising(heads_of(column(*rising, rising[-1])))
    assert not are_rising(heads_of(column(*RANDOM)))
    assert are_rising(heads_of(column()))


def test_names_of_digests_become_the_digests() -> None:
    assert column_of([f"sha256:{key.hex()}" for key in RANDOM]).tobytes() == b"".join(RANDOM)
    assert len(column_of([])) == 0


@pytest.mark.parametrize("names", [["sha256:" + "a" * 63, "sha256:" + "a" * 65], ["sha256:" + "g" * 64], ["a" * 64]])
def test_what_is_no_digest_is_no_column(names: list[str]) -> None:
    with pytest.raises((HexError, ValueError)):
        column_of(names)


_FILES = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda key: key.hex().encode()),
    st.binary(min_size=32, max_size=32).map(lambda key: key.hex().upper().encode()),
    st.integers(0, 10**64 - 1).map(lambda number: b"%064d" % number),
    st.binary(max_size=70),
)


@given(st.lists(_FILES, max_size=8))
def test_of_any_file_names_those_that_are_small_hex_digests_count(names: list[bytes]) -> None:
    small = frozenset(b"0123456789abcdef")
    expected = [bytes.fromhex(name.decode()) for name in names if len(name) == 64 and set(name) <= small]
    assert column_of_files(names).tobytes() == b"".join(expected)
