"""A new channel to a site that has content already: baseline there, read here, and a first bundle that builds on it."""

import json
from pathlib import Path

import pytest
from two_sides import Side, Sides, files_of, run_plain

from tidegate.baseline import HEADER, MAGIC
from tidegate.bundle.container import BundleFile


def export_site_key(sides: Sides) -> dict[str, object]:
    answer = sides.high.good("keys", "export", sides.folder / "site.key", "--json")
    return answer.objects[-1]


@pytest.fixture
def office(sides: Sides) -> Side:
    """A second channel's low side, paired in both directions with a site that loaded the first channel's docs."""
    sides.send(sides.pack("docs", size=700_000))
    sides.high.good("receive", sides.stick)
    sides.high.good("load", "1")
    root = sides.folder / "office"
    run_plain("--root", root, "init", "low", "--channel", "office", "--site", sites_of(sides.low))
    run_plain("--root", root, "keys", "export", sides.folder / "office.root")
    words = json.loads(run_plain("--root", root, "keys", "show", "--json").splitlines()[-1])["fingerprint"]
    sides.high.good("trust", "add", sides.folder / "office.root", "--fingerprint", words)
    key = export_site_key(sides)
    run_plain("--root", root, "trust", "add", str(key["line"]), "--fingerprint", str(key["fingerprint"]))
    return Side(root)


def sites_of(low: Side) -> str:
    with low.workspace() as workspace:
        return workspace.settings.sites[0]


def make_baseline(sides: Sides) -> Path:
    path = sides.folder / "plant.baseline"
    sides.high.good("baseline", "--out", path)
    return path


def pack(office: Side, *what: str | Path) -> dict[str, object]:
    return office.good("pack", *what, "--json").objects[-1]


def test_the_first_bundle_leaves_out_what_the_baseline_lists_and_is_loaded(sides: Sides, office: Side) -> None:
    whole = office.good("plan", sides.folder / "docs", "--json").objects[-1]
    baseline = make_baseline(sides)
    told = office.good("baseline", "read", baseline, "--json").objects[-1]
    assert int(str(told["size"])) > 2_000_000
    sides.make_files("new", seed=9, count=1)
    packed = pack(office, sides.folder / "docs", sides.folder / "new")
    assert int(str(packed["required"])) >= 2
    assert int(str(packed["content_size"])) < int(str(whole["content_size"])) / 2
    with BundleFile.open(str(packed["path"])) as bundle:
        assert set(bundle.tables().required["sequence"].tolist()) == {0}
        assert bundle.manifest().base == (told["baseline_id"],)
    stick = sides.folder / "office-stick"
    stick.mkdir()
    office.good("send", str(packed["bundle"]), stick)
    sides.high.good("receive", stick)
    out = sides.folder / "out"
    # Another channel set files/docs to the same content: that is no conflict.
    sides.high.good("load", str(packed["bundle"]), "--to", out)
    assert files_of(out / "new") == files_of(sides.folder / "new")
    sides.high.check()


def test_a_baseline_whose_blobs_went_away_is_named_and_a_full_pack_mends_it(sides: Sides, office: Side) -> None:
    office.good("baseline", "read", make_baseline(sides))
    bundle = str(pack(office, sides.folder / "docs", sides.make_files("new", seed=9))["bundle"])
    stick = sides.folder / "office-stick"
    stick.mkdir()
    office.good("send", bundle, stick)
    sides.high.good("receive", stick)
    for blob in (sides.high.root / "depot" / "blobs" / "sha256").iterdir():
        blob.unlink()
    answer = sides.high.fails(44, "load", bundle)
    assert "baseline" in answer.err
    office.good("baseline", "forget", sites_of(office))
    again = str(pack(office, sides.folder / "docs", sides.folder / "new", "--anyway")["bundle"])
    assert again != bundle
    office.good("send", again, stick)
    sides.high.good("receive", stick)
    sides.high.good("load", again)


def test_a_baseline_is_read_once_and_recorded_on_both_sides(sides: Sides, office: Side) -> None:
    sides.high.events()
    baseline = make_baseline(sides)
    assert "export done/baseline" in sides.high.events()
    office.events()
    assert "nothing was changed" in office.good("baseline", "read", baseline, "--dry-run").out
    assert office.events() == []
    office.good("baseline", "read", baseline)
    assert office.events() == ["trust-change done/baseline"]
    assert "nothing to do" in office.good("baseline", "read", baseline).out
    assert office.events() == []
    office.good("ledger", "verify")
    sides.high.good("ledger", "verify")


def test_a_forged_damaged_or_foreign_baseline_is_refused_by_name(sides: Sides, office: Side) -> None:
    good = make_baseline(sides).read_bytes()
    _magic, signatures, _frame = HEADER.unpack_from(good)
    broken = sides.folder / "broken.baseline"
    flipped = bytearray(good)
    flipped[HEADER.size + signatures + 20] ^= 1
    for data, code in (
        (bytes(flipped), 33),
        (good[:-1], 31),
        (good + b"x", 31),
        (b"", 31),
        (b"NOPE" + good[4:], 31),
        (HEADER.pack(MAGIC, 2**31, 5) + b"12345", 31),
        (HEADER.pack(MAGIC, 2, 3) + b"{}abc", 31),
    ):
        broken.write_bytes(data)
        office.fails(code, "baseline", "read", broken)
    assert not (office.root / "baselines" / f"{sites_of(office)}.baseline").exists()
    # the plant's own low side never pinned the site's key
    broken.write_bytes(good)
    sides.low.fails(33, "baseline", "read", broken)


def test_an_older_baseline_does_not_replace_a_newer_one(sides: Sides, office: Side) -> None:
    from tidegate.baseline import Baseline, build_baseline

    with sides.high.workspace() as workspace:
        signer = workspace.signer("ledger")
    site = sites_of(office)
    new, old = sides.folder / "new.baseline", sides.folder / "old.baseline"
    new.write_bytes(build_baseline(Baseline(site, "2026-03-01T00:00:00Z", {bytes(32): 7}), signer))
    old.write_bytes(build_baseline(Baseline(site, "2026-02-01T00:00:00Z", {bytes(32): 8}), signer))
    office.good("baseline", "read", new)
    office.fails(94, "baseline", "read", old)
    office.good("baseline", "forget", site)
    office.good("baseline", "read", old)
    liar = sides.folder / "liar.baseline"
    liar.write_bytes(build_baseline(Baseline("elsewhere", "2026-04-01T00:00:00Z", {bytes(32): 8}), signer))
    office.fails(33, "baseline", "read", liar)


def test_an_empty_depot_has_no_baseline_and_sides_are_kept_apart(sides: Sides, tmp_path: Path) -> None:
    sides.high.fails(2, "baseline", "--out", tmp_path / "x.baseline")
    sides.low.fails(71, "baseline", "write")
    sides.high.fails(71, "baseline", "read", __file__)
