"""The first thread as a person types it: two roots, a folder as the stick, every command once, and once more."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import Host
from images import Layout


@pytest.fixture
def low(tmp_path: Path) -> Host:
    layout = Layout(tmp_path / "layout")
    layout.tag(layout.image([{"hello.txt": b"hello"}]), "app")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.txt").write_text("read me\n")
    (tmp_path / "stick").mkdir()
    return Host(tmp_path / "low", tmp_path)


@pytest.fixture
def high(tmp_path: Path) -> Host:
    return Host(tmp_path / "high", tmp_path)


@pytest.fixture
def paired(low: Host, high: Host) -> tuple[Host, Host]:
    low("init", "low", "--channel", "plant", "--site", "plant-7")
    high("init", "high", "--site", "plant-7")
    words = low.values("keys", "export", "plant.root")["fingerprint"]
    high("trust", "add", "plant.root", "--fingerprint", words)
    return low, high


def test_a_folder_and_an_image_cross_as_the_first_guide_says(paired: tuple[Host, Host]) -> None:
    low, high = paired
    assert "would bring 2 artifacts" in low("plan", "./docs", "oci:layout:app").out
    packed = low.values("pack", "./docs", "oci:layout:app")
    name = packed["bundle"]
    assert packed["outcome"] == "packed" and name.endswith("-0001")
    assert f'"tidegate send {name}"' in low().out
    assert "it may be removed" in low("send", name, "stick").out
    assert f'"tidegate load {name}"' in high("receive", "stick").out
    assert f'"tidegate load {name}"' in high("inbox").out
    assert "files/docs:latest" in high("load", name).out
    assert "2 artifacts" in high("load", name, "--to", "./out").out
    assert (high.folder / "out" / "docs" / "guide.txt").read_text() == "read me\n"
    for host in (low, high):
        assert "agree with the checkpoint" in host("ledger", "verify").out


def test_every_step_done_twice_says_that_there_is_nothing_to_do(paired: tuple[Host, Host]) -> None:
    low, high = paired
    words = low.values("keys", "show")["fingerprint"]
    low("pack", "./docs")
    low("send", "1", "stick")
    high("receive", "stick")
    high("load", "1", "--to", "./out")
    again = [
        low("init", "low", "--channel", "plant", "--site", "plant-7"),
        low("init", "low", "--channel", "plant", "--site", "plant-7", "--dry-run"),
        low("keys", "export", "plant.root"),
        low("pack", "./docs"),
        low("send", "1", "stick"),
        low("send", "1", "stick", "--dry-run"),
        high("init", "high", "--site", "plant-7"),
        high("trust", "add", "plant.root", "--fingerprint", words),
        high("receive", "stick"),
        high("load", "1"),
        high("load", "1", "--dry-run"),
        high("load", "1", "--to", "./out"),
        high("trust", "remove", "nobody"),
    ]
    assert ["nothing to do" in answer.out for answer in again] == [True] * len(again)


def test_an_unsent_bundle_is_replaced_and_a_sent_one_is_followed(paired: tuple[Host, Host]) -> None:
    low, _ = paired
    assert low.values("pack", "./docs")["bundle"].endswith("-0001")
    assert low.values("pack", "./docs", "--anyway")["outcome"] == "replaced"
    low("send", "1", "stick")
    assert "it was sent" in low("pack", "./docs").out
    (low.folder / "docs" / "guide.txt").write_text("read me again\n")
    assert low.values("pack", "./docs")["bundle"].endswith("-0002")


def test_of_a_list_with_one_item_that_cannot_be_had_the_others_go(paired: tuple[Host, Host]) -> None:
    low, _ = paired
    items = "".join(f"  - path: ./{name}\n" for name in ("docs", "gone", "stick"))
    (low.folder / "list.yaml").write_text(f"tidegate: 1\nfiles:\n{items}")
    planned = low("plan", "list.yaml", code=3)
    assert "1 of 3 cannot be had: gone" in planned.err and "gone: gone:" not in planned.err
    first, last = low("pack", "list.yaml", "--json", code=3).objects
    assert (first["artifacts"], last["class"], last["exit_code"]) == (2, "PartialError", 3)
    required = items.replace("./gone", "./gone\n    required: true")
    (low.folder / "list.yaml").write_text(f"tidegate: 1\nfiles:\n{required}")
    low("pack", "list.yaml", "--anyway", code=10)
    listed = [item["entry"] for item in low("ledger", "list", "--event", "collect", "--json").objects]
    assert (listed[-1]["outcome"], listed[-1]["reason"]) == ("failed", "collect")
    low("pack", "./gone", code=10)
    low("plan", "./gone", code=10)


def test_two_folders_of_one_name_are_refused_by_plan_as_by_pack(paired: tuple[Host, Host]) -> None:
    low, _ = paired
    (low.folder / "other" / "docs").mkdir(parents=True)
    low("plan", "./docs", "./other/docs", code=53)
    low("pack", "./docs", "./other/docs", code=53)


def test_an_automatic_channel_is_loaded_by_watching(paired: tuple[Host, Host]) -> None:
    low, high = paired
    low("pack", "./docs")
    low("send", "1", "stick")
    with (high.root / "tidegate.toml").open("a") as settings:
        settings.write('[channels.plant]\nrelease = "automatic"\n')
    assert "loaded" in high("watch", "--once", "stick").out
    assert "loaded" in high("inbox").out


def test_a_bundle_that_expired_is_sent_with_a_warning_and_refused(paired: tuple[Host, Host]) -> None:
    low, high = paired
    low("pack", "./docs")
    low("send", "1", "stick")
    high("receive", "stick")  # from now on the high side knows what time it is at least
    low("pack", "./docs", "--anyway", "--expires", "1", SOURCE_DATE_EPOCH="1700000000")
    (low.folder / "late").mkdir()
    assert "expired 2023-11-15" in low("send", "2", "late").err
    refused = high("receive", "late", code=37)
    assert refused.err.count("expired") == 1 and "expired" not in refused.out
    assert "expired" in high("inbox").out


def test_keys_with_a_passphrase_say_what_they_wait_for(low: Host) -> None:
    (low.folder / "secret").write_text("open sesame\n")
    (low.folder / "secret").chmod(0o600)
    low("init", "low", "--channel", "c", "--site", "s", "--passphrase", code=2)
    low("init", "low", "--channel", "c", "--site", "s", "--passphrase", TIDEGATE_PASSPHRASE_FILE="secret")
    assert "TIDEGATE_PASSPHRASE_FILE" in low("pack", "./docs", code=83).err
    assert "No such file" in low("pack", "./docs", code=83, TIDEGATE_PASSPHRASE_FILE="nowhere").err
    (low.folder / "secret").chmod(0o640)
    assert "others may read it" in low("pack", "./docs", code=83, TIDEGATE_PASSPHRASE_FILE="secret").err
    (low.folder / "secret").chmod(0o600)
    low("pack", "./docs", TIDEGATE_PASSPHRASE_FILE="secret")


def test_a_pairing_file_is_not_written_over_what_is_none(paired: tuple[Host, Host]) -> None:
    low, high = paired
    (low.folder / "notes").write_text("mine\n")
    for host in (low, high):
        host("keys", "export", "notes", code=2)
        host("keys", "export", "nowhere/file", code=2)
    assert (low.folder / "notes").read_text() == "mine\n"


def test_without_a_stick_send_says_so_and_watch_finds_the_one_that_comes(paired: tuple[Host, Host]) -> None:
    low, high = paired
    low("pack", "./docs")
    assert "no medium is plugged in" in low("send", "1", code=24).err
    low("send", "1", "stick")
    shutil.copytree(low.folder / "stick", low.folder / "media" / "usb0")
    assert json.loads(high("watch", "--once", "--json").out.splitlines()[0])["outcome"] == "received"
