"""Two bundles with one number: both stay as evidence, and it is an alarm until somebody has looked into it."""

from pathlib import Path

import pytest
from made_bundles import content
from receiver_world import HighSide, LowSide, destroy_in_blocks

from tidegate import cli
from tidegate.bundle.cover import find_signatures, parse_cover
from tidegate.trust.checks import verify_manifest
from tidegate.trust.root import parse_chain
from tidegate_receiver.intake.outcomes import OutcomeKind

BLOBS = [content(1, 200_000), content(2, 70_000)]


def test_the_papers_of_both_bundles_of_a_fork_are_kept_as_evidence(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path
) -> None:
    first, second = low.bundle([content(9, 100)]), low.bundle(BLOBS)
    low.write(first, tmp_path / "first")
    low.write(second, stick)
    high.receive_one(tmp_path / "first")
    high.receive_one(stick)
    folder = high.root / "evidence" / high.rows()[0].name
    for bundle in (first, second):
        papers = {path.name: path.read_bytes() for path in (folder / bundle.bundle_id).iterdir()}
        assert papers["manifest.json"] == bundle.manifest_bytes
        assert sorted(papers) == ["announcement", "channel.root", "cover", "manifest.json"]
        assert parse_chain(papers["channel.root"]).channel_id == low.chain.channel_id
        detached = find_signatures(parse_cover(papers["cover"]))
        assert verify_manifest(detached, papers["manifest.json"], low.chain)
    (entry,) = [item for item in high.entries() if item["event"] == "fork"]
    assert {target["name"] for target in entry["targets"]} == {first.bundle_id, second.bundle_id}  # type: ignore[attr-defined]
    assert entry["bundle"] == second.bundle_id
    assert high.spooled() == []


def test_a_fork_of_a_bundle_that_is_still_coming_keeps_the_papers_of_both(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path
) -> None:
    first, second = low.bundle(BLOBS), low.bundle([content(9, 100)])
    low.write(first, tmp_path / "first")
    destroy_in_blocks(tmp_path / "first", 2, beyond=1)
    assert high.receive_one(tmp_path / "first").kind is OutcomeKind.INCOMPLETE
    low.write(second, stick)
    assert high.receive_one(stick).exit_code == 40
    kept = sorted(path.parent.name for path in high.root.glob("evidence/*/*/manifest.json"))
    assert kept == sorted([first.bundle_id, second.bundle_id])


def test_a_fork_is_an_alarm_until_somebody_looked_into_it(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low.write(low.bundle([content(9, 100)]), tmp_path / "first")
    second = low.bundle(BLOBS)
    low.write(second, stick)
    high.receive_one(tmp_path / "first")
    high.receive_one(stick)
    assert cli.run(["status", "--root", str(high.root)]) == 0
    assert "two bundles have the number of" in capsys.readouterr().err
    assert cli.run(["inbox", "--root", str(high.root)]) == 0
    assert "papers in evidence/" in capsys.readouterr().out
    words = ["admit", second.bundle_id, "--deny", "--reason", "Ada restored a backup", "--root", str(high.root)]
    assert cli.run(words) == 0
    capsys.readouterr()
    assert cli.run(["status", "--root", str(high.root)]) == 0
    assert "two bundles" not in capsys.readouterr().err
    assert len(list(high.root.glob("evidence/*/*/manifest.json"))) == 2
