"""Receiving from real file systems on loop devices: mounted, failing in the middle, pulled out, and watched."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_bundles import content
from receiver_world import HighSide, LowSide

from tidegate.errors import MediumLostError, NothingOnMediumError
from tidegate_receiver.intake.outcomes import OutcomeKind

MIB = 1 << 20
BLOBS = [content(number, 3 * MIB) for number in range(8)]

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts loop devices: run as root"),
    pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="needs mkfs.ext4: install e2fsprogs"),
]


def run(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout.strip()


def make_image(path: Path, files: Path) -> Path:
    """An ext4 file system that holds `files`, made without mounting it."""
    with path.open("wb") as image:
        image.truncate(64 * MIB)
    run("mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", "-d", files, path)
    return path


@contextlib.contextmanager
def attached(image: Path) -> Iterator[str]:
    device = run("losetup", "--find", "--show", "--read-only", image)
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)


@contextlib.contextmanager
def mounted(image: Path, point: Path) -> Iterator[Path]:
    """As tidegate-import@.service mounts."""
    point.mkdir(parents=True, exist_ok=True)
    with attached(image) as device:
        run("mount", "-o", "ro,nosuid,nodev,noexec", device, point)
        try:
            yield point
        finally:
            run("umount", "--lazy", point)


@pytest.fixture
def image(tmp_path: Path, low: LowSide) -> Path:
    low.write(low.bundle(BLOBS, chunk_bytes=1 * MIB), tmp_path / "files")
    return make_image(tmp_path / "stick.img", tmp_path / "files")


def test_a_mounted_stick_is_received_and_its_device_is_in_the_ledger(
    low: LowSide, high: HighSide, image: Path, tmp_path: Path
) -> None:
    with mounted(image, tmp_path / "mnt" / "my stick") as stick:
        outcome = high.receive_one(stick)
    assert outcome.kind is OutcomeKind.RECEIVED
    assert high.holds(low.bundle(BLOBS, chunk_bytes=1 * MIB), BLOBS)
    medium = next(item for item in high.entries() if item["event"] == "media-inserted")["medium"]
    assert isinstance(medium, dict)
    assert medium["path"] == str(stick)
    assert medium["capacity"] > 32 * MIB


def test_a_device_that_fails_from_its_middle_on_gives_what_can_be_read(
    low: LowSide, high: HighSide, image: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.img"
    shutil.copy(image, whole)
    with mounted(image, tmp_path / "mnt") as stick:
        os.truncate(image, 8 * MIB)  # reads beyond it answer EIO from now on
        outcomes = high.receive(stick)
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.INCOMPLETE]
    assert outcomes[0].chunks_done
    with mounted(whole, tmp_path / "mnt") as stick:
        assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(low.bundle(BLOBS, chunk_bytes=1 * MIB), BLOBS)


def test_a_device_that_is_gone_is_named_as_lost(high: HighSide, image: Path, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mnt") as stick:
        os.truncate(image, 0)
        try:
            outcomes = high.receive(stick)
        except (MediumLostError, NothingOnMediumError) as error:
            assert error.exit_code in {25, 27}
        else:
            assert [outcome.kind for outcome in outcomes] == [OutcomeKind.INCOMPLETE]


def wait_for(lines: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in lines.read_text():
        assert time.monotonic() < deadline, lines.read_text()
        time.sleep(0.05)


def test_watch_receives_a_stick_when_it_is_mounted_and_ends_on_sigterm(
    low: LowSide, high: HighSide, image: Path, tmp_path: Path
) -> None:
    media, log = tmp_path / "media", tmp_path / "log"
    media.mkdir()
    command = Path(sysconfig.get_path("scripts")) / "tidegate"
    arguments = [str(command)] if command.is_file() else [sys.executable, "-c", "from tidegate.cli import main; main()"]
    environment = {**os.environ, "TIDEGATE_ROOT": str(high.root), "TIDEGATE_MEDIA_FOLDERS": str(media)}
    with log.open("wb") as output:
        watch = subprocess.Popen([*arguments, "watch"], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(log, "watching")
        with mounted(image, media / "usb0"):
            wait_for(log, "received")
        with mounted(image, media / "usb0"):
            wait_for(log, "nothing to do")
    finally:
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(timeout=30) == 0
    assert "stopped" in log.read_text()
    assert high.holds(low.bundle(BLOBS, chunk_bytes=1 * MIB), BLOBS)
