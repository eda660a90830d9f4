"""Sticks whose file system is gone, through the command: ext4, exFAT and FAT destroyed, fragments, read errors."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from carved_images import volume_files, whole_image
from receiver_world import destroy, records
from two_sides import Sides

MIB = 1 << 20
PAGE = 4096


def call(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def needs(*programs: str, package: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install {package}")


@contextmanager
def loop_device(image: Path) -> Iterator[str]:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("loop devices need root and /dev/loop-control")
    needs("losetup", package="mount")
    device = call("losetup", "--find", "--show", "--read-only", image)
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=False, capture_output=True, timeout=60)


def overwrite(image: Path, ranges: list[tuple[int, int]]) -> None:
    """Put noise in the place of file system structures."""
    chance = random.Random(3)
    with image.open("r+b") as file:
        for start, end in ranges:
            file.seek(start)
            file.write(chance.randbytes(end - start))


# --- file systems -----------------------------------------------------------------------------


@pytest.mark.system
def test_ext4_without_superblocks_and_inode_tables_is_carved_from_its_device(sides: Sides) -> None:
    needs("mkfs.ext4", "dumpe2fs", "debugfs", package="e2fsprogs")
    bundle = sides.pack(size=4 * MIB)
    sides.send(bundle)
    image = sides.folder / "stick.img"
    with image.open("wb") as file:
        file.truncate(48 * MIB)
    call("mkfs.ext4", "-q", "-b", "4096", "-O", "^has_journal", "-E", "lazy_itable_init=0", "-d", sides.stick, image)
    overwrite(image, ext4_structures(image))
    with loop_device(image) as device:
        assert "received" in sides.high.good("receive", "--damaged", device).out
    assert {"receive done", "quarantine done"} <= set(sides.high.events())
    sides.assert_loads(bundle)


def ext4_structures(image: Path) -> list[tuple[int, int]]:
    """Where superblocks, group descriptors, bitmaps and inode tables lie; folders are lost with their inodes."""
    ranges = [(0, PAGE)]
    for line in call("dumpe2fs", image).splitlines():
        for word in ("Primary superblock at", "Backup superblock at", "Block bitmap at", "Inode bitmap at"):
            if word in line:
                block = int(line.split(word)[1].split()[0].strip(","))
                ranges.append((block * PAGE, (block + 1) * PAGE))
        if "Inode table at" in line:
            first, last = map(int, line.split("Inode table at")[1].split()[0].split("-"))
            ranges.append((first * PAGE, (last + 1) * PAGE))
    assert len(ranges) > 4
    return ranges


def test_fat_without_its_tables_and_folders_is_carved_from_an_image(sides: Sides) -> None:
    bundle = sides.pack(size=2 * MIB)
    image = fat_image(sides, bundle, cluster_sectors=8)
    with image.open("r+b") as file:
        file.write(bytes(MIB // 2))  # boot sector, both tables
    assert subprocess.run(["mdir", "-i", image, "::"], capture_output=True, check=False).returncode != 0
    sides.high.good("receive", "--damaged", image)
    assert {"receive done", "quarantine done"} <= set(sides.high.events())
    sides.assert_loads(bundle)


def test_fat_in_fragments_that_begin_at_any_sector_is_carved(sides: Sides) -> None:
    bundle = sides.pack(size=2 * MIB)
    image = fat_image(sides, bundle, cluster_sectors=1, holes=12)
    with image.open("r+b") as file:
        file.write(bytes(40_000))
    sides.high.good("receive", "--damaged", image)
    sides.assert_loads(bundle)


def fat_image(sides: Sides, bundle: str, *, cluster_sectors: int, holes: int = 0) -> Path:
    """A FAT image with the bundle, which had to fill the holes that other files left."""
    needs("mformat", "mcopy", "mdel", package="mtools")
    sides.send(bundle)
    image = sides.folder / "fat.img"
    with image.open("wb") as file:
        file.truncate(40 * MIB)
    # FAT 32 needs 65525 clusters: with large ones mformat makes FAT 16 of so small an image, which is as good here.
    call("mformat", "-i", image, *(["-F"] if cluster_sectors == 1 else []), "-c", str(cluster_sectors), "::")
    for number in range(2 * holes):
        other = sides.folder / f"other{number}"
        other.write_bytes(random.Random(number).randbytes(150_000 + 512 * number))
        call("mcopy", "-i", image, other, f"::OTHER{number}.BIN")
    for number in range(0, 2 * holes, 2):
        call("mdel", "-i", image, f"::OTHER{number}.BIN")
    call("mcopy", "-s", "-i", image, sides.stick / "TIDEGATE", "::")
    return image


@pytest.mark.system
def test_exfat_is_carved_by_the_folder_where_it_is_mounted_and_by_its_device_without_tables(sides: Sides) -> None:
    needs("mkfs.exfat", "mount.exfat-fuse", package="exfatprogs exfat-fuse")
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("loop devices need root and /dev/loop-control")
    bundle = sides.pack(size=MIB)
    image, point = sides.folder / "stick.img", sides.folder / "mounted"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(48 * MIB)
    call("mkfs.exfat", image)
    device = call("losetup", "--find", "--show", image)
    try:
        call("mount.exfat-fuse", "-o", "nosuid,nodev,noexec", device, point)
        try:
            sides.send(bundle, point)
            planned = sides.high.good("receive", "--damaged", "--dry-run", point)
        finally:
            call("umount", point)
        overwrite(image, [(0, 2 * MIB)])  # boot region and allocation table
        answer = sides.high.good("receive", "--damaged", device)
    finally:
        call("losetup", "--detach", device)
    assert "would be received" in planned.out
    assert "received" in answer.out
    sides.assert_loads(bundle)


@pytest.mark.system
def test_a_device_whose_end_cannot_be_read_gives_what_is_there_and_a_second_one_the_rest(sides: Sides) -> None:
    bundle = sides.pack(size=2 * MIB)
    sides.send(bundle)
    image = whole_image(sides.folder / "stick.img", volume_files(sides.stick), gap=MIB)
    copy = sides.folder / "copy.img"
    shutil.copy(image, copy)
    size = image.stat().st_size
    with loop_device(image) as device:
        os.truncate(image, size // 2)  # what lies beyond answers EIO
        answer = sides.high.fails(21, "receive", "--damaged", device)
    assert "are whole and kept" in answer.out
    assert "receive partial/volume-missing" in sides.high.events()
    overwrite(copy, [(0, size // 4)])
    sides.high.good("receive", "--damaged", copy)
    sides.assert_loads(bundle)


# --- the command ------------------------------------------------------------------------------


def test_damaged_needs_to_be_told_what_to_read(sides: Sides) -> None:
    sides.high.fails(2, "receive", "--damaged")
    sides.high.fails(24, "receive", "--damaged", sides.folder / "nowhere")
    answer = sides.high.fails(20, "receive", "--damaged", sides.stick)
    assert "/dev/" in answer.err
    assert sides.high.events() == []


def test_damaged_says_in_a_dry_run_what_would_be_received(sides: Sides) -> None:
    bundle = sides.pack()
    image = whole_image(sides.folder / "stick.img", volume_files(sides.send(bundle)))
    answer = sides.high.good("receive", "--damaged", "--dry-run", image)
    assert "would be received" in answer.out
    assert sides.high.events() == []


def test_a_destroyed_place_of_a_carved_stick_is_repaired_and_counted(sides: Sides) -> None:
    bundle = sides.pack()
    sides.send(bundle)
    for record in [record for record in records(sides.stick) if record.part == 2][:3]:
        destroy(record)
    image = whole_image(sides.folder / "stick.img", volume_files(sides.stick))
    assert "3 damaged places repaired" in sides.high.good("receive", "--damaged", image).out
    sides.assert_loads(bundle)
