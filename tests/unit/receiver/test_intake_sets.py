"""Sets of volumes: in any order, on different days, mixed, damaged, one lost; what is missing is said by number."""

import random
import shutil
from itertools import permutations
from pathlib import Path

import pytest
from made_bundles import MadeBundle, content
from made_sets import sequential_set, striped_set
from receiver_world import HighSide, LowSide, destroy, destroy_in_blocks, records

from tidegate_receiver.intake.intake import receive_media
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome

BLOBS = [content(1, 300_000), content(2, 170_000), content(3, 90_000)]


@pytest.fixture
def bundle(low: LowSide) -> MadeBundle:
    return low.bundle(BLOBS, chunk_bytes=10_000)  # chunks reach over the edges of groups


def receive_together(high: HighSide, *media: Path) -> ReceiveOutcome:
    workspace = high.workspace()
    try:
        (outcome,) = receive_media(workspace, media).outcomes
    finally:
        workspace.state.close()
    return outcome


# --- sequential -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_the_sticks_of_a_set_come_in_any_order(
    order: tuple[int, ...], low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = sequential_set(low, bundle, tmp_path, (2, 4))
    for count, number in enumerate(order, start=1):
        outcome = high.receive_one(media[number - 1])
        if count < 3:
            assert (outcome.kind, outcome.exit_code) == (OutcomeKind.INCOMPLETE, 21)
            seen = set(order[:count])
            expected = {1, 2, 3} - seen if 3 in seen else set(range(1, max(seen) + 2)) - seen
            assert set(outcome.missing_volumes) == expected
            assert ("perhaps more" in outcome.missing_text) is (3 not in seen)
    assert outcome.kind is OutcomeKind.RECEIVED
    assert outcome.symbols_missing == 0
    assert high.holds(bundle, BLOBS)
    assert high.spooled() == []


def test_the_missing_stick_is_named_in_the_row_and_in_the_error(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = sequential_set(low, bundle, tmp_path, (2, 4))
    high.receive_one(media[2])
    outcome = high.receive_one(media[0])
    assert outcome.missing_text == "stick 2 of the set is missing"
    assert "stick 2 of the set is missing" in str(outcome.error)
    (row,) = high.rows()
    assert row.detail["missing_sticks"] == "stick 2 of the set is missing"


def test_one_stick_twice_changes_nothing(low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path) -> None:
    media = sequential_set(low, bundle, tmp_path, (3,))
    first, again = high.receive_one(media[0]), high.receive_one(media[0])
    assert (first.chunks_done, first.missing_text) == (again.chunks_done, again.missing_text)
    assert high.receive_one(media[1]).kind is OutcomeKind.RECEIVED
    assert high.receive_one(media[0]).kind is OutcomeKind.DUPLICATE


def test_volumes_of_different_bundles_and_sets_on_one_stick(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    other_blobs = [content(7, 400_000)]
    other = low.bundle(other_blobs, sequence=2)
    mine = sequential_set(low, bundle, tmp_path, (2, 4))
    theirs = sequential_set(low, other, tmp_path / "other", (2,), set_name="b6" * 8)
    again = sequential_set(low, bundle, tmp_path / "again", (3,), set_name="c7" * 8)
    shutil.copytree(theirs[0], mine[0], dirs_exist_ok=True)
    assert {outcome.kind for outcome in high.receive(mine[0])} == {OutcomeKind.INCOMPLETE}
    assert high.receive_one(again[1]).kind is OutcomeKind.INCOMPLETE
    assert high.receive_one(theirs[1]).kind is OutcomeKind.RECEIVED
    assert high.receive_one(again[0]).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)
    assert high.holds(other, other_blobs)


def test_a_whole_copy_completes_what_a_set_began(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    high.receive_one(sequential_set(low, bundle, tmp_path, (3,))[0])
    low.write(bundle, tmp_path / "whole")  # another code
    assert high.receive_one(tmp_path / "whole").kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_two_copies_of_a_stick_damaged_beyond_repair_make_a_whole_one_on_different_days(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = sequential_set(low, bundle, tmp_path, (3,))
    shutil.copytree(media[0], tmp_path / "copy")
    damage_one_block(media[0], symbols=range(3))
    damage_one_block(tmp_path / "copy", symbols=range(3, 6))
    assert high.receive_one(media[0]).kind is OutcomeKind.INCOMPLETE
    outcome = high.receive_one(media[1])
    assert outcome.missing_text == "stick 1 of the set is damaged beyond repair"
    assert outcome.missing_volumes == (1,)
    assert high.receive_one(tmp_path / "copy").kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def damage_one_block(medium: Path, symbols: range, block: int = 1) -> None:
    for record in records(medium):
        if (record.part, record.block) == (2, block) and record.symbol in symbols:
            destroy(record)


def test_what_was_kept_of_a_killed_reading_is_read_again(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = sequential_set(low, bundle, tmp_path, (2, 4))
    high.receive_one(media[0])
    (store,) = (high.root / "spool" / bundle.bundle_id).glob("symbols-*")
    (store / "map").write_bytes(b"torn")
    high.receive_one(media[1])
    high.receive_one(media[2])
    assert high.state_of(bundle) == "incomplete"
    assert high.receive_one(media[0]).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


# --- striped ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("together", [True, False])
def test_any_one_stick_of_a_set_with_a_spare_may_be_lost(
    lost: int, together: bool, low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = striped_set(low, bundle, tmp_path)
    rest = [medium for number, medium in enumerate(media, start=1) if number != lost]
    if together:
        outcome = receive_together(high, *rest)
    else:
        first = high.receive_one(rest[1])
        assert (first.kind, first.exit_code) == (OutcomeKind.INCOMPLETE, 21)
        assert first.missing_text.startswith("1 more of sticks ")
        assert lost in first.missing_volumes
        outcome = high.receive_one(rest[0])
    assert (outcome.kind, outcome.symbols_missing) == (OutcomeKind.RECEIVED, 0)
    assert high.holds(bundle, BLOBS)
    assert high.spooled() == []


def test_a_lost_stick_and_scattered_damage_on_the_others(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = striped_set(low, bundle, tmp_path)
    damage_one_block(media[0], symbols=range(1))  # one symbol a block is the margin
    assert high.receive_one(media[0]).kind is OutcomeKind.INCOMPLETE
    outcome = high.receive_one(media[2])
    assert outcome.kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_more_damage_than_the_margin_asks_for_the_spare(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = striped_set(low, bundle, tmp_path)
    destroy_in_blocks(media[0], 2, beyond=100)
    high.receive_one(media[0])
    outcome = high.receive_one(media[1])
    assert outcome.missing_text == "what was read is damaged: stick 3 of the set would help"
    assert high.receive_one(media[2]).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_a_share_that_finds_no_room_is_not_kept_and_said_so(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = striped_set(low, bundle, tmp_path)
    quota = sum(map(len, BLOBS)) + 100_000
    outcome = high.receive_one(media[0], quota_bytes=quota)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FAILED, 72)
    assert "no room to keep" in str(outcome.error)
    assert receive_together(high, media[1], media[2]).kind is OutcomeKind.RECEIVED


def test_a_stick_that_lies_is_refused_and_forgotten_and_honest_ones_make_the_bundle(
    low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    media = striped_set(low, bundle, tmp_path)
    forged = tmp_path / "forged"
    forge(bundle, low, forged)
    assert high.receive_one(forged).kind is OutcomeKind.INCOMPLETE  # nothing of it can be checked yet
    outcome = high.receive_one(media[0])
    assert outcome.kind is OutcomeKind.REFUSED
    assert high.state_of(bundle) == "incomplete"
    assert high.receive_one(media[0]).kind is OutcomeKind.INCOMPLETE
    assert high.receive_one(media[2]).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def forge(bundle: MadeBundle, low: LowSide, target: Path) -> None:
    """A share whose records agree with its index blocks and are not what was signed: by somebody with the key."""

    class Lying:
        def __getattr__(self, name: str) -> object:
            return getattr(bundle, name)

        def read_into(self, part: int, offset: int, view: memoryview) -> None:
            bundle.read_into(part, offset, view)
            if part == 2:
                view[:] = bytes(byte ^ 0x55 for byte in view)

    made = striped_set(low, Lying(), target.parent / "made")  # type: ignore[arg-type]
    shutil.copytree(made[1], target)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_code_bears_is_received_and_nothing_else_is(
    seed: int, low: LowSide, high: HighSide, bundle: MadeBundle, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    media = striped_set(low, bundle, tmp_path)
    chance.shuffle(media)
    lost: dict[int, set[int]] = {}
    for medium in media[: chance.choice((2, 3))]:
        for record in records(medium):
            if record.part == 2:
                lost.setdefault(record.block, set(range(record.source_count + 6)))
                if chance.random() < 0.05:
                    destroy(record)
                else:
                    lost[record.block].discard(record.symbol)
        outcome = high.receive_one(medium)
        if all(len(symbols) <= 6 for symbols in lost.values()):
            assert outcome.kind in {OutcomeKind.RECEIVED, OutcomeKind.DUPLICATE}
        else:
            assert outcome.kind is OutcomeKind.INCOMPLETE
    assert (outcome.kind is OutcomeKind.INCOMPLETE) or high.holds(bundle, BLOBS)
