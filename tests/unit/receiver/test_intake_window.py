"""Numbers: the window to its edges, replays of whatever was decided before, and names that never move back."""

import itertools
import shutil
from pathlib import Path

import pytest
from made_bundles import MadeBundle, content
from receiver_world import CREATED, HighSide, LowSide

from tidegate.bundle.manifest import VoidNumber
from tidegate.clock import format_time
from tidegate.state.bundles import BundleState, set_bundle_state
from tidegate.state.names import get_name, set_name_if_newer
from tidegate_receiver.intake.admission import deny
from tidegate_receiver.intake.numbering import read_standing
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome
from tidegate_receiver.intake.verification import SEQUENCE_WINDOW


class Channel:
    """Bundles by number, written to a stick and received, again and again if wanted."""

    def __init__(self, low: LowSide, high: HighSide, stick: Path) -> None:
        self.low, self.high, self.stick = low, high, stick
        self.bundles: dict[int, MadeBundle] = {}

    def take(self, number: int, **changes: object) -> ReceiveOutcome:
        if number not in self.bundles:
            self.bundles[number] = self.low.bundle([content(number % 1000 + 1, 3000)], sequence=number, **changes)
        shutil.rmtree(self.stick, ignore_errors=True)
        self.low.write(self.bundles[number], self.stick)
        return self.high.receive_one(self.stick)

    def missing(self) -> list[int]:
        workspace = self.high.workspace()
        with workspace.state.reading() as tx:
            standing = read_standing(tx, workspace.root, self.low.chain.channel_id, self.low.chain.newest.epoch)
        workspace.state.close()
        return list(standing.missing)


@pytest.fixture
def channel(low: LowSide, high: HighSide, tmp_path: Path) -> Channel:
    return Channel(low, high, tmp_path / "stick")


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (5000 - SEQUENCE_WINDOW + 1, OutcomeKind.RECEIVED, 0),
        (5000 - SEQUENCE_WINDOW, OutcomeKind.REFUSED, 43),
        (1, OutcomeKind.REFUSED, 43),
        (5000 + SEQUENCE_WINDOW, OutcomeKind.RECEIVED, 0),
        (5000 + SEQUENCE_WINDOW + 1, OutcomeKind.WAITING, 42),
    ],
)
def test_the_window_is_1024_numbers_to_either_side(channel: Channel, number: int, kind: OutcomeKind, code: int) -> None:
    channel.take(5000)
    outcome = channel.take(number)
    assert (outcome.kind, outcome.exit_code) == (kind, code)


def test_a_number_below_the_channels_floor_is_stale(channel: Channel, high: HighSide, low: LowSide) -> None:
    from dataclasses import replace

    from tidegate.state.channels import get_channel, put_channel

    channel.take(100)
    workspace = high.workspace()
    with workspace.state.transaction() as tx:
        row = get_channel(tx, low.chain.channel_id)
        assert row is not None
        put_channel(tx, replace(row, floor_sequence=90))
    workspace.state.close()
    assert channel.take(89).exit_code == 43
    assert channel.take(90).kind is OutcomeKind.RECEIVED


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_in_whatever_order_sticks_come_all_content_is_taken_and_nothing_is_missing_at_the_end(
    channel: Channel, order: tuple[int, ...]
) -> None:
    outcomes = [channel.take(number) for number in order]
    assert all(outcome.kind is OutcomeKind.RECEIVED for outcome in outcomes)
    assert [outcome.is_late for outcome in outcomes] == [
        number < max(order[: at + 1]) for at, number in enumerate(order)
    ]
    assert channel.missing() == []
    assert channel.high.events().count("late") == sum(outcome.is_late for outcome in outcomes)


def test_names_never_move_back_in_whatever_order_bundles_set_them(
    channel: Channel, high: HighSide, low: LowSide
) -> None:
    channel.take(1)
    workspace = high.workspace()
    for order in itertools.permutations((5, 6, 7)):
        with workspace.state.transaction() as tx:
            tx.execute("DELETE FROM names")
            for number in order:
                set_name_if_newer(tx, low.chain.channel_id, "app:1", number, f"sha256:{number:064x}")
            row = get_name(tx, low.chain.channel_id, "app:1")
            assert row is not None and row.sequence == 7
    workspace.state.close()


@pytest.mark.parametrize("fate", [BundleState.QUARANTINED, BundleState.LOADED, BundleState.WAITING, BundleState.DENIED])
def test_an_old_stick_again_is_a_calm_duplicate_whatever_became_of_its_bundle(
    channel: Channel, high: HighSide, fate: BundleState
) -> None:
    channel.take(
        7, **({"created": "2099-01-01T00:00:00Z"} if fate in (BundleState.WAITING, BundleState.DENIED) else {})
    )
    workspace = high.workspace()
    if fate is BundleState.DENIED:
        deny(workspace, "7", workspace.signer("approver"), "nobody packed it")
    elif fate is BundleState.LOADED:
        with workspace.state.transaction() as tx:
            set_bundle_state(tx, channel.bundles[7].bundle_id, fate)
    workspace.state.close()
    for _ in range(2):
        outcome = channel.take(7)
        assert (outcome.kind, outcome.exit_code) == (OutcomeKind.DUPLICATE, 0)
    assert high.state_of(channel.bundles[7]) == fate.value
    assert high.events()[-2:] == ["duplicate", "duplicate"]


def test_a_replay_of_a_voided_bundle_is_stale_each_time(channel: Channel, high: HighSide) -> None:
    withdrawn = channel.low.bundle([content(1, 3000)], sequence=1)
    channel.bundles[1] = withdrawn
    channel.take(2, void=(VoidNumber(1, withdrawn.bundle_id, None),))
    for _ in range(2):
        assert channel.take(1).exit_code == 43
    assert channel.missing() == []


def test_withheld_bundles_are_a_gap_that_is_told_and_blocks_nothing(channel: Channel, high: HighSide) -> None:
    channel.take(1)
    outcome = channel.take(5)
    assert (outcome.kind, outcome.gap) == (OutcomeKind.RECEIVED, (2, 4))
    assert channel.missing() == [2, 3, 4]
    assert high.events()[-1] == "gap"
    channel.take(3)
    assert channel.missing() == [2, 4]


def test_a_bundle_that_waits_is_not_missing_and_leaves_no_gap_around_its_number(channel: Channel) -> None:
    channel.take(1)
    assert channel.take(2, created="2099-01-01T00:00:00Z").kind is OutcomeKind.WAITING
    channel.take(3)
    assert channel.missing() == []


def test_a_denied_number_from_far_ahead_makes_nothing_missing(channel: Channel, high: HighSide) -> None:
    channel.take(1)
    channel.take(2**40)
    workspace = high.workspace()
    deny(workspace, str(2**40), workspace.signer("approver"), "nobody packed it")
    workspace.state.close()
    assert channel.missing() == []
    assert channel.take(2).kind is OutcomeKind.RECEIVED


def test_replays_never_raise_the_floor_of_time_beyond_what_was_signed(channel: Channel, high: HighSide) -> None:
    from tidegate_receiver.trusted_time import read_time

    channel.take(1, created=format_time(CREATED + 3 * 86400))
    for _ in range(3):
        channel.take(1)
    workspace = high.workspace()
    with workspace.state.reading() as tx:
        assert read_time(tx, workspace).floor == CREATED + 3 * 86400
    workspace.state.close()
