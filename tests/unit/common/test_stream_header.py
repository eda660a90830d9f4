"""Headers of datagrams: whole arrays are built and checked as the format says, one rule at a time."""

import numpy as np
import pytest

from tidegate.carrier.stream.header import (
    HEADER,
    HEADER_BYTES,
    HeaderFaults,
    Kind,
    build_header,
    build_headers,
    check_headers,
    crc32c,
    crc32c_headers,
    serial_after,
    tag_bytes,
    tag_number,
    view_headers,
)

TAG = b"\x01\x02\x03\x04\x05\x06\x07\xff"


def data_headers(count: int = 5) -> np.ndarray:
    positions = np.arange(count)
    return build_headers(
        Kind.DATA,
        TAG,
        count,
        first_running=2**32 - 2,
        lengths=1440,
        part=2,
        symbols=positions,
        blocks=positions + 70000,
    )


def lengths_of(raw: np.ndarray) -> np.ndarray:
    return view_headers(raw)["length"].astype(np.int64) + HEADER_BYTES


def resealed(raw: np.ndarray) -> np.ndarray:
    view_headers(raw)["checksum"] = crc32c_headers(raw)
    return raw


def test_crc32c_gives_the_check_value_of_its_catalogue():
    assert crc32c(b"123456789") == 0xE3069283


def test_crc32c_of_an_array_is_that_of_each_row():
    raw = np.random.default_rng(1).integers(0, 256, (50, HEADER_BYTES), dtype=np.uint8)
    assert crc32c_headers(raw).tolist() == [crc32c(row[:28].tobytes()) for row in raw]


def test_a_header_has_the_layout_of_the_format():
    assert HEADER.itemsize == HEADER_BYTES
    row = data_headers(1)[0].tobytes()
    assert row[:16] == b"TGS1\x03\x02\x00\x00" + TAG
    assert row[16:28] == (70000).to_bytes(4, "little") + (2**32 - 2).to_bytes(4, "little") + b"\xa0\x05\x00\x00"
    assert row[28:] == crc32c(row[:28]).to_bytes(4, "little")


@pytest.mark.parametrize(("running", "block"), [(0, 0), (2**32 - 1, 7), (2**32 + 3, 2**32 - 1)])
def test_one_control_header_is_as_one_of_many(running, block):
    many = build_headers(Kind.END, TAG, 1, first_running=running, lengths=1400, blocks=block)
    assert build_header(Kind.END, TAG, 1400, running=running, block=block) == many.tobytes()


def test_running_numbers_go_on_at_zero():
    assert view_headers(data_headers())["running"].tolist() == [2**32 - 2, 2**32 - 1, 0, 1, 2]


def test_serial_numbers_are_compared_around_zero():
    assert serial_after(2**32 - 2, np.array([1, 2**32 - 3])).tolist() == [3, -1]


def test_tags_go_to_numbers_and_back():
    assert tag_bytes(tag_number(TAG)) == TAG


def test_check_headers_takes_what_build_headers_made():
    raw = data_headers()
    good, faults = check_headers(raw, lengths_of(raw))
    assert good.all() and faults.total == 0


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("magic", 0x32534754, HeaderFaults(magic=1)),
        ("kind", 0, HeaderFaults(kind=1)),
        ("kind", 6, HeaderFaults(kind=1)),
        ("part", 3, HeaderFaults(fields=1)),
        ("symbol", 255, HeaderFaults(fields=1)),
        ("zero", 1, HeaderFaults(fields=1)),
        ("pieces", 1, HeaderFaults(fields=1)),
        ("length", 1441, HeaderFaults(length=1)),
    ],
)
def test_check_headers_counts_the_rule_that_a_datagram_breaks(field, value, fault):
    raw = data_headers()
    lengths = lengths_of(raw)
    view_headers(raw)[field][2] = value
    good, faults = check_headers(resealed(raw), lengths)
    assert good.tolist() == [True, True, False, True, True]
    assert faults == fault


@pytest.mark.parametrize("position", range(28))
def test_check_headers_sees_every_flipped_byte(position):
    raw = data_headers(3)
    lengths = lengths_of(raw)
    raw[1, position] ^= 0x10
    good, faults = check_headers(raw, lengths)
    assert good.tolist() == [True, False, True]
    assert faults.total == 1


def test_check_headers_refuses_what_is_shorter_than_a_header():
    raw = data_headers(2)
    good, faults = check_headers(raw, np.array([31, 1472]))
    assert good.tolist() == [False, True] and faults == HeaderFaults(magic=1)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Kind.TRUST, {"pieces": 0}),
        (Kind.TRUST, {"pieces": 65}),
        (Kind.TRUST, {"pieces": 2, "blocks": 2}),
        (Kind.ANNOUNCEMENT, {"blocks": 1}),
        (Kind.HEARTBEAT, {"symbols": 1}),
        (Kind.END, {"lengths": 8}),
    ],
)
def test_check_headers_refuses_fields_that_a_kind_does_not_have(kind, fields):
    raw = build_headers(kind, TAG, 1, **fields)
    good, faults = check_headers(raw, lengths_of(raw))
    assert not good.any() and faults == HeaderFaults(fields=1)


def test_check_headers_of_nothing_is_nothing():
    good, faults = check_headers(np.zeros((0, 32), np.uint8), np.zeros(0, np.int64))
    assert len(good) == 0 and faults.total == 0
