"""Packing: numbers, what is replaced, what there is not to do, and what is left when it goes wrong."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from content import add_image, add_index
from made_roots import WantedArtifact, files_artifact, low_side, noise

from tidegate.bundle.container import CHUNKS, BundleFile
from tidegate.bundle.cover import PieceType, find_signatures
from tidegate.errors import (
    BlobDamagedError,
    BlobMissingError,
    BundleUnknownError,
    BusyError,
    DiskFullError,
    LimitError,
    NameTakenError,
    SignatureError,
    StateError,
    UsageError,
)
from tidegate.files import locked
from tidegate.ledger.listing import list_recorded
from tidegate.lookup import resolve_bundle
from tidegate.names import hex_of
from tidegate.oci import PLATFORMS
from tidegate.state.bundles import BundleRow, BundleState, list_bundles, set_bundle_state
from tidegate.state.names import list_names
from tidegate.trust.checks import verify_manifest
from tidegate.units import MIB
from tidegate.workspace import Workspace
from tidegate_sender.packing import pack as packing
from tidegate_sender.packing.pack import LOCK_FILE, PackOptions, PackOutcome, PackReport, pack

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture
def low(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1769846400")  # 2026-01-31T08:00:00Z
    return low_side(tmp_path / "low", sites=("plant-7", "plant-8"))


def rows(low: Workspace) -> tuple[BundleRow, ...]:
    with low.state.reading() as tx:
        return list_bundles(tx)


def mark_sent(low: Workspace, report: PackReport) -> None:
    with low.state.transaction() as tx:
        set_bundle_state(tx, report.bundle_id, BundleState.SENT)


def spool_files(low: Workspace) -> list[str]:
    return sorted(path.name for path in (low.root / "spool").iterdir() if path.name != LOCK_FILE)


def entries(low: Workspace) -> list[tuple[str, str]]:
    """(event, outcome) of every entry that the ledger has, in order."""
    return [(item.text("event"), item.text("outcome")) for item in list_recorded(low.root / "ledger")]


# --- what a bundle is -----------------------------------------------------------------------------


def test_the_first_bundle_has_number_1_and_everything_its_artifacts_need(low: Workspace) -> None:
    image = WantedArtifact("localhost:5000/app:1", "image", add_image(low.depot, [b"layer", noise(2 * MIB, 1)]))
    report = pack(low, [files_artifact(low, "docs", b"hello"), image])
    assert (report.outcome, report.sequence, report.required_count) == (PackOutcome.PACKED, 1, 0)
    with BundleFile.open(report.path) as bundle:
        manifest, tables = bundle.manifest(), bundle.tables()
        assert [item.name for item in manifest.artifacts] == ["files/docs", "localhost:5000/app:1"]
        assert manifest.previous is None
        assert manifest.created == "2026-01-31T08:00:00Z"
        assert manifest.audience == ("plant-7", "plant-8")
        assert manifest.base == ()
        assert len(tables.blobs) == report.blob_count == 3 + 4
        assert manifest.content_size == report.content_size
        assert bundle.part_lengths[CHUNKS] == report.stored_size
        assert bundle.preamble == low.trust.own_channel().to_bytes()
        assert bundle.file_length == report.size


def test_the_signature_in_the_cover_holds_and_the_checkpoint_rides_along(low: Workspace) -> None:
    report = pack(low, [files_artifact(low, "docs", b"hello")])
    with BundleFile.open(report.path) as bundle:
        pieces = bundle.cover()
        signers = verify_manifest(find_signatures(pieces), bundle.manifest_bytes(), low.trust.own_channel())
        assert [signer.holder for signer in signers] == ["ann"]
        notes = [piece.data for piece in pieces if piece.type == PieceType.LEDGER_CHECKPOINT]
        assert len(notes) == 1
        assert notes[0].startswith(b"plant/low\n")


def test_equal_content_and_state_give_an_equal_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1769846400")
    low = low_side(tmp_path / "low")
    wanted = [files_artifact(low, "docs", noise(9 * MIB, 1)), files_artifact(low, "a", b"text" * MIB)]
    first = pack(low, wanted)
    before = first.path.read_bytes()[4096 : 4096 + first.stored_size]
    second = pack(low, reversed(wanted), PackOptions(anyway=True))
    assert (second.bundle_id, second.outcome) == (first.bundle_id, PackOutcome.REPLACED)
    assert second.path.read_bytes()[4096 : 4096 + first.stored_size] == before
    assert [row.state for row in rows(low)] == [BundleState.PACKED]


def test_a_choice_of_platforms_is_part_of_the_artifact(low: Workspace) -> None:
    images = {name: add_image(low.depot, [noise(100, len(name))], architecture=name) for name in ("amd64", "arm64")}
    index = add_index(low.depot, images)
    chosen = replace(index, annotations={PLATFORMS: "linux/amd64"})
    low.depot.blob_path(images["arm64"].digest).unlink()
    report = pack(low, [WantedArtifact("app:1", "image", chosen)])
    with BundleFile.open(report.path) as bundle:
        assert bundle.manifest().artifacts[0].annotations == {PLATFORMS: "linux/amd64"}
        assert bundle.tables().find_blob(images["arm64"].digest) is None
        assert bundle.tables().find_blob(images["amd64"].digest) is not None


def test_ticket_and_justification_stand_with_their_artifact(low: Workspace) -> None:
    item = replace(files_artifact(low, "docs", b"x"), ticket="CHG-17", justification="quarterly update")
    with BundleFile.open(pack(low, [item]).path) as bundle:
        artifact = bundle.manifest().artifacts[0]
    assert (artifact.ticket, artifact.justification) == ("CHG-17", "quarterly update")


def test_expiry_audience_and_classification_are_what_was_asked_for(low: Workspace) -> None:
    options = PackOptions(expire_days=30, audience=("plant-8",), classification="internal")
    report = pack(low, [files_artifact(low, "docs", b"x")], options)
    with BundleFile.open(report.path) as bundle:
        manifest = bundle.manifest()
    assert manifest.expires == report.expires == "2026-03-02T08:00:00Z"
    assert (manifest.audience, manifest.classification) == (("plant-8",), "internal")


def test_a_blob_that_two_artifacts_share_is_brought_once(low: Workspace) -> None:
    layer = noise(2 * MIB, 7)
    one, two = add_image(low.depot, [layer]), add_image(low.depot, [layer, b"more"])
    report = pack(low, [WantedArtifact("a:1", "image", one), WantedArtifact("b:1", "image", two)])
    assert report.content_size < 3 * MIB


# --- numbers --------------------------------------------------------------------------------------


def test_a_sent_bundle_is_followed_by_the_next_number_which_links_to_it(low: Workspace) -> None:
    first = pack(low, [files_artifact(low, "docs", b"one")])
    mark_sent(low, first)
    second = pack(low, [files_artifact(low, "docs", b"two")])
    assert (second.sequence, second.outcome) == (2, PackOutcome.PACKED)
    with BundleFile.open(second.path) as bundle:
        previous = bundle.manifest().previous
    assert previous is not None
    assert (previous.bundle_id, previous.sequence) == (first.bundle_id, 1)
    assert first.path.is_file()


def test_an_unsent_bundle_gives_its_number_to_the_next(low: Workspace) -> None:
    first = pack(low, [files_artifact(low, "docs", b"one")])
    second = pack(low, [files_artifact(low, "other", b"two")])
    assert (second.sequence, second.outcome, second.replaced) == (1, PackOutcome.REPLACED, first.bundle_id)
    states = {row.bundle_id: row.state for row in rows(low)}
    assert states == {first.bundle_id: BundleState.DISCARDED, second.bundle_id: BundleState.PACKED}
    assert spool_files(low) == [second.path.name]
    with low.state.reading() as tx:
        assert [row.name for row in list_names(tx, low.trust.own_channel().channel_id)] == ["files/other"]


def test_a_bundle_that_may_be_on_a_medium_keeps_its_number(low: Workspace) -> None:
    first = pack(low, [files_artifact(low, "docs", b"one")])
    with low.state.transaction() as tx:
        set_bundle_state(tx, first.bundle_id, BundleState.PACKED, detail={"write_begun": True})
    second = pack(low, [files_artifact(low, "docs", b"two")])
    assert second.sequence == 2
    assert first.path.is_file()


def test_the_same_artifacts_again_are_nothing_to_do(low: Workspace) -> None:
    wanted = [files_artifact(low, "docs", b"one")]
    first = pack(low, wanted)
    again = pack(low, wanted)
    assert (again.outcome, again.bundle_id, again.path) == (PackOutcome.NOTHING, first.bundle_id, first.path)
    mark_sent(low, first)
    assert pack(low, wanted).outcome is PackOutcome.NOTHING
    assert pack(low, wanted, PackOptions(anyway=True)).sequence == 2


def test_the_same_artifacts_are_packed_again_when_the_bundle_is_lost_or_expired(
    low: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [files_artifact(low, "docs", b"one")]
    first = pack(low, wanted, PackOptions(expire_days=1))  # of January 2026
    second = pack(low, wanted)
    assert second.outcome is PackOutcome.REPLACED
    assert first.bundle_id != second.bundle_id
    second.path.unlink()
    assert pack(low, wanted).outcome is PackOutcome.REPLACED


def test_every_step_is_in_the_ledger(low: Workspace) -> None:
    pack(low, [files_artifact(low, "docs", b"one")])
    pack(low, [files_artifact(low, "docs", b"two")])
    with pytest.raises(UsageError):
        pack(low, [])
    done = "done"
    assert entries(low)[1:] == [
        ("pack", done), ("sign", done), ("discard", done), ("pack", done), ("sign", done), ("pack", "failed"),
    ]  # fmt: skip


# --- the base -------------------------------------------------------------------------------------


def test_since_leaves_out_what_the_base_carried_and_lists_it(low: Workspace) -> None:
    docs, more = files_artifact(low, "docs", noise(MIB, 1)), files_artifact(low, "more", b"new")
    first = pack(low, [docs])
    mark_sent(low, first)
    second = pack(low, [docs, more], PackOptions(since="1"))
    with BundleFile.open(first.path) as old, BundleFile.open(second.path) as new:
        assert new.manifest().base == (first.bundle_id,)
        carried, required = old.tables().blobs, new.tables().required
        assert required["sha256"].tobytes() == carried["sha256"].tobytes()
        assert set(required["sequence"].tolist()) == {1}
        # The empty config that both artifacts share came with the first bundle too.
        assert len(new.tables().blobs) == 2
    assert second.required_size == first.content_size


def test_a_base_stands_for_its_own_bases_and_the_numbers_stay(low: Workspace) -> None:
    one, two, three = (files_artifact(low, name, noise(100, seed)) for seed, name in enumerate(("a", "b", "c")))
    mark_sent(low, first := pack(low, [one]))
    mark_sent(low, second := pack(low, [one, two], PackOptions(since="1")))
    third = pack(low, [one, two, three], PackOptions(since=second.name))
    with BundleFile.open(third.path) as bundle:
        assert sorted(set(bundle.tables().required["sequence"].tolist())) == [1, 2]
        assert bundle.manifest().base == tuple(sorted([second.bundle_id]))
    # What only the base of the base had is left out too, while its file is there.
    mark_sent(low, third)
    mark_sent(low, fourth := pack(low, [three], PackOptions(since=third.bundle_id[:12])))
    fifth = pack(low, [one], PackOptions(since=fourth.name))
    assert fifth.blob_count == 0
    first.path.unlink()
    assert fifth.required_count == 3


def test_a_bundle_may_bring_nothing_but_names(low: Workspace) -> None:
    docs = files_artifact(low, "docs", b"x")
    mark_sent(low, pack(low, [docs]))
    report = pack(low, [replace(docs, name="files/renamed")], PackOptions(since="1"))
    assert (report.blob_count, report.stored_size) == (0, 0)
    with BundleFile.open(report.path) as bundle:
        bundle.tables()


def test_left_out_blobs_need_not_be_in_the_depot_any_more(low: Workspace) -> None:
    image = add_image(low.depot, [noise(1000, 1)])
    wanted = WantedArtifact("app:1", "image", image)
    mark_sent(low, pack(low, [wanted]))
    layer = next(digest for digest in low.depot.digests() if low.depot.size(digest) == 1000)
    low.depot.blob_path(layer).unlink()
    pack(low, [wanted, files_artifact(low, "docs", b"x")], PackOptions(since="1"))
    with pytest.raises(BlobMissingError):
        pack(low, [wanted, files_artifact(low, "docs", b"y")])


def test_the_unsent_newest_bundle_cannot_be_the_base_of_what_replaces_it(low: Workspace) -> None:
    first = pack(low, [files_artifact(low, "docs", b"one")])
    with pytest.raises(UsageError, match="not sent yet"):
        pack(low, [files_artifact(low, "docs", b"two")], PackOptions(since=first.name))
    assert first.path.is_file()


def test_a_base_whose_file_is_gone_or_swapped_is_refused(low: Workspace) -> None:
    first = pack(low, [files_artifact(low, "docs", b"one")])
    mark_sent(low, first)
    second = pack(low, [files_artifact(low, "docs", b"two")])
    second.path.replace(first.path)
    with pytest.raises(BundleUnknownError, match=second.bundle_id[:16]):
        pack(low, [files_artifact(low, "docs", b"three")], PackOptions(since="1"))
    first.path.unlink()
    with pytest.raises(BundleUnknownError, match="not here any more"):
        pack(low, [files_artifact(low, "docs", b"three")], PackOptions(since="1"))


def test_an_unknown_base_is_refused(low: Workspace) -> None:
    with pytest.raises(BundleUnknownError):
        pack(low, [files_artifact(low, "docs", b"x")], PackOptions(since="7"))


# --- what is refused ------------------------------------------------------------------------------


def test_two_artifacts_of_one_place_are_refused(low: Workspace) -> None:
    one, two = add_image(low.depot, [b"one"]), add_image(low.depot, [b"two"])
    wanted = [WantedArtifact("a.example/app:1", "image", one), WantedArtifact("b.example/app:1", "image", two)]
    with pytest.raises(NameTakenError, match="app:1"):
        pack(low, wanted)


def test_the_same_artifact_named_twice_is_one(low: Workspace) -> None:
    docs = files_artifact(low, "docs", b"x")
    assert pack(low, [docs, docs]).artifact_count == 1


def test_a_site_that_is_not_of_the_channel_is_refused(low: Workspace) -> None:
    with pytest.raises(UsageError, match="plant-9"):
        pack(low, [files_artifact(low, "docs", b"x")], PackOptions(audience=("plant-9",)))


def test_a_key_that_is_not_of_the_release_role_is_refused_before_anything_is_read(low: Workspace) -> None:
    keys = low.root / "keys"
    (keys / "carrier.key").replace(keys / "release.key")
    with pytest.raises(SignatureError, match="not a release key"):
        pack(low, [files_artifact(low, "docs", b"x")])
    assert spool_files(low) == []


def test_only_one_pack_works_on_a_root(low: Workspace) -> None:
    wanted = [files_artifact(low, "docs", b"x")]
    low.folder("spool")
    with locked(low.root / "spool" / LOCK_FILE, busy="taken"), pytest.raises(BusyError, match="another pack"):
        pack(low, wanted)


def test_content_above_the_limit_is_refused_by_name(low: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate_sender.packing.layout.SEGMENTS_MAX", 1)
    with pytest.raises(LimitError, match="one bundle holds"):
        pack(low, [files_artifact(low, "docs", b"x")])
    assert spool_files(low) == []


# --- what goes wrong ------------------------------------------------------------------------------


def assert_nothing_changed(low: Workspace, before: tuple[BundleRow, ...], files: list[str]) -> None:
    assert rows(low) == before
    assert spool_files(low) == files


def test_a_damaged_blob_stops_the_pack_and_leaves_the_newest_bundle_as_it_was(low: Workspace) -> None:
    first = pack(low, [files_artifact(low, "docs", b"one")])
    before, files = rows(low), spool_files(low)
    image = add_image(low.depot, [noise(3 * MIB, 3)])
    layer = next(digest for digest in low.depot.digests() if low.depot.size(digest) == 3 * MIB)
    path = low.depot.blobs_folder / hex_of(layer)
    path.chmod(0o644)
    path.write_bytes(noise(3 * MIB, 4))
    with pytest.raises(BlobDamagedError, match=layer):
        pack(low, [WantedArtifact("app:1", "image", image)])
    assert_nothing_changed(low, before, files)
    assert first.path.is_file()
    assert entries(low)[-1] == ("pack", "failed")


@pytest.mark.parametrize("stage", range(1, 9))
def test_a_full_disk_at_any_write_leaves_nothing_half_done(
    low: Workspace, monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    """Writes: two chunks, manifest, three tables that are not empty, cover, preamble, header."""
    pack(low, [files_artifact(low, "docs", b"one")])
    wanted = [files_artifact(low, "other", noise(5 * MIB, 1))]
    before, files = rows(low), spool_files(low)
    whole, count = os.pwrite, 0

    def fill_up(fd: int, data: memoryview, offset: int) -> int:
        nonlocal count
        count += 1
        if count == stage:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", fill_up)
    with pytest.raises(DiskFullError):
        pack(low, wanted)
    monkeypatch.undo()
    assert_nothing_changed(low, before, files)
    assert pack(low, wanted).outcome is PackOutcome.REPLACED


@pytest.mark.parametrize("step", ["publish_bundle", "record_pack"])
def test_a_failure_around_the_last_step_leaves_nothing_half_done(
    low: Workspace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    pack(low, [files_artifact(low, "docs", b"one")])
    wanted = [files_artifact(low, "docs", b"two")]
    before, files = rows(low), spool_files(low)

    def fail(*_: object) -> None:
        raise StateError("the state is ill")

    monkeypatch.setattr(packing, step, fail)
    with pytest.raises(StateError, match="ill"):
        pack(low, wanted)
    monkeypatch.undo()
    assert_nothing_changed(low, before, files)
    assert pack(low, wanted).outcome is PackOutcome.REPLACED


def test_packing_the_very_same_bundle_again_and_failing_keeps_its_file(
    low: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [files_artifact(low, "docs", b"one")]
    first = pack(low, wanted)

    def fail(*_: object) -> None:
        raise StateError("the state is ill")

    monkeypatch.setattr(packing, "record_pack", fail)
    with pytest.raises(StateError):
        pack(low, wanted, PackOptions(anyway=True))
    with BundleFile.open(first.path) as bundle:
        assert bundle.bundle_id == first.bundle_id


def test_the_quota_is_kept(low: Workspace) -> None:
    narrow = Workspace(low.root, replace(low.settings, quota_bytes=MIB))
    pack(narrow, [files_artifact(low, "docs", b"x")])
    with pytest.raises(DiskFullError, match="quota"):
        pack(narrow, [files_artifact(low, "docs", noise(2 * MIB, 1))])


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[3])
from made_roots import files_artifact, noise
from tidegate.workspace import Workspace
from tidegate_sender.packing import pack as packing
low = Workspace.open(sys.argv[1])
wanted = [files_artifact(low, "killed", noise(9 << 20, 5))]
def die(*_): os._exit(9)
if sys.argv[2] == "chunk":
    packing.BundleWriter.append_chunk = die
else:
    setattr(packing, sys.argv[2], die)
packing.pack(low, wanted)
"""


@pytest.mark.parametrize("step", ["chunk", "sign_detached", "publish_bundle", "record_pack"])
def test_a_killed_pack_leaves_what_the_next_one_removes(low: Workspace, step: str) -> None:
    first = pack(low, [files_artifact(low, "docs", b"one")])
    before = rows(low)
    command = [sys.executable, "-c", KILLED, str(low.root), step, str(SUPPORT)]
    assert subprocess.run(command, check=False, env={**os.environ, "TIDEGATE_NO_SYNC": "1"}).returncode == 9
    assert rows(low) == before
    assert len(spool_files(low)) == 2
    second = pack(low, [files_artifact(low, "docs", b"two")])
    assert spool_files(low) == [second.path.name]
    assert second.replaced == first.bundle_id


# --- looking up -----------------------------------------------------------------------------------


def test_a_bundle_is_found_by_name_number_id_and_path(low: Workspace, tmp_path: Path) -> None:
    report = pack(low, [files_artifact(low, "docs", b"one")])
    for text in (report.name, "1", report.bundle_id[:8], report.bundle_id, str(report.path)):
        found = resolve_bundle(low, text)
        assert (found.bundle_id, found.file()) == (report.bundle_id, report.path)
        assert found.row is not None
    for text in ("9", "beef-0001", "./nothing.tgb", str(tmp_path)):
        with pytest.raises(BundleUnknownError):
            resolve_bundle(low, text)
    stranger = low_side(tmp_path / "other")
    assert resolve_bundle(stranger, str(report.path)).row is None
