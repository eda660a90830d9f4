"""Real file systems on loop devices as sticks: ext4 by the kernel, exFAT through FUSE; full, failing, pulled out."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_volumes import PREAMBLE, SIGNER, make_bundle, open_one

from tidegate.carrier.medium import find_volumes
from tidegate.carrier.parts import read_part
from tidegate.errors import MediaFullError, MediaWriteError, MediumLostError
from tidegate_sender.media.writing import ReadBack, WriteOutcome, WritePhase, estimate_write, write_volume

pytestmark = pytest.mark.system
MIB = 1 << 20
BUNDLE = make_bundle(20 * MIB)


def run(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout.strip()


class Stick:
    """A file system in a file. `pull` makes the device answer EIO, as a stick does that is pulled out."""

    def __init__(self, folder: Path, kind: str, size: int) -> None:
        self.image, self.point, self.kind, self.size = folder / "stick.img", folder / "stick", kind, size
        self.point.mkdir()
        with self.image.open("wb") as file:
            file.truncate(size)
        if kind == "ext4":
            # Journal and lazy initialisation write behind our back; a stick has neither.
            run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=0", "-m", "0", self.image)
        else:
            run("mkfs.exfat", self.image)
        self.device = ""

    def mount(self, *, read_only: bool = False) -> Path:
        self.device = run("losetup", "-f", "--show", *(["-r"] if read_only else []), self.image)
        options = "ro,nosuid,nodev,noexec" if read_only else "nosuid,nodev,noexec"
        if self.kind == "ext4":
            run("mount", "-o", options, self.device, self.point)
        else:
            run("mount.exfat-fuse", "-o", options, self.device, self.point)
        return self.point

    def unmount(self) -> None:
        if self.device:
            subprocess.run(["umount", self.point], check=False, capture_output=True, timeout=60)
            subprocess.run(["losetup", "-d", self.device], check=False, capture_output=True, timeout=60)
            self.device = ""

    def extents_of(self, path: Path) -> list[tuple[int, int]]:
        """(start, end) in the image of each extent of a file."""
        rows = re.findall(
            r"^\s*\d+:\s*\d+\.\.\s*\d+:\s*(\d+)\.\.\s*(\d+):", run("filefrag", "-b4096", "-v", path), re.MULTILINE
        )
        return [(int(start) * 4096, (int(end) + 1) * 4096) for start, end in rows]

    def pull(self) -> None:
        os.truncate(self.image, 0)


@pytest.fixture(params=["ext4", "exfat"])
def stick(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stick]:
    yield from made_stick(tmp_path, request.param)


@pytest.fixture
def ext4_stick(tmp_path: Path) -> Iterator[Stick]:
    yield from made_stick(tmp_path, "ext4")


def made_stick(folder: Path, kind: str) -> Iterator[Stick]:
    needed = ["losetup", "mkfs.ext4"] if kind == "ext4" else ["losetup", "mkfs.exfat", "mount.exfat-fuse"]
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install e2fsprogs mount exfatprogs exfat-fuse")
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("loop devices need root")
    if kind == "exfat" and not Path("/dev/fuse").exists():
        pytest.skip("/dev/fuse is missing: modprobe fuse")
    made = Stick(folder, kind, 64 * MIB)
    try:
        yield made
    finally:
        made.unmount()
        made.image.unlink(missing_ok=True)


def write(medium: Path, **options: object) -> WriteOutcome:
    return write_volume(BUNDLE, medium, **{"signer": SIGNER, "preamble": PREAMBLE, **options}).outcome  # type: ignore[arg-type]


def test_a_bundle_crosses_on_a_real_file_system(stick: Stick) -> None:
    assert write(stick.mount()) is WriteOutcome.WRITTEN
    stick.unmount()
    medium = stick.mount(read_only=True)
    reader = open_one(medium)
    assert tuple(read_part(reader, part, 64 * MIB) for part in range(3)) == BUNDLE.parts
    assert reader.check().is_clean
    assert find_volumes(medium).damaged == ()


def test_what_is_read_back_comes_past_every_cache(stick: Stick) -> None:
    medium = stick.mount()
    report = write_volume(BUNDLE, medium, signer=SIGNER, preamble=PREAMBLE)
    assert report.read_back is ReadBack.DIRECT


def test_a_second_writing_finds_nothing_to_do(stick: Stick) -> None:
    medium = stick.mount()
    write(medium)
    assert estimate_write(BUNDLE, medium, preamble=PREAMBLE, measure=True).has_copy
    assert write(medium) is WriteOutcome.ALREADY_THERE


def test_a_stick_that_is_too_small_is_refused_and_stays_as_it_was(stick: Stick) -> None:
    medium = stick.mount()
    (medium / "holiday.bin").write_bytes(bytes(45 * MIB))
    with pytest.raises(MediaFullError, match="free are"):
        write(medium)
    assert sorted(path.name for path in medium.iterdir()) in (["holiday.bin"], ["holiday.bin", "lost+found"])


def test_a_stick_that_fills_up_on_the_way_is_left_without_us(stick: Stick) -> None:
    medium = stick.mount()

    def fill(_done: int, _total: int, _phase: str) -> None:
        with (medium / "other.bin").open("ab", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(MIB))

    with pytest.raises(MediaFullError):
        write(medium, progress=fill)
    assert not (medium / "TIDEGATE").exists()
    assert (medium / "other.bin").exists()


def test_a_stick_that_loses_what_was_written_is_found_out(stick: Stick) -> None:
    # The loop device takes further writes and answers with zeros or EIO for what it lost, so either word is right.
    medium = stick.mount()
    with pytest.raises((MediumLostError, MediaWriteError)):
        write(medium, progress=lambda _done, _total, phase: stick.pull() if phase == WritePhase.WRITE else None)


def test_a_stick_pulled_out_while_it_is_read_back_is_lost(stick: Stick) -> None:
    medium = stick.mount()
    with pytest.raises((MediumLostError, MediaWriteError), match=r"reading back|cannot be read back"):
        write(medium, progress=lambda _done, _total, phase: stick.pull() if phase == WritePhase.READ_BACK else None)


def test_a_stick_pulled_out_while_it_is_read_is_lost(ext4_stick: Stick) -> None:
    write(ext4_stick.mount())
    ext4_stick.unmount()
    reader = open_one(ext4_stick.mount(read_only=True))
    ext4_stick.pull()
    with pytest.raises(MediumLostError):
        read_part(reader, 2, 64 * MIB)


def test_a_stick_whose_end_cannot_be_read_gives_what_the_code_bears(ext4_stick: Stick) -> None:
    medium = ext4_stick.mount()
    write(medium)
    (path,) = medium.rglob("*.TGV")
    extents = ext4_stick.extents_of(path)
    start, end = max(extents, key=lambda extent: extent[1])
    cut, hole = end - MIB // 2, (start + end) // 2
    ext4_stick.unmount()
    with ext4_stick.image.open("r+b") as file:
        file.seek(hole)
        file.write(bytes(MIB // 2))
    medium = ext4_stick.mount(read_only=True)
    os.truncate(ext4_stick.image, cut)  # what lies beyond answers EIO
    reader = open_one(medium)
    assert read_part(reader, 2, 64 * MIB) == BUNDLE.parts[2]
    assert reader.stats.read_errors > 0
    assert reader.stats.records_damaged >= 7
