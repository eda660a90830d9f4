"""Files go below one folder and nowhere else."""

import os
import stat
from pathlib import Path

import pytest

from tidegate.errors import BusyError, LoadError, UnsafePathError
from tidegate_receiver.loaders.tree import WORK_FOLDER, Placed, Tree


@pytest.fixture
def source(tmp_path: Path) -> int:
    path = tmp_path / "blob"
    path.write_bytes(b"0123456789")
    return os.open(path, os.O_RDONLY)


def place(target: Path, path: str, source: int, *, executable: bool = False) -> Placed:
    with Tree(target) as tree:
        return tree.place_file(tuple(path.split("/")), source, 2, 5, 0o755 if executable else 0o644, 1000)


def test_place_file_writes_a_range_of_the_blob(tmp_path: Path, source: int) -> None:
    target = tmp_path / "out"
    assert place(target, "a/b/c", source, executable=True) is Placed.NEW
    found = target / "a/b/c"
    assert found.read_bytes() == b"23456"
    assert stat.S_IMODE(found.stat().st_mode) == 0o755
    assert found.stat().st_mtime == 1000
    assert sorted(path.name for path in target.iterdir()) == ["a"]


def test_place_file_leaves_an_identical_file_alone(tmp_path: Path, source: int) -> None:
    target = tmp_path / "out"
    place(target, "f", source)
    before = (target / "f").stat().st_ino
    assert place(target, "f", source) is Placed.SAME
    assert (target / "f").stat().st_ino == before


@pytest.mark.parametrize("old", [b"", b"2345", b"23457", b"longer than before"])
def test_place_file_replaces_a_file_that_differs(tmp_path: Path, source: int, old: bytes) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "f").write_bytes(old)
    os.link(target / "f", tmp_path / "other-name")
    assert place(target, "f", source) is Placed.REPLACED
    assert (target / "f").read_bytes() == b"23456"
    assert (tmp_path / "other-name").read_bytes() == old, "written through a hard link"


def test_place_file_replaces_a_file_whose_mode_differs(tmp_path: Path, source: int) -> None:
    target = tmp_path / "out"
    place(target, "f", source)
    (target / "f").chmod(0o4755)
    assert place(target, "f", source) is Placed.REPLACED
    assert stat.S_IMODE((target / "f").stat().st_mode) == 0o644


def test_place_file_replaces_a_link_and_never_writes_through_it(tmp_path: Path, source: int) -> None:
    target = tmp_path / "out"
    target.mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (target / "f").symlink_to(victim)
    assert place(target, "f", source) is Placed.REPLACED
    assert victim.read_bytes() == b"mine"
    assert not (target / "f").is_symlink()


def test_place_file_refuses_a_link_in_its_path(tmp_path: Path, source: int) -> None:
    target = tmp_path / "out"
    target.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (target / "d").symlink_to(outside)
    with pytest.raises(UnsafePathError, match="link"):
        place(target, "d/f", source)
    assert list(outside.iterdir()) == []


def test_place_file_refuses_a_link_that_the_same_load_made(tmp_path: Path, source: int) -> None:
    with Tree(tmp_path / "out") as tree:
        tree.place_link(("d",), "elsewhere")
        with pytest.raises(UnsafePathError):
            tree.place_file(("d", "f"), source, 0, 1, 0o644, 0)


def test_place_file_refuses_a_folder_in_its_place_and_a_file_in_its_path(tmp_path: Path, source: int) -> None:
    target = tmp_path / "out"
    (target / "f").mkdir(parents=True)
    with pytest.raises(LoadError, match="folder"):
        place(target, "f", source)
    (target / "g").write_bytes(b"")
    with pytest.raises(UnsafePathError):
        place(target, "g/f", source)


def test_place_file_is_not_held_up_by_a_fifo(tmp_path: Path, source: int) -> None:
    target = tmp_path / "out"
    target.mkdir()
    os.mkfifo(target / "f")
    assert place(target, "f", source) is Placed.REPLACED


def test_place_link_makes_a_link_once(tmp_path: Path) -> None:
    with Tree(tmp_path / "out") as tree:
        assert tree.place_link(("d", "l"), "../x") is Placed.NEW
        assert tree.place_link(("d", "l"), "../x") is Placed.SAME
        assert tree.place_link(("d", "l"), "../y") is Placed.REPLACED
        assert tree.place_folder(("e", "f")) is Placed.NEW
        assert tree.place_folder(("e", "f")) is Placed.SAME
    assert (tmp_path / "out/d/l").readlink() == Path("../y")


def test_tree_removes_what_a_killed_load_left(tmp_path: Path, source: int) -> None:
    work = tmp_path / "out" / WORK_FOLDER
    work.mkdir(parents=True)
    (work / "00000001").write_bytes(b"half")
    place(tmp_path / "out", "f", source)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["f"]


def test_tree_refuses_a_second_load_into_the_same_folder(tmp_path: Path) -> None:
    with Tree(tmp_path / "out"), pytest.raises(BusyError), Tree(tmp_path / "out"):
        pass


def test_tree_refuses_a_work_folder_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/keep").write_bytes(b"")
    (tmp_path / "out" / WORK_FOLDER).symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafePathError), Tree(tmp_path / "out"):
        pass
    assert (tmp_path / "outside/keep").exists()
