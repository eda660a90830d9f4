"""Labels and index blocks: a whole one is read back, a damaged or lying one is refused."""

from collections.abc import Callable
from dataclasses import replace

import blake3
import numpy as np
import pytest

from tidegate.carrier.blocks import (
    ENTRY,
    NO_ENTRIES,
    IndexBlock,
    Label,
    Place,
    build_index,
    build_label,
    parse_index,
    parse_label,
)
from tidegate.errors import CarrierFormatError

LABEL = Label(Place.CLOSING, b"tag-tag-", 2, 3, 64, 9, 700, bytes(range(32)), b"announcement" * 100)


def make_entries(count: int) -> np.ndarray:
    entries = np.zeros(count, ENTRY)
    entries["block"] = np.arange(count) + 1000
    entries["part"] = 2
    entries["symbol"] = np.arange(count)
    entries["digest"] = np.arange(count) * 0x0102030405
    return entries


def make_index(before: int = 64, after: int = 17) -> IndexBlock:
    return IndexBlock(77, b"tag-tag-", 999, 65536, make_entries(before), make_entries(after), b"a" * 1400)


def resealed(data: bytes, offset: int, value: bytes) -> bytes:
    """`data` with other bytes and a digest that agrees: what a forger would write."""
    body = data[:offset] + value + data[offset + len(value) : 4064]
    return body + blake3.blake3(body).digest()


def test_a_label_is_read_back_as_it_was_built() -> None:
    data = build_label(LABEL)
    assert len(data) == 4096
    assert parse_label(data) == LABEL


@pytest.mark.parametrize(("before", "after"), [(64, 64), (0, 1), (64, 0), (0, 0)])
def test_an_index_block_is_read_back_as_it_was_built(before: int, after: int) -> None:
    index = make_index(before, after)
    data = build_index(index)
    again = parse_index(memoryview(data))
    assert len(data) == 4096
    assert (again.before == index.before).all()
    assert (again.after == index.after).all()
    assert replace(again, before=NO_ENTRIES, after=NO_ENTRIES).announcement == index.announcement
    assert (again.run, again.tag, again.file_number, again.preamble_length) == (77, b"tag-tag-", 999, 65536)


@pytest.mark.parametrize("parse", [parse_label, parse_index])
@pytest.mark.parametrize("length", [0, 1, 4095, 4097])
def test_m04_a_block_of_another_length_is_refused(parse: Callable[[bytes], object], length: int) -> None:
    with pytest.raises(CarrierFormatError):
        parse(build_label(LABEL)[:length].ljust(length, b"\0"))


@pytest.mark.parametrize("offset", [0, 4, 8, 20, 40, 72, 2000, 4063, 4064, 4095])
def test_m04_a_flipped_byte_anywhere_is_found(offset: int) -> None:
    for data, parse in ((build_label(LABEL), parse_label), (build_index(make_index()), parse_index)):
        damaged = bytearray(data)
        damaged[offset] ^= 1
        with pytest.raises(CarrierFormatError):
            parse(bytes(damaged))


def test_a_label_is_no_index_block() -> None:
    with pytest.raises(CarrierFormatError, match="starts with"):
        parse_index(build_label(LABEL))


@pytest.mark.parametrize(
    ("offset", "value", "rule"),
    [
        (4, b"\2", "M-8"),  # place
        (5, b"\1", "M-8"),  # zero
        (16, b"\0\0", "M-8"),  # file 0
        (16, b"\4\0", "M-8"),  # file 4 of 3
        (18, b"\xff\xff", "M-8"),  # 65535 files
        (28, b"\1\0\1\0", "M-12"),  # preamble of 65537
        (28, b"\xff\xff\xff\xff", "M-12"),
        (64, b"\xff\xff", "M-2"),  # announcement of 65535
        (66, b"\1", "M-8"),  # zero
        (4000, b"\1", "M-8"),  # behind the announcement
    ],
)
def test_m08_a_label_with_a_true_digest_may_still_lie(offset: int, value: bytes, rule: str) -> None:
    with pytest.raises(CarrierFormatError, match=rf"\({rule}\)"):
        parse_label(resealed(build_label(LABEL), offset, value))


@pytest.mark.parametrize(
    ("offset", "value", "rule"),
    [
        (16, b"\0\0", "M-9"),  # file 0
        (16, b"\xe8\3", "M-9"),  # file 1000
        (18, b"\x41", "M-9"),  # 65 entries before
        (19, b"\xff", "M-9"),
        (20, b"\xff\xff", "M-2"),
        (22, b"\1", "M-9"),
        (24, b"\xff\xff\xff\xff", "M-12"),
        (28, b"\1", "M-9"),
        (32 + 6, b"\1", "M-9"),  # zero of an entry
        (1056 + 17 * 16, b"\1", "M-9"),  # an entry that is not counted
        (4000, b"\1", "M-9"),
    ],
)
def test_m09_an_index_block_with_a_true_digest_may_still_lie(offset: int, value: bytes, rule: str) -> None:
    with pytest.raises(CarrierFormatError, match=rf"\({rule}\)"):
        parse_index(resealed(build_index(make_index()), offset, value))
