"""A bundle goes from quarantine to depot, stage and target: once, whole, in the ledger, and again after a crash."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bad_registry import BadRegistry, bad_registry
from content import add_files, add_image, tar_of
from quarantined import CHANNEL, high_side, quarantine
from receiver_world import CREATED, LowSide

from tidegate.config import ChannelSettings, Release
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import (
    BlobDamagedError,
    BlobMissingError,
    BundleUnknownError,
    BusyError,
    ChannelUnknownError,
    DigestError,
    DiskFullError,
    ExpiredError,
    KeyRevokedError,
    LedgerError,
    LimitError,
    LoadError,
    NameTakenError,
    NotReleasedError,
    RegistryAuthError,
    RequiredMissingError,
    StageUnknownError,
    StaleError,
    TidegateError,
    UnsafePathError,
    UsageError,
)
from tidegate.ledger.entries import RecordedEntry, read_entry
from tidegate.state.bundles import BundleState, get_bundle, set_bundle_state
from tidegate.state.jobs import list_jobs
from tidegate.state.meta import set_floor
from tidegate.state.names import get_name
from tidegate.trust.payload import Limits
from tidegate.trust.rotation import revoke_key
from tidegate.workspace import Workspace
from tidegate_receiver.intake import requirements
from tidegate_receiver.promotion.promotion import load
from tidegate_receiver.promotion.release import Releaser
from tidegate_receiver.promotion.stages import find_stage, list_stages

NAME = f"{CHANNEL[:4]}-0001"
APP = "localhost:5000/app:1"
DOCS = "files/docs"


@pytest.fixture
def high(tmp_path: Path) -> Workspace:
    return high_side(tmp_path / "high")


@pytest.fixture
def low(tmp_path: Path) -> Depot:
    """What the low side had: graphs from which bundles are made."""
    return Depot(tmp_path / "low")


def artifacts(low: Depot, text: bytes = b"layer") -> dict[str, Any]:
    tree = tar_of({"docs/readme": text, "docs/sub/deep": b"deep"})
    return {APP: add_image(low, [text, b"second"]), DOCS: add_files(low, "docs", [tree])}


def state_of(high: Workspace, bundle_id: str) -> BundleState:
    with high.state.reading() as tx:
        row = get_bundle(tx, bundle_id)
    assert row is not None
    return row.state


def events(high: Workspace) -> list[tuple[str, str]]:
    """(event, outcome) of every entry in the ledger after the first, which is `init`."""
    return [(entry.text("event"), entry.text("outcome")) for entry in ledger(high)][1:]


def ledger(high: Workspace) -> list[RecordedEntry]:
    """Every entry of the ledger, read back from its files."""
    checkpoint = high.recorder.checkpoint()
    assert checkpoint is not None
    return [read_entry(number, data) for number, data in high.recorder.log.raw_entries(checkpoint.size)]


def stage(high: Workspace) -> Depot:
    return Depot(find_stage(high), create=False)


def test_load_brings_a_bundle_to_depot_and_stage(high: Workspace, low: Depot) -> None:
    wanted = artifacts(low)
    bundle_id = quarantine(high, low, wanted)
    report = load(high, NAME)
    assert (report.promoted, report.nothing_to_do, report.target) == (True, False, None)
    assert [(item.place, item.digest) for item in report.items] == [
        ("files/docs:latest", wanted[DOCS].digest),
        ("app:1", wanted[APP].digest),
    ]
    assert high.depot.references() == wanted
    assert stage(high).references() == {"app:1": wanted[APP], "files/docs:latest": wanted[DOCS]}
    for root in wanted.values():
        for blob in walk(stage(high), root):
            assert stage(high).check_blob(blob.digest) == blob.size
    assert state_of(high, bundle_id) is BundleState.LOADED
    assert events(high) == [("promote", "begun"), ("promote", "done"), ("load", "done")]


def test_load_takes_content_once_and_leaves_only_the_papers_in_quarantine(high: Workspace, low: Depot) -> None:
    wanted = artifacts(low)
    folder = high.folder("quarantine") / quarantine(high, low, wanted)
    load(high, "1")
    layer = max(high.depot.digests(), key=high.depot.size)
    assert high.depot.blob_path(layer).samefile(stage(high).blob_path(layer))
    assert high.depot.blob_path(layer).stat().st_nlink == 2
    assert [path.name for path in folder.iterdir()] == ["bundle"]
    assert (folder / "bundle/manifest.json").is_file()


def test_load_twice_has_nothing_to_do(high: Workspace, low: Depot) -> None:
    quarantine(high, low, artifacts(low))
    load(high, "1")
    before = events(high)
    report = load(high, "1")
    assert report.nothing_to_do
    assert events(high) == before


def test_load_puts_back_what_was_taken_off_the_stage(high: Workspace, low: Depot) -> None:
    quarantine(high, low, artifacts(low))
    load(high, "1")
    stage(high).remove_reference("app:1")
    report = load(high, "1")
    assert [item.changed for item in report.items] == [False, True]
    assert "app:1" in stage(high).references()


def test_load_dry_run_changes_nothing(high: Workspace, low: Depot, tmp_path: Path) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    report = load(high, "1", to=str(tmp_path / "out"), dry_run=True)
    assert (report.dry_run, report.promoted, len(report.items)) == (True, True, 2)
    assert not (tmp_path / "out").exists()
    assert list_stages(high) == ()
    assert list(high.depot.digests()) == []
    assert state_of(high, bundle_id) is BundleState.QUARANTINED
    assert events(high) == []


# --- where it goes ----------------------------------------------------------------------------


def test_load_to_a_folder_unpacks_trees_and_keeps_images(high: Workspace, low: Depot, tmp_path: Path) -> None:
    wanted = artifacts(low)
    quarantine(high, low, wanted)
    report = load(high, "1", to=str(tmp_path / "out"))
    assert (tmp_path / "out/docs/readme").read_bytes() == b"layer"
    assert Depot(tmp_path / "out/images", create=False).references() == {"app:1": wanted[APP]}
    assert report.target == str(tmp_path / "out")
    assert events(high)[-2:] == [("load", "begun"), ("load", "done")]
    assert load(high, "1", to=str(tmp_path / "out")).nothing_to_do
    assert events(high)[-2:] == [("load", "begun"), ("load", "nothing")]


def test_load_to_a_registry_pushes_everything(high: Workspace, low: Depot) -> None:
    wanted = artifacts(low)
    quarantine(high, low, wanted)
    with bad_registry() as server:
        report = load(high, "1", to=server.host)
        assert [item.place for item in report.items] == [f"{server.host}/files/docs:latest", f"{server.host}/app:1"]
        assert set(server.tags) == {"1", "latest"}
        assert load(high, "1", to=server.host).nothing_to_do
    with high.state.reading() as tx:
        assert list_jobs(tx) == ()


@pytest.fixture
def bad() -> Iterator[BadRegistry]:
    with bad_registry() as server:
        yield server


def test_load_goes_on_with_the_item_that_failed(high: Workspace, low: Depot, bad: BadRegistry) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    bad.fault = lambda method, path: 401 if "/app/" in path else None
    with pytest.raises(RegistryAuthError):
        load(high, "1", to=bad.host)
    assert bad.tags == {"latest"}
    assert state_of(high, bundle_id) is BundleState.LOADED, "depot and stage have it; the target lacks one item"
    assert events(high)[-2:] == [("load", "begun"), ("load-failed", "failed")]
    bad.fault = lambda method, path: None
    bad.requests.clear()
    report = load(high, "1", to=bad.host)
    assert [item.changed for item in report.items] == [True, True]
    assert bad.tags == {"latest", "1"}
    assert not any("files/docs" in path for _, path in bad.requests), "what was done is not asked for again"


def test_load_asks_the_target_before_it_promotes(high: Workspace, low: Depot, bad: BadRegistry) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    bad.fault = lambda method, path: 401
    with pytest.raises(RegistryAuthError):
        load(high, "1", to=bad.host)
    assert state_of(high, bundle_id) is BundleState.QUARANTINED
    assert events(high) == [("load-failed", "failed")]


def test_load_refuses_a_hostile_tree_before_anything_is_changed(high: Workspace, low: Depot, tmp_path: Path) -> None:
    root = add_files(low, "docs", [tar_of({"docs/../../outside": b"x"})])
    bundle_id = quarantine(high, low, {DOCS: root})
    with pytest.raises(UnsafePathError):
        load(high, "1", to=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "outside").exists()
    assert state_of(high, bundle_id) is BundleState.QUARANTINED


@pytest.mark.parametrize("target", ["nowhere", "http://localhost:5000", "localhost:5000/Team", ""])
def test_load_refuses_a_target_that_is_neither_folder_nor_registry(high: Workspace, low: Depot, target: str) -> None:
    quarantine(high, low, artifacts(low))
    with pytest.raises(UsageError, match=r"neither|no registry"):
        load(high, "1", to=target)


# --- what is refused --------------------------------------------------------------------------


def test_load_by_rule_needs_an_automatic_channel(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    with pytest.raises(NotReleasedError):
        load(high, "1", releaser=Releaser.RULE)
    assert state_of(high, bundle_id) is BundleState.QUARANTINED
    settings = replace(high.settings, channels={"plant": ChannelSettings(Release.AUTOMATIC)})
    assert load(Workspace(high.root, settings), "1", releaser=Releaser.RULE).promoted


def test_load_of_an_unknown_bundle_is_named(high: Workspace) -> None:
    with pytest.raises(BundleUnknownError):
        load(high, f"{CHANNEL[:4]}-0009")
    with pytest.raises(StageUnknownError):
        find_stage(high)


@pytest.mark.parametrize("state", [BundleState.INCOMPLETE, BundleState.RECEIVING, BundleState.REFUSED])
def test_load_refuses_what_is_not_in_quarantine(high: Workspace, low: Depot, state: BundleState) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    with high.state.transaction() as tx:
        set_bundle_state(tx, bundle_id, state)
    with pytest.raises(LoadError, match=state.value):
        load(high, bundle_id)


@pytest.mark.parametrize("one_by_one_max", [0, 4096])
def test_load_names_the_bundle_to_load_first(
    high: Workspace, low: Depot, monkeypatch: pytest.MonkeyPatch, one_by_one_max: int
) -> None:
    monkeypatch.setattr(requirements, "ONE_BY_ONE_MAX", one_by_one_max)
    first, second = artifacts(low, b"one"), artifacts(low, b"two")
    quarantine(high, low, first)
    shared = {blob.digest for blob in walk(low, first[APP])} & {blob.digest for blob in walk(low, second[APP])}
    quarantine(high, low, second, sequence=2, left_out=dict.fromkeys(shared, 1))
    with pytest.raises(RequiredMissingError, match=rf"{NAME} \(quarantined\)") as caught:
        load(high, "2")
    assert f"tidegate load {NAME}" in caught.value.hint
    assert events(high) == [("load-failed", "failed")]
    load(high, "1")
    load(high, "2")
    assert stage(high).references()["app:1"] == second[APP]


def test_load_refuses_content_that_changed_in_quarantine(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    layer = Depot(high.folder("quarantine") / bundle_id, create=False)
    path = max((layer.blob_path(digest) for digest in layer.digests()), key=lambda path: path.stat().st_size)
    path.chmod(0o644)
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(BlobDamagedError) as caught:
        load(high, "1")
    assert "receive the bundle again" in caught.value.hint
    assert state_of(high, bundle_id) is BundleState.QUARANTINED
    assert list_stages(high) == ()
    assert list(high.depot.digests()) == []


def test_load_refuses_papers_that_changed_in_quarantine(high: Workspace, low: Depot) -> None:
    papers = high.folder("quarantine") / quarantine(high, low, artifacts(low)) / "bundle"
    good = (papers / "manifest.json").read_bytes()
    (papers / "manifest.json").write_bytes(good.replace(b"plant-7", b"plant-8"))
    with pytest.raises(DigestError):
        load(high, "1")
    (papers / "manifest.json").write_bytes(good)
    (papers / "tables").write_bytes((papers / "tables").read_bytes()[:-1] + b"\xff")
    with pytest.raises(TidegateError):
        load(high, "1")


def test_load_refuses_a_bundle_whose_key_was_revoked_after_it_was_received(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    side = LowSide("plant")
    thief = side.keys["release"].key_id
    side.add_release_key("new", "eve")
    side.chain = revoke_key(side.chain, thief, [side.keys["root"]], CREATED)
    high.trust.advance(side.chain)
    with pytest.raises(KeyRevokedError):
        load(high, bundle_id)
    assert state_of(high, bundle_id) is BundleState.QUARANTINED
    assert events(high) == [("load-failed", "failed")]
    assert list(high.depot.digests()) == []


def test_load_refuses_a_bundle_of_a_channel_that_was_unpinned(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    high.trust.remove("plant", high.signer("root"))
    with pytest.raises(ChannelUnknownError, match="not pinned any more"):
        load(high, bundle_id)


def test_load_refuses_what_the_sites_limits_exclude_by_now(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    high.trust.pin(LowSide("plant").chain, high.signer("root"), limits=Limits(kinds=("files",)))
    with pytest.raises(LimitError):
        load(high, bundle_id)


def test_load_refuses_a_bundle_of_an_older_epoch(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    side = LowSide("plant")
    side.rotate(epoch=2)
    high.trust.advance(side.chain)
    with pytest.raises(StaleError):
        load(high, bundle_id)


def test_load_refuses_a_bundle_that_expired_in_quarantine(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low), expires="2026-02-01T00:00:00Z")
    with high.state.transaction() as tx:
        set_floor(tx, CREATED)
    with pytest.raises(ExpiredError):
        load(high, bundle_id)


def test_load_puts_a_promoted_bundle_back_whatever_became_of_its_key(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    load(high, bundle_id)
    high.trust.remove("plant", high.signer("root"))
    stage(high).remove_reference("app:1")
    assert load(high, bundle_id).items
    assert "app:1" in stage(high).references()


def test_load_refuses_an_artifact_that_is_not_whole(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    layout = Depot(high.folder("quarantine") / bundle_id, create=False)
    min((layout.blob_path(d) for d in layout.digests()), key=lambda path: path.stat().st_size).unlink()
    with pytest.raises(BlobMissingError):
        load(high, "1")
    assert state_of(high, bundle_id) is BundleState.QUARANTINED


def test_load_refuses_two_artifacts_with_one_place(high: Workspace, low: Depot) -> None:
    image, other = add_image(low, [b"one"]), add_image(low, [b"two"])
    bundle_id = quarantine(high, low, {"one.example/app:1": image, "two.example/app:1": other})
    with pytest.raises(NameTakenError, match="app:1"):
        load(high, "1")
    assert state_of(high, bundle_id) is BundleState.QUARANTINED


def test_load_refuses_the_place_of_another_channels_artifact(high: Workspace, low: Depot) -> None:
    quarantine(high, low, artifacts(low, b"one"))
    load(high, NAME)
    other = quarantine(high, low, artifacts(low, b"two"), channel_name="office")
    with pytest.raises(NameTakenError, match="of channel plant"):
        load(high, other)


def test_load_does_nothing_that_cannot_be_recorded(high: Workspace, low: Depot) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    checkpoint = high.root / "ledger/checkpoint"
    good = checkpoint.read_bytes()
    checkpoint.write_bytes(good.replace(b"\n1\n", b"\n2\n"))
    with pytest.raises(LedgerError):
        load(Workspace.open(high.root), "1")
    assert state_of(high, bundle_id) is BundleState.QUARANTINED
    assert list(high.depot.digests()) == []
    assert list_stages(high) == ()


def test_load_survives_a_full_disk(high: Workspace, low: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle_id = quarantine(high, low, artifacts(low))
    real, calls = os.link, []

    def full(*arguments: Any, **named: Any) -> None:
        calls.append(arguments)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments, **named)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(DiskFullError):
        load(high, "1")
    assert (state_of(high, bundle_id), list(high.depot.digests())) == (BundleState.QUARANTINED, [])
    assert events(high)[-1] == ("load-failed", "failed")
    monkeypatch.setattr(os, "link", real)
    assert load(high, "1").promoted


# --- names do not move back -------------------------------------------------------------------


def test_load_of_a_late_bundle_moves_no_name_back(high: Workspace, low: Depot, tmp_path: Path) -> None:
    old, new = artifacts(low, b"old"), artifacts(low, b"new")
    extra = add_image(low, [b"only in the old one"])
    quarantine(high, low, {**old, "localhost:5000/extra:1": extra}, sequence=1)
    quarantine(high, low, new, sequence=2)
    load(high, "2")
    report = load(high, "1", to=str(tmp_path / "out"))
    assert set(report.kept_names) == {APP, DOCS}
    assert [item.place for item in report.items] == [f"{tmp_path}/out/images:extra:1"]
    assert stage(high).references() == {"app:1": new[APP], "files/docs:latest": new[DOCS], "extra:1": extra}
    assert high.depot.check_blob(old[APP].digest) == old[APP].size, "its content is taken"
    with high.state.reading() as tx:
        name = get_name(tx, CHANNEL, APP)
    assert name is not None
    assert (name.sequence, name.digest) == (2, new[APP].digest)


def test_load_of_a_newer_bundle_moves_names_on(high: Workspace, low: Depot) -> None:
    old, new = artifacts(low, b"old"), artifacts(low, b"new")
    quarantine(high, low, old, sequence=1)
    quarantine(high, low, new, sequence=2)
    load(high, "1")
    load(high, "2")
    assert stage(high).references()["app:1"] == new[APP]
    again = load(high, "1")
    assert set(again.kept_names) == {APP, DOCS}
    assert again.nothing_to_do


# --- crashes ----------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from tidegate.trust.payload import Limits
from tidegate.trust.rotation import revoke_key
from tidegate.workspace import Workspace
from tidegate_receiver.promotion.promotion import load
count, limit = 0, int(sys.argv[2])
WATCHED = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.symlink", "os.truncate"}
def hook(event, arguments):
    global count
    if event in WATCHED:
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)
workspace = Workspace.open(sys.argv[1])
sys.addaudithook(hook)
load(workspace, "1", to=sys.argv[3])
print(count)
"""


def run_until_killed(root: Path, limit: int, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _KILLED, str(root), str(limit), str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def count_of_steps(tmp_path: Path, low: Depot) -> int:
    whole = high_side(tmp_path / "whole")
    quarantine(whole, low, artifacts(low))
    done = run_until_killed(whole.root, 1_000_000, tmp_path / "whole-out")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_load_that_is_killed_anywhere_goes_on_and_loads_once(tmp_path: Path, low: Depot) -> None:
    wanted = artifacts(low)
    steps = count_of_steps(tmp_path, low)
    for limit in range(1, steps + 1, max(1, steps // 12)):
        high = high_side(tmp_path / f"high-{limit}")
        out = tmp_path / f"out-{limit}"
        bundle_id = quarantine(high, low, wanted)
        assert run_until_killed(high.root, limit, out).returncode == -9, f"step {limit} of {steps}"
        if (high.root / "stages/default/index.json").exists():
            for root in stage(high).references().values():
                assert stage(high).missing(walk(stage(high), root)) == (), "a stage names only what it holds"
        load(high, "1", to=str(out))
        assert stage(high).references() == {"app:1": wanted[APP], "files/docs:latest": wanted[DOCS]}
        assert state_of(high, bundle_id) is BundleState.LOADED
        assert (out / "docs/readme").read_bytes() == b"layer"
        assert {path.name for path in out.iterdir()} == {"docs", "images"}
        assert high.depot.abandoned() == stage(high).abandoned() == ()
        ended = [event for event in events(high) if event == ("promote", "done")]
        assert len(ended) == 1, "promoted once, whatever was begun before"
        with high.state.reading() as tx:
            assert list_jobs(tx) == ()


def test_a_second_load_at_the_same_time_is_refused(
    high: Workspace, low: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine(high, low, artifacts(low))
    monkeypatch.setattr("tidegate_receiver.promotion.promotion._LOCK_WAIT_SECONDS", 0.0)
    other = Workspace.open(high.root)
    found: list[type[BaseException]] = []

    def meanwhile(done: int, total: int, phase: str) -> None:
        with pytest.raises(BusyError) as caught:
            load(other, "1")
        found.append(caught.type)

    load(high, "1", progress=meanwhile)
    assert found


def test_the_report_of_a_load_is_in_the_entries(high: Workspace, low: Depot) -> None:
    wanted = artifacts(low)
    bundle_id = quarantine(high, low, wanted)
    load(high, "1")
    entry = ledger(high)[-1].fields
    assert entry is not None
    assert entry["bundle"] == bundle_id
    assert entry["bundle_name"] == NAME
    assert entry["policy_digest"].startswith("sha256:")
    assert {target["place"]: target["digest"] for target in entry["targets"]} == {
        "default/app:1": wanted[APP].digest,
        "default/files/docs:latest": wanted[DOCS].digest,
    }
