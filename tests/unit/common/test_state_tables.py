"""Names, bundles, channels, jobs and the floor of time: small functions over one table each."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tidegate.errors import BundleUnknownError, ForkError, StateError, UsageError
from tidegate.state import bundles, channels, jobs, meta, names
from tidegate.state.bundles import BundleRow, BundleState
from tidegate.state.db import State, Transaction
from tidegate.state.jobs import JobState
from tidegate.state.names import NameOutcome

CHANNEL = "7f3a" + "0" * 60
OTHER = "beef" + "0" * 60
DAY = 24 * 3600


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Transaction]:
    with State(tmp_path / "state.db") as state, state.transaction() as transaction:
        yield transaction


def row(sequence: int, bundle_id: str, channel: str = CHANNEL, state: BundleState = BundleState.PACKED) -> BundleRow:
    return BundleRow(
        bundle_id=(bundle_id * 64)[:64],
        channel_id=channel,
        sequence=sequence,
        side="low",
        state=state,
        created=1000,
        size=10,
        content_size=20,
        artifacts=({"name": "app:1", "size": 3},),
        detail={"a": 1},
    )


# --- names --------------------------------------------------------------------------------------


def test_a_name_moves_forward_and_never_back(tx: Transaction) -> None:
    assert names.set_name_if_newer(tx, CHANNEL, "app:1", 5, "sha256:a") is NameOutcome.MOVED
    assert names.set_name_if_newer(tx, CHANNEL, "app:1", 3, "sha256:b") is NameOutcome.KEPT
    assert names.set_name_if_newer(tx, CHANNEL, "app:1", 5, "sha256:a") is NameOutcome.SAME
    assert names.judge_name(tx, CHANNEL, "app:1", 6, "sha256:a") is NameOutcome.MOVED
    assert names.get_name(tx, CHANNEL, "app:1") == names.NameRow(CHANNEL, "app:1", 5, "sha256:a")
    assert names.set_name_if_newer(tx, CHANNEL, "app:1", 6, "sha256:a") is NameOutcome.MOVED
    assert [item.sequence for item in names.list_names(tx, CHANNEL)] == [6]


def test_names_of_channels_do_not_meet(tx: Transaction) -> None:
    names.set_name_if_newer(tx, CHANNEL, "app:1", 5, "sha256:a")
    assert names.set_name_if_newer(tx, OTHER, "app:1", 1, "sha256:b") is NameOutcome.MOVED


def test_two_contents_of_one_name_under_one_number_are_a_fork(tx: Transaction) -> None:
    names.set_name_if_newer(tx, CHANNEL, "app:1", 5, "sha256:a")
    with pytest.raises(ForkError):
        names.set_name_if_newer(tx, CHANNEL, "app:1", 5, "sha256:b")


def test_the_low_side_sets_names_anew_under_the_same_number(tx: Transaction) -> None:
    names.set_names(tx, CHANNEL, 1, {"app:1": "sha256:a", "files/docs": "sha256:c"})
    names.set_names(tx, CHANNEL, 1, {"app:1": "sha256:b"})
    assert [(item.name, item.digest) for item in names.list_names(tx, CHANNEL)] == [
        ("app:1", "sha256:b"),
        ("files/docs", "sha256:c"),
    ]


# --- bundles ------------------------------------------------------------------------------------


def test_a_bundle_comes_back_as_it_was_put(tx: Transaction) -> None:
    bundles.put_bundle(tx, row(1, "ab"))
    found = bundles.get_bundle(tx, "ab" * 32)
    assert found is not None
    assert replace(found, updated=0) == row(1, "ab")
    assert found.name == "7f3a-0001"
    assert found.updated > 0


def test_a_bundle_changes_its_state_and_keeps_its_facts(tx: Transaction) -> None:
    bundles.put_bundle(tx, row(1, "ab"))
    bundles.set_bundle_state(tx, "ab" * 32, BundleState.SENT, detail={"b": 2})
    found = bundles.get_bundle(tx, "ab" * 32)
    assert found is not None
    assert (found.state, found.detail) == (BundleState.SENT, {"a": 1, "b": 2})
    with pytest.raises(StateError):
        bundles.set_bundle_state(tx, "unknown", BundleState.SENT)
    bundles.delete_bundle(tx, "ab" * 32)
    assert bundles.get_bundle(tx, "ab" * 32) is None


def test_bundles_are_listed_by_number_and_chosen_by_channel_and_state(tx: Transaction) -> None:
    for item in (row(2, "b"), row(1, "a"), row(1, "c", OTHER), row(3, "d", state=BundleState.DISCARDED)):
        bundles.put_bundle(tx, item)
    assert [item.bundle_id[0] for item in bundles.list_bundles(tx)] == ["a", "b", "d", "c"]
    assert [item.sequence for item in bundles.list_bundles(tx, channel_id=CHANNEL)] == [1, 2, 3]
    assert [item.sequence for item in bundles.list_bundles(tx, states=[BundleState.DISCARDED])] == [3]
    newest = bundles.newest_bundle(tx, CHANNEL)
    assert newest is not None
    assert newest.sequence == 2
    assert bundles.newest_bundle(tx, "f" * 64) is None
    assert len(bundles.bundles_by_number(tx, CHANNEL, 1)) == 1


@pytest.mark.parametrize("text", ["7f3a-0001", "1", "abababab", "ab" * 32])
def test_a_bundle_is_found_by_name_number_and_id(tx: Transaction, text: str) -> None:
    bundles.put_bundle(tx, row(1, "ab"))
    bundles.put_bundle(tx, row(2, "cd"))
    assert bundles.find_bundle(tx, text).sequence == 1


@pytest.mark.parametrize("text", ["7f3a-0009", "9", "ababab", "", "beef-0001", "abababab'--", "٣"])
def test_an_unknown_bundle_is_said(tx: Transaction, text: str) -> None:
    bundles.put_bundle(tx, row(1, "ab"))
    with pytest.raises(BundleUnknownError):
        bundles.find_bundle(tx, text)


def test_a_number_of_two_channels_is_not_guessed(tx: Transaction) -> None:
    bundles.put_bundle(tx, row(1, "ab"))
    bundles.put_bundle(tx, row(1, "cd", OTHER))
    with pytest.raises(UsageError, match="7f3a-0001, beef-0001"):
        bundles.find_bundle(tx, "1")


def test_of_two_bundles_of_one_number_the_living_one_is_meant(tx: Transaction) -> None:
    bundles.put_bundle(tx, row(1, "ab", state=BundleState.DISCARDED))
    assert bundles.find_bundle(tx, "1").state is BundleState.DISCARDED
    bundles.put_bundle(tx, row(1, "cd"))
    assert bundles.find_bundle(tx, "1").bundle_id[:2] == "cd"
    bundles.put_bundle(tx, row(1, "ef"))
    with pytest.raises(UsageError, match="more than one bundle"):
        bundles.find_bundle(tx, "1")


def test_eight_decimal_digits_may_be_the_beginning_of_an_id(tx: Transaction) -> None:
    bundles.put_bundle(tx, row(1, "12345678"))
    assert bundles.find_bundle(tx, "12345678").sequence == 1


def test_a_row_that_contradicts_itself_is_a_state_error(tx: Transaction) -> None:
    bundles.put_bundle(tx, row(1, "ab"))
    tx.execute("UPDATE bundles SET state = 'nonsense'")
    with pytest.raises(StateError):
        bundles.list_bundles(tx)


# --- channels -----------------------------------------------------------------------------------


def test_numbers_are_given_once_each(tx: Transaction) -> None:
    channels.ensure_channel(tx, CHANNEL, "plant", 1)
    assert [channels.take_sequence(tx, CHANNEL) for _ in range(3)] == [1, 2, 3]


def test_the_highest_number_never_falls(tx: Transaction) -> None:
    channels.ensure_channel(tx, CHANNEL, "plant", 1)
    assert [channels.note_sequence(tx, CHANNEL, n) for n in (4, 2, 7)] == [4, 4, 7]


def test_a_new_epoch_begins_counting_anew_and_an_old_one_is_refused(tx: Transaction) -> None:
    channels.ensure_channel(tx, CHANNEL, "plant", 1)
    channels.take_sequence(tx, CHANNEL)
    assert channels.ensure_channel(tx, CHANNEL, "plant", 1).next_sequence == 2
    assert channels.ensure_channel(tx, CHANNEL, "plant", 2).next_sequence == 1
    with pytest.raises(StateError):
        channels.ensure_channel(tx, CHANNEL, "plant", 1)
    assert [item.epoch for item in channels.list_channels(tx)] == [2]


def test_an_unknown_channel_gives_no_number(tx: Transaction) -> None:
    with pytest.raises(StateError):
        channels.take_sequence(tx, CHANNEL)


# --- jobs ---------------------------------------------------------------------------------------


def test_a_job_that_was_left_is_taken_up_where_it_was(tx: Transaction) -> None:
    job = jobs.begin_job(tx, "receive", "abab", step="read")
    jobs.advance_job(tx, job.id, step="verify", cursor={"group": 7})
    again = jobs.begin_job(tx, "receive", "abab", step="read")
    assert (again.id, again.step, again.cursor, again.state) == (job.id, "verify", {"group": 7}, JobState.RUNNING)


def test_an_ended_job_is_not_taken_up(tx: Transaction) -> None:
    job = jobs.begin_job(tx, "receive", "abab")
    jobs.end_job(tx, job.id, JobState.FAILED)
    assert jobs.find_job(tx, "receive", "abab") is None
    assert jobs.begin_job(tx, "receive", "abab").id != job.id
    assert [item.state for item in jobs.list_jobs(tx, state=None)] == [JobState.FAILED, JobState.RUNNING]
    assert len(jobs.list_jobs(tx)) == 1


# --- the floor of time --------------------------------------------------------------------------


def test_the_first_time_moves_the_floor_by_one_step_from_its_start_at_most(tx: Transaction) -> None:
    assert meta.floor(tx) is None
    assert meta.raise_floor(tx, start=1000, created=4_000_000_000) == meta.FloorChange(1000, 1000 + 7 * DAY, True)
    assert meta.floor(tx) == 1000 + 7 * DAY


def test_the_floor_rises_by_seven_days_at_most_and_never_falls(tx: Transaction) -> None:
    meta.set_floor(tx, 1000)
    assert meta.raise_floor(tx, start=0, created=0) == meta.FloorChange(1000, 1000, is_capped=False)
    assert meta.raise_floor(tx, start=0, created=1000 + DAY, good_clock=500).after == 1000 + DAY
    capped = meta.raise_floor(tx, start=0, created=4_000_000_000)
    assert (capped.after, capped.is_capped) == (1000 + 8 * DAY, True)
    assert meta.floor(tx) == 1000 + 8 * DAY


def test_a_floor_that_is_no_number_is_a_state_error(tx: Transaction) -> None:
    meta.set_meta(tx, "time.floor", "soon")
    with pytest.raises(StateError):
        meta.floor(tx)
