"""Records whose index blocks are all gone, and symbols that lie: located within a budget, or refused."""

from dataclasses import replace
from pathlib import Path

import blake3
import numpy as np
import pytest
from carved_images import PAGE, volume_files, whole_image
from receiver_world import HighSide, LowSide, records

from tidegate.carrier.announcement import parse_announcement
from tidegate.carrier.blocks import build_index, parse_index
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.volume import Run, VolumeLayout
from tidegate_receiver.intake.intake import ReceiveOptions, receive_media
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome
from tidegate_receiver.reassembly import spooled_content

BLOBS = [np.random.default_rng(5).bytes(9_000_000)]


@pytest.fixture
def stick(low: LowSide, tmp_path: Path) -> Path:
    low.write(low.bundle(BLOBS, chunk_bytes=500_000), tmp_path / "stick")
    return tmp_path / "stick"


def receive(high: HighSide, stick: Path, how: str) -> ReceiveOutcome:
    place = whole_image(stick.parent / "stick.dd", volume_files(stick)) if how == "carved" else stick
    workspace = high.workspace()
    try:
        (outcome,) = receive_media(workspace, (place,), ReceiveOptions(damaged=how == "carved")).outcomes
    finally:
        workspace.state.close()
    return outcome


def destroy_index_blocks(stick: Path, *, beside_part: int = 2) -> int:
    """Overwrite every index block that lists a run of the part, at both its ends."""
    (volume,) = find_volumes(stick).volumes
    layout = VolumeLayout(parse_announcement(volume.frame), volume.preamble_length)
    count = 0
    for section in range(layout.section_count):
        for run in layout.section_runs(section):
            if run.part == beside_part:
                with volume.files[run.file_number].path.open("r+b") as file:
                    for place in (run.offset, run.end):
                        file.seek(place)
                        file.write(bytes(PAGE))
                        count += 1
    return count


@pytest.mark.parametrize("how", ["files", "carved"])
def test_records_that_nothing_lists_any_more_are_taken_by_their_place(how: str, high: HighSide, stick: Path) -> None:
    assert destroy_index_blocks(stick) > 4
    assert receive(high, stick, how).kind is OutcomeKind.RECEIVED
    assert high.events()[0] == "receive"


@pytest.mark.parametrize("how", ["files", "carved"])
def test_wrong_ones_among_them_are_located_and_repaired(how: str, high: HighSide, stick: Path) -> None:
    destroy_index_blocks(stick)
    spoil(stick, 3)
    assert receive(high, stick, how).kind is OutcomeKind.RECEIVED


def test_more_wrong_ones_than_can_be_told_are_damage_and_no_refusal(high: HighSide, stick: Path) -> None:
    destroy_index_blocks(stick)
    spoil(stick, 30)
    outcome = receive(high, stick, "files")
    assert outcome.kind is OutcomeKind.INCOMPLETE
    assert high.events() == ["receive/volume-missing"]


def test_what_was_kept_of_such_a_stick_is_only_what_was_listed(high: HighSide, low: LowSide, stick: Path) -> None:
    destroy_index_blocks(stick)
    spoil(stick, 30)
    receive(high, stick, "files")
    low.write(low.bundle(BLOBS, chunk_bytes=500_000), stick.parent / "again")
    assert receive(high, stick.parent / "again", "files").kind is OutcomeKind.RECEIVED


def test_without_any_time_left_nothing_is_guessed(high: HighSide, stick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooled_content, "LocationBudget", lambda: reassembly_budget(0.0))
    destroy_index_blocks(stick)
    assert receive(high, stick, "files").kind is OutcomeKind.INCOMPLETE


def reassembly_budget(seconds: float) -> object:
    from tidegate.erasure.locate import LocationBudget

    return LocationBudget(seconds)


def spoil(stick: Path, count: int) -> None:
    """Other bytes in so many records of the first block of the chunks."""
    chosen = [record for record in records(stick) if (record.part, record.block) == (2, 0)]
    for record in chosen[:count]:
        with record.file.open("r+b") as file:
            file.seek(record.offset)
            file.write(np.random.default_rng(record.symbol).bytes(record.size))


# --- symbols that lie -------------------------------------------------------------------------


def make_lies(stick: Path, count: int) -> None:
    """Other bytes in so many records of the first block of the chunks, and index blocks that vouch for them."""
    (volume,) = find_volumes(stick).volumes
    announcement = parse_announcement(volume.frame)
    layout = VolumeLayout(announcement, volume.preamble_length)
    left = count
    for section in range(layout.section_count):
        for run in layout.section_runs(section):
            if run.part == 2:
                order = run.order(announcement.geometry(2)).tolist()
                chosen = [at for at, (position, _) in enumerate(order) if position == 0][:left]
                left -= len(chosen)
                lie_in_run(volume.files[run.file_number].path, run, chosen)


def lie_in_run(path: Path, run: Run, chosen: list[int]) -> None:
    data = bytearray(path.read_bytes())
    digests = {}
    for at in chosen:
        start = run.records_offset + at * run.symbol_size
        data[start : start + run.symbol_size] = record = np.random.default_rng(at).bytes(run.symbol_size)
        digests[at] = int.from_bytes(blake3.blake3(record).digest(8), "little")
    for place, side in ((run.offset, "after"), (run.end, "before")):
        index = parse_index(bytes(data[place : place + PAGE]))
        entries = getattr(index, side).copy()
        for at, digest in digests.items():
            entries["digest"][at] = digest
        data[place : place + PAGE] = build_index(replace(index, **{side: entries}))
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["files", "carved"])
def test_a_few_symbols_that_lie_are_located_and_repaired(how: str, high: HighSide, stick: Path) -> None:
    make_lies(stick, 4)
    assert receive(high, stick, how).kind is OutcomeKind.RECEIVED
    assert {"receive", "quarantine"} <= set(high.events())


@pytest.mark.parametrize("how", ["files", "carved"])
def test_more_lies_than_can_be_located_are_tampering(how: str, high: HighSide, stick: Path) -> None:
    make_lies(stick, 60)
    outcome = receive(high, stick, how)
    assert outcome.kind is OutcomeKind.REFUSED
    assert high.events() == ["verify-failed/tampered"]


def test_beyond_the_time_that_a_bundle_has_lies_are_tampering(
    high: HighSide, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled_content, "LocationBudget", lambda: reassembly_budget(0.0))
    make_lies(stick, 2)
    outcome = receive(high, stick, "files")
    assert outcome.kind is OutcomeKind.REFUSED
    assert high.events() == ["verify-failed/tampered"]
    monkeypatch.undo()
    assert receive(high, stick, "files").kind is OutcomeKind.RECEIVED
