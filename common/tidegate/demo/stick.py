"""The demonstration's stick: a file system in a loop-mounted image where root may make one, else a folder.

Damage is done through the file system to our own volume files, since a real one's metadata is the file system's affair.
"""

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidegate.units import MIB

STICK_BYTES = 512 * MIB


@dataclass(frozen=True, slots=True)
class Stick:
    """Where the stick is seen, and whether it is a real file system or a folder that stands in."""

    mount_point: Path
    image: Path | None

    @property
    def is_real(self) -> bool:
        return self.image is not None


def make_stick(folder: Path) -> Stick:
    """An ext4 image to be loop-mounted, or a plain folder; nothing is mounted yet."""
    mount_point = folder / "usb0"
    mount_point.mkdir()
    if os.geteuid() != 0 or not all(map(_program, ("mkfs.ext4", "mount", "umount"))):
        return Stick(mount_point, None)
    image = folder / "stick.img"
    with image.open("wb") as file:
        file.truncate(STICK_BYTES)
    subprocess.run([_program("mkfs.ext4") or "", "-q", "-L", "STICK", str(image)], check=True)
    stick = Stick(mount_point, image)
    try:
        with mounted(stick):
            pass
    except subprocess.CalledProcessError:
        image.unlink()
        return Stick(mount_point, None)
    return stick


@contextlib.contextmanager
def mounted(stick: Stick, *, read_only: bool = False) -> Iterator[Path]:
    """The stick plugged in; pulled out at the end."""
    if stick.image is None:
        yield stick.mount_point
        return
    options = "loop,nosuid,nodev,noexec" + (",ro" if read_only else "")
    subprocess.run(
        ["mount", "-o", options, str(stick.image), str(stick.mount_point)], check=True, stderr=subprocess.DEVNULL
    )
    try:
        yield stick.mount_point
    finally:
        subprocess.run(["umount", str(stick.mount_point)], check=True)


def damage(folder: Path, *, hole_bytes: int, scattered: int, seed: int) -> tuple[int, int]:
    """Overwrite one contiguous hole and `scattered` pages of the volume files; (bytes of the hole, pages)."""
    generator = random.Random(seed)  # noqa: S311 - damage is to be repeatable, not secret
    volumes = sorted(folder.rglob("*.TGV"), key=lambda path: path.stat().st_size)
    target = volumes[-1]
    size = target.stat().st_size
    hole = min(hole_bytes, size // 32)
    with target.open("r+b") as file:
        file.seek(size // 3 // 4096 * 4096)
        file.write(generator.randbytes(hole))
        for _ in range(scattered):
            file.seek(generator.randrange(size // 8, size * 7 // 8) // 4096 * 4096)
            file.write(generator.randbytes(512))
        os.fsync(file.fileno())
    return hole, scattered


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
