"""Shares of a striped set: every symbol on exactly one volume, places by arithmetic alone, the rules of M-15."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_volumes import SIGNER, make_bundle, open_one, small_plan, write_planned

from tidegate.carrier.announcement import STRIPES, Announcement, build_announcement
from tidegate.carrier.stripes import Stripe
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import CarrierFormatError

BUNDLE = make_bundle(200_000)


def striped(volume: int = 1, volumes: int | None = 3, **changes: object) -> Announcement:
    return small_plan(BUNDLE, critical=(STRIPES,), volume=volume, volumes=volumes, **changes)


@given(
    length=st.integers(1, 400_000),
    source_count=st.integers(1, 20),
    repair_count=st.integers(0, 8),
    interleave=st.integers(1, 9),
    volumes=st.integers(2, 9),
)
def test_every_symbol_lies_on_exactly_one_volume(
    length: int, source_count: int, repair_count: int, interleave: int, volumes: int
) -> None:
    geometry = PartGeometry(length, source_count, repair_count, 4096, interleave)
    stripes = [Stripe(index, volumes) for index in range(volumes)]
    counts = [stripe.record_counts(geometry, 0, geometry.group_count).tolist() for stripe in stripes]
    for group in range(geometry.group_count):
        shares = [stripe.record_numbers(geometry, group).tolist() for stripe in stripes]
        assert sorted(number for share in shares for number in share) == list(range(geometry.group_record_count(group)))
        assert [len(share) for share in shares] == [count[group] for count in counts]
        whole = geometry.record_order(group)
        for stripe, share in zip(stripes, shares, strict=True):
            assert np.array_equal(stripe.record_order(geometry, group), whole[share])


def test_the_example_of_the_format() -> None:
    geometry = PartGeometry(6 * 4096, 3, 2, 4096, 2)
    owners = {}
    for volume in (1, 2, 3):
        for number in Stripe.of(volume, 3).record_numbers(geometry, 0).tolist():
            owners[number] = volume
    assert [owners[number] for number in range(10)] == [1, 2, 2, 3, 3, 1, 1, 2, 2, 3]


def test_no_block_loses_more_than_its_share_with_a_volume() -> None:
    geometry = PartGeometry(300 * 65536, 150, 105, 65536, 2)
    order = Stripe(2, 3).record_order(geometry, 0)
    assert np.bincount(order[:, 0]).max() <= 85


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"volumes": None}, "over how many volumes"),
        ({"volumes": 1}, "over how many volumes"),
        ({"volume": 4, "volumes": 3}, "volume 4 of 3"),
        ({"volumes": 11}, "blocks of 1. symbols over 11|blocks of . symbols over 11"),
    ],
)
def test_m15_striped_announcements_that_cannot_be_are_refused(changes: dict[str, object], text: str) -> None:
    announcement = replace(striped(), **changes)  # type: ignore[arg-type]
    with pytest.raises(CarrierFormatError, match=text):
        build_announcement(announcement, SIGNER)


@pytest.mark.parametrize("repairs", [True, False])
def test_all_shares_together_are_the_group(repairs: bool, tmp_path: Path) -> None:
    readers = []
    for volume in (1, 2, 3):
        write_planned(BUNDLE, tmp_path / str(volume), striped(volume))
        readers.append(open_one(tmp_path / str(volume)))
    geometry = readers[0].announcement.parts[2]
    found = bytearray()
    buffer = GroupBuffer(geometry)
    for group in range(geometry.group_count):
        buffer.bind(group)
        for reader in readers:
            reader.read_group(2, group, buffer, repairs=repairs)
        found += buffer.source_view()
        assert repairs is False or np.array_equal(buffer.present, buffer.exists)
    assert bytes(found) == BUNDLE.parts[2]
    assert all(reader.stats.is_clean for reader in readers)


def test_a_striped_volume_checks_clean_alone(tmp_path: Path) -> None:
    write_planned(BUNDLE, tmp_path, striped(2))
    assert open_one(tmp_path).check().is_clean
