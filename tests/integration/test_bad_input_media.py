"""Media that are damaged, disordered or hostile, through the installed command: an error, an entry, nothing half."""

import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from receiver_world import announced, destroy_in_blocks, records
from two_sides import Sides

SEED = 20_260_301
RECEIVED = ["media-inserted done", "receive done", "quarantine done"]
MENDED = ["media-inserted done", "receive done", "mend done", "quarantine done"]
INCOMPLETE = ["media-inserted done", "receive partial/volume-missing"]


@pytest.fixture
def bundle(sides: Sides) -> str:
    """A bundle of 900 KB whose volume has several files."""
    return sides.pack()


@pytest.fixture
def files(sides: Sides, bundle: str) -> tuple[Path, ...]:
    return sides.write(bundle, sides.stick, file_bytes=384 << 10)


# --- volume files -----------------------------------------------------------------------------


def cut_end(files: tuple[Path, ...]) -> None:
    os.truncate(files[-1], files[-1].stat().st_size - 20_000)


def flip_bits(files: tuple[Path, ...]) -> None:
    chance = random.Random(SEED)
    for file in files:
        data = bytearray(file.read_bytes())
        for _ in range(2):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)


def swap(files: tuple[Path, ...]) -> None:
    aside = files[1].with_name("ASIDE")
    files[1].rename(aside)
    files[2].rename(files[1])
    aside.rename(files[2])


def rename(files: tuple[Path, ...]) -> None:
    for number, file in enumerate(files):
        file.rename(file.with_name(f"holiday-{number}.jpg"))


def duplicate(files: tuple[Path, ...]) -> None:
    for file in files:
        shutil.copy(file, file.with_name(f"Copy of {file.name}"))


def zero_a_page_of_each(files: tuple[Path, ...]) -> None:
    for file in files:
        with file.open("r+b") as opened:
            opened.seek(file.stat().st_size // 2 // 4096 * 4096)
            opened.write(bytes(8192))


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (cut_end, RECEIVED),  # cover and head are whole at their other place
        (flip_bits, MENDED),
        (swap, RECEIVED),
        (rename, RECEIVED),
        (duplicate, RECEIVED),
        (zero_a_page_of_each, MENDED),
    ],
)
def test_files_that_are_damaged_a_little_or_disordered_are_received(
    harm: Callable[[tuple[Path, ...]], None], expected: list[str], sides: Sides, bundle: str, files: tuple[Path, ...]
) -> None:
    assert len(files) > 3
    harm(files)
    sides.high.good("receive", sides.stick)
    assert sides.high.events() == expected
    sides.assert_loads(bundle)


def remove(file: Path) -> None:
    file.unlink()


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 3)


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def overwrite_by_another(file: Path) -> None:
    shutil.copy(file.with_name("V001F001.TGV"), file)


@pytest.mark.parametrize("harm", [remove, halve, zero, overwrite_by_another])
def test_more_than_the_code_bears_is_named_kept_and_made_whole_by_another_copy(
    harm: Callable[[Path], None], sides: Sides, bundle: str, files: tuple[Path, ...]
) -> None:
    harm(files[2])
    answer = sides.high.fails(21, "receive", sides.stick)
    assert f"bundle {bundle}: chunks: block " in answer.err
    assert "tidegate: hint: have the low side write the bundle again, or insert another copy" in answer.err
    assert sides.high.events() == INCOMPLETE
    assert sides.high.states() == ["incomplete"]
    assert sides.high.quarantined() == {}
    assert sides.high.fails(50, "load", bundle).err.count("incomplete")
    assert sides.high.stage() == {}
    assert "pieces" in sides.high.good("inbox").out
    sides.high.events()
    sides.write(bundle, sides.folder / "second", file_bytes=384 << 10)
    sides.assert_arrives(bundle, stick=sides.folder / "second")


def test_a_volume_of_which_one_file_is_left_is_no_bundle_but_known(
    sides: Sides, bundle: str, files: tuple[Path, ...]
) -> None:
    for file in files[1:]:
        file.unlink()
    sides.high.fails(21, "receive", sides.stick)
    assert sides.high.events() == INCOMPLETE
    shutil.rmtree(sides.stick)
    sides.send(bundle)
    sides.assert_arrives(bundle)


def test_a_medium_of_zeros_holds_nothing(sides: Sides, bundle: str, files: tuple[Path, ...]) -> None:
    for file in files:
        zero(file)
    answer = sides.high.fails(25, "receive", sides.stick)
    assert f"nothing can be recognised in {len(files)} files" in answer.err
    assert sides.high.events() == ["media-inserted nothing"]
    sides.assert_untouched()
    assert sides.low.fails(25, "verify", sides.stick).code == 25


# --- records ----------------------------------------------------------------------------------


def test_r_destroyed_records_of_each_block_are_repaired(sides: Sides) -> None:
    bundle = sides.pack(size=2_000_000)
    sides.send(bundle)
    count = destroy_in_blocks(sides.stick, 2, beyond=0, seed=SEED)
    answer = sides.high.good("receive", sides.stick, "--json")
    assert answer.objects[-1]["damaged_places"] == count
    assert sides.high.events() == MENDED
    sides.assert_loads(bundle)


def test_one_destroyed_record_more_is_named_by_block(sides: Sides) -> None:
    bundle = sides.pack(size=2_000_000)
    sides.send(bundle)
    shutil.copytree(sides.stick, sides.folder / "honest")
    destroy_in_blocks(sides.stick, 2, beyond=1, seed=SEED)
    repairs = announced(sides.stick).geometry(2).repair_count
    answer = sides.high.fails(21, "receive", sides.stick)
    assert f"chunks: block 0 has {repairs + 1} of " in answer.err
    assert f"pieces damaged or missing, {repairs} can be repaired" in answer.err
    assert sides.high.events() == INCOMPLETE
    assert "chunks cannot be repaired" in sides.low.fails(21, "verify", sides.stick).err
    assert sides.low.events()[-1] == "send done"
    sides.assert_arrives(bundle, stick=sides.folder / "honest")


@pytest.mark.parametrize(("part", "word"), [(0, "cover"), (1, "head")])
def test_a_cover_or_head_destroyed_at_all_places_leaves_nothing(part: int, word: str, sides: Sides) -> None:
    bundle = sides.pack()
    sides.send(bundle)
    destroy_in_blocks(sides.stick, part, beyond=255, seed=SEED)
    assert word in sides.high.fails(21, "receive", sides.stick).err
    assert sides.high.events() == INCOMPLETE
    sides.assert_untouched()
    assert sides.low.good("send", bundle, sides.stick).out.count("sent")
    sides.assert_arrives(bundle)


# --- what else lies on a medium ---------------------------------------------------------------


def test_hostile_names_hold_nothing_up_and_reach_no_screen(sides: Sides, bundle: str) -> None:
    sides.send(bundle)
    inside = sides.stick / "TIDEGATE"
    make_hostile_names(inside)
    answer = sides.high.good("receive", sides.stick)
    assert all(text.isprintable() for text in (answer.out + answer.err).splitlines())
    assert sides.high.events() == RECEIVED
    listed = [item for item in sides.high.entries() if item["event"] == "media-inserted"][-1]["names"]
    assert isinstance(listed, list)
    assert listed
    assert all(isinstance(name, str) and name.isprintable() for name in listed)
    for command in ("show", "verify"):
        shown = sides.low.good(command, sides.stick)
        assert all(text.isprintable() for text in (shown.out + shown.err).splitlines())
    again = sides.low.good("send", bundle, sides.stick)
    assert "nothing to do" in again.out
    sides.assert_loads(bundle)


def make_hostile_names(inside: Path) -> None:
    """All that a file system of Linux can hold and nobody should trip over."""
    os.mkfifo(inside / "V001F002.TGV")
    os.mkfifo(inside / "fifo.tgv")
    if os.geteuid() == 0:
        os.mknod(inside / "zero.TGV", 0o600 | 0o020000, os.makedev(1, 5))
        os.mknod(inside / "tty.TGV", 0o600 | 0o020000, os.makedev(5, 0))
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(inside)
        try:
            made.bind("socket.TGV")
        finally:
            os.chdir(here)
    (inside / "link.TGV").symlink_to("/etc/passwd")
    (inside / "loop").symlink_to(inside.parent)
    (inside / "V001F003.TGV").symlink_to("V001F003.TGV")
    for name in (b"\x1b]0;owned\x07.TGV", b"\xff\xfe\n.TGV", b"a\nb", b"tidegate: error: x\r", "\u202e\u2066".encode()):
        Path(os.fsdecode(os.fsencode(inside) + b"/" + name)).write_bytes(b"TGL1" + bytes(5000))
    (inside / ("n" * 255)).touch()
    deep = inside
    for _ in range(40):
        deep = deep / ("d" * 80)
        deep.mkdir()
    (deep / "V001F001.TGV").write_bytes(b"x")
    many = inside / "many"
    many.mkdir()
    for number in range(6000):
        (many / f"{number:05d}.TGV").touch()


def test_a_medium_whose_tidegate_folder_is_a_link_or_a_file(sides: Sides, bundle: str) -> None:
    elsewhere = sides.folder / "elsewhere"
    sides.send(bundle, elsewhere_made(elsewhere))
    place = sides.stick / "TIDEGATE"
    place.symlink_to(elsewhere / "TIDEGATE")
    sides.high.fails(25, "receive", sides.stick)
    assert sides.high.events() == ["media-inserted nothing"]
    sides.low.events()
    before = sorted(elsewhere.rglob("*"))
    answer = sides.low.fails(20, "send", bundle, sides.stick)
    assert "is there and is no folder" in answer.err
    assert sorted(elsewhere.rglob("*")) == before
    place.unlink()
    place.write_bytes(b"")
    sides.low.fails(20, "send", bundle, sides.stick)
    assert sides.low.events() == []  # nothing was begun
    place.unlink()
    sides.send(bundle)
    sides.assert_arrives(bundle)


def elsewhere_made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_links_under_the_bundles_folder_are_never_written_through(sides: Sides, bundle: str) -> None:
    sides.send(bundle)
    (file,) = sides.stick.rglob("V001F001.TGV")
    victim = sides.folder / "victim"
    victim.write_bytes(b"mine")
    file.unlink()
    file.symlink_to(victim)
    sides.low.good("send", bundle, sides.stick)
    assert victim.read_bytes() == b"mine"
    sides.assert_arrives(bundle)


def test_others_files_survive_every_command(sides: Sides, bundle: str) -> None:
    kept = {"photo.jpg": b"p", "TIDEGATE/letter.txt": b"l", "TIDEGATE/00000000/V001F001.TGV": b"v"}
    for name, data in kept.items():
        path = sides.stick / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    sides.send(bundle)
    sides.send(bundle)
    sides.assert_arrives(bundle)
    assert {name: (sides.stick / name).read_bytes() for name in kept} == kept


def test_a_path_that_is_no_medium(sides: Sides, bundle: str) -> None:
    sides.high.fails(24, "receive", sides.folder / "nothing")
    sides.low.fails(24, "send", bundle, sides.folder / "nothing")
    file = sides.folder / "file"
    file.touch()
    sides.high.fails(20, "receive", file)
    sides.low.fails(20, "send", bundle, file)
    sides.high.fails(25, "receive", sides.stick)
    assert sides.high.events() == ["media-inserted nothing"]


def test_the_records_of_this_test_are_those_of_the_volume(sides: Sides, bundle: str) -> None:
    sides.send(bundle)
    assert {record.part for record in records(sides.stick)} == {0, 1, 2}
