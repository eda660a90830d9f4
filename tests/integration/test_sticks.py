"""Sticks with real file systems, through the command: ext4, exFAT and FAT; failing, faked, pulled out."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from failing_disk import mounted, pull
from faults import needs_strace, strace
from receiver_world import records
from two_sides import Sides, files_of

pytestmark = pytest.mark.system
MIB = 1 << 20
RECEIVED = ["media-inserted done", "receive done", "quarantine done"]


def call(*command: str | Path, check: bool = True) -> str:
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def needs(*programs: str, package: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install {package}")


@contextmanager
def stick(image: Path, point: Path, kind: str, *, read_only: bool = False) -> Iterator[Path]:
    """The image on a loop device, mounted as udev's unit mounts."""
    point.mkdir(exist_ok=True)
    device = call("losetup", "--find", "--show", *(["--read-only"] if read_only else []), image)
    options = ("ro," if read_only else "") + "nosuid,nodev,noexec"
    try:
        call(*(["mount.exfat-fuse"] if kind == "exfat" else ["mount", "-t", kind]), "-o", options, device, point)
        try:
            yield point
        finally:
            unmount(point)
    finally:
        call("losetup", "--detach", device, check=False)


def unmount(point: Path) -> None:
    """A device that failed may need a moment until the last of its readers has gone."""
    for _ in range(50):
        if subprocess.run(["umount", str(point)], capture_output=True, check=False, timeout=60).returncode == 0:
            return
        time.sleep(0.1)
    call("umount", "--lazy", point)


def make_image(path: Path, kind: str) -> Path:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("loop devices need root, and a host that has /dev/loop-control")
    with path.open("wb") as file:
        file.truncate(48 * MIB)
    if kind == "ext4":
        needs("mkfs.ext4", "losetup", package="e2fsprogs mount")
        call("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=0", "-m", "0", path)
    else:
        needs("mkfs.exfat", "mount.exfat-fuse", package="exfatprogs exfat-fuse")
        call("mkfs.exfat", path)
    return path


# --- file systems -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ext4", "exfat"])
def test_a_bundle_crosses_on_a_mounted_stick_and_both_ledgers_name_it(kind: str, sides: Sides) -> None:
    image = make_image(sides.folder / "stick.img", kind)
    bundle = sides.pack()
    with stick(image, sides.stick, kind) as medium:
        (medium / "photo.jpg").write_bytes(b"mine")
        sent = sides.low.good("send", bundle, medium, "--json").objects[-1]
        assert (sent["read_back"], sent["may_be_removed"]) == ("direct", True)
        assert "nothing to do" in sides.low.good("send", bundle, medium).out
        assert (medium / "photo.jpg").read_bytes() == b"mine"
    with stick(image, sides.stick, kind, read_only=True) as medium:
        sides.high.good("receive", medium)
        assert sides.high.events() == RECEIVED
        assert "nothing to do" in sides.high.good("receive", medium).out
        sides.high.good("verify", medium)
    for side in (sides.low, sides.high):
        media = [entry["medium"] for entry in side.entries() if "medium" in entry]
        assert media
        assert all(isinstance(item, dict) and item["capacity"] > 32 * MIB for item in media)
    sides.assert_loads(bundle)


def test_a_bundle_crosses_on_a_fat_image_by_the_names_that_fat_knows(sides: Sides) -> None:
    needs("mformat", "mcopy", package="mtools")
    image = sides.folder / "fat.img"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    call("mformat", "-i", image, "-F", "-c", "1", "::")
    bundle = sides.pack()
    sides.send(bundle)
    call("mcopy", "-s", "-i", image, sides.stick / "TIDEGATE", "::")
    assert "~" not in call("mdir", "-/", "-b", "-i", image, "::")  # no name had to be made shorter
    back = sides.folder / "back"
    back.mkdir()
    call("mcopy", "-s", "-i", image, "::TIDEGATE", back)
    assert files_of(back) == files_of(sides.stick)
    sides.assert_arrives(bundle, stick=back)


def test_a_stick_that_is_write_protected_is_named(sides: Sides) -> None:
    image = make_image(sides.folder / "stick.img", "ext4")
    bundle = sides.pack()
    sides.low.events()
    with stick(image, sides.stick, "ext4", read_only=True) as medium:
        answer = sides.low.fails(73, "send", bundle, medium)
    assert "is the medium write-protected" in answer.err
    assert sides.low.events() == ["write begun", "write failed"]


# --- devices that fail ------------------------------------------------------------------------


def test_a_device_whose_end_cannot_be_read_is_incomplete_and_goes_on_with_another(sides: Sides) -> None:
    image = make_image(sides.folder / "stick.img", "ext4")
    bundle = sides.pack(size=4 * MIB)
    with stick(image, sides.stick, "ext4") as medium:
        sides.low.good("send", bundle, medium)
    shutil.copy(image, sides.folder / "whole.img")
    with stick(image, sides.stick, "ext4", read_only=True) as medium:
        os.truncate(image, 9 * MIB)  # what lies beyond answers EIO
        answer = sides.high.fails(21, "receive", medium)
    assert "pieces damaged or missing" in answer.err
    assert sides.high.events() == ["media-inserted done", "receive partial/volume-missing"]
    assert sides.high.quarantined() == {}
    with stick(sides.folder / "whole.img", sides.stick, "ext4", read_only=True) as medium:
        sides.assert_arrives(bundle, stick=medium)


def test_a_device_whose_last_places_cannot_be_read_is_received_all_the_same(sides: Sides) -> None:
    image = make_image(sides.folder / "stick.img", "ext4")
    bundle = sides.pack(size=4 * MIB)
    with stick(image, sides.stick, "ext4") as medium:
        sides.low.good("send", bundle, medium)
        size = sum(record.size for record in records(medium) if record.part == 2)
        (file,) = medium.rglob("*.TGV")
        last = max(int(part.split("..")[1].split(":")[0]) for part in physical_extents(file))
    assert size > 12 * MIB
    with stick(image, sides.stick, "ext4", read_only=True) as medium:
        os.truncate(image, (last + 1) * 4096 - MIB // 2)
        sides.high.good("receive", medium)
    events = sides.high.events()
    assert events[:2] == ["media-inserted done", "receive done"]
    sides.assert_loads(bundle)


def physical_extents(file: Path) -> list[str]:
    """``first..last:`` in blocks of 4096 bytes of the device, from filefrag."""
    found = []
    for line in call("filefrag", "-b4096", "-v", file).splitlines():
        fields = line.split(":")
        if fields[0].strip().isdecimal():
            found.append(fields[2].replace(" ", "") + ":")
    assert found
    return found


# --- a disk that fails on demand --------------------------------------------------------------


@pytest.mark.parametrize("reads", [0, 3, 40])
def test_a_stick_pulled_out_while_it_is_read_goes_on_when_it_is_back(reads: int, sides: Sides) -> None:
    bundle = sides.pack(size=4 * MIB)
    sides.send(bundle)
    with mounted(sides.stick, sides.folder / "point", "--reads", str(reads)) as medium:
        answer = sides.high.run("receive", medium)
    assert answer.code in {21, 25, 27}, answer
    assert answer.is_ours, answer
    assert "tidegate: hint: " in answer.err
    events = sides.high.events()
    assert events[-1] in {"media-inserted nothing", "receive partial/volume-missing", "receive partial/medium-lost"}
    assert sides.high.quarantined() == {}
    sides.high.check()
    sides.assert_arrives(bundle)


@pytest.mark.parametrize("writes", ["0", "2", "9"])
def test_a_stick_pulled_out_while_it_is_written_is_named_and_not_called_sent(writes: str, sides: Sides) -> None:
    bundle = sides.pack()
    sides.low.events()
    with mounted(sides.folder / "backing", sides.folder / "point", "--writes", writes) as medium:
        answer = sides.low.fails(27, "send", bundle, medium)
    assert "plug the medium in again" in answer.err
    assert sides.low.events() == ["write begun", "write failed"]
    assert sides.low.states() == ["packed"]
    sides.low.good("send", bundle, sides.folder / "backing")  # what lies there of it is replaced
    sides.assert_arrives(bundle, stick=sides.folder / "backing")


def test_a_stick_that_dies_while_its_speed_is_measured_is_lost_before_anything_was_begun(sides: Sides) -> None:
    bundle = sides.pack()
    sides.low.events()
    with mounted(sides.folder / "backing", sides.folder / "point", "--any-writes", "3") as medium:
        sides.low.fails(27, "send", bundle, medium)
    assert sides.low.events() == []
    assert sides.low.states() == ["packed"]


def test_a_send_that_is_killed_while_speed_is_measured_leaves_no_file(sides: Sides) -> None:
    needs_strace()
    bundle = sides.pack()
    killed = strace("trace=fsync", "inject=fsync:signal=SIGKILL:when=1")
    for _ in range(2):
        assert sides.low.run("send", bundle, sides.stick, prefix=killed).code == -signal.SIGKILL
    assert list(sides.stick.iterdir()) == []
    sides.send(bundle)


def test_a_stick_pulled_out_while_it_is_read_back_is_not_called_sent(sides: Sides) -> None:
    bundle = sides.pack()
    sides.low.events()
    with mounted(sides.folder / "backing", sides.folder / "point", "--reads", "4") as medium:
        answer = sides.low.fails(27, "send", bundle, medium)
    assert "reading back" in answer.err
    assert sides.low.events() == ["write begun", "write failed"]
    assert sides.low.states() == ["packed"]


def test_a_stick_that_lies_about_its_capacity_is_found_by_the_read_back(sides: Sides) -> None:
    bundle = sides.pack(size=4 * MIB)
    sides.low.events()
    fault = ("--capacity", str(11 * MIB))
    with mounted(sides.folder / "backing", sides.folder / "point", *fault) as medium:
        answer = sides.low.fails(23, "send", bundle, medium)
        assert list(medium.rglob("*.TGV")) == []
    assert "differs from what was written" in answer.err
    assert "use another medium; this one must not be trusted" in answer.err
    assert sides.low.events() == ["write begun", "write failed"]
    assert sides.low.states() == ["packed"]


def test_what_is_called_sent_survives_a_stick_that_forgets_what_was_not_synced(sides: Sides) -> None:
    bundle = sides.pack()
    with mounted(sides.folder / "backing", sides.folder / "point", "--unsynced") as medium:
        sides.low.good("send", bundle, medium)
        pull(medium)
    sides.assert_arrives(bundle, stick=sides.folder / "backing")


def test_what_is_written_without_syncs_is_lost_on_that_stick(sides: Sides) -> None:
    bundle = sides.pack()
    with mounted(sides.folder / "backing", sides.folder / "point", "--unsynced") as medium:
        sides.low.run("send", bundle, medium, TIDEGATE_NO_SYNC="1")
        pull(medium)
    assert sides.high.run("receive", sides.folder / "backing").code != 0  # so the test above means something
