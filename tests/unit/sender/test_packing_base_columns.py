"""A base as columns: who counts where two tell of one blob, and what of it a bundle builds on."""

from hashlib import sha256

import numpy as np
import pytest

from tidegate.bundle.tables import BLOB, Records, keys
from tidegate.depot.descriptors import Descriptor
from tidegate.errors import DepotError
from tidegate_sender.packing.base import NO_BASE, Base, Piece, as_required

KEYS = [sha256(bytes([number])).digest() for number in range(9)]


def carried(sequence: int, *numbers: int) -> Records:
    blobs = np.zeros(len(numbers), BLOB)
    blobs["sha256"] = np.frombuffer(b"".join(KEYS[number] for number in numbers), "V32")
    blobs["size"] = [10 + number for number in numbers]
    return as_required(blobs, sequence)


def blob(number: int, size: int | None = None) -> Descriptor:
    name = f"sha256:{KEYS[number].hex()}"
    return Descriptor("application/octet-stream", name, 10 + number if size is None else size)


def test_the_first_that_tells_of_a_blob_counts() -> None:
    base = Base.of([Piece(carried(3, 5, 1), "three"), Piece(carried(2, 1, 2), "two")])
    found = base.split([blob(1), blob(2)])
    assert sorted(found.required["sequence"].tolist()) == [2, 3]
    assert found.base_ids == ("three", "two")
    assert base.split([blob(1)]).base_ids == ("three",)


def test_what_is_brought_keeps_its_order_and_what_is_required_is_sorted() -> None:
    found = Base.of([Piece(carried(1, 7, 3, 0), "one")]).split(map(blob, (8, 7, 2, 0, 6, 3)))
    assert found.brought == (blob(8), blob(2), blob(6))
    column = keys(found.required).tolist()
    assert column == sorted(column)
    assert found.required_size == 17 + 10 + 13


def test_another_size_than_the_base_carried_is_refused() -> None:
    with pytest.raises(DepotError, match="99 bytes, the base carried it with 14"):
        Base.of([Piece(carried(1, 4), "one")]).split([blob(5), blob(4, 99)])


def test_a_base_made_again_of_its_pieces_is_the_same() -> None:
    base = Base.of([Piece(carried(2, 1, 2), "two"), Piece(carried(1, 2, 3), "one")])
    again = Base.of(base.pieces())
    assert again.records.tobytes() == base.records.tobytes()
    assert again.base_ids == base.base_ids


def test_nothing_is_required_of_an_empty_base() -> None:
    found = NO_BASE.split([blob(1)])
    assert (found.brought, len(found.required), found.base_ids) == ((blob(1),), 0, ())
    assert len(Base.of([]).records) == 0


def test_one_bundle_that_tells_everything_is_taken_as_it_is() -> None:
    base = Base.of([Piece(carried(1), "one"), Piece(as_sorted(carried(2, 4, 1, 3)), "two")])
    assert base.split([blob(4), blob(3)]).base_ids == ("two",)
    assert base.origins.tolist() == [1, 1, 1]


def as_sorted(records: Records) -> Records:
    return records[np.argsort(keys(records))]
