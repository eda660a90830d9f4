"""Sticks of sets and copies as people bring them: swapped, mixed, cloned, a stranger's among them, over days."""

import shutil
import signal
import time
from pathlib import Path

import pytest
from carved_images import volume_files, whole_image
from receiver_world import announced, destroy, records
from two_sides import Sides

SIZE = 600_000


def folders(sides: Sides, *names: str) -> list[Path]:
    made = [sides.folder / name for name in names]
    for folder in made:
        folder.mkdir()
    return made


def send_set(sides: Sides, bundle: str, name: str) -> list[Path]:
    """Three sticks, of which any two hold everything."""
    sticks = folders(sides, *(f"{name}{number}" for number in (1, 2, 3)))
    sides.low.good("send", bundle, *sticks, "--spare", "1", "--accept-overhead")
    return sticks


def missing(sides: Sides, stick: Path) -> list[int]:
    answer = sides.high.run("receive", stick, "--json")
    assert answer.code == 21, answer
    return answer.objects[-1]["missing_volumes"]  # type: ignore[return-value]


@pytest.fixture
def two(sides: Sides) -> tuple[tuple[str, list[Path]], tuple[str, list[Path]]]:
    """Two bundles, a set of each."""
    red = sides.pack("red", size=SIZE)
    reds = send_set(sides, red, "r")  # before the next is packed, which would take the same number
    blue = sides.pack("blue", size=SIZE, seed=2)
    return (red, reds), (blue, send_set(sides, blue, "b"))


def test_sticks_of_two_sets_that_were_swapped_still_make_both_bundles(
    sides: Sides, two: tuple[tuple[str, list[Path]], tuple[str, list[Path]]]
) -> None:
    (red, reds), (blue, blues) = two
    assert missing(sides, reds[0]) == [2, 3]
    assert missing(sides, blues[1]) == [1, 3]  # the courier took the wrong one of the second set: it is kept as well
    assert len(sides.high.spooled()) == 2
    sides.high.good("receive", reds[2])
    sides.high.good("receive", blues[0])
    sides.assert_loads(red, "red")
    sides.assert_loads(blue, "blue")
    assert sides.high.spooled() == []


def test_sticks_of_two_bundles_may_be_in_at_once(
    sides: Sides, two: tuple[tuple[str, list[Path]], tuple[str, list[Path]]]
) -> None:
    (red, reds), (blue, blues) = two
    sides.high.good("receive", blues[2], reds[0], blues[0], reds[1])
    sides.assert_loads(red, "red")
    sides.assert_loads(blue, "blue")


def test_volumes_of_two_bundles_copied_into_each_other_s_folders_are_told_apart(
    sides: Sides, two: tuple[tuple[str, list[Path]], tuple[str, list[Path]]]
) -> None:
    (red, reds), (blue, blues) = two
    mixed = sides.folder / "mixed"
    (mixed / "TIDEGATE" / "ONE").mkdir(parents=True)
    for number, file in enumerate(file for stick in (*reds[:2], *blues[:2]) for file in volume_files(stick)):
        shutil.copy(file, mixed / "TIDEGATE" / "ONE" / f"V{999 - number:03}F001.TGV")
    sides.high.good("receive", mixed)
    sides.assert_loads(red, "red")
    sides.assert_loads(blue, "blue")


def test_a_stick_and_its_clone_are_one(sides: Sides) -> None:
    bundle = sides.pack(size=SIZE)
    sticks = send_set(sides, bundle, "s")
    clone = sides.folder / "clone"
    shutil.copytree(sticks[0], clone)
    assert missing(sides, sticks[0]) == [2, 3]
    assert missing(sides, clone) == [2, 3]
    sides.high.good("receive", clone, sticks[1])
    sides.assert_loads(bundle)


def test_a_stick_that_was_replaced_by_a_stranger_s_is_refused_and_the_others_make_the_bundle(
    sides: Sides, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = sides.pack(size=SIZE)
    sticks = send_set(sides, bundle, "s")
    other = Sides.make(tmp_path_factory.mktemp("stranger"))
    theirs = send_set(other, other.pack(size=SIZE), "s")
    assert missing(sides, sticks[0]) == [2, 3]
    answer = sides.high.fails(35, "receive", theirs[1])
    assert "not pinned" in answer.err
    assert "media-rejected refused/channel-unknown" in sides.high.events()
    sides.high.run("receive", theirs[1], sticks[2])
    sides.assert_loads(bundle)


def test_two_damaged_copies_make_a_whole_one_over_days_and_a_kill_between(sides: Sides) -> None:
    bundle = sides.pack(size=4_000_000)
    copies = folders(sides, "monday", "friday")
    for copy in copies:
        sides.low.good("send", bundle, copy)
    for turn, copy in enumerate(copies):
        found = [record for record in records(copy) if record.part == 2]
        for record in found:
            if record.symbol % 2 == turn:
                destroy(record)
    sides.high.fails(21, "receive", copies[0])
    killed = sides.high.start("receive", copies[1])
    time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    sides.high.good("receive", copies[1])
    sides.assert_loads(bundle)
    assert sides.high.spooled() == []


def test_copies_with_other_codes_and_symbols_fill_each_other_by_whole_pieces(sides: Sides) -> None:
    bundle = sides.pack(size=5_000_000)
    plain, strong = folders(sides, "plain", "strong")
    sides.low.good("send", bundle, plain)
    sides.low.good("send", bundle, strong, "--redundancy", "0.5")
    for copy, third in ((plain, 0), (strong, 2)):
        geometry = announced(copy).parts[2]
        for record in [record for record in records(copy) if record.part == 2]:
            place = (geometry.block_first_symbol(record.block) + record.symbol) * geometry.symbol_size
            if record.symbol >= record.source_count or place * 3 // geometry.length == third:
                destroy(record)
    answer = sides.high.fails(21, "receive", plain)
    assert "pieces are whole and kept" in answer.out
    sides.high.good("receive", strong)
    sides.assert_loads(bundle)


def test_a_carved_stick_a_set_and_a_whole_copy_make_one_bundle(sides: Sides) -> None:
    bundle = sides.pack(size=SIZE)
    sticks = send_set(sides, bundle, "s")
    image = whole_image(sides.folder / "one.img", volume_files(sticks[0]))
    sides.high.fails(21, "receive", "--damaged", image)
    assert missing(sides, sticks[0]) == [2, 3]
    image = whole_image(sides.folder / "three.img", volume_files(sticks[2]), seed=2)
    sides.high.good("receive", "--damaged", image)
    sides.assert_loads(bundle)


def test_a_stick_to_which_something_was_added_on_the_way_is_received_and_the_addition_is_named(sides: Sides) -> None:
    bundle = sides.pack(size=SIZE)
    stick = sides.send(bundle)
    (stick / "autorun.inf").write_text("[autorun]\nopen=evil.exe\n")
    (stick / "TIDEGATE" / "V001F009.TGV").write_bytes(b"TGL1" + bytes(8188))
    answer = sides.high.good("receive", stick)
    assert "1 other file on the medium, left alone" in answer.out
    assert "V001F009.TGV" in answer.err
    inserted = next(item for item in sides.high.entries() if item["event"] == "media-inserted")
    assert "autorun.inf" in inserted["names"]  # type: ignore[operator]
    sides.assert_loads(bundle)
