"""Which medium is meant, and what the host knows of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tidegate.errors import MediaError, MediaNotFoundError
from tidegate.media import plugged as media
from tidegate.media.mountinfo import Mount
from tidegate.media.plugged import MediumFacts, choose_medium, describe_medium, summary


def make_mount(point: Path, source: str = "/dev/none") -> Mount:
    return Mount(1, 8, 17, "/", point, True, "vfat", source)


def test_a_named_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert choose_medium(tmp_path, ()) == tmp_path


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="no such folder"):
        choose_medium(tmp_path / "away", ())
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="is not a folder"):
        choose_medium(tmp_path / "file", ())


@pytest.mark.parametrize(("count", "words"), [(0, "no medium"), (2, "2 media are plugged in: .*usb0, .*usb1")])
def test_nothing_is_guessed(count: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tuple(make_mount(tmp_path / f"usb{number}") for number in range(count))
    monkeypatch.setattr(media, "current_mounts", lambda: mounts)
    with pytest.raises(MediaNotFoundError, match=words):
        choose_medium(None, (str(tmp_path),))


def test_the_one_medium_that_is_plugged_in_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "current_mounts", lambda: (make_mount(Path("/")), make_mount(tmp_path / "usb0")))
    assert choose_medium(None, (str(tmp_path),)) == tmp_path / "usb0"


def test_a_sticks_vendor_product_serial_and_label_are_read(tmp_path: Path) -> None:
    usb = tmp_path / "sys/devices/usb1/1-2"
    partition = usb / "1-2:1.0/host6/target6/6:0:0:0/block/sdb/sdb1"
    partition.mkdir(parents=True)
    for name, text in {
        "idVendor": "0781",
        "manufacturer": "SanDisk",
        "product": "Ultra\x1b[2J",
        "serial": "4C53",
    }.items():
        (usb / name).write_text(f"{text}\n")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/8:17").symlink_to(partition)
    labels = tmp_path / "dev/disk/by-label"
    labels.mkdir(parents=True)
    (tmp_path / "dev/sdb1").touch()
    (labels / "MY\\x20STICK").symlink_to(tmp_path / "dev/sdb1")
    mount = make_mount(tmp_path, str(tmp_path / "dev/sdb1"))
    facts = describe_medium(tmp_path, (mount,), tmp_path / "sys", tmp_path / "dev")
    assert (facts.vendor, facts.product, facts.serial) == ("SanDisk", "Ultra\\x1b[2J", "4C53")
    assert facts.label == "MY STICK"
    assert facts.capacity_bytes > 0
    assert "SanDisk Ultra" in summary(facts)


def test_a_plain_folder_says_nothing_of_the_disk_below_it(tmp_path: Path) -> None:
    facts = describe_medium(tmp_path / "in", (make_mount(tmp_path),))
    assert facts == MediumFacts(str(tmp_path / "in"), kind="folder")
    assert facts.as_fields() == {"folder": str(tmp_path / "in"), "kind": "folder"}


def test_a_medium_that_is_read_only_is_not_chosen_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = (
        replace(make_mount(tmp_path / "ro"), read_only=True),
        replace(make_mount(tmp_path / "rw"), read_only=False),
    )
    monkeypatch.setattr(media, "plugged_media", lambda _folders: mounts)
    assert choose_medium(None, (), to_write=True) == tmp_path / "rw"
    with pytest.raises(MediaNotFoundError, match="2 media"):
        choose_medium(None, ())
