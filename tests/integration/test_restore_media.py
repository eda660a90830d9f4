"""The register of media after state.db was lost or put back: rebuilt from the ledger, alarms as before."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from two_sides import Side, Sides

from tidegate.state.media import MediumRow, list_media

LABEL = "STICK-07"


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides.make(tmp_path)


def media(side: Side) -> dict[str, MediumRow]:
    with side.workspace() as workspace, workspace.state.reading() as tx:
        return {row.label: row for row in list_media(tx)}


def as_told(row: MediumRow) -> MediumRow:
    """Without what only the medium itself can tell again, and times that are those of the entries."""
    kept = {name: row.detail[name] for name in ("bundle", "bundles", "before_lost") if name in row.detail}
    return replace(row, token_digest="", contents=None, registered=0, updated=0, detail=kept)


def lose_state(side: Side, backup: Path | None = None) -> None:
    for path in side.root.glob("state.db*"):
        path.unlink()
    for path in backup.glob("state.db*") if backup else ():
        shutil.copy2(path, side.root / path.name)


def second_stick(sides: Sides) -> Path:
    other = sides.folder / "other"
    other.mkdir()
    sides.low.good("media", "register", other, "STICK-08")
    return other


@pytest.mark.parametrize("how", ["an old state", "no state"])
def test_the_register_is_known_again_on_both_sides(sides: Sides, how: str) -> None:
    sides.low.good("media", "register", sides.stick, LABEL)
    sides.send(sides.pack())
    sides.high.good("receive", sides.stick)
    for side in (sides.low, sides.high):
        shutil.copytree(side.root, sides.folder / f"backup-{side.root.name}", symlinks=True)
    sides.send(sides.pack("more", seed=2), second_stick(sides))
    sides.low.good("media", "return", sides.stick)
    sides.send(sides.pack("again", seed=3), sides.stick)
    sides.high.good("receive", sides.stick)
    sides.low.good("media", "lost", "STICK-08", "--reason", "left on the train")
    for side in (sides.low, sides.high):
        before = media(side)
        lose_state(side, sides.folder / f"backup-{side.root.name}" if how == "an old state" else None)
        answer = side.good("restore", "--reason", "the disk died", "--json").objects[-1]
        assert answer["media"] == (1 if how == "an old state" and side is sides.high else len(before))
        after = media(side)
        assert {label: as_told(row) for label, row in after.items()} == {
            label: as_told(row) for label, row in before.items()
        }
        assert "0 media rebuilt" in side.good("restore", "--reason", "once more").out
        assert media(side) == after
    sides.low.good("media", "found", "STICK-08")
    assert media(sides.low)["STICK-08"].state == "away"


def test_an_honest_stick_is_no_alarm_after_a_restore_and_one_that_was_put_back_is(sides: Sides) -> None:
    sides.low.good("media", "register", sides.stick, LABEL)
    sides.send(sides.pack())
    copy = sides.folder / "copy"
    shutil.copytree(sides.stick, copy)
    sides.send(sides.pack("more", seed=2), sides.stick)
    sides.high.good("receive", sides.stick)
    lose_state(sides.high)
    sides.high.good("restore", "--reason", "the disk died")
    sides.high.good("receive", sides.stick)
    assert not [event for event in sides.high.events() if event.startswith("media-alarm")]
    sides.high.good("receive", copy)
    assert [item["reason"] for item in sides.high.entries() if item["event"] == "media-alarm"] == [
        "medium-counter-back"
    ]
    lose_state(sides.low)
    sides.low.good("restore", "--reason", "the disk died")
    answer = sides.low.good("media", "return", sides.stick)
    assert "media-alarm failed" not in sides.low.events()
    assert answer.code == 0
