"""Each side as witness of the other one's ledger, by the installed command: entries go up, heads come back."""

import json
import shutil
from pathlib import Path

import pytest
from two_sides import Sides


@pytest.fixture
def paired(tmp_path: Path) -> Sides:
    """Both sides, each believing the other one's ledger key."""
    sides = Sides.make(tmp_path)
    site = sides.high.good("keys", "export", "--json").objects[-1]
    sides.low.good("trust", "add", str(site["line"]), "--fingerprint", str(site["fingerprint"]))
    return sides


def carry(sides: Sides, seed: int) -> dict[str, object]:
    """Pack, send and receive one small bundle; what `receive` said."""
    bundle = sides.pack(size=2000, seed=seed)
    stick = sides.folder / f"stick-{seed}"
    stick.mkdir()
    sides.send(bundle, stick)
    return sides.high.good("receive", "--json", stick).objects[-1]


def slip(sides: Sides, *options: str) -> dict[str, object]:
    return sides.high.good("slip", "--json", *options).objects[-1]


def read(sides: Sides, made: dict[str, object], *, proof: bool = False) -> dict[str, object]:
    text = f"{made['slip']}/{made['proof']}" if proof else str(made["slip"])
    return sides.low.good("slip", "read", "--json", text).objects[-1]


def test_the_first_cover_brings_the_whole_ledger_and_the_next_ones_go_on_from_it(paired: Sides) -> None:
    assert carry(paired, 1)["ledger"] == "first"
    assert carry(paired, 2)["ledger"] == "linked"
    found = [item["entry"] for item in paired.high.good("ledger", "list", "--side", "low", "--json").objects]
    events = [(entry["event"], entry["outcome"]) for entry in found if entry]
    for event in ("init", "collect", "pack", "sign"):
        assert (event, "done") in events
    assert events.count(("pack", "done")) == 2  # its own packing rides with a bundle
    assert events.count(("send", "done")) == 1  # its sending with the next one
    said = paired.high.good("ledger", "verify", "--side", "low", "--json").objects[-1]
    assert said["holes"] == []
    assert said["held"] == len(found)
    low = paired.low.entries()
    assert [json.dumps(entry, sort_keys=True) for entry in found] == [
        json.dumps(entry, sort_keys=True) for entry in low[: len(found)]
    ]


def test_a_head_that_goes_up_and_comes_back_is_co_signed_and_the_next_one_only_with_a_proof(paired: Sides) -> None:
    carry(paired, 1)
    assert read(paired, slip(paired))["cosigned"] is True
    carry(paired, 2)
    assert "not checked" not in paired.high.good("ledger", "verify").out
    assert "a co-signature of 20" in paired.high.good("ledger", "verify").out
    bare = read(paired, slip(paired))
    assert bare["cosigned"] is False
    assert isinstance(bare["proof_wanted_from"], int)
    made = slip(paired, "--proof")
    assert str(made["proof"]).startswith(f"PROOF {bare['proof_wanted_from']} ")
    assert len(str(made["slip"])) <= 400
    assert read(paired, made, proof=True)["cosigned"] is True
    again = read(paired, made, proof=True)
    assert (again["outcome"], again["cosigned"]) == ("nothing", False)
    carry(paired, 3)
    (note,) = (paired.high.root / "witness").glob("*/cosigned")
    assert note.read_text().splitlines()[1] == str(made["ledger_size"])


def test_a_high_side_that_was_put_back_is_found_by_what_was_co_signed(paired: Sides, tmp_path: Path) -> None:
    carry(paired, 1)
    shutil.copytree(paired.high.root, tmp_path / "backup")
    carry(paired, 2)
    read(paired, slip(paired))
    shutil.rmtree(paired.high.root)
    shutil.copytree(tmp_path / "backup", paired.high.root)
    said = carry(paired, 3)
    assert "does not give the head that was co-signed" in str(said["ledger_warning"])
    assert "ledger-alarm failed/rewritten" in paired.high.events()


def test_a_low_side_that_was_put_back_and_went_on_is_a_fork(paired: Sides, tmp_path: Path) -> None:
    carry(paired, 1)
    shutil.copytree(paired.low.root, tmp_path / "backup")
    carry(paired, 2)
    shutil.rmtree(paired.low.root)
    shutil.copytree(tmp_path / "backup", paired.low.root)
    paired.low.good("pack", "--json", paired.make_files(size=2000, seed=7))
    paired.low.good("discard", "2")
    for seed in (8, 9):  # numbers 2 and 3: the second of them is new to the high side
        bundle = paired.pack(size=2000, seed=seed)
        stick = paired.folder / f"other-{seed}"
        stick.mkdir()
        paired.send(bundle, stick)
    answer = paired.high.run("receive", "--json", paired.folder / "other-9")
    assert answer.code == 63, answer
    told = answer.objects[-1]
    assert told["outcome"] == "received"
    assert "contradicts" in str(told["alarm"])
    refused = paired.high.fails(51, "load", "3")
    assert "tidegate ledger accept" in refused.err
    paired.high.fails(2, "ledger", "accept", "3")
    paired.high.good("ledger", "accept", "3", "--reason", "the office put back a backup of Monday, and said so")
    paired.high.good("load", "3")
    bundle = paired.pack(size=2000, seed=10)
    stick = paired.folder / "other-10"
    stick.mkdir()
    paired.send(bundle, stick)
    assert paired.high.good("receive", "--json", stick).objects[-1]["ledger"] == "linked"
    paired.high.good("ledger", "verify", "--side", "low")


def test_nothing_changed_stays_small_after_many_bundles(paired: Sides) -> None:
    for seed in range(1, 6):
        carry(paired, seed)
    packed = paired.low.good("pack", "--json", "--anyway", paired.make_files(size=2000, seed=5)).objects[-1]
    assert int(str(packed["size"])) < 64 * 1024


def test_an_auditor_compares_the_copy_with_a_checkpoint_from_the_low_side(paired: Sides, tmp_path: Path) -> None:
    carry(paired, 1)
    honest = paired.low.root / "ledger" / "checkpoint"
    shutil.copy(honest, tmp_path / "later")
    carry(paired, 2)
    said = paired.high.good("ledger", "verify", "--side", "low", "--against", tmp_path / "later")
    assert str(tmp_path / "later") in said.out
    paired.high.fails(61, "ledger", "verify", "--side", "low", "--against", paired.high.root / "ledger" / "checkpoint")


def test_transfers_are_shown_from_pack_to_load_and_what_never_came(paired: Sides) -> None:
    carry(paired, 1)
    lost = paired.pack(size=2000, seed=2)
    stick = paired.folder / "lost"
    stick.mkdir()
    paired.send(lost, stick)
    carry(paired, 3)
    paired.high.good("load", "1")
    told = paired.high.good("ledger", "transfers", "--json").objects
    rows = {row["sequence"]: row for row in told}
    assert all(rows[1][step] for step in ("packed", "sent", "received", "loaded"))
    assert rows[2]["sent"]
    assert not rows[2]["received"]
    assert rows[2]["remark"] == "sent and never came"
    assert rows[3]["received"]
    assert not rows[3]["loaded"]


def test_a_lost_medium_is_told_with_the_next_bundle_and_its_gap_closes_when_it_is_discarded(paired: Sides) -> None:
    carry(paired, 1)
    lost = paired.pack(size=2000, seed=2)
    stick = paired.folder / "stick-07"
    stick.mkdir()
    paired.low.good("media", "register", stick, "STICK-07")
    paired.send(lost, stick)
    said = paired.low.good("media", "lost", "STICK-07", "--reason", "left on a train")
    assert f"tidegate discard {lost}" in said.out
    assert carry(paired, 3)["gap"] == [2, 2]
    assert remark(paired, 2) == "sent and never came; STICK-07 was lost"
    paired.low.good("discard", lost)
    assert "gap" not in carry(paired, 4)
    assert remark(paired, 2) == "discarded by the low side"
    assert "missing;" not in paired.high.good("inbox").out
    made = slip(paired)
    assert (made["held"], made["missing"]) == ("1+3-4", "NONE")
    answer = paired.high.fails(43, "receive", stick)  # it turned up after all
    assert "void" in answer.err


def test_a_withdrawn_bundle_is_told_with_the_next_one_and_leaves_no_gap(paired: Sides) -> None:
    carry(paired, 1)
    carry(paired, 2)
    paired.low.good("withdraw", "2", "--reason", "the vendor took it back")
    assert "gap" not in carry(paired, 3)
    assert remark(paired, 2) == "withdrawn by the low side"
    paired.high.fails(51, "load", "2")
    made = slip(paired)
    assert (made["held"], made["missing"]) == ("1+3", "NONE")
    assert read(paired, made)["missing"] == "NONE"


def remark(sides: Sides, sequence: int) -> str:
    rows = {row["sequence"]: row for row in sides.high.good("ledger", "transfers", "--json").objects}
    return str(rows[sequence]["remark"])


def test_every_copy_and_every_stick_of_a_set_has_the_cover_of_the_first_writing(paired: Sides) -> None:
    from tidegate.carrier.announcement import parse_announcement
    from tidegate.carrier.medium import find_volumes
    from tidegate.carrier.parts import read_part
    from tidegate.carrier.reader import VolumeReader

    bundle = paired.pack(size=400_000, seed=1)
    sticks = [paired.folder / f"copy-{number}" for number in range(3)]
    for stick in sticks:
        stick.mkdir()
        paired.send(bundle, stick)
    covers = set()
    for stick in sticks:
        (found,) = find_volumes(stick).volumes
        reader = VolumeReader(found, parse_announcement(found.frame))
        covers.add(read_part(reader, 0, 1 << 20))
    assert len(covers) == 1
    (kept,) = (paired.low.root / "spool").glob("*.cover")
    assert covers == {kept.read_bytes()}
    assert "already" in paired.low.good("send", bundle, sticks[0]).out
    paired.low.good("discard", bundle)
    paired.pack(size=2000, seed=2)
    assert not kept.exists()
