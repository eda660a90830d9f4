"""The loop of watch: what it sees, what it leaves, and how it ends."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tidegate.errors import DiskFullError, MediaError
from tidegate_receiver.watching.folders import ENTRIES_MAX, FolderLooks, fingerprint, subfolders
from tidegate_receiver.watching.watch import Watcher, WatchOptions

LINE = "{number} 1 8:17 / {point} ro,relatime - vfat /dev/sdb1 ro\n"


def make_stick(folder: Path, name: str = "V001F001.TGV") -> Path:
    (folder / "TIDEGATE" / "00000001").mkdir(parents=True, exist_ok=True)
    (folder / "TIDEGATE" / "00000001" / name).write_bytes(b"bytes")
    return folder


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Log:
    """What a watcher did."""

    def __init__(self) -> None:
        self.handled: list[Path] = []
        self.errors: list[tuple[Path, Exception]] = []
        self.told: list[str] = []
        self.raises: list[Exception] = []

    def handle(self, folder: Path) -> None:
        self.handled.append(folder)
        if self.raises:
            raise self.raises.pop(0)

    def make(self, **options: object) -> Watcher:
        quick: dict[str, object] = {"settle_seconds": 0.02, "idle_seconds": 0.05, "retry_seconds": 0.05}
        made = WatchOptions(**{**quick, **options})  # type: ignore[arg-type]
        return Watcher(made, self.handle, self.told.append, lambda folder, error: self.errors.append((folder, error)))


@contextmanager
def running(watcher: Watcher) -> Iterator[None]:
    thread = threading.Thread(target=watcher.run)
    thread.start()
    try:
        yield
    finally:
        watcher.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.fixture
def log() -> Log:
    return Log()


def test_media_that_are_there_at_the_start_are_handled_once(tmp_path: Path, log: Log) -> None:
    first, second = make_stick(tmp_path / "media" / "a"), make_stick(tmp_path / "media" / "b")
    (tmp_path / "media" / "empty").mkdir()
    log.make(media_folders=(str(tmp_path / "media"),), once=True).run()
    assert log.handled == [first, second]


def test_a_folder_that_appears_is_handled_when_it_came_to_rest(tmp_path: Path, log: Log) -> None:
    media = tmp_path / "media"
    media.mkdir()
    with running(log.make(media_folders=(str(media),))):
        wait_for(lambda: bool(log.told))
        stick = make_stick(media / "a")
        wait_for(lambda: log.handled == [stick])
        time.sleep(0.3)
        assert log.handled == [stick]
        make_stick(stick, "V001F002.TGV")
        wait_for(lambda: log.handled == [stick, stick])


def test_a_named_folder_is_a_medium_itself(tmp_path: Path, log: Log) -> None:
    box = tmp_path / "box"
    box.mkdir()
    with running(log.make(media_folders=(), folders=(box,), idle_seconds=60)):
        wait_for(lambda: bool(log.told))
        make_stick(box)  # found through watchdog: the timer would take a minute
        wait_for(lambda: log.handled == [box])


def test_a_folder_is_patiently_waited_for(tmp_path: Path) -> None:
    looks = FolderLooks()
    stick = make_stick(tmp_path / "a")
    assert looks.look([stick]) == ()
    assert looks.is_settling
    make_stick(stick, "V001F002.TGV")
    assert looks.look([stick]) == ()
    assert looks.look([stick]) == (stick,)
    assert not looks.is_settling
    assert looks.look([stick]) == ()


def test_a_folder_that_went_away_and_came_back_is_handled_again(tmp_path: Path) -> None:
    looks = FolderLooks()
    stick = make_stick(tmp_path / "a")
    assert looks.look([stick], patient=False) == (stick,)
    assert looks.look([], patient=False) == ()
    assert looks.look([stick], patient=False) == (stick,)


def test_a_folder_without_anything_of_ours_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    assert fingerprint(tmp_path) is None
    assert fingerprint(tmp_path / "missing") is None
    make_stick(tmp_path / "tidegate-on-fat").rename(tmp_path / "other")
    (tmp_path / "other" / "TIDEGATE").rename(tmp_path / "tidegate")
    assert fingerprint(tmp_path) is not None


def test_links_are_not_followed(tmp_path: Path) -> None:
    make_stick(tmp_path / "elsewhere")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "link").symlink_to(tmp_path / "elsewhere")
    assert subfolders([str(tmp_path / "media")], frozenset()) == ()


def test_a_folder_of_very_many_files_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    folder = tmp_path / "TIDEGATE"
    folder.mkdir()
    for number in range(ENTRIES_MAX + 10):
        (folder / f"{number}").touch()
    found = fingerprint(tmp_path)
    assert found is not None
    assert len(found) == ENTRIES_MAX


def test_a_new_mount_is_handled_and_one_that_stays_is_not_handled_again(tmp_path: Path, log: Log) -> None:
    media = tmp_path / "media"
    stick = media / "usb0"
    stick.mkdir(parents=True)
    table = tmp_path / "mountinfo"
    table.write_text(LINE.format(number=1, point="/"))
    with running(log.make(media_folders=(str(media),), mount_table=table)):
        wait_for(lambda: bool(log.told))
        table.write_text(LINE.format(number=1, point="/") + LINE.format(number=7, point=stick))
        wait_for(lambda: log.handled == [stick])
        time.sleep(0.2)
        table.write_text(LINE.format(number=1, point="/"))
        time.sleep(0.2)
        table.write_text(LINE.format(number=1, point="/") + LINE.format(number=7, point=stick))
        wait_for(lambda: log.handled == [stick, stick])


def test_what_the_import_unit_mounts_is_left_to_it(tmp_path: Path, log: Log) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(LINE.format(number=7, point="/run/tidegate/import/sdb1"))
    log.make(media_folders=("/run/tidegate/import",), mount_table=table, once=True).run()
    assert log.handled == []


def test_a_failing_medium_never_ends_the_loop(tmp_path: Path, log: Log) -> None:
    media = tmp_path / "media"
    first, second = make_stick(media / "a"), make_stick(media / "b")
    log.raises = [MediaError("broken"), ValueError("a fault of ours")]
    with running(log.make(media_folders=(str(media),))):
        wait_for(lambda: len(log.errors) == 2)
        third = make_stick(media / "c")
        wait_for(lambda: log.handled == [first, second, third])
    assert [str(error) for _, error in log.errors] == ["broken", "a fault of ours"]


def test_a_fault_of_this_host_is_tried_again(tmp_path: Path, log: Log) -> None:
    stick = make_stick(tmp_path / "media" / "a")
    log.raises = [DiskFullError("full"), DiskFullError("still full")]
    with running(log.make(media_folders=(str(tmp_path / "media"),))):
        wait_for(lambda: log.handled == [stick] * 3)
        time.sleep(0.3)
    assert log.handled == [stick] * 3


def test_stopping_ends_the_loop_and_says_so(tmp_path: Path, log: Log) -> None:
    with running(log.make(media_folders=(str(tmp_path),), idle_seconds=60)):
        wait_for(lambda: bool(log.told))
    assert log.told[-1] == "stopped"
