"""A file system in user space over a folder, which fails as sticks do: ``mounted(BACKING, POINT, FAULT...)``.

    --reads N       the stick is pulled out after N read calls: everything answers EIO from then on
    --writes N      the same after N write calls to volume files; --any-writes N: to any file
    --capacity N    the stick says that it has 8 GiB; what is written beyond its first N bytes is lost, and reads there
                    give zeros, as sticks with a faked size do
    --unsynced      what is not synced lies in the stick's own memory; SIGTERM pulls it out, and that is lost

No page cache stands between (direct_io). Used through `mounted`, which skips where FUSE cannot be.
"""

import contextlib
import ctypes.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SYSTEM = Path(__file__).with_name("failing_disk_system.py")


@contextlib.contextmanager
def mounted(backing: Path, point: Path, *fault: str) -> Iterator[Path]:
    """Mount the failing disk; unmounted at the end, also when it is dead."""
    import pytest

    if not os.access("/dev/fuse", os.W_OK) or shutil.which("fusermount3") is None:
        pytest.skip("FUSE cannot be used here: needs /dev/fuse (modprobe fuse) and apt-get install fuse3")
    if ctypes.util.find_library("fuse3") is None and ctypes.util.find_library("fuse") is None:
        pytest.skip("libfuse is not installed: apt-get install libfuse3-3 or libfuse2")
    backing.mkdir(exist_ok=True)
    point.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(SYSTEM), str(backing), str(point), *fault],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for_mount(process, point)
        yield point
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(point)], capture_output=True, check=False)
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def pull(point: Path) -> None:
    """Take the mounted stick away as it is: nothing is flushed."""
    subprocess.run(["fusermount3", "-u", "-z", str(point)], capture_output=True, check=True)


def _wait_for_mount(process: "subprocess.Popen[bytes]", point: Path) -> None:
    deadline = time.monotonic() + 30
    while not point.is_mount():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline, "the failing disk was not mounted"
        time.sleep(0.02)
