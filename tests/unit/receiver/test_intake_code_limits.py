"""Codes that a stolen carrier key could announce: cut so finely that counting their pieces would take the memory."""

from pathlib import Path

import pytest
from made_bundles import content
from receiver_world import HighSide, LowSide

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.geometry import PartGeometry
from tidegate_receiver.intake.intake import GROUPS_MAX
from tidegate_receiver.intake.outcomes import OutcomeKind
from tidegate_receiver.reassembly.symbol_store import RECORDS_MAX, SymbolStore


def test_nothing_is_kept_of_a_code_with_too_many_records(tmp_path: Path) -> None:
    geometry = PartGeometry(64 << 30, 1, 254, 4096, 1)
    assert geometry.symbol_total * 255 > RECORDS_MAX
    store = SymbolStore(tmp_path, geometry, lambda _: True)
    store.folder.mkdir()  # whatever lies there
    buffer = GroupBuffer(geometry)
    buffer.bind(0)
    buffer.present[:] = True
    assert store.groups() == ()
    store.read_group(0, buffer)
    assert store.keep(0, buffer, buffer.exists) is False
    assert store.refused_bytes == 255 * 4096
    assert list(store.folder.iterdir()) == []


def test_the_largest_honest_part_can_be_kept() -> None:
    geometry = PartGeometry(4 << 40, 200, 20, 65536, 8)
    assert geometry.group_count < GROUPS_MAX
    assert geometry.symbol_total + geometry.block_count * 20 < RECORDS_MAX


def test_a_part_in_too_many_groups_is_refused_by_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    low = LowSide()
    high = HighSide.make(tmp_path / "high", low)
    low.write(low.bundle([content(1, 60_000)]), tmp_path / "stick")
    monkeypatch.setattr("tidegate_receiver.intake.intake.GROUPS_MAX", 0)
    outcome = high.receive_one(tmp_path / "stick")
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, 45)
    assert high.spooled() == []
