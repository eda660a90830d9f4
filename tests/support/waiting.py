"""Wait for what another thread or process does: no test sleeps for a time of its own guess."""

import time
from collections.abc import Callable


def wait_until(what: Callable[[], object], seconds: float = 90, *, every: float = 0.05) -> None:
    """Until `what` is true; fails the test after `seconds`."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(every)
