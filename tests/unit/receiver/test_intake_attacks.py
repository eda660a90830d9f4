"""Attacks on receiving by somebody who prepares a medium: what its volumes say of each other, how many there are."""

import contextlib
import struct
from pathlib import Path
from typing import Any

import pytest
from made_bundles import content
from receiver_world import CREATED, HighSide, LowSide, announced

from tidegate.carrier.announcement import CHUNKS, FILE_MAX_BYTES, Announcement, build_announcement
from tidegate.carrier.blocks import Label, Place, build_label, preamble_digest
from tidegate.carrier.frames import tag_of
from tidegate.carrier.volume import RUNS_MAX, VolumeLayout
from tidegate.erasure.geometry import PartGeometry
from tidegate.state.bundles import BundleState, set_bundle_state
from tidegate.state.names import NameOutcome, set_name_if_newer
from tidegate.trust.rotation import revoke_key
from tidegate_receiver.intake.bundle_intake import BundleIntake
from tidegate_receiver.intake.intake import receive_media
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome
from tidegate_receiver.reassembly.spool import Spool

BLOBS = [content(1, 60_000)]


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_root_that_revokes_a_key_counts_for_every_volume_of_the_medium_that_brings_it(
    tmp_path: Path, first: str
) -> None:
    low = LowSide()
    thief = low.add_release_key("thief", "tom")
    high = HighSide.make(tmp_path / "high", low)
    stick = tmp_path / "stick"
    low.write(low.bundle(BLOBS, signers=[thief], sequence=1), tmp_path / "old")
    low.chain = revoke_key(low.chain, thief.key_id, [low.keys["root"]], CREATED)
    low.write(low.bundle([content(2, 60_000)], sequence=2), tmp_path / "new")
    for name in ("old", "new"):  # folders are looked through by name
        target = stick / "TIDEGATE" / ("0" if name == first else "1")
        target.parent.mkdir(parents=True, exist_ok=True)
        next((tmp_path / name / "TIDEGATE").iterdir()).rename(target)
    outcomes = {outcome.sequence: outcome for outcome in high.receive(stick)}
    assert (outcomes[1].kind, outcomes[1].exit_code) == (OutcomeKind.REFUSED, 34)
    assert outcomes[2].kind is OutcomeKind.RECEIVED


def forged_volumes(low: LowSide, folder: Path, count: int) -> None:
    """Files with a whole label and preamble, each of another announcement that nobody signed."""
    folder.mkdir(parents=True)
    preamble = low.chain.to_bytes()
    for number in range(count):
        payload = b'{"number":%d}' % number
        key_id = bytes.fromhex(low.keys["carrier"].key_id)
        data = struct.pack("<4sHH32s64s", b"TGA1", len(payload), 0, key_id, bytes(64)) + payload
        digest = preamble_digest(preamble)
        label = Label(Place.OPENING, tag_of(data), 1, 1, 0, 1, len(preamble), digest, data)
        (folder / f"{number:04d}.TGV").write_bytes(build_label(label) + preamble)


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_a_root_that_revokes_a_key_counts_for_every_stick_that_is_named_with_the_one_that_brings_it(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    low = LowSide()
    thief = low.add_release_key("thief", "tom")
    high = HighSide.make(tmp_path / "high", low)
    low.write(low.bundle(BLOBS, signers=[thief], sequence=1), tmp_path / "old")
    low.chain = revoke_key(low.chain, thief.key_id, [low.keys["root"]], CREATED)
    low.write(low.bundle([content(2, 60_000)], sequence=2), tmp_path / "new")
    workspace = high.workspace()
    report = receive_media(workspace, tuple(tmp_path / name for name in order))
    workspace.state.close()
    outcomes = {outcome.sequence: outcome for outcome in report.outcomes}
    assert (outcomes[1].kind, outcomes[1].exit_code) == (OutcomeKind.REFUSED, 34)
    assert outcomes[2].kind is OutcomeKind.RECEIVED


def test_a_stick_of_forged_volumes_does_not_fill_the_ledger(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    forged_volumes(low, tmp_path / "stick/TIDEGATE/0", 200)
    bundle = low.bundle(BLOBS)
    low.write(bundle, tmp_path / "stick")
    before = len(high.entries())
    outcomes = high.receive(tmp_path / "stick")
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.REFUSED] * 17 + [OutcomeKind.RECEIVED]
    assert high.holds(bundle, BLOBS)
    rejected = [item for item in high.entries() if item["event"] == "media-rejected"]
    assert len(rejected) == 17
    assert rejected[-1]["counts"] == {"volumes": 184}
    assert len(high.entries()) - before < 24


def test_volumes_whose_layouts_together_are_too_large_are_refused_by_their_limit(
    low: LowSide, high: HighSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = [low.bundle([content(number, 60_000)], sequence=number) for number in (1, 2, 3)]
    for bundle in bundles:
        low.write(bundle, tmp_path / "stick")
    runs = len(announced(tmp_path / "stick").spans)  # each is one short group
    monkeypatch.setattr("tidegate_receiver.intake.intake.RUNS_MAX", 2 * runs)
    outcomes = high.receive(tmp_path / "stick")
    assert sorted((outcome.kind, outcome.exit_code) for outcome in outcomes) == [
        (OutcomeKind.RECEIVED, 0),
        (OutcomeKind.RECEIVED, 0),
        (OutcomeKind.REFUSED, 45),
    ]


def test_a_stolen_carrier_key_lays_out_no_more_than_two_of_its_largest_volumes(
    low: LowSide, high: HighSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stick/TIDEGATE/0"
    folder.mkdir(parents=True)
    preamble = low.chain.to_bytes()
    small, large = PartGeometry(4096, 1, 1, 4096, 1), PartGeometry(4096 * RUNS_MAX, 1, 0, 4096, 1)
    for number in range(1, 41):
        announcement = Announcement(
            format=1,
            critical=(),
            carrier="media",
            channel=low.chain.channel_id,
            epoch=1,
            sequence=number,
            bundle_id=f"{number:064x}",
            manifest_length=100,
            parts=(small, small, large),
            set="0" * 16,
            volume=1,
            spans=((CHUNKS, 0, RUNS_MAX),),
            file_bytes=FILE_MAX_BYTES,
        )
        data = build_announcement(announcement, low.keys["carrier"])
        digest = preamble_digest(preamble)
        label = Label(Place.OPENING, tag_of(data), 1, 3, 0, 1, len(preamble), digest, data)
        (folder / f"{number}.TGV").write_bytes(build_label(label) + preamble)
    real, laid_out = VolumeLayout._lay_runs, []

    def counted(layout: VolumeLayout) -> None:
        laid_out.append(layout.announcement.sequence)
        real(layout)

    monkeypatch.setattr(VolumeLayout, "_lay_runs", counted)
    outcomes = high.receive(tmp_path / "stick")
    assert len(laid_out) == 2
    assert {outcome.exit_code for outcome in outcomes} == {21, 45}
    assert high.rows() == ()
    assert high.spooled() == []


def test_copies_of_one_bundle_beyond_the_limit_are_not_read(
    low: LowSide, high: HighSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = low.bundle(BLOBS)
    for number in range(4):
        low.write(bundle, tmp_path / str(number))
        target = tmp_path / "stick/TIDEGATE" / str(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        next((tmp_path / str(number) / "TIDEGATE").iterdir()).rename(target)
    monkeypatch.setattr("tidegate_receiver.intake.intake.COPIES_MAX", 3)
    outcomes = high.receive(tmp_path / "stick")
    assert [(outcome.kind, outcome.exit_code) for outcome in outcomes] == [
        (OutcomeKind.REFUSED, 45),
        (OutcomeKind.RECEIVED, 0),
    ]


# --- two commands at once ---------------------------------------------------------------------


def test_a_bundle_that_another_command_took_meanwhile_is_a_duplicate(
    low: LowSide, high: HighSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, tmp_path / "stick")
    real = Spool.locked
    others: list[ReceiveOutcome | None] = []

    def late(spool: Spool) -> contextlib.AbstractContextManager[None]:
        """The other command has the whole of its time between our first look and our lock, and its bundle is loaded."""
        if not others:
            others.append(None)
            others[0] = high.receive_one(tmp_path / "stick")
            workspace = high.workspace()
            with workspace.state.transaction() as tx:
                set_bundle_state(tx, bundle.bundle_id, BundleState.LOADED)
            workspace.state.close()
        return real(spool)

    monkeypatch.setattr(Spool, "locked", late)
    assert high.receive_one(tmp_path / "stick").kind is OutcomeKind.DUPLICATE
    assert high.state_of(bundle) == "loaded"
    assert high.events().count("receive") == 1


def test_two_bundles_of_one_number_that_come_at_once_are_a_fork(
    low: LowSide, high: HighSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (low.bundle([content(number, 60_000)], sequence=7) for number in (1, 2))
    low.write(one, tmp_path / "one")
    low.write(two, tmp_path / "two")
    real = BundleIntake._verify_head
    others: list[ReceiveOutcome | None] = []

    def slow(intake: BundleIntake) -> Any:
        verified = real(intake)
        if not others:
            others.append(None)
            others[0] = high.receive_one(tmp_path / "two")
        return verified

    monkeypatch.setattr(BundleIntake, "_verify_head", slow)
    outcome = high.receive_one(tmp_path / "one")
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, 40)
    assert others[0] is not None
    assert others[0].kind is OutcomeKind.RECEIVED
    assert (high.state_of(one), high.state_of(two)) == ("refused", "quarantined")
    assert "fork/fork" in high.events()


# --- numbers ----------------------------------------------------------------------------------


def test_names_that_an_older_epoch_set_may_move_in_the_new_one(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    low.write(low.bundle(BLOBS, sequence=500), tmp_path / "old")
    assert high.receive_one(tmp_path / "old").kind is OutcomeKind.RECEIVED
    workspace = high.workspace()
    with workspace.state.transaction() as tx:
        set_name_if_newer(tx, low.chain.channel_id, "app:1", 500, "sha256:" + "a" * 64)
    low.rotate(epoch=2)
    low.write(low.bundle([content(2, 60_000)], sequence=1, epoch=2), tmp_path / "new")
    assert high.receive_one(tmp_path / "new").kind is OutcomeKind.RECEIVED
    with workspace.state.transaction() as tx:
        moved = set_name_if_newer(tx, low.chain.channel_id, "app:1", 1, "sha256:" + "b" * 64)
    workspace.state.close()
    assert moved is NameOutcome.MOVED
