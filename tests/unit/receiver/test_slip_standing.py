"""What the high side says it holds and misses, the slip that it makes of that, and numbers that are void."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_bundles import content, make_body
from receiver_world import HighSide, LowSide, SignedBundle

from tidegate.bundle.manifest import VoidNumber
from tidegate.bundle.tables import REQUIRED
from tidegate.errors import ChannelUnknownError, NotReleasedError, UsageError
from tidegate.slip.code import make_code, parse_code
from tidegate.slip.slip import Slip, verify_slip
from tidegate.state.bundles import BundleState, set_bundle_state
from tidegate_receiver.intake.numbering import Standing, read_standing
from tidegate_receiver.intake.outcomes import OutcomeKind
from tidegate_receiver.promotion.promotion import load
from tidegate_receiver.slip import choose_channel, make_slip


class World:
    """A high side, and bundles of one low side that come to it by number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.low = LowSide()
        self.high = HighSide.make(folder / "high", self.low)

    def bundle(self, sequence: int, **changes: object) -> SignedBundle:
        return self.low.bundle([content(sequence, 5_000)], sequence=sequence, **changes)

    def take(self, bundle: SignedBundle) -> OutcomeKind:
        medium = self.folder / f"stick-{bundle.bundle_id[:8]}"
        self.low.write(bundle, medium)
        return self.high.receive_one(medium).kind

    def standing(self) -> Standing:
        workspace = self.high.workspace()
        with workspace.state.reading() as tx:
            return read_standing(tx, workspace.root, self.low.chain.channel_id, 1)

    def slip(self) -> Slip:
        workspace = self.high.workspace()
        slip = make_slip(workspace, choose_channel(workspace, None)).slip
        assert slip is not None
        verify_slip(slip, workspace.recorder.key, self.low.chain.channel_id)
        return slip

    def says(self) -> tuple[str, str]:
        said = self.slip().statement
        return str(said.held), str(said.missing)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def void(*numbers: int, reason: str | None = None, of: SignedBundle | None = None) -> tuple[VoidNumber, ...]:
    return tuple(VoidNumber(number, of.bundle_id if of else "22" * 32, reason) for number in numbers)


def test_a_site_that_holds_nothing_says_so(world: World) -> None:
    assert world.says() == ("NONE", "NONE")
    assert world.slip().statement.code is None


def test_what_lies_between_is_missing_and_what_came_before_the_first_is_not(world: World) -> None:
    for number in (40, 41, 45):
        world.take(world.bundle(number))
    assert world.says() == ("40-41+45", "42-44")
    world.take(world.bundle(43))
    assert world.says() == ("40-41+43+45", "42+44")


def test_each_slip_is_an_entry_and_covers_it(world: World) -> None:
    first, second = world.slip().statement, world.slip().statement
    assert first.size < second.size
    assert [event for event in world.high.events() if event == "slip-printed"] == ["slip-printed"] * 2
    assert len(world.high.entries()) == second.size


def test_what_a_held_bundle_builds_on_and_is_not_here_is_missing(world: World) -> None:
    required = np.array([(b"\x07" * 32, 10, 3), (b"\x08" * 32, 10, 0)], REQUIRED)
    blobs = [content(1, 5_000)]
    world.take(world.low.bundle(blobs, body=make_body(blobs, required=required), sequence=7))
    assert world.says() == ("7", "3")
    world.take(world.bundle(3))  # of that number, and without the content: it was removed here
    assert world.says() == ("7", "3-6")


def test_a_bundle_whose_quarantine_was_emptied_by_hand_is_missing(world: World) -> None:
    bundles = [world.bundle(number) for number in (1, 2, 3)]
    for bundle in bundles:
        world.take(bundle)
    shutil.rmtree(world.high.quarantine(bundles[1]))
    assert world.says() == ("1+3", "2")


def test_a_refused_bundle_is_not_held(world: World) -> None:
    bundles = [world.bundle(number) for number in (1, 2, 3)]
    for bundle in bundles:
        world.take(bundle)
    with world.high.workspace().state.transaction() as tx:
        set_bundle_state(tx, bundles[1].bundle_id, BundleState.REFUSED)
    assert world.says() == ("1+3", "2")


def test_a_void_number_is_no_gap_and_its_bundle_is_stale(world: World) -> None:
    lost = world.bundle(2)
    world.take(world.bundle(1))
    medium = world.folder / "next"
    world.low.write(world.bundle(4, void=void(2, of=lost)), medium)
    assert world.high.receive_one(medium).gap == (3, 3)
    assert world.says() == ("1+4", "3")
    assert "discard" in world.high.events()
    assert world.take(lost) is OutcomeKind.REFUSED
    assert world.high.events()[-1] == "stale/stale"


def test_another_bundle_under_a_void_number_is_a_fork(world: World) -> None:
    world.take(world.bundle(3, void=void(2)))
    assert world.take(world.bundle(2)) is OutcomeKind.REFUSED
    assert world.high.events()[-1] == "fork/fork"


def test_a_void_number_is_told_once_in_the_ledger_though_every_bundle_repeats_it(world: World) -> None:
    for number in (3, 4, 5):
        world.take(world.bundle(number, void=void(2)))
    assert world.high.events().count("discard") == 1


def test_a_withdrawn_bundle_is_neither_loaded_nor_held(world: World) -> None:
    bad = world.bundle(1)
    world.take(bad)
    world.take(world.bundle(2, void=void(1, reason="it deletes\u00e9 files", of=bad)))
    with pytest.raises(NotReleasedError, match="has withdrawn it: it delete"):
        load(world.high.workspace(), "1")
    assert world.says() == ("2", "NONE")
    assert "withdraw" in world.high.events()


def test_the_code_of_a_slip_is_that_of_the_highest_bundle_and_what_receive_said(world: World) -> None:
    medium = world.folder / "one"
    world.low.write(world.bundle(1), medium)
    outcome = world.high.receive_one(medium)
    assert str(world.slip().statement.code) == outcome.code
    assert world.high.receive_one(medium).code == outcome.code
    (row,) = world.high.rows()
    facts = {"channel_id": row.channel_id, "site": "plant-7", "receipt": row.detail["receipt"]}
    assert parse_code(outcome.code) == make_code(epoch=1, sequence=1, **facts)


def test_one_channel_is_chosen_by_name_where_there_are_several(tmp_path: Path) -> None:
    low, other = LowSide(), LowSide("office")
    workspace = HighSide.make(tmp_path / "high", low, other).workspace()
    with pytest.raises(UsageError, match="more than one channel"):
        choose_channel(workspace, None)
    with pytest.raises(ChannelUnknownError):
        choose_channel(workspace, "elsewhere")
    assert choose_channel(workspace, "office").channel_id == other.chain.channel_id


def test_nothing_of_a_slip_is_made_where_the_ledger_cannot_take_its_entry(world: World) -> None:
    from tidegate.errors import LedgerError

    world.slip()
    checkpoint = world.high.root / "ledger" / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"high", b"low"))
    with pytest.raises(LedgerError):
        world.slip()


@pytest.mark.parametrize("field", ["held", "missing", "code", "date"])
def test_a_field_that_the_policy_keeps_to_itself_is_not_on_the_slip(world: World, field: str) -> None:
    from dataclasses import replace

    from tidegate.config import SLIP_FIELDS
    from tidegate_receiver.slip import choose_channel, make_slip

    world.take(world.bundle(1))
    world.take(world.bundle(3))
    workspace = world.high.workspace()
    told = tuple(name for name in SLIP_FIELDS if name != field)
    quiet = replace(workspace, settings=replace(workspace.settings, slip_fields=told))
    channel = choose_channel(workspace, None)
    full, less = make_slip(workspace, channel), make_slip(quiet, channel)
    assert full.withheld == ()
    assert less.withheld == (field,)
    assert less.left_out == 0
    assert full.slip is not None
    assert less.slip is not None
    before, after = full.slip.statement, less.slip.statement
    values = {name: (str(getattr(before, name)), str(getattr(after, name))) for name in SLIP_FIELDS}
    assert values[field][0] not in ("NONE", "None")
    assert values[field][1] in ("NONE", "None")
    others = {name for name, (was, now) in values.items() if was != now}
    assert others == ({field, "code"} if field == "held" else {field})
    assert f"{field} NONE" in str(world.high.entries()[-1]["detail"])


# --- what was cleaned up or denied --------------------------------------------------------------


def test_a_number_that_was_decided_is_neither_held_nor_waited_for(world: World) -> None:
    for sequence in (1, 2, 3):
        world.take(world.bundle(sequence))
    workspace = world.high.workspace()
    with workspace.state.transaction() as tx:
        set_bundle_state(tx, world.bundle(1).bundle_id, BundleState.CLEANED)
        set_bundle_state(tx, world.bundle(2).bundle_id, BundleState.DENIED)
    standing = world.standing()
    assert (list(standing.held), list(standing.missing)) == ([3], [])


def test_a_gap_below_what_was_cleaned_up_is_still_one(world: World) -> None:
    for sequence in (1, 3):
        world.take(world.bundle(sequence))
    workspace = world.high.workspace()
    with workspace.state.transaction() as tx:
        set_bundle_state(tx, world.bundle(1).bundle_id, BundleState.CLEANED)
    assert list(world.standing().missing) == [2]
