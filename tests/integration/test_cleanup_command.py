"""``tidegate cleanup`` on both sides, by the installed command: what goes, what stays, and what others make of it."""

import json
import os
from pathlib import Path

import pytest
from two_sides import Side, Sides

NOW = ("--keep-days", "0")


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    made = Sides.make(tmp_path)
    site = made.high.good("keys", "export", "--json").objects[-1]
    made.low.good("trust", "add", str(site["line"]), "--fingerprint", str(site["fingerprint"]))
    return made


def cross(sides: Sides, *, load: bool = True, **how: int) -> str:
    """Pack a version of the docs, carry it over, and load it."""
    docs = sides.make_files(**how)
    for path in (*docs.iterdir(), docs):
        os.utime(path, (1e9, 1e9))  # the same version once more is the same blob
    bundle = str(sides.low.good("pack", docs, "--json").objects[-1]["bundle"])
    stick = sides.folder / f"stick-{bundle}"
    stick.mkdir()
    sides.send(bundle, stick)
    sides.high.good("receive", stick)
    if load:
        sides.high.good("load", bundle)
    return bundle


def confirm(sides: Sides) -> str:
    """Carry a slip back; the numbers that it says are held."""
    slip = sides.high.good("slip", "--json").objects[-1]
    sides.low.good("slip", "read", str(slip["slip"]))
    return str(slip["held"])


def cleanup(side: Side, *words: str) -> dict[str, object]:
    return side.good("cleanup", "--json", *words).objects[-1]


def gone(found: dict[str, object]) -> list[tuple[str, str]]:
    return [(item["name"], item["kind"]) for item in found["goes"]]  # type: ignore[attr-defined]


# --- low side -----------------------------------------------------------------------------------


def test_what_slips_confirm_may_go_and_without_remove_nothing_goes(sides: Sides) -> None:
    bundle = cross(sides)
    assert gone(cleanup(sides.low)) == []
    confirm(sides)
    (file,) = (sides.low.root / "spool").glob("*.tgb")
    for words in ((), ("--dry-run",)):
        assert gone(cleanup(sides.low, *words)) == [(bundle, "bundle-file")]
        assert file.is_file()
    sides.low.events()
    assert gone(cleanup(sides.low, "--remove")) == [(bundle, "bundle-file")]
    assert sides.low.events() == ["delete done/bundle-file"]
    assert not file.is_file()
    answer = sides.low.good("cleanup", "--remove")
    assert "nothing to do" in answer.out


def test_what_a_removed_bundle_carried_stays_the_base(sides: Sides) -> None:
    first = cross(sides)
    confirm(sides)
    cleanup(sides.low, "--remove")
    more = sides.make_files("more", seed=9)
    packed = sides.low.good("pack", sides.folder / "docs", more, "--json").objects[-1]
    assert packed["required"] == 3  # manifest, config and tar of the docs
    assert sides.low.good("diff", first, str(packed["bundle"]), "--json").objects[-1]["removed_size"] == 0
    assert "since" not in sides.low.good("pack", "--anyway", "--since", first, sides.folder / "docs").err


def test_an_unconfirmed_bundle_is_kept_for_a_resend_and_then_named(sides: Sides) -> None:
    bundle = cross(sides)
    (stays,) = [item for item in cleanup(sides.low, "--remove")["stays"] if item["name"] == bundle]  # type: ignore[attr-defined]
    assert "not confirmed: kept for a resend, 90 more days" in stays["why"]
    assert gone(cleanup(sides.low, "--remove", *NOW))[0] == (bundle, "bundle-file")
    answer = sides.low.fails(18, "send", bundle, sides.stick)
    assert "was cleaned up on" in answer.err
    assert "--full" in answer.err


def test_a_bundle_that_waits_to_be_sent_and_a_set_under_way_are_never_removed(sides: Sides) -> None:
    bundle = sides.pack(size=2_000_000)
    (stays,) = cleanup(sides.low, "--remove", *NOW)["stays"]  # type: ignore[misc]
    assert f"tidegate discard {bundle}" in stays["why"]
    sides.send(bundle)
    assert (sides.folder / "low" / "spool").is_dir()


def test_content_that_no_name_reaches_goes_when_it_is_old_and_a_collect_at_work_keeps_it(sides: Sides) -> None:
    cross(sides, seed=1)
    confirm(sides)
    cross(sides, seed=2)
    blobs = set((sides.low.root / "depot" / "blobs" / "sha256").iterdir())
    assert ("depot", "depot") not in gone(cleanup(sides.low))
    with sides.low.workspace() as workspace, workspace.depot.commit():
        found = cleanup(sides.low, "--remove", *NOW)
        assert any("content is being brought" in item["why"] for item in found["stays"])  # type: ignore[attr-defined]
    # The second bundle's file went above, and its names still reach what it carried.
    found = cleanup(sides.low, "--remove", *NOW)
    assert ("depot", "depot") in gone(found)
    left = set((sides.low.root / "depot" / "blobs" / "sha256").iterdir())
    assert left < blobs
    assert sides.low.good("pack", sides.folder / "docs", "--anyway")


def test_files_that_a_killed_pack_left_are_removed(sides: Sides) -> None:
    spool = sides.low.root / "spool"
    bundle = sides.pack()
    (spool / "packing-0123").write_bytes(b"x" * 1000)
    (spool / "0000-0009-00000000.tgb").write_bytes(b"x" * 1000)
    assert sorted(name for name, kind in gone(cleanup(sides.low, "--remove")) if kind == "leftover") == [
        "spool/0000-0009-00000000.tgb",
        "spool/packing-0123",
    ]
    sides.send(bundle)


# --- high side ----------------------------------------------------------------------------------


def test_superseded_content_goes_in_two_steps_and_slips_and_duplicates_stay_true(sides: Sides) -> None:
    first, second = cross(sides, seed=1), cross(sides, seed=2)
    assert confirm(sides) == "1-2"
    assert gone(cleanup(sides.high, "--remove")) == []
    found = cleanup(sides.high, "--remove", *NOW)
    assert (first, "let-go") in gone(found)
    assert (second, "let-go") not in gone(found)
    # Until a slip without it was printed nothing of it goes.
    assert (first, "superseded") not in gone(cleanup(sides.high, "--remove", *NOW))
    assert confirm(sides) == "2"
    sides.high.events()
    assert gone(cleanup(sides.high, "--remove", *NOW)) == [(first, "superseded")]
    assert sides.high.events() == ["delete done/superseded"]
    assert sides.high.states() == ["cleaned", "loaded"]
    slip = sides.high.good("slip", "--json").objects[-1]
    assert (slip["held"], slip["missing"]) == ("2", "NONE")
    assert sides.high.good("receive", sides.folder / f"stick-{first}", "--json").objects[-1]["outcome"] == "duplicate"
    assert "cleaned" in sides.high.fails(50, "load", first).err
    assert (sides.high.root / "quarantine" / sides.high.rows()[0].bundle_id / "bundle" / "manifest.json").is_file()
    sides.high.good("diff", first, second)
    sides.high.check()
    assert gone(cleanup(sides.high, "--remove", *NOW)) == []


def test_the_base_removed_on_the_high_side(sides: Sides) -> None:
    """The low side builds on what was cleaned up before it read the slip: it is named, sent again, and taken again."""
    first = cross(sides, seed=1)
    cross(sides, seed=2)
    confirm(sides)
    cleanup(sides.high, "--remove", *NOW)
    sides.high.good("slip")  # printed, and never carried over
    went = gone(cleanup(sides.high, "--remove", *NOW))
    # Links in a stage that was changed in this very second stay until the next cleanup.
    assert [item for item in went if item[1] != "stage"] == [(first, "superseded")]
    third = cross(sides, seed=1, load=False)  # back to the first version: everything of it was confirmed
    assert "content of number 1" in sides.high.good("inbox").out
    answer = sides.high.fails(44, "load", third)
    assert f"{first} (cleaned)" in answer.err
    slip = sides.high.good("slip", "--json").objects[-1]
    assert slip["missing"] == "1"
    sides.low.good("slip", "read", str(slip["slip"]))
    again = sides.folder / "again"
    again.mkdir()
    sides.send(first, again)
    assert sides.high.good("receive", again, "--json").objects[-1]["outcome"] == "received"
    sides.high.good("load", first)
    sides.high.good("load", third)
    assert sides.high.states() == ["loaded"] * 3
    assert sides.high.good("slip", "--json").objects[-1]["held"] == "1-3"
    sides.high.check()


def test_what_is_in_use_waits_or_was_given_away_stays(sides: Sides) -> None:
    cross(sides, seed=1)
    sides.high.good("baseline", "write", "--out", sides.folder / "given.baseline")
    waits = cross(sides, seed=2, load=False)
    found = cleanup(sides.high, "--remove", *NOW)
    assert gone(found) == []
    whys = {item["name"]: item["why"] for item in found["stays"]}  # type: ignore[attr-defined]
    assert "somebody has to load or deny it" in whys[waits]
    sides.high.good("load", waits)
    # Superseded now, and listed by the baseline that the low side may hold.
    assert all(kind != "let-go" for _, kind in gone(cleanup(sides.high, "--remove", *NOW)))


def test_an_incomplete_bundle_goes_when_it_is_old_is_still_missed_and_begins_anew(sides: Sides) -> None:
    bundle = sides.pack(size=3_000_000)
    sides.send(bundle)
    (file,) = sides.stick.rglob("*.TGV")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 3])
    sides.high.run("receive", sides.stick)
    assert sides.high.states() == ["incomplete"]
    (stays,) = cleanup(sides.high, "--remove")["stays"]  # type: ignore[misc]
    assert "another copy goes on with it" in stays["why"]
    assert gone(cleanup(sides.high, "--remove", *NOW)) == [(bundle, "incomplete")]
    assert sides.high.spooled() == []
    assert sides.high.good("slip", "--json").objects[-1]["missing"] == "1"
    file.write_bytes(whole)
    sides.assert_arrives(bundle)


def test_a_withdrawn_bundle_that_waits_loses_its_content_and_is_denied(sides: Sides) -> None:
    first = cross(sides, seed=1, load=False)
    sides.low.good("withdraw", first, "--reason", "wrong files")
    cross(sides, seed=2)
    assert (first, "withdrawn") not in gone(cleanup(sides.high, "--remove"))
    assert gone(cleanup(sides.high, "--remove", *NOW))[0] == (first, "withdrawn")
    assert sides.high.states()[0] == "denied"
    sides.high.fails(50, "load", first)
    slip = sides.high.good("slip", "--json").objects[-1]
    assert (slip["held"], slip["missing"]) == ("2", "NONE")


def test_cleanup_says_so_where_papers_are_damaged_and_keeps_the_content(sides: Sides) -> None:
    cross(sides, seed=1)
    cross(sides, seed=2)
    row = sides.high.rows()[0]
    (sides.high.root / "quarantine" / row.bundle_id / "bundle" / "tables").write_bytes(b"")
    blobs = sorted((sides.high.root / "depot" / "blobs" / "sha256").iterdir())
    found = cleanup(sides.high, "--remove", *NOW)
    assert [item["name"] for item in found["stays"]] == ["depot"]  # type: ignore[attr-defined]
    assert sorted((sides.high.root / "depot" / "blobs" / "sha256").iterdir()) == blobs


def test_a_load_or_pack_at_work_is_not_disturbed(sides: Sides) -> None:
    cross(sides)
    from tidegate.files import locked

    with locked(sides.high.root / "stages" / ".load.lock", busy="test"):
        sides.high.fails(74, "cleanup", "--remove")
        sides.high.good("cleanup")
    with locked(sides.low.root / "spool" / ".packing.lock", busy="test"):
        sides.low.fails(74, "cleanup", "--remove")
        sides.low.good("cleanup")
    sides.low.fails(2, "cleanup", "--remove", "--dry-run")


def test_the_objects_of_json_name_everything(sides: Sides) -> None:
    bundle = cross(sides)
    confirm(sides)
    found = json.loads(sides.low.good("cleanup", "--json").out.splitlines()[-1])
    (item,) = found["goes"]
    assert item["name"] == bundle
    assert set(item) == {"name", "kind", "size", "age_days", "why", "bundle_id"}
    assert found["removed"] is False
