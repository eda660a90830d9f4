"""Receiving from a folder: what is taken, what is refused, and what the ledger says of it."""

from pathlib import Path

import pytest
from made_bundles import content
from receiver_world import HighSide, LowSide, destroy_in_blocks

from tidegate.errors import DiskFullError, NothingOnMediumError
from tidegate.ledger.recorder import Recorder
from tidegate_receiver.intake.intake import ReceiveOptions, receive, receive_medium
from tidegate_receiver.intake.outcomes import OutcomeKind
from tidegate_receiver.intake.quarantine import QuarantinedBundle

BLOBS = [content(1, 200_000), b"{}", content(2, 70_000), b""]


def test_a_bundle_goes_into_quarantine_whole(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    outcome = high.receive_one(stick)
    assert outcome.kind is OutcomeKind.RECEIVED
    assert outcome.exit_code == 0
    assert outcome.signed_by == ("ada",)
    assert high.holds(bundle, BLOBS)
    assert high.state_of(bundle) == "quarantined"
    assert high.events() == ["receive", "quarantine"]
    assert high.spooled() == []


def test_what_lies_in_quarantine_needs_no_medium_any_more(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    high.receive_one(stick)
    kept = QuarantinedBundle(high.quarantine(bundle))
    assert kept.manifest() == bundle.facts
    assert kept.tables().entries() == bundle.facts.tables
    assert kept.paper("cover") == bundle.cover
    assert kept.paper("channel.root") == low.chain.to_whole_bytes()
    assert {name: item.digest for name, item in kept.layout.references().items()} == {
        artifact.name: artifact.digest for artifact in bundle.facts.artifacts
    }


def test_a_bundle_without_content_is_received_too(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle([])
    low.write(bundle, stick)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, [])


def test_the_same_medium_again_is_a_calm_duplicate(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick)
    high.receive_one(stick)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.DUPLICATE, 0)
    assert high.events() == ["receive", "quarantine", "duplicate"]


def test_several_bundles_of_a_medium_come_in_their_order(low: LowSide, high: HighSide, stick: Path) -> None:
    for number in (3, 1, 2):
        low.write(low.bundle([content(number, 9_000)], sequence=number), stick)
    outcomes = high.receive(stick)
    assert [(item.kind, item.sequence, item.is_late) for item in outcomes] == [
        (OutcomeKind.RECEIVED, number, False) for number in (1, 2, 3)
    ]


def test_a_fault_of_one_bundle_keeps_no_other_from_coming(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle([content(1, 9_000)], audience=("elsewhere",)), stick)
    good = low.bundle([content(2, 9_000)], sequence=2)
    low.write(good, stick)
    first, second = high.receive(stick)
    assert (first.kind, second.kind) == (OutcomeKind.REFUSED, OutcomeKind.RECEIVED)
    assert high.holds(good, [content(2, 9_000)])


def test_a_late_bundle_is_taken_and_moves_no_name_back(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path
) -> None:
    low.write(low.bundle([content(1, 5_000), content(2, 5_000)], sequence=5), stick)
    high.receive_one(stick)
    old = low.bundle([content(3, 5_000)], sequence=4)
    low.write(old, tmp_path / "bag")
    outcome = high.receive_one(tmp_path / "bag")
    assert (outcome.kind, outcome.is_late) == (OutcomeKind.RECEIVED, True)
    assert outcome.late_names == ("files/blob-000",)
    assert high.events()[-3:] == ["receive", "quarantine", "late"]
    assert high.entries()[-1]["names"] == ["files/blob-000"]


def test_a_gap_is_said_and_blocks_nothing(low: LowSide, high: HighSide, stick: Path, tmp_path: Path) -> None:
    low.write(low.bundle([content(1, 5_000)], sequence=1), stick)
    high.receive_one(stick)
    low.write(low.bundle([content(2, 5_000)], sequence=4), tmp_path / "next")
    outcome = high.receive_one(tmp_path / "next")
    assert (outcome.kind, outcome.gap) == (OutcomeKind.RECEIVED, (2, 3))
    assert high.entries()[-1]["detail"] == "numbers 2 to 3 have not come"


def test_a_site_that_joins_late_takes_the_number_it_sees_first(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle([content(1, 5_000)], sequence=5_000), stick)
    assert high.receive_one(stick).gap is None


def test_what_is_missing_below_a_delta_is_said_by_number(low: LowSide, high: HighSide, stick: Path) -> None:
    import numpy as np
    from made_bundles import make_body

    from tidegate.bundle.tables import REQUIRED

    blobs = [content(1, 5_000)]
    required = np.array([(b"\x07" * 32, 10, 3), (b"\x08" * 32, 10, 0)], REQUIRED)
    low.write(low.bundle(blobs, body=make_body(blobs, required=required), sequence=7), stick)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.needs) == (OutcomeKind.RECEIVED, (0, 3))
    assert high.rows()[0].detail["needs"] == [0, 3]


def test_a_dry_run_checks_everything_it_can_and_writes_nothing(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick)
    before = high.entries()
    workspace = high.workspace()
    (outcome,) = receive(workspace, stick, ReceiveOptions(dry_run=True))
    workspace.state.close()
    assert (outcome.kind, outcome.content_size) == (OutcomeKind.PLANNED, 270_002)
    assert high.entries() == before
    assert high.rows() == ()
    assert high.spooled() == []


def test_others_files_are_counted_listed_and_left_alone(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick)
    strange = stick / "TIDEGATE" / "\x1b[2Jhostile\nname"
    strange.write_bytes(b"mine")
    (stick / "holiday.jpg").write_bytes(b"mine too")
    workspace = high.workspace()
    report = receive_medium(workspace, stick)
    workspace.state.close()
    assert report.outcomes[0].kind is OutcomeKind.RECEIVED
    assert sorted(report.strangers) == ["TIDEGATE/\\x1b[2Jhostile\\nname", "holiday.jpg"]
    inserted = next(item for item in high.entries() if item["event"] == "media-inserted")
    assert inserted["names"] == list(report.strangers)
    assert inserted["counts"] == {"volumes": 1, "strangers": 2, "damaged": 0, "unlisted": 0}
    assert strange.read_bytes() == b"mine"


def test_a_medium_without_any_bundle_is_named_and_recorded(high: HighSide, stick: Path) -> None:
    stick.mkdir()
    (stick / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(NothingOnMediumError, match="no bundle on it, 1 file of others"):
        high.receive(stick)
    assert high.entries()[-1]["outcome"] == "nothing"


def test_damage_within_the_repair_data_is_mended_and_counted(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    count = destroy_in_blocks(stick, 2, beyond=0)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.symbols_missing) == (OutcomeKind.RECEIVED, count)
    assert high.holds(bundle, BLOBS)
    assert high.events() == ["receive", "mend", "quarantine"]


def test_damage_beyond_the_repair_data_is_named_and_what_was_read_is_kept(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path
) -> None:
    bundle = low.bundle(BLOBS, chunk_bytes=4096)
    low.write(bundle, stick)
    destroy_in_blocks(stick, 2, beyond=1)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.INCOMPLETE, 21)
    assert "block 0 has" in str(outcome.error)
    assert 0 < outcome.chunks_done < outcome.chunk_count
    assert high.state_of(bundle) == "incomplete"
    assert high.events() == ["receive/volume-missing"]
    low.write(bundle, tmp_path / "second")
    assert high.receive_one(tmp_path / "second").kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_a_second_copy_with_another_half_makes_it_whole(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path
) -> None:
    blobs = [content(number, 60_000) for number in range(20)]
    bundle = low.bundle(blobs, chunk_bytes=4096)
    low.write(bundle, stick)
    low.write(bundle, tmp_path / "second")
    destroy_in_blocks(stick, 2, beyond=1, seed=1)
    destroy_in_blocks(tmp_path / "second", 2, beyond=1, seed=2)
    first = high.receive_one(stick)
    second = high.receive_one(tmp_path / "second")
    assert first.kind is OutcomeKind.INCOMPLETE
    assert second.chunks_done > first.chunks_done


def test_two_copies_on_one_medium_are_one_bundle(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    other = stick / "TIDEGATE" / "copy"
    other.mkdir()
    low.write(bundle, other)
    destroy_in_blocks(stick, 2, beyond=1)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_head_of_the_first_copy_and_content_of_the_second_make_one(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path
) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    low.write(bundle, tmp_path / "second")
    destroy_in_blocks(stick, 2, beyond=200)
    destroy_in_blocks(tmp_path / "second", 1, beyond=200)
    destroy_in_blocks(tmp_path / "second", 0, beyond=200)
    assert high.receive_one(stick).kind is OutcomeKind.INCOMPLETE
    assert high.receive_one(tmp_path / "second").kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_a_bundle_that_was_moved_but_not_recorded_is_recorded(
    low: LowSide, high: HighSide, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate_receiver.intake import bundle_intake

    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)

    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr(bundle_intake, "record_received", killed)
    with pytest.raises(KilledError):
        high.receive(stick)
    assert high.quarantine(bundle).is_dir()
    assert high.state_of(bundle) == "receiving"
    monkeypatch.undo()
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)
    assert high.spooled() == []


def test_what_somebody_removed_from_quarantine_is_received_again(low: LowSide, high: HighSide, stick: Path) -> None:
    import shutil

    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    high.receive_one(stick)
    shutil.rmtree(high.quarantine(bundle))
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_a_bundle_that_another_command_receives_is_left_to_it(low: LowSide, high: HighSide, stick: Path) -> None:
    from tidegate_receiver.reassembly.spool import Spool

    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    spool = Spool(high.root / "spool" / bundle.bundle_id)
    with spool.locked():
        outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FAILED, 74)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED


def test_a_ledger_that_fails_after_the_bundle_was_recorded_is_no_failure_of_the_bundle(
    low: LowSide, high: HighSide, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, stick)
    real = Recorder.drain

    def drain(recorder: Recorder) -> int:
        if high.quarantine(bundle).is_dir():
            raise DiskFullError("writing the ledger: no space left")
        return real(recorder)

    monkeypatch.setattr(Recorder, "drain", drain)
    with pytest.raises(DiskFullError):
        high.receive(stick)
    monkeypatch.undo()
    assert high.receive_one(stick).kind is OutcomeKind.DUPLICATE
    assert high.state_of(bundle) == "quarantined"
    assert high.events() == ["receive", "quarantine", "duplicate"]
