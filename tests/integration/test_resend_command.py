"""``tidegate resend``: the same bundles once more, all of them or pieces, to a medium."""

from pathlib import Path

import pytest
from two_sides import Sides


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    made = Sides.make(tmp_path)
    site = made.high.good("keys", "export", "--json").objects[-1]
    made.low.good("trust", "add", str(site["line"]), "--fingerprint", str(site["fingerprint"]))
    return made


def stick(sides: Sides, name: str) -> Path:
    folder = sides.folder / name
    folder.mkdir()
    return folder


def send(sides: Sides, count: int, *, arrives: tuple[int, ...] = (), size: int = 300_000) -> list[str]:
    """Pack and send so many bundles; those in `arrives` cross."""
    bundles = []
    for number in range(1, count + 1):
        bundles.append(sides.pack(seed=number, size=size))
        place = sides.send(bundles[-1], stick(sides, f"stick-{number}"))
        if number in arrives:
            sides.high.good("receive", place)
    return bundles


def read_slip(sides: Sides) -> None:
    slip = sides.high.good("slip", "--json").objects[-1]
    sides.low.good("slip", "read", str(slip["slip"]))


def test_what_the_last_slip_misses_is_sent_again_and_arrives(sides: Sides) -> None:
    bundles = send(sides, 4, arrives=(1, 4))
    assert "nothing to do" in sides.low.good("resend").out
    read_slip(sides)
    planned = sides.low.good("resend", "--dry-run", "--json").objects[-1]
    assert [item["bundle"] for item in planned["bundles"]] == bundles[1:3]  # type: ignore[attr-defined]
    assert planned["asked_by"] == ["plant-7"]
    again = stick(sides, "again")
    sides.low.events()
    sent = sides.low.good("resend", f"{again}/", "--json").objects
    assert [item["bundle"] for item in sent] == bundles[1:3]
    assert sides.low.events().count("send done") == 2
    assert "nothing to do" in sides.low.good("resend", again).out
    sides.high.good("receive", again)
    assert sides.high.good("slip", "--json").objects[-1]["held"] == "1-4"
    read_slip(sides)
    assert "nothing to do" in sides.low.good("resend").out


def test_numbers_ranges_and_names_are_taken(sides: Sides) -> None:
    bundles = send(sides, 3)
    again = stick(sides, "again")
    sent = sides.low.good("resend", "1-2", bundles[2], again, "--json").objects
    assert [item["bundle"] for item in sent] == bundles
    sides.high.good("receive", again)
    assert sides.high.states() == ["quarantined"] * 3


@pytest.mark.parametrize(
    "words", [("0",), ("3-1",), ("1-2:4",), ("1:",), ("1:0",), ("1:9-2",), ("x",), ("1-9999",), ("1:999",)]
)
def test_words_that_are_no_numbers_or_pieces_are_refused(sides: Sides, words: tuple[str, ...]) -> None:
    send(sides, 1)
    sides.low.fails(2, "resend", *words, stick(sides, "again"))


def test_what_was_never_sent_is_void_or_cleaned_up_is_named_with_what_to_do(sides: Sides) -> None:
    bundles = send(sides, 3)
    unsent = sides.pack(seed=9)
    again = stick(sides, "again")
    answer = sides.low.fails(18, "resend", "4", again)
    assert f'"tidegate send {unsent}"' in answer.err
    assert "never packed here" in sides.low.fails(18, "resend", "77", again).err
    sides.low.good("discard", bundles[0])
    assert "discarded or withdrawn" in sides.low.fails(18, "resend", "1", again).err
    sides.low.good("cleanup", "--remove", "--keep-days", "0")
    answer = sides.low.fails(18, "resend", bundles[1], again)
    assert "was cleaned up on" in answer.err
    assert f'"tidegate discard {bundles[1]}"' in answer.err
    assert list(again.iterdir()) == []


def test_what_can_be_sent_is_sent_and_the_rest_is_named(sides: Sides) -> None:
    bundles = send(sides, 2)
    again = stick(sides, "again")
    answer = sides.low.fails(3, "resend", "1-3", again)
    assert "3 cannot be sent again" in answer.err
    sides.high.good("receive", again)
    assert [row.name for row in sides.high.rows()] == bundles


def test_pieces_fill_a_bundle_that_came_damaged(sides: Sides) -> None:
    bundle = sides.pack(size=30_000_000, count=4)
    whole = sides.send(bundle, stick(sides, "whole"))
    (file,) = whole.rglob("*.TGV")
    size = file.stat().st_size
    with file.open("r+b") as damaged:  # more than the repair data bears
        damaged.seek(size // 2)
        damaged.write(b"\0" * (size // 4))
    sides.high.run("receive", whole)
    assert sides.high.states() == ["incomplete"]
    (row,) = sides.high.rows()
    pieces = str(row.detail["missing_pieces"])
    assert pieces
    assert f'tidegate resend 1:{pieces}"' in sides.high.good("inbox").out
    again = stick(sides, "again")
    sent = sides.low.good("resend", f"1:{pieces}", again, "--json").objects[-1]
    assert sent["pieces"] == pieces
    assert "nothing to do" in sides.low.good("resend", f"1:{pieces}", again).out
    sides.assert_arrives(bundle, stick=again)


def test_pieces_of_a_bundle_that_is_not_there_at_all_leave_it_incomplete(sides: Sides) -> None:
    bundle = sides.pack(size=60_000_000, count=4)
    sides.send(bundle, stick(sides, "lost"))
    again = stick(sides, "again")
    sent = sides.low.good("resend", "1:58", again, "--json").objects[-1]
    assert int(str(sent["volume_bytes"])) < 200_000_000
    answer = sides.high.run("receive", again)
    assert answer.code == 21, answer
    assert answer.is_ours
    assert sides.high.states() == ["incomplete"]


def test_pieces_do_not_take_the_place_of_a_whole_copy(sides: Sides) -> None:
    bundle = sides.pack(size=60_000_000, count=4)
    place = sides.send(bundle, stick(sides, "whole"))
    files = sorted(place.rglob("*.TGV"))
    answer = sides.low.fails(20, "resend", "1:1", place)
    assert "another copy" in answer.err
    assert sorted(place.rglob("*.TGV")) == files
