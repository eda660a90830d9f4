"""A file is replaced whole or not at all, by however many at once, and what a killed writer left is taken over."""

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest

from tidegate import files
from tidegate.files import write_durably


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    left = tmp_path / ".new-cover.part"
    left.write_bytes(b"longer than what comes now")
    left.chmod(0o600)
    write_durably(tmp_path / "cover", b"now", mode=0o640)
    assert names_in(tmp_path) == ["cover"]
    assert (tmp_path / "cover").read_bytes() == b"now"
    assert (tmp_path / "cover").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("in_the_way", ["symbolic link", "hard link", "pipe", "folder", "long name", "writer"])
def test_where_the_usual_name_is_not_to_be_had_another_one_is_taken(tmp_path: Path, in_the_way: str) -> None:
    target = tmp_path / "elsewhere"
    target.write_bytes(b"not ours")
    path = tmp_path / ("n" * 250 if in_the_way == "long name" else "name")
    usual = tmp_path / ".new-name.part"
    with target.open("rb") as file:
        if in_the_way == "symbolic link":
            usual.symlink_to(target)
        elif in_the_way == "hard link":
            usual.hardlink_to(target)
        elif in_the_way == "pipe":
            os.mkfifo(usual)
        elif in_the_way == "folder":
            usual.mkdir()
        elif in_the_way == "writer":
            target.rename(usual)
            target.symlink_to(usual)
            fcntl.flock(file, fcntl.LOCK_EX)
        write_durably(path, b"new")
    assert path.read_bytes() == b"new" and not path.is_symlink()
    assert target.read_bytes() == b"not ours"
    assert {name for name in names_in(tmp_path) if name.startswith(".new-")} <= {usual.name}


def test_a_file_that_nobody_may_write_to_is_replaced_and_what_is_left_of_one_is_taken_over(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / ".new-evidence.part").write_bytes(b"left of one")
        write_durably(tmp_path / "evidence", b"kept", mode=0o400)
    assert names_in(tmp_path) == ["evidence"]
    assert (tmp_path / "evidence").read_bytes() == b"kept"
    assert (tmp_path / "evidence").stat().st_mode & 0o777 == 0o400


def test_a_folder_on_a_file_system_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    write_durably(tmp_path / "label", b"printed")
    assert names_in(tmp_path) == ["label"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index"
    write_durably(path, b"old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync_fd", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    assert names_in(tmp_path) == ["index"]
    assert path.read_bytes() == b"old"


def test_many_writers_of_one_file_leave_one_of_theirs_whole(tmp_path: Path) -> None:
    path = tmp_path / "index"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write_often, args=(path, bytes([number]))) for number in range(4)]
    for writer in writers:
        writer.start()
    seen: set[bytes] = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.add(path.read_bytes())
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert seen <= {bytes([number]) * 20_000 for number in range(4)}
    assert names_in(tmp_path) == ["index"]


def _write_often(path: Path, letter: bytes) -> None:
    for _ in range(50):
        write_durably(path, letter * 20_000)
    os._exit(0)
