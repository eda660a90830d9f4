"""What came over streams and is not whole goes by itself when it is old: once an hour, in a thread of its own.

Ages are of files, so of the host's clock. While a listener runs, a clock that jumps ahead makes nothing older: the time
that ages are counted to is the earlier of the clock's and of what the monotonic clock makes of that at the start.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from tidegate import clock
from tidegate.errors import TidegateError
from tidegate.retention import Limits
from tidegate.workspace import Workspace
from tidegate_receiver.cleaning import clean_spool

EVERY_SECONDS = 3600.0
FIRST_SECONDS = 5.0


class Keeper:
    """Cleans the spool of a listener's root. `check_time` is called often, `close` at the end."""

    def __init__(self, workspace: Workspace, tell: Callable[[str], None]) -> None:
        self._workspace = replace(workspace)  # state and ledger know how to take turns
        self._tell = tell
        self._clock, self._monotonic = clock.now(), time.monotonic()
        self._next_at = self._monotonic + FIRST_SECONDS
        self._thread: threading.Thread | None = None

    def now(self) -> int:
        """The time that ages are counted to."""
        return min(clock.now(), self._clock + int(time.monotonic() - self._monotonic))

    def check_time(self) -> None:
        """Begin when it is due."""
        if time.monotonic() < self._next_at or (self._thread is not None and self._thread.is_alive()):
            return
        self._next_at = time.monotonic() + EVERY_SECONDS
        self._thread = threading.Thread(target=self.clean, name="keeper")
        self._thread.start()

    def clean(self) -> None:
        """Remove what is over; what cannot be removed now is tried again later."""
        try:
            limits = replace(Limits.of(self._workspace.settings), now=self.now())
            for item in clean_spool(self._workspace, limits).goes:
                self._tell(f"{item.name} removed: {item.why}")
            self._workspace.recorder.drain()
        except TidegateError as error:
            self._tell(f"cleaning up what is incomplete: {error.message}")

    def close(self) -> None:
        """Wait until what is under way is done."""
        if self._thread is not None:
            self._thread.join()
