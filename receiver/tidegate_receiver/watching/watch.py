"""Receive from whatever is plugged in: one loop over all that can announce a medium, one queue, one medium at a time.

    mount table (POLLPRI) ─┐
    watchdog on folders ───┼─► wake ─► look: which media are new? ─► queue ─► handle(folder)
    timer, SIGTERM ────────┘

The loop decides nothing by names of events: whatever wakes it, it compares what is there with what it handled before.
A medium that fails is told and left; faults of this host (disk full, ledger) are tried again later. inotify does not
see mounts; the mount table does (`tidegate.media.mounts`), and folders are looked at until they come to rest.
"""

import contextlib
import os
import select
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tidegate.errors import LedgerError, StateError, TidegateError
from tidegate.media.mountinfo import Mount
from tidegate.media.mounts import MOUNT_TABLE, TABLE_EVENTS, MountTable, find_media
from tidegate_receiver.watching.folders import FolderLooks, subfolders

#: while a folder is being filled: time between two looks that must see the same
SETTLE_SECONDS = 2.0
#: without any event: what a wake-up missed is found by then
IDLE_SECONDS = 10.0
#: after a fault of this host
RETRY_SECONDS = 60.0
#: where tidegate-import@.service mounts: it receives by itself
IMPORT_FOLDER = "/run/tidegate/import"

#: told of what the loop does, in lines for a log
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What to watch. `media_folders` as in the settings; `folders` are media themselves."""

    media_folders: tuple[str, ...]
    folders: tuple[Path, ...] = ()
    #: look once at what is there, handle it, and end
    once: bool = False
    settle_seconds: float = SETTLE_SECONDS
    idle_seconds: float = IDLE_SECONDS
    retry_seconds: float = RETRY_SECONDS
    mount_table: Path = MOUNT_TABLE


class StopWatching(BaseException):
    """SIGTERM or SIGINT came: whatever is under way ends here, and goes on at the next start."""


class Waker:
    """Wakes a `poll` from another thread or a signal handler."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def __enter__(self) -> "Waker":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


@dataclass(slots=True)
class Watcher:
    """The loop. `handle` receives from one medium and may raise; `tell_error` and `tell` reach a person's log."""

    options: WatchOptions
    handle: Callable[[Path], None]
    tell: Tell
    tell_error: Callable[[Path, Exception], None]
    _queue: deque[Path] = field(default_factory=deque)
    _mounts: dict[tuple[int, str, str], Path] = field(default_factory=dict)
    _looks: FolderLooks = field(default_factory=FolderLooks)
    _retries: dict[Path, float] = field(default_factory=dict)
    _waker: Waker = field(default_factory=Waker)
    _busy: bool = False
    _stopped: bool = False

    def run(self) -> None:
        """Watch until SIGTERM or SIGINT; with ``once`` until everything that is there was handled."""
        with MountTable(self.options.mount_table) as table, self._waker, self._signals():
            with contextlib.suppress(StopWatching):
                if self.options.once:
                    self._look(table, patient=False)
                    self._work()
                    return
                with watched(self.options, self._waker.wake, self.tell):
                    self._tell_start()
                    self._loop(table)
            self.tell("stopped")

    def stop(self) -> None:
        """End after the medium at hand. May be called from any thread."""
        self._stopped = True
        self._waker.wake()

    def _loop(self, table: MountTable) -> None:
        poll = select.poll()
        poll.register(table, TABLE_EVENTS)
        poll.register(self._waker, select.POLLIN)
        while not self._stopped:
            self._look(table, patient=True)
            self._work()
            if not self._stopped:
                poll.poll(self._patience() * 1000)
            self._waker.clear()

    def _patience(self) -> float:
        """Seconds until the next look, without any event."""
        waits = [self.options.idle_seconds]
        if self._looks.is_settling:
            waits.append(self.options.settle_seconds)
        now = time.monotonic()
        waits += [max(0.0, at - now) for at in self._retries.values()]
        return min(waits)

    # --- what is new --------------------------------------------------------------------------

    def _look(self, table: MountTable, *, patient: bool) -> None:
        mounts = table.read()
        self._look_at_mounts(find_media(mounts, self.options.media_folders))
        points = frozenset(mount.point for mount in mounts)
        folders = (*self.options.folders, *subfolders(self.options.media_folders, points))
        self._queue.extend(folder for folder in self._looks.look(folders, patient=patient) if self._is_new(folder))
        now = time.monotonic()
        for folder in [folder for folder, at in self._retries.items() if at <= now]:
            del self._retries[folder]
            if folder.is_dir() and self._is_new(folder):
                self._queue.append(folder)

    def _look_at_mounts(self, media: tuple[Mount, ...]) -> None:
        here = {mount.key: mount.point for mount in media if not mount.point.is_relative_to(IMPORT_FOLDER)}
        for point in [point for key, point in self._mounts.items() if key not in here]:
            self._retries.pop(point, None)
        self._queue.extend(point for key, point in here.items() if key not in self._mounts and self._is_new(point))
        self._mounts = here

    def _is_new(self, folder: Path) -> bool:
        return folder not in self._queue

    # --- handling -----------------------------------------------------------------------------

    def _work(self) -> None:
        while self._queue and not self._stopped:
            folder = self._queue.popleft()
            self._busy = True
            try:
                if not self._stopped:  # a signal between the two lines above only sets the flag
                    self.handle(folder)
            except (StateError, LedgerError) as error:
                self._retries[folder] = time.monotonic() + self.options.retry_seconds
                self.tell_error(folder, error)
            except TidegateError as error:
                self.tell_error(folder, error)
            except Exception as error:  # noqa: BLE001 - a medium must not end the service, whatever it found in us
                self.tell_error(folder, error)
            finally:
                self._busy = False

    def _tell_start(self) -> None:
        places = [*self.options.media_folders, *map(str, self.options.folders)]
        self.tell(f"watching the mount table and {', '.join(places) or 'nothing else'}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the loop; what is under way is left where it is, since it can be killed anywhere."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers; whoever runs us elsewhere stops us with `stop`
            return

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stop()
            if self._busy:
                raise StopWatching

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def watched(options: WatchOptions, wake: Callable[[], None], tell: Tell) -> Iterator[None]:
    """Let watchdog call `wake` for what happens in the watched folders. The timer covers what it cannot watch."""
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    # watchdog says so when a folder appears while it looks for it; it then watches it all the same.
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, r"watchdog\.")

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: Any) -> None:
            # Opening and reading are events too, our own among them.
            if event.event_type in {"created", "modified", "moved", "deleted", "closed"}:
                wake()

    observer = Observer()
    observer.start()
    try:
        # Not recursive for media folders: a mounted disk of millions of folders would be walked.
        for folder, recursive in [(Path(name), False) for name in options.media_folders] + [
            (folder, True) for folder in options.folders
        ]:
            if folder.is_dir():
                try:
                    observer.schedule(Handler(), str(folder), recursive=recursive)
                except OSError as error:
                    tell(f"{folder} is looked at every {options.idle_seconds:.0f} s only: {error.strerror}")
        yield
    finally:
        observer.stop()
        observer.join(timeout=5)
