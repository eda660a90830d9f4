"""Tokens on real file systems, exFAT through FUSE and ext4 by the kernel: written, renewed, read, copied."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from two_sides import Sides

pytestmark = pytest.mark.system
MIB = 1 << 20
MAKERS = {"ext4": ["mkfs.ext4", "-q"], "exfat": ["mkfs.exfat"]}
PACKAGES = {"ext4": "e2fsprogs", "exfat": "exfatprogs and exfat-fuse"}


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


class Image:
    """A file system in a file, mounted as often as wanted."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.point, self.kind, self.device = folder / "mounted", kind, ""
        self.image = folder / "stick.img"
        self.point.mkdir()
        with self.image.open("wb") as file:
            file.truncate(32 * MIB)
        run(*MAKERS[kind], self.image)

    def mount(self, *, read_only: bool = False) -> Path:
        self.device = run("losetup", "-f", "--show", *(["-r"] if read_only else []), self.image)
        how = ["mount.exfat-fuse"] if self.kind == "exfat" else ["mount"]
        run(*how, "-o", "ro" if read_only else "rw", self.device, self.point)
        return self.point

    def unmount(self) -> None:
        if self.device:
            subprocess.run(["umount", self.point], check=False, capture_output=True, timeout=60)
            subprocess.run(["losetup", "-d", self.device], check=False, capture_output=True, timeout=60)
            self.device = ""


@pytest.fixture(params=["ext4", "exfat"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Image]:
    kind = request.param
    needed = [MAKERS[kind][0], "losetup", *(["mount.exfat-fuse"] if kind == "exfat" else [])]
    if any(shutil.which(name) is None for name in needed):
        pytest.skip(f"apt-get install {PACKAGES[kind]}")
    made = Image(tmp_path, kind)
    try:
        made.mount()
    except subprocess.CalledProcessError as error:
        made.unmount()
        pytest.skip(f"needs root and loop devices: {error.stderr}")
    yield made
    made.unmount()


def test_a_stick_goes_between_two_hosts_and_is_compared_mounted_read_only(sides: Sides, image: Image) -> None:
    sides.low.good("media", "register", image.point, "STICK-07")
    sides.low.good("send", sides.pack(), image.point)
    image.unmount()
    image.mount(read_only=True)
    received = sides.high.good("receive", image.point)
    assert ("other file" in received.out) == (image.kind == "ext4")  # its lost+found, and not the token
    row = sides.high.good("media", "list", "--json").objects[0]
    assert (row["label"], row["counter"]) == ("STICK-07", 2)
    assert row["device"]["capacity"] > 16 * MIB  # type: ignore[index]
    sides.low.good("media", "return", image.point)
    image.unmount()
    image.mount()
    (image.point / "added.txt").write_bytes(b"x")
    assert sides.low.fails(28, "media", "return", image.point).out.splitlines() == ["added: added.txt"]


def test_a_token_copied_to_a_medium_of_another_size_is_an_alarm(sides: Sides, image: Image, tmp_path: Path) -> None:
    sides.low.good("media", "register", image.point, "STICK-07")
    other = tmp_path / "other"
    other.mkdir()
    larger = Image(other, image.kind)
    with larger.image.open("r+b") as file:
        file.truncate(64 * MIB)
    run(*MAKERS[image.kind], larger.image)
    try:
        larger.mount()
        shutil.copytree(image.point / "TIDEGATE", larger.point / "TIDEGATE")
        answer = sides.low.good("send", sides.pack(), larger.point)
    finally:
        larger.unmount()
    assert "its capacity is" in answer.err
    assert "media-alarm failed/medium-other-device" in sides.low.events()


def test_a_stick_that_cannot_be_written_is_not_registered(sides: Sides, image: Image) -> None:
    image.unmount()
    image.mount(read_only=True)
    sides.low.fails(20, "media", "register", image.point, "STICK-07")
    assert sides.low.good("media", "list", "--json").objects == []
