"""The mount table as values, and which mounts are media."""

import os
import select
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.media.mountinfo import LINE_MAX_BYTES, Mount, is_below, parse_mount, parse_mount_table, visible
from tidegate.media.mounts import TABLE_EVENTS, MountTable, find_media, is_removable, mount_of

USB = rb"97 27 8:17 / /media/ben/MY\040STICK rw,nosuid,nodev,relatime shared:420 - vfat /dev/sdb1 rw,fmask=0022"
TWO = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n" + USB + b"\n"


def make_mount(point: str, *, number: int = 1, kind: str = "ext4", device: tuple[int, int] = (8, 17)) -> Mount:
    return Mount(number, *device, "/", Path(point), True, kind, "/dev/sdb1")


def test_a_line_of_the_table_becomes_a_mount() -> None:
    assert parse_mount(USB) == Mount(97, 8, 17, "/", Path("/media/ben/MY STICK"), False, "vfat", "/dev/sdb1")


def test_read_only_mounts_are_known_as_such() -> None:
    mount = parse_mount(b"97 27 8:17 / /mnt/x ro,nosuid - ext4 /dev/sdb1 rw")
    assert mount is not None
    assert mount.read_only


def test_optional_fields_may_be_many_or_none() -> None:
    many = parse_mount(b"1 2 8:1 / /mnt rw shared:1 master:2 propagate_from:3 unbindable - ext4 /dev/sda1 rw")
    none = parse_mount(b"1 2 8:1 / /mnt rw - ext4 /dev/sda1 rw")
    assert many == none != None  # noqa: E711


def test_escapes_of_hostile_labels_are_undone_once() -> None:
    mount = parse_mount(rb"1 2 8:1 / /media/a\134040\012b\011c\043 rw - vfat /dev/x rw")
    assert mount is not None
    assert str(mount.point) == "/media/a\\040\nb\tc#"


def test_names_that_are_no_utf8_can_still_be_opened() -> None:
    mount = parse_mount(b"1 2 8:1 / /media/\xff\xfe rw - vfat /dev/x rw")
    assert mount is not None
    assert os.fsencode(mount.point) == b"/media/\xff\xfe"


@pytest.mark.parametrize(
    "line",
    [b"", b"1 2 8:1 / /mnt rw ext4 /dev/sda1 rw", b"1 2 x / /mnt rw - ext4 d rw", b"x 2 8:1 / /m rw - e d", b"1 2 8:1"],
)
def test_what_is_no_line_is_left_out(line: bytes) -> None:
    assert parse_mount(line) is None
    assert len(parse_mount_table(TWO + line)) == 2


def test_a_line_above_the_limit_is_left_out() -> None:
    long = b"1 2 8:1 / /" + b"m" * LINE_MAX_BYTES + b" rw - ext4 /dev/sda1 rw\n"
    assert [mount.kind for mount in parse_mount_table(long + TWO)] == ["proc", "vfat"]


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_table(data: bytes) -> None:
    for mount in parse_mount_table(data):
        assert isinstance(mount.point, Path)


@given(st.lists(st.sampled_from([b"1", b"8:1", b"/", b"/m\\040", b"-", b"rw,ro", b"", b"\\777", b"vfat"]), max_size=14))
def test_any_fields_are_a_line_or_none(fields: list[bytes]) -> None:
    parse_mount(b" ".join(fields))


def test_a_mount_laid_over_others_hides_them() -> None:
    below, beside, over = make_mount("/a/b"), make_mount("/ab"), make_mount("/a")
    assert visible((below, beside, over)) == (beside, over)


def test_a_media_folder_itself_is_no_medium() -> None:
    assert is_below(Path("/media/usb0"), ("/media",))
    assert not is_below(Path("/media"), ("/media",))
    assert not is_below(Path("/mediaeval/usb0"), ("/media",))


def test_media_are_what_lies_under_the_media_folders(tmp_path: Path) -> None:
    stick, disk, pseudo = make_mount("/media/usb0"), make_mount("/srv"), make_mount("/media/x", kind="proc")
    share = make_mount("/mnt/share", kind="nfs4")
    assert find_media((stick, disk, pseudo, share), ("/media", "/mnt"), tmp_path) == (stick,)


def make_device(sysfs: Path, place: str, device: str, *, removable: str) -> None:
    folder = sysfs / place
    folder.mkdir(parents=True)
    (folder.parent / "removable").write_text(f"{removable}\n")
    (sysfs / "dev" / "block").mkdir(parents=True, exist_ok=True)
    (sysfs / "dev" / "block" / device).symlink_to(folder)


def test_a_removable_device_is_a_medium_wherever_it_is_mounted(tmp_path: Path) -> None:
    make_device(tmp_path, "devices/pci/block/sdb/sdb1", "8:17", removable="1")
    make_device(tmp_path, "devices/pci/block/sda/sda1", "8:1", removable="0")
    make_device(tmp_path, "devices/pci/usb2/2-1/block/sdc/sdc1", "8:33", removable="0")
    assert is_removable("8:17", tmp_path)
    assert not is_removable("8:1", tmp_path)
    assert is_removable("8:33", tmp_path)
    assert not is_removable("8:99", tmp_path)
    stick, disk = make_mount("/srv/in"), make_mount("/srv", device=(8, 1))
    assert find_media((stick, disk), (), tmp_path) == (stick,)


def test_a_folder_lies_on_the_innermost_mount() -> None:
    outer, inner = make_mount("/"), make_mount("/media/usb0")
    assert mount_of(Path("/media/usb0/TIDEGATE"), (outer, inner)) == inner
    assert mount_of(Path("/srv"), (outer, inner)) == outer
    assert mount_of(Path("/srv"), (inner,)) is None


def test_the_tables_own_file_is_read_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "mountinfo"
    path.write_bytes(TWO)
    with MountTable(path) as table:
        assert [mount.kind for mount in table.read()] == ["proc", "vfat"]
        path.write_bytes(b"")
        assert table.read() == ()


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs: run as root")
def test_a_real_mount_wakes_the_poll_and_is_found(tmp_path: Path) -> None:
    point = tmp_path / "a stick"
    point.mkdir()
    with MountTable() as table:
        before = table.read()
        poll = select.poll()
        poll.register(table, TABLE_EVENTS)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,nosuid,nodev,noexec", "none", point], check=True)
        try:
            assert poll.poll(10_000)
            new = [mount for mount in find_media(table.read(), (str(tmp_path),)) if mount not in before]
            assert [(mount.point, mount.kind, mount.read_only) for mount in new] == [(point, "tmpfs", True)]
        finally:
            subprocess.run(["umount", point], check=True)
