"""Roots that were put back from a backup: no number is given twice, and what is known is known again."""

import shutil
from pathlib import Path

import pytest
from two_sides import Sides


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides.make(tmp_path)


def carry(sides: Sides, name: str, seed: int) -> str:
    """Pack, send, receive and load one bundle."""
    bundle = sides.pack(name, seed=seed, size=20_000)
    stick = sides.folder / f"stick-{name}"
    stick.mkdir()
    sides.send(bundle, stick)
    sides.high.good("receive", stick)
    sides.high.good("load", bundle)
    return bundle


def number_of(bundle: str) -> int:
    return int(bundle.rpartition("-")[2])


def back_up(root: Path, to: Path) -> None:
    shutil.copytree(root, to, symlinks=True)


def put_back(root: Path, backup: Path) -> None:
    shutil.rmtree(root)
    shutil.copytree(backup, root, symlinks=True)


def put_state_back(root: Path, backup: Path | None) -> None:
    for path in root.glob("state.db*"):
        path.unlink()
    for path in backup.glob("state.db*") if backup else ():
        shutil.copy2(path, root / path.name)


@pytest.mark.parametrize("how", ["an old state", "no state"])
def test_the_low_side_gives_no_number_twice_when_its_state_was_put_back(sides: Sides, how: str) -> None:
    carry(sides, "one", 1)
    back_up(sides.low.root, sides.folder / "backup")
    carry(sides, "two", 2)
    third = carry(sides, "three", 3)
    put_state_back(sides.low.root, sides.folder / "backup" if how == "an old state" else None)
    sides.low.fails(76, "pack", sides.make_files("four", seed=4))
    answer = sides.low.good("restore", "--reason", "the disk died", "--json").objects[-1]
    assert answer["entries"]
    assert answer["bundles"] == (2 if how == "an old state" else 3)
    fourth = carry(sides, "four", 4)
    assert number_of(fourth) == number_of(third) + 1
    rows = {row.name: row.state.value for row in sides.low.rows()}
    assert set(rows.values()) == {"sent"} and len(rows) == 4
    assert "nothing to do" in sides.low.good("send", third, sides.folder / "stick-three").out
    sides.low.good("ledger", "verify")
    sides.high.check()
    assert sum("fork" in event for event in sides.high.events()) == 0


def test_a_low_side_that_was_put_back_as_a_whole_goes_on_after_the_last_number_that_a_person_knows(
    sides: Sides,
) -> None:
    carry(sides, "one", 1)
    back_up(sides.low.root, sides.folder / "backup")
    carry(sides, "two", 2)
    third = carry(sides, "three", 3)
    put_back(sides.low.root, sides.folder / "backup")
    sides.low.good("restore", "--reason", "the disk died", "--last", third)
    fourth = sides.pack("four", seed=4, size=20_000)
    assert number_of(fourth) == number_of(third) + 1
    sides.low.fails(2, "restore", "--reason", "mistaken", "--last", "1")
    sides.send(fourth)
    answer = sides.high.run("receive", sides.stick)
    assert answer.code in {0, 63}, answer  # the low side's ledger was put back, too: its witness says so
    assert "fork refused/fork" not in sides.high.events()


@pytest.mark.parametrize("how", ["an old state", "no state"])
def test_the_high_side_knows_again_what_it_took_and_loaded_when_its_state_was_put_back(sides: Sides, how: str) -> None:
    carry(sides, "one", 1)
    back_up(sides.high.root, sides.folder / "backup")
    second = carry(sides, "two", 2)
    waiting = sides.pack("three", seed=3, size=20_000)
    sides.send(waiting)
    sides.high.good("receive", sides.stick)
    with sides.high.workspace() as workspace, workspace.state.reading() as tx:
        from tidegate.state.channels import list_channels
        from tidegate.state.names import list_names

        channels = list_channels(tx)
        names = list_names(tx, channels[0].channel_id)
    before = {row.name: row.state.value for row in sides.high.rows()}
    put_state_back(sides.high.root, sides.folder / "backup" if how == "an old state" else None)
    sides.high.fails(76, "receive", sides.stick)
    sides.high.good("restore", "--reason", "the disk died")
    assert {row.name: row.state.value for row in sides.high.rows()} == before
    with sides.high.workspace() as workspace, workspace.state.reading() as tx:
        again = list_channels(tx)
        assert (again[0].epoch, again[0].highest_sequence) == (channels[0].epoch, channels[0].highest_sequence)
        assert list_names(tx, channels[0].channel_id) == names
    assert "nothing to do" in sides.high.good("receive", sides.stick).out
    assert "nothing to do" in sides.high.good("receive", sides.folder / "stick-two").out
    sides.high.good("load", waiting)
    assert second in {row.name for row in sides.high.rows()}
    carry(sides, "four", 4)
    sides.high.good("ledger", "verify")
    sides.high.check()


def test_a_high_side_that_was_put_back_as_a_whole_asks_for_what_it_lost(sides: Sides) -> None:
    carry(sides, "one", 1)
    back_up(sides.high.root, sides.folder / "backup")
    carry(sides, "two", 2)
    third = carry(sides, "three", 3)
    put_back(sides.high.root, sides.folder / "backup")
    sides.high.good("restore", "--reason", "the disk died", "--last", third)
    missing = [line for line in sides.high.good("inbox", "--json").objects if "missing_numbers" in line]
    assert missing[0]["missing_numbers"] == [2, 3]
    sides.high.good("receive", sides.folder / "stick-three")
    sides.high.good("receive", sides.folder / "stick-two")
    assert not [line for line in sides.high.good("inbox", "--json").objects if "missing_numbers" in line]
    assert sum("fork" in event for event in sides.high.events()) == 0


def test_a_restore_with_nothing_to_restore_changes_no_number(sides: Sides) -> None:
    first = carry(sides, "one", 1)
    for side in (sides.low, sides.high):
        answer = side.good("restore", "--reason", "to be sure", "--json").objects[-1]
        assert (answer["entries"], answer["bundles"]) == (0, 0)
    assert number_of(sides.pack("two", seed=2)) == number_of(first) + 1


def test_a_dry_run_of_restore_changes_nothing(sides: Sides) -> None:
    carry(sides, "one", 1)
    before = len(sides.low.entries())
    answer = sides.low.good("restore", "--reason", "look", "--dry-run")
    assert "1" in answer.out
    assert len(sides.low.entries()) == before


def test_a_ledger_that_is_older_than_the_state_is_no_matter_of_restore(sides: Sides) -> None:
    carry(sides, "one", 1)
    back_up(sides.low.root / "ledger", sides.folder / "old-ledger")
    carry(sides, "two", 2)
    put_back(sides.low.root / "ledger", sides.folder / "old-ledger")
    sides.low.fails(61, "restore", "--reason", "no")
