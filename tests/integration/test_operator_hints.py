"""What commands tell an operator to do next where something is not as it should be: the hints name what does it."""

import pytest
from two_sides import Sides


@pytest.mark.parametrize("side", ["low", "high"])
def test_a_last_number_that_is_mistyped_is_refused_on_either_side_and_changes_nothing(sides: Sides, side: str) -> None:
    bundle = sides.pack()
    sides.send(bundle)
    sides.assert_arrives(bundle)
    asked = getattr(sides, side)
    asked.fails(2, "restore", "--reason", "the disk died", "--last", "4001")
    assert "4001" not in sides.high.good("inbox").out
    asked.good("restore", "--reason", "the disk died", "--last", "4")
    if side == "high":
        assert "2 to 4 missing" in sides.high.good("inbox").out
    else:
        assert sides.pack(name="more", seed=7).endswith("-0005")


def test_status_points_to_restore_where_the_state_is_gone(sides: Sides) -> None:
    sides.send(sides.pack())
    for path in sides.low.root.glob("state.db*"):
        path.unlink()
    assert 'next: "tidegate restore' in sides.low.good("status").out
    sides.low.good("restore", "--reason", "the disk died")
    assert '"tidegate restore' not in sides.low.good("status").out


def test_a_lost_stick_names_all_that_it_went_away_with_and_what_writes_it_again(sides: Sides) -> None:
    sides.low.good("media", "register", sides.stick, "STICK-07")
    first = sides.pack()
    sides.low.good("send", first, sides.stick)
    second = sides.pack(name="more", seed=2)
    sides.low.good("send", second, sides.stick)
    lost = sides.low.good("media", "lost", "STICK-07").out
    assert f"it carried {first}, {second}" in lost
    assert f'"tidegate send {second}" writes it once more' in lost


def test_a_resend_of_what_has_expired_says_so(sides: Sides) -> None:
    sides.make_files()
    packed = sides.low.run("pack", sides.folder / "docs", "--expires", "1", SOURCE_DATE_EPOCH="1700000000")
    assert packed.code == 0, packed
    sides.low.good("send", "1", sides.stick)
    assert "expired 2023-11-15" in sides.low.good("resend", "1", sides.stick).err
