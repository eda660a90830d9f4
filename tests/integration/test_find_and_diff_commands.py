"""``tidegate find`` on both sides through the whole way of a thing, and ``tidegate diff`` between bundles."""

from pathlib import Path

from two_sides import Side, Sides, noise

from tidegate.whereabouts import fits_name


def states(side: Side, name: str) -> list[str]:
    return [str(item["state"]) for item in side.good("find", name, "--json").objects if "state" in item]


def texts(side: Side, name: str) -> list[str]:
    return [str(item["text"]) for item in side.good("find", name, "--json").objects if "text" in item]


def test_find_follows_a_thing_from_not_listed_to_loaded(sides: Sides) -> None:
    assert "not listed" in sides.low.good("find", "docs").out
    assert "not listed" in sides.high.good("find", "docs").out
    bundle = sides.pack("docs")
    assert texts(sides.low, "files/docs") == [f"packed in {bundle}, not sent yet"]
    stick = sides.send(bundle)
    assert texts(sides.low, "d*s") == [f"sent in {bundle}"]
    assert states(sides.high, "docs") == []
    sides.high.good("receive", stick)
    assert texts(sides.high, "docs") == [f"waits in quarantine in {bundle}"]
    sides.high.good("load", bundle)
    assert texts(sides.high, "docs") == [f"loaded with {bundle} as files/docs:latest, offered by stage default"]
    digest = sides.high.stage()["files/docs:latest"]
    assert states(sides.high, digest) == ["loaded"]
    second = sides.pack("docs", seed=2)
    sides.send(second)
    sides.high.good("receive", stick)
    sides.high.good("load", second)
    old, new = texts(sides.high, "docs")
    assert old.endswith("a newer one stands there now")
    assert new == f"loaded with {second} as files/docs:latest, offered by stage default"


def test_find_tells_of_what_was_replaced_before_it_was_sent(sides: Sides) -> None:
    first = sides.pack("docs")
    assert sides.pack("docs", seed=2) == first
    assert sorted(states(sides.low, "docs")) == ["discarded", "packed"]


def test_a_name_is_known_by_its_end_without_its_tag_and_by_a_pattern() -> None:
    name = "localhost:5000/team/app:1.2"
    for pattern in (name, "app:1.2", "team/app:1.2", "app", "team/app", "app:*", "*/app:1.?", "*app*"):
        assert fits_name(pattern, name), pattern
    for pattern in ("ap", "app:1", "pp:1.2", "other/app", "team", ""):
        assert not fits_name(pattern, name), pattern


def test_diff_names_artifacts_added_changed_and_removed_with_their_bytes(sides: Sides, tmp_path: Path) -> None:
    for name, seed in (("docs", 1), ("tools", 2), ("old", 3)):
        sides.make_files(name, seed=seed, count=1)
    folder = sides.folder
    first = str(
        sides.low.good("pack", folder / "docs", folder / "tools", folder / "old", "--json").objects[-1]["bundle"]
    )
    sides.send(first)
    (folder / "tools" / "more.bin").write_bytes(noise(77, 1000))
    sides.make_files("fresh", seed=4, count=1)
    answer = sides.low.good("pack", folder / "docs", folder / "tools", folder / "fresh", "--json", "--since", first)
    second = str(answer.objects[-1]["bundle"])
    told = sides.low.good("diff", first, second, "--json").objects
    changes = {str(item["artifact"]): str(item["change"]) for item in told if "artifact" in item}
    assert changes == {"files/fresh": "added", "files/old": "removed", "files/tools": "changed"}
    assert told[-1]["same"] == 1
    assert int(str(told[-1]["shared_size"])) > 300_000
    back = sides.low.good("diff", second, first, "--json").objects[-1]
    assert back["added_size"] == told[-1]["removed_size"]
    assert "no change" in sides.low.good("diff", first, first).out


def test_diff_reads_files_where_no_root_is_and_papers_on_the_high_side(sides: Sides, tmp_path: Path) -> None:
    first = sides.pack("docs")
    stick = sides.send(first)
    second = sides.pack("docs", seed=2)
    sides.send(second)
    paths = [sides.low.root / str(row.path) for row in sides.low.rows()]
    nobody = tmp_path / "nobody"
    assert "1 changed" in sides.low.good("--root", nobody, "diff", *paths).out
    sides.low.fails(18, "--root", nobody, "diff", first, second)
    sides.high.good("receive", stick)
    assert "1 changed" in sides.high.good("diff", first, second).out
    sides.high.good("load", first)
    assert "1 changed" in sides.high.good("diff", first, second).out


def test_diff_refuses_what_is_no_bundle_by_name(sides: Sides, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tgb"
    broken.write_bytes(b"TGB" * 1000)
    sides.low.fails(31, "diff", broken, broken)
    sides.low.fails(18, "diff", "77", "78")
