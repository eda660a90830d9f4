"""Faults that the model of the whole channel found, each with its own small story."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from channel_world import Clock, Packed, World, noise

from tidegate import clock
from tidegate.errors import NotReleasedError, TidegateError
from tidegate.retention import Kind
from tidegate.state.bundles import BundleState
from tidegate_receiver.intake.outcomes import OutcomeKind

A, B, C = (noise(seed) for seed in (1, 2, 3))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    time = Clock()
    monkeypatch.setattr(clock, "time", time)
    return World.make(tmp_path, time)


def carry(world: World, **contents: bytes) -> Packed:
    """Pack, send, receive and load."""
    made = world.pack(contents)
    stick = world.stick()
    world.send(made, stick)
    world.receive([stick])
    world.load(made.bundle_id)
    return made


def read_slip(world: World) -> None:
    world.read_slip(world.slip().slip.text())


def test_a_number_that_was_given_back_is_given_again_after_the_low_sides_state_was_lost(world: World) -> None:
    carry(world, a=A)
    unsent = world.pack({"a": B})
    world.take_out(unsent.bundle_id, withdraws=False)
    world.put_state_back("low", None)
    world.restore("low")
    again = world.pack({"a": C})
    assert (again.number, again.void) == (unsent.number, {})
    following = carry(world, a=C)
    assert following.void == {}


def test_what_waited_to_be_sent_when_the_backup_was_made_keeps_its_number_where_that_may_have_left(
    world: World, tmp_path: Path
) -> None:
    from shutil import copytree

    first = world.pack({"a": A})
    copytree(world.folder / "low", tmp_path / "backup", symlinks=True)
    stick = world.stick()
    world.send(first, stick)
    world.put_root_back("low", tmp_path / "backup")
    world.restore("low", last=1)
    assert world.pack({"a": B}).number == 2


def test_a_slip_that_speaks_of_numbers_that_a_restore_lost_is_read(world: World, tmp_path: Path) -> None:
    from shutil import copytree

    copytree(world.folder / "low", tmp_path / "backup", symlinks=True)
    carry(world, a=A)
    world.send(world.pack({"a": B}), world.stick())
    carry(world, a=C)
    world.put_root_back("low", tmp_path / "backup")
    world.restore("low", last=3)
    report = world.read_slip(world.slip().slip.text())
    assert (str(report.held), str(report.missing)) == ("1+3", "2")
    assert world.pack({"a": C}).required == {}


def test_a_bundle_that_waits_because_of_a_forked_ledger_waits_after_the_state_was_lost_too(
    world: World, tmp_path: Path
) -> None:
    from shutil import copytree

    copytree(world.folder / "low", tmp_path / "backup", symlinks=True)
    carry(world, a=A)
    world.put_root_back("low", tmp_path / "backup")
    world.restore("low", last=1)
    sticks, made = [], []
    for data in (B, C):  # the second shows no head that the first one has not shown
        made.append(world.pack({"a": data}))
        sticks.append(world.stick())
        world.send(made[-1], sticks[-1])
    report = world.receive(sticks)
    assert [item.alarm is not None for item in report.outcomes] == [True, True]
    world.put_state_back("high", None)
    world.restore("high")
    for bundle in made:
        with pytest.raises(NotReleasedError):
            world.load(bundle.bundle_id)
        world.accept(bundle.bundle_id)
    world.put_state_back("high", None)
    world.restore("high")
    for bundle in made:
        world.load(bundle.bundle_id)


def test_what_cleanup_let_go_or_removed_is_not_named_again_after_the_state_was_lost(world: World) -> None:
    first = carry(world, a=A)
    carry(world, a=B)
    assert Kind.LET_GO in {item.kind for item in world.cleanup("high").goes}
    world.put_state_back("high", None)
    world.restore("high")
    assert str(world.slip().held) == "2"
    assert Kind.SUPERSEDED in {item.kind for item in world.cleanup("high").goes}
    world.put_state_back("high", None)
    world.restore("high")
    states = {row.bundle_id: row.state for row in world.high_rows()}
    assert states[first.bundle_id] is BundleState.CLEANED
    assert str(world.slip().held) == "2"


def test_one_that_was_withdrawn_and_cleaned_up_stays_decided_after_the_state_was_lost(world: World) -> None:
    first = world.pack({"a": A})
    stick = world.stick()
    world.send(first, stick)
    world.receive([stick])
    world.take_out(first.bundle_id, withdraws=True)
    carry(world, a=B)
    world.cleanup("high")
    world.put_state_back("high", None)
    world.restore("high")
    states = {row.bundle_id: row.state for row in world.high_rows()}
    assert states[first.bundle_id] is BundleState.DENIED
    (outcome,) = world.receive([stick]).outcomes
    assert outcome.kind is OutcomeKind.DUPLICATE


def test_the_last_number_that_a_person_gave_is_known_after_another_restore(world: World, tmp_path: Path) -> None:
    from shutil import copytree

    for side in ("low", "high"):
        copytree(world.folder / side, tmp_path / f"old-{side}", symlinks=True)
    carry(world, a=A)
    carry(world, a=B)
    for side in ("low", "high"):
        world.put_root_back(side, tmp_path / f"old-{side}")
        world.restore(side, last=2)
        world.put_state_back(side, None)
        world.restore(side)
    third = world.pack({"a": C})
    assert third.number == 3
    stick = world.stick()
    world.send(third, stick)
    world.receive([stick])
    world.put_state_back("high", None)
    world.restore("high")
    assert (third.void, str(world.slip().held)) == ({}, "3")
    world.put_state_back("low", None)
    world.restore("low")
    report = world.read_slip(world.slip().slip.text())
    assert str(report.held) == "3"


def test_a_last_number_of_an_epoch_that_began_without_a_bundle_here_does_not_hold_names_back(world: World) -> None:
    for data in (A, B):
        carry(world, a=data)
    world.new_epoch()
    lost = world.pack({"a": C})
    forger = world.forger()
    stick = world.stick()
    forger.write(forger.bundle([b"stale"], sequence=9, epoch=1), stick)  # brings the root of the new epoch
    world.receive([stick])
    world.restore("high", last=1)
    world.put_state_back("high", None)
    world.restore("high")
    world.send(lost, stick := world.stick())
    world.receive([stick])
    world.load(lost.bundle_id)
    assert world.stage() == {"files/a:latest": lost.names["files/a"]}


def test_what_a_bundle_builds_on_is_asked_for_after_root_and_state_were_lost(world: World, tmp_path: Path) -> None:
    from shutil import copytree

    copytree(world.folder / "high", tmp_path / "old", symlinks=True)
    carry(world, a=A)
    read_slip(world)
    world.put_root_back("high", tmp_path / "old")
    second = world.pack({"a": A, "b": B})
    stick = world.stick()
    world.send(second, stick)
    world.receive([stick])
    assert second.required
    assert str(world.slip().missing) == "1"
    world.put_state_back("high", None)
    world.restore("high")
    made = world.slip()
    assert (str(made.held), str(made.missing)) == ("2", "1")
    again = world.stick()
    world.resend([1], again)
    world.receive([again])
    assert str(world.slip().held) == "1-2"


def test_a_bundle_that_was_refused_as_stale_is_known_as_refused_after_the_high_sides_state_was_lost(
    world: World,
) -> None:
    world.new_epoch()
    forger = world.forger()
    for number, content in ((5001, b"far ahead"), (1, b"far behind")):
        stick = world.stick()
        forger.write(forger.bundle([content], sequence=number, epoch=2), stick)
        world.receive([stick])
    before = {row.bundle_id: (row.state, row.detail.get("reason")) for row in world.high_rows()}
    assert sorted(before.values(), key=str)[-1] == (BundleState.REFUSED, "stale")
    world.put_state_back("high", None)
    world.restore("high")
    assert {row.bundle_id: (row.state, row.detail.get("reason")) for row in world.high_rows()} == before


def test_what_waited_when_the_backup_was_made_is_not_sent_where_another_bundle_may_have_left_with_its_number(
    world: World, tmp_path: Path
) -> None:
    from shutil import copytree

    waiting = world.pack({"a": A})
    copytree(world.folder / "low", tmp_path / "backup", symlinks=True)
    left = world.pack({"a": B})
    assert left.number == waiting.number == 1
    world.send(left, stick := world.stick())
    world.put_root_back("low", tmp_path / "backup")
    world.restore("low", last=1)
    with pytest.raises(TidegateError):
        world.send(waiting, world.stick())
    following = world.pack({"a": C})
    world.send(following, second := world.stick())
    world.receive([stick])
    world.receive([second])
    assert [(row.sequence, row.state) for row in world.high_rows()] == [
        (1, BundleState.QUARANTINED),
        (2, BundleState.QUARANTINED),
    ]
    assert str(world.read_slip(world.slip().slip.text()).held) == "1-2"
