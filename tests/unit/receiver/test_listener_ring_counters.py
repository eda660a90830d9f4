"""The counters of the ring: two processes, one writes, the other never sees a value that was not written."""

import subprocess
import sys

from tidegate_receiver.listener.ring import TAKEN, Ring

WRITER = """
import sys
from tidegate_receiver.listener.ring import TAKEN, Ring
ring = Ring(int(sys.argv[1]), 1)
for value in range(1, 400_001):
    ring.set(TAKEN, value)
"""


def test_a_counter_is_never_seen_half_written() -> None:
    ring = Ring.create(1)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(ring.fd)], pass_fds=(ring.fd,))
    seen = 0
    try:
        while writer.poll() is None:
            for _ in range(1000):
                value = ring.get(TAKEN)
                assert value >= seen, f"{value} after {seen}"
                seen = value
    finally:
        writer.kill()
        writer.wait()
    assert writer.returncode == 0
    assert ring.get(TAKEN) == 400_000
    ring.close()
