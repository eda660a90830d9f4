"""A stick's life by the installed command: registered, labelled, sent, received, returned, lost, copied, changed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from two_sides import Answer, Sides

LABEL = "STICK-07"


@pytest.fixture
def stick(sides: Sides) -> Path:
    """A registered stick with a bundle on it."""
    sides.low.good("media", "register", sides.stick, LABEL)
    sides.send(sides.pack())
    return sides.stick


def state(sides: Sides, label: str = LABEL) -> str:
    rows = sides.low.good("media", "list", "--json").objects
    return next(str(row["state"]) for row in rows if row["label"] == label)


def custody(answer: Answer) -> list[str]:
    entries = [item["entry"] for item in answer.objects if "entry" in item]
    return [f"{entry['event']} {entry['outcome']}" for entry in entries]  # type: ignore[index, call-overload]


def test_a_stick_goes_and_comes_back_and_both_sides_can_tell_where_it_was(sides: Sides, stick: Path) -> None:
    assert state(sides) == "away"
    sides.assert_arrives("1")
    answer = sides.low.good("media", "return", stick)
    assert "is back as it was given away" in answer.out
    assert state(sides) == "here"
    assert custody(sides.low.good("media", "show", LABEL, "--json")) == [
        "media-registered begun",
        "media-registered done",
        "write begun",
        "write done",
        "read-back done",
        "send done",
        "media-returned done",
    ]
    seen = sides.high.good("media", "show", LABEL.lower(), "--json")
    assert custody(seen) == ["media-inserted done", "witnessed done", "receive done", "quarantine done"]
    assert seen.objects[0]["counter"] == 2
    sides.low.good("ledger", "verify")


def test_a_stick_that_came_back_with_something_added_ends_with_its_own_exit_code(sides: Sides, stick: Path) -> None:
    sides.high.good("receive", stick)
    (stick / "TIDEGATE" / "evil\x1b]0;owned\x07.exe").write_bytes(b"MZ")
    (stick / os.fsdecode(b"\xff.inf")).write_bytes(b"x")
    sides.low.events()
    answer = sides.low.fails(28, "media", "return", stick)
    assert answer.out.splitlines() == ["added: TIDEGATE/evil\\x1b]0;owned\\x07.exe", "added: \\xff.inf"]
    assert "2 added" in answer.err
    assert sides.low.events() == ["media-returned failed/medium-changed"]
    assert state(sides) == "suspect"
    warned = sides.low.good("send", "1", stick)
    assert "came back changed" in warned.err


def test_json_says_what_changed_and_stays_one_object_a_line(sides: Sides, stick: Path) -> None:
    (stick / "autorun\n.inf").write_bytes(b"x")
    answer = sides.low.fails(28, "media", "return", stick, "--json")
    found, error = answer.objects
    assert found["added"] == ["autorun\\n.inf"]
    assert error["exit_code"] == 28


def test_a_bundle_on_a_stick_that_was_changed_by_one_byte_is_found(sides: Sides, stick: Path) -> None:
    (volume,) = stick.glob("TIDEGATE/*/*.TGV")
    data = bytearray(volume.read_bytes())
    data[len(data) // 2] ^= 1  # a record: the frame of the file is as it was
    volume.write_bytes(data)
    answer = sides.low.fails(28, "media", "return", stick)
    assert answer.out.splitlines() == [f"changed: {volume.relative_to(stick)}"]


def test_a_dry_run_of_a_return_says_the_same_and_records_nothing(sides: Sides, stick: Path) -> None:
    (stick / "added").write_bytes(b"x")
    sides.low.events()
    sides.low.fails(28, "media", "return", stick, "--dry-run")
    assert sides.low.events() == []
    assert state(sides) == "away"


def test_a_cloned_stick_is_found_on_either_side(sides: Sides, stick: Path, tmp_path: Path) -> None:
    clone = Path(shutil.copytree(stick, tmp_path / "clone"))
    second = sides.pack("more", seed=2)
    sides.send(second, stick)
    sides.high.good("receive", stick)
    sides.high.events()
    received = sides.high.good("receive", clone)
    assert "a copy, or put back" in received.err
    assert "media-alarm failed/medium-counter-back" in sides.high.events()
    sides.low.events()
    sent = sides.low.good("send", second, clone)
    assert "a copy, or put back" in sent.err
    assert sides.low.events()[0] == "media-alarm failed/medium-counter-back"
    assert (
        "a copy, or put back" in sides.low.good("send", second, stick).err
    )  # and now the original shows the older one


def test_a_clone_is_no_more_one_when_it_has_a_token_of_its_own(sides: Sides, stick: Path, tmp_path: Path) -> None:
    clone = Path(shutil.copytree(stick, tmp_path / "clone"))
    sides.low.fails(2, "media", "register", clone, "STICK-08")
    sides.low.good("media", "register", clone, "STICK-08", "--replace")
    assert not sides.low.good("send", "1", clone).err
    assert not sides.low.good("send", "1", stick).err


def test_lost_and_found_are_entries_and_twice_is_nothing_to_do(sides: Sides, stick: Path) -> None:
    sides.low.events()
    lost = sides.low.good("media", "lost", LABEL, "--reason", "left on the train")
    assert "it carried" in lost.out
    assert "nothing to do" in sides.low.good("media", "lost", LABEL).out
    assert "marked as lost" in sides.low.good("send", "1", stick).err
    sides.low.good("media", "lost", LABEL)
    sides.low.good("media", "found", LABEL)
    assert "nothing to do" in sides.low.good("media", "found", LABEL).out
    told = sides.low.events()
    assert (told[0], told[1]) == ("media-lost done", "media-alarm failed/medium-was-lost")
    assert told[-1] == "media-found done"


@pytest.mark.parametrize("command", ["show", "lost", "found"])
def test_a_label_that_nobody_registered_is_named(sides: Sides, command: str) -> None:
    answer = sides.low.fails(2, "media", command, "NOBODY\x1b[31m")
    assert "\x1b" not in answer.err


def test_a_dry_run_registers_nothing(sides: Sides) -> None:
    answer = sides.low.good("media", "register", sides.stick, LABEL, "--dry-run")
    assert "would be registered" in answer.out
    assert list(sides.stick.iterdir()) == []
    assert sides.low.good("media", "list", "--json").objects == []


def test_the_high_side_registers_nothing(sides: Sides) -> None:
    sides.high.fails(71, "media", "register", sides.stick, LABEL)


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="apt-get install poppler-utils")
def test_labels_come_from_the_register_and_from_sending(sides: Sides, stick: Path, tmp_path: Path) -> None:
    sides.low.good("media", "label", LABEL, "--out", tmp_path / "later.pdf")
    answer = sides.low.run("send", "1", stick, "--label", tmp_path / "now.pdf", TIDEGATE_IF_FOUND="Call the depot.")
    assert answer.code == 0, answer
    later, now = (_words(tmp_path / name) for name in ("later.pdf", "now.pdf"))
    for words in (LABEL, "stick 1 of 1", "-0001", "to plant-7", "Custody slip"):
        assert words in later and words in now
    assert "please do not plug it in" in later
    assert "Call the depot." in now


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="apt-get install poppler-utils")
def test_each_stick_of_a_set_has_its_page_and_its_counter(sides: Sides, tmp_path: Path) -> None:
    sticks = [tmp_path / name for name in ("a", "b", "c")]
    for number, place in enumerate(sticks, start=1):
        place.mkdir()
        sides.low.good("media", "register", place, f"SET-{number}")
    bundle = sides.pack()
    sides.low.good("send", bundle, *sticks, "--spare", "1", "--accept-overhead", "--label", tmp_path / "set.pdf")
    words = _words(tmp_path / "set.pdf")
    for number in (1, 2, 3):
        assert f"stick {number} of 3" in words
        assert f"SET-{number}" in words
    assert [row["counter"] for row in sides.low.good("media", "list", "--json").objects] == [2, 2, 2]
    for place in sticks:
        sides.low.good("media", "return", place)


def test_the_token_is_read_by_json_and_hashing_alone(sides: Sides, stick: Path) -> None:
    envelope = json.loads((stick / "TIDEGATE/MEDIUM.TGM").read_bytes())
    assert envelope["payloadType"] == "application/vnd.tidegate.medium.v1+json"
    assert len(envelope["signatures"]) == 1


def _words(path: Path) -> str:
    done = subprocess.run(["pdftotext", "-layout", str(path), "-"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split())
