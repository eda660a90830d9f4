"""A power cut at every step of a drain, on the least that a disk must keep.

SIGKILL leaves what the kernel has in memory; a power cut does not. The model here keeps a file's bytes as of its last
fsync and a folder's names as of the folder's last fsync, and nothing else, but for one thing to make it harder: the
rename of the checkpoint may reach the disk at once.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledgers import Desk, open_desk

from tidegate.ledger import writer
from tidegate.ledger.listing import list_recorded
from tidegate.ledger.verify import OutsideCheckpoint, verify_ledger

Names = dict[str, int]


class Disk:
    """What would be left of `folder` if the power went now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contents: dict[int, bytes] = {}  # by inode
        self.names: dict[int, Names] = {}  # by the folder's inode
        self.sync_all()

    def sync_all(self, *_: object) -> None:
        for path in (self.folder, *self.folder.rglob("*")):
            self.sync(path)

    def sync(self, path: Path) -> None:
        inode = path.stat().st_ino
        if path.is_dir():
            self.names[inode] = {item.name: item.stat().st_ino for item in path.iterdir()}
        else:
            self.contents[inode] = path.read_bytes()

    def forget(self, path: Path) -> None:
        """A new file or folder: its inode may have been another's."""
        inode = path.stat().st_ino
        self.contents.pop(inode, None)
        self.names.pop(inode, None)
        if path.is_dir():
            self.names[inode] = {}

    def write_out(self, target: Path, *, checkpoint_early: bool) -> None:
        """Make `target` what the disk holds."""
        self._write_folder(self.folder.stat().st_ino, target)
        live = self.folder / "checkpoint"
        if checkpoint_early and live.exists():
            (target / "checkpoint").write_bytes(self.contents.get(live.stat().st_ino, b""))

    def _write_folder(self, inode: int, target: Path) -> None:
        target.mkdir()
        for name, child in self.names.get(inode, {}).items():
            if child in self.names:
                self._write_folder(child, target / name)
            else:
                (target / name).write_bytes(self.contents.get(child, b""))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Desk, Callable[[], None]], Disk]:
    """Follow what is written and synced under a desk's ledger; `cut` is called before and after each step."""

    def watch(desk: Desk, cut: Callable[[], None]) -> Disk:
        disk = Disk(desk.folder)

        def around(name: str, after: Callable[..., None]) -> None:
            real = getattr(os, name)

            def step(*args: Any, **kwargs: Any) -> Any:
                cut()
                result = real(*args, **kwargs)
                after(result, *args)
                cut()
                return result

            monkeypatch.setattr(os, name, step)

        def nothing(*_: object) -> None:
            pass

        def opened(fd: int, path: Any, flags: int, *_: object) -> None:
            if flags & os.O_CREAT and str(path).startswith(f"{desk.folder}/new/"):
                disk.forget(Path(path))

        around("open", opened)
        around("write", nothing)
        around("fsync", lambda _, fd: disk.sync(Path(f"/proc/self/fd/{fd}").readlink()))
        around("mkdir", lambda _, path, *__: disk.forget(Path(path)))
        around("rename", nothing)
        around("unlink", nothing)
        around("rmdir", nothing)
        monkeypatch.setattr(writer, "sync_filesystem", disk.sync_all)
        return disk

    return watch


@pytest.mark.parametrize("killed_first", [False, True])
@pytest.mark.parametrize(("before", "count"), [(0, 1), (1, 1), (254, 1), (254, 4), (255, 1), (0, 700)])
def test_a_power_cut_at_any_step_leaves_a_log_that_goes_on(
    tmp_path: Path,
    watched: Callable[[Desk, Callable[[], None]], Disk],
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    count: int,
    killed_first: bool,
) -> None:
    """Where `killed_first`, a first drain made folders and was killed before it synced them."""
    root = tmp_path / "root"
    desk = open_desk(root)
    if before:
        desk.record(before)
    desk.queue(count)
    note = (desk.folder / "checkpoint").read_bytes() if before else None
    outside = [OutsideCheckpoint("before", note)] if note else []
    cuts: list[Path] = []
    seen: set[tuple[object, ...]] = set()

    def cut() -> None:
        """Keep what a power cut would leave here, unless it is what one before would."""
        for early in (False, True):
            target = tmp_path / f"cut-{len(cuts)}"
            with monkeypatch.context() as patch:
                for name, real in originals.items():
                    patch.setattr(os, name, real)
                target.mkdir()
                disk.write_out(target / "ledger", checkpoint_early=early)
                for file in root.glob("state.db*"):
                    shutil.copy(file, target)
                files = sorted(path for path in target.rglob("*") if not path.name.startswith("state"))
                kept = tuple((str(path.relative_to(target)), path.is_file() and path.read_bytes()) for path in files)
                state = (target / "state.db-wal").read_bytes()
                if (kept, state) in seen:
                    shutil.rmtree(target)
                    continue
                seen.add((kept, state))
                cuts.append(target)

    originals = {name: getattr(os, name) for name in ("open", "write", "fsync", "mkdir", "rename", "unlink", "rmdir")}
    disk = watched(desk, cut)
    if killed_first:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(writer, "sync_folders", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            patch.setattr(writer, "sync_filesystem", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            desk.recorder.drain()
    assert desk.recorder.drain() == count
    monkeypatch.undo()
    cut()

    assert len(cuts) >= 3
    sizes = set()
    for target in cuts:
        with open_desk(target) as left:
            report = verify_ledger(left.folder, left.recorder.key, against=outside)
            sizes.add(report.size)
            left.recorder.check()
            report = verify_ledger(left.folder, left.recorder.key, against=outside)
            assert report.size == before + count
            events = [item.text("event_id") for item in list_recorded(left.folder)]
            assert len(set(events)) == before + count
    assert sizes == {before, before + count}
