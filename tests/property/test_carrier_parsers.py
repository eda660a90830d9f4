"""Any bytes that claim to be an announcement, label or index block end in a value or one of our errors."""

from typing import Any

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_volumes import PREAMBLE, SIGNER, make_bundle, small_plan

from tidegate import canonical
from tidegate.carrier.announcement import Announcement, build_announcement, parse_announcement, read_announcement_frame
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
    preamble_digest,
)
from tidegate.carrier.frames import Frame
from tidegate.carrier.volume import RUNS_MAX, VolumeLayout
from tidegate.errors import CarrierFormatError, FeatureUnknownError

PLAN = small_plan(make_bundle())
SIGNED = build_announcement(PLAN, SIGNER)
LABEL = build_label(Label(Place.OPENING, b"t" * 8, 1, 3, 0, 5, len(PREAMBLE), preamble_digest(PREAMBLE), SIGNED))
INDEX = build_index(IndexBlock(3, b"t" * 8, 1, len(PREAMBLE), NO_ENTRIES, NO_ENTRIES, SIGNED))


def sealed(body: bytes) -> bytes:
    return body[:4064] + blake3.blake3(body[:4064]).digest()


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a few bytes replaced, most of them in its fields, and a digest that agrees."""
    made = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        made[draw(st.one_of(st.integers(0, 80), st.integers(0, 4063)))] = draw(st.integers(0, 255))
    return sealed(bytes(made))


@given(st.one_of(st.binary(max_size=1500), st.binary(max_size=1296).map(lambda body: SIGNED[:104] + body)))
def test_any_bytes_as_a_frame(data: bytes) -> None:
    try:
        frame = read_announcement_frame(data)
    except CarrierFormatError:
        return
    assert frame.data == data


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def parse_payload(payload: bytes) -> Announcement | None:
    try:
        return parse_announcement(Frame("00" * 32, bytes(64), payload, payload, bytes(8)))
    except (CarrierFormatError, FeatureUnknownError):
        return None


@given(st.one_of(st.binary(max_size=1400), st.sampled_from([b"[" * 1200, b'{"a":' * 200, b"\xff", b"null", b"1e999"])))
def test_any_bytes_as_a_payload(data: bytes) -> None:
    parse_payload(data)


@given(st.dictionaries(st.sampled_from(sorted(canonical.to_builtins(PLAN))), json_values, max_size=3))
def test_a_payload_with_any_values(values: dict[str, Any]) -> None:
    import json

    plain = {**canonical.to_builtins(PLAN), **values}
    parse_payload(json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(errors="replace"))


numbers = st.one_of(st.integers(0, 300), st.sampled_from([4096, 65536, 1 << 20, 2**32, 1 << 40, 1 << 42, 2**53 - 1]))
lying_parts = st.fixed_dictionaries(
    {
        "length": st.one_of(numbers, st.integers(0, 1 << 42)),
        "source_count": numbers,
        "repair_count": numbers,
        "symbol_size": st.one_of(numbers, st.integers(1, 256).map(lambda pages: pages * 4096)),
        "interleave": numbers,
    }
)


@settings(deadline=None)
@given(
    st.tuples(lying_parts, lying_parts, lying_parts),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**32), st.integers(0, 2**32)), max_size=25),
    st.one_of(st.integers(64, 1_048_560).map(lambda pages: pages * 4096), numbers),
    st.integers(0, 65536),
)
def test_lying_numbers_are_refused_or_laid_out_within_the_limits(
    parts: tuple[dict[str, int], ...], spans: list[tuple[int, int, int]], file_bytes: int, preamble: int
) -> None:
    plain = {**canonical.to_builtins(PLAN), "parts": list(parts), "file_bytes": file_bytes, "manifest_length": 1}
    for chosen in (spans, [[part, 0, group_count(fields)] for part, fields in enumerate(parts)]):
        announcement = parse_payload(canonical.dumps({**plain, "spans": [list(span) for span in chosen]}))
        if announcement is None:
            continue
        try:
            layout = VolumeLayout(announcement, preamble)
        except CarrierFormatError:
            continue
        assert layout.run_count <= RUNS_MAX
        assert len(layout.files) <= 999
        assert all(file.size <= file_bytes for file in layout.files)


def group_count(fields: dict[str, int]) -> int:
    symbols = -(-fields["length"] // max(1, fields["symbol_size"]))
    blocks = -(-symbols // max(1, fields["source_count"]))
    return -(-blocks // max(1, fields["interleave"]))


@given(
    st.one_of(st.binary(max_size=5000), changed(LABEL), st.binary(max_size=4064).map(lambda b: sealed(b.ljust(4064))))
)
def test_any_bytes_as_a_label(data: bytes) -> None:
    try:
        label = parse_label(data)
    except CarrierFormatError:
        return
    assert build_label(label) == data


@given(
    st.one_of(st.binary(max_size=5000), changed(INDEX), st.binary(max_size=4064).map(lambda b: sealed(b.ljust(4064))))
)
def test_any_bytes_as_an_index_block(data: bytes) -> None:
    try:
        index = parse_index(data)
    except CarrierFormatError:
        return
    assert build_index(index) == data
    assert index.before.dtype == index.after.dtype == ENTRY


@pytest.mark.parametrize("data", [LABEL, INDEX])
def test_every_bit_of_a_block_counts(data: bytes) -> None:
    parse = parse_label if data is LABEL else parse_index
    for offset in range(4096):
        damaged = bytearray(data)
        damaged[offset] ^= 1 << (offset % 8)
        with pytest.raises(CarrierFormatError):
            parse(bytes(damaged))
