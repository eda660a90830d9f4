"""Receive in a process of its own that may be killed: ``receive_worker.py ROOT MEDIUM [KILL_AFTER]``.

With KILL_AFTER the process kills itself at that call of the functions by which content and state reach the disk.
Prints the outcomes, and how many such calls there were.
"""

import os
import signal
import sys
from pathlib import Path

from tidegate.workspace import Workspace
from tidegate_receiver.intake.intake import ReceiveOptions, receive

CALLS = ("pwrite", "write", "fsync", "fdatasync", "rename", "replace", "unlink", "mkdir", "chmod", "rmdir")


def main() -> None:
    root, medium, *more = sys.argv[1:]
    kill_after = int(more[0]) if more else 0
    count = 0

    def counted(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)

        setattr(os, name, call)

    for name in CALLS:
        counted(name)
    outcomes = receive(Workspace.open(root), Path(medium), ReceiveOptions(save_seconds=0))
    print(" ".join(outcome.kind.value for outcome in outcomes), count)


if __name__ == "__main__":
    main()
