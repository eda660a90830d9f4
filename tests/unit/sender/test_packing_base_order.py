"""Digests are sorted by their first eight bytes, and rightly also where these are alike."""

import numpy as np
import pytest

from tidegate_sender.packing.base import _places, sorting_order


def column(*digests: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(digests), "S32")


ALIKE = [b"\x01" * 8 + bytes([last]) * 24 for last in (9, 3, 200, 3)]
RANDOM = [np.random.default_rng(seed).bytes(32) for seed in range(500)]


@pytest.mark.parametrize("digests", [ALIKE, RANDOM, RANDOM + ALIKE + RANDOM[:5], []])
def test_the_order_is_that_of_all_bytes_and_stable(digests: list[bytes]) -> None:
    expected = sorted(range(len(digests)), key=lambda at: digests[at])
    assert sorting_order(column(*digests)).tolist() == expected


@pytest.mark.parametrize("known", [RANDOM, RANDOM + ALIKE[:3]])
def test_what_is_known_is_found_where_it_stands(known: list[bytes]) -> None:
    rising = sorted(known)
    places = _places(column(*rising), column(*known))
    assert [rising[at] for at in places.tolist()] == known
