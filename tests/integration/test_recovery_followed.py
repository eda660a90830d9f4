"""docs/operating/recovery.md, followed step by step with the installed command."""

from pathlib import Path

import pytest
from made_bundles import content
from two_sides import Sides


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides.make(tmp_path)


def test_a_bundle_of_2099_is_let_in_by_mistake_and_two_people_lower_the_floor_again(sides: Sides) -> None:
    forger = sides.forger()
    forger.write(forger.bundle([content(1, 3000)], sequence=1, created="2099-01-01T00:00:00Z"), sides.stick)
    answer = sides.high.run("receive", sides.stick)
    assert answer.code == 42
    assert "tidegate admit" in answer.out + answer.err
    assert "waits" in sides.high.good("inbox").out or "admit" in sides.high.good("inbox").out
    sides.high.good("admit", "1", "--reason", "in a hurry", "--trust-time")
    later = forger.bundle([content(2, 3000)], sequence=2, expires="2098-01-01T00:00:00Z")
    second = sides.folder / "second"
    forger.write(later, second)
    sides.high.fails(37, "receive", second)
    assert "2099" in sides.high.good("clock", "show").out

    act, carla = sides.folder / "act.json", sides.folder / "carla.key"
    words = ("--to", "2026-03-01T00:00:00Z", "--reason", "admitted 0001 of 2099")
    sides.high.fails(51, "clock", "lower", *words)
    sides.high.good("clock", "lower", *words, "--file", act)
    public = sides.high.good("keys", "new", carla, "--holder", "carla", "--json").objects[-1]["public"]
    sides.high.good("keys", "add", "approver", str(public), "--holder", "carla")
    sides.high.good("clock", "lower", "--file", act, "--key", carla)
    assert "2026-03-01" in sides.high.good("clock", "show").out
    sides.high.good("receive", second)
    sides.high.good("ledger", "verify")


def test_the_high_side_rotates_and_revokes_keys_of_its_own_root(sides: Sides) -> None:
    rows = sides.high.good("keys", "list", "--json").objects
    old = next(str(row["key_id"]) for row in rows if row["file"] == "keys/approver.key")
    sides.high.good("keys", "rotate", "approver", "--revoke", "--reason", "the card was lost")
    assert "nothing to do" in sides.high.good("keys", "revoke", old[:12], "--reason", "again").out
    bundle = sides.pack()
    sides.send(bundle)
    sides.assert_arrives(bundle)


def test_a_fork_after_a_backup_is_shown_kept_and_settled(sides: Sides) -> None:
    forger = sides.forger()
    first, second = (forger.bundle([content(number, 3000)], sequence=1) for number in (1, 2))
    other = sides.folder / "other"
    forger.write(first, sides.stick)
    forger.write(second, other)
    sides.high.good("receive", sides.stick)
    sides.high.fails(40, "receive", other)
    status = sides.high.good("status")
    assert "two bundles have the number of" in status.err
    for path in sides.high.root.glob("state.db*"):
        path.unlink()
    sides.high.good("restore", "--reason", "the disk died as well")
    assert "two bundles have the number of" in sides.high.good("status").err
    sides.high.good("admit", second.bundle_id, "--deny", "--reason", "Ada restored a backup")
    assert "two bundles" not in sides.high.good("status").err
    kept = {path.parent.name for path in sides.high.root.glob("evidence/*/*/manifest.json")}
    assert kept == {first.bundle_id, second.bundle_id}
    listed = sides.high.good("ledger", "list", "--event", "fork").out
    assert first.bundle_id[:16] in listed and second.bundle_id[:12] in listed
