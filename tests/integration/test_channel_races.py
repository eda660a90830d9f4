"""Two commands at once on one channel: whatever the order, no number has two bundles and nothing is lost."""

from pathlib import Path

import pytest
from two_sides import Sides


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides.make(tmp_path)


def test_two_packs_at_once_give_two_numbers_or_one_gives_way(sides: Sides) -> None:
    folders = [sides.make_files(f"docs-{number}", seed=number, size=200_000) for number in (1, 2)]
    running = [sides.low.start("pack", folder, "--anyway") for folder in folders]
    codes = []
    for process in running:
        _, error = process.communicate(timeout=120)
        assert process.returncode in {0, 74}, error
        codes.append(process.returncode)
    assert 0 in codes
    rows = [row for row in sides.low.rows() if row.state.value != "discarded"]
    assert len({row.sequence for row in rows}) == len(rows)
    packed = [item for item in sides.low.entries() if item["event"] == "pack" and item["outcome"] == "done"]
    assert len(packed) == codes.count(0)
    sides.low.good("ledger", "verify")
    bundle = max(rows, key=lambda row: row.sequence)
    sides.send(bundle.name)
    sides.high.good("receive", sides.stick)


def test_two_receives_of_one_stick_at_once_take_it_once(sides: Sides) -> None:
    bundle = sides.pack(size=400_000)
    sides.send(bundle)
    running = [sides.high.start("receive", sides.stick) for _ in range(2)]
    for process in running:
        _, error = process.communicate(timeout=120)
        assert process.returncode in {0, 74}, error
    taken = [item for item in sides.high.entries() if item["event"] == "receive" and item["outcome"] == "done"]
    assert len(taken) == 1
    sides.assert_loads(bundle)


def test_two_rotations_at_once_make_two_versions_or_one_gives_way(sides: Sides) -> None:
    running = [sides.low.start("keys", "rotate", role) for role in ("release", "carrier")]
    codes = []
    for process in running:
        _, error = process.communicate(timeout=120)
        codes.append(process.returncode)
        assert process.returncode in {0, 74, 80, 82}, error
    with sides.low.workspace() as workspace:
        assert workspace.trust.own_channel().newest.version == 1 + codes.count(0)
    for role in ("release", "carrier"):
        if codes[("release", "carrier").index(role)]:
            sides.low.good("keys", "rotate", role)
    bundle = sides.pack()
    sides.send(bundle)
    sides.assert_arrives(bundle)
