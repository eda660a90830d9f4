"""Discard and withdraw: no number is given twice, and none leaves a gap."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_roots import files_artifact, low_side

from tidegate.bundle.container import BundleFile
from tidegate.errors import BusyError, UsageError
from tidegate.files import locked
from tidegate.state.bundles import BundleState, get_bundle, put_bundle, set_bundle_state
from tidegate.state.channels import get_channel
from tidegate.workspace import Workspace
from tidegate_sender.discarding import DiscardOutcome, discard, withdraw
from tidegate_sender.packing.pack import PackOptions, PackOutcome, PackReport, pack
from tidegate_sender.packing.records import LOCK_FILE, find_place, record_pack


@pytest.fixture
def low(tmp_path: Path) -> Workspace:
    return low_side(tmp_path)


def packed(low: Workspace, *contents: bytes) -> PackReport:
    return pack(low, [files_artifact(low, "docs", *contents)])


def send(low: Workspace, report: PackReport, *, only_begun: bool = False) -> None:
    with low.state.transaction() as tx:
        state = BundleState.PACKED if only_begun else BundleState.SENT
        set_bundle_state(tx, report.bundle_id, state, detail={"write_begun": True})


def voids(report: PackReport) -> list[tuple[int, str, str | None]]:
    with BundleFile.open(report.path) as bundle:
        return [(item.sequence, item.bundle_id, item.reason) for item in bundle.manifest().void or ()]


def test_an_unsent_bundle_gives_its_number_back_and_its_file_goes(low: Workspace) -> None:
    first = packed(low, b"one")
    assert discard(low, first.name).outcome is DiscardOutcome.GIVEN_BACK
    assert not first.path.exists()
    second = packed(low, b"two")
    assert (second.sequence, second.outcome, voids(second)) == (1, PackOutcome.PACKED, [])


def test_discarding_twice_is_nothing_to_do(low: Workspace) -> None:
    first = packed(low, b"one")
    discard(low, first.name)
    assert discard(low, first.name).outcome is DiscardOutcome.NOTHING
    with low.state.reading() as tx:
        channel = get_channel(tx, low.trust.own_channel().channel_id)
    assert channel is not None
    assert channel.next_sequence == 1


@pytest.mark.parametrize("only_begun", [False, True], ids=["sent", "writing was begun"])
def test_the_number_of_a_bundle_that_may_lie_on_a_medium_is_void_for_good(low: Workspace, only_begun: bool) -> None:
    first = packed(low, b"one")
    send(low, first, only_begun=only_begun)
    assert discard(low, first.name).outcome is DiscardOutcome.VOID
    for number in (2, 3):
        following = packed(low, b"two", bytes([number]))
        assert following.sequence == number
        assert voids(following) == [(1, first.bundle_id, None)]
        send(low, following)


def test_a_new_void_number_is_told_though_the_artifacts_are_the_same(low: Workspace) -> None:
    first = packed(low, b"one")
    send(low, first)
    second = packed(low, b"two")
    send(low, second)
    third = packed(low, b"one")
    assert packed(low, b"one").outcome is PackOutcome.NOTHING
    discard(low, second.name)
    again = packed(low, b"one")
    assert (again.outcome, again.sequence) == (PackOutcome.REPLACED, third.sequence)
    assert packed(low, b"one").outcome is PackOutcome.NOTHING
    withdraw(low, second.name, "it was wrong")
    assert voids(packed(low, b"one")) == [(2, second.bundle_id, "it was wrong")]


def test_withdrawing_needs_a_bundle_that_was_sent_and_a_reason_of_one_line(low: Workspace) -> None:
    first = packed(low, b"one")
    with pytest.raises(UsageError, match="was not sent"):
        withdraw(low, first.name, "wrong")
    send(low, first)
    for reason in ("", "  ", "a\nb", "x" * 257, "\x1b[2J"):
        with pytest.raises(UsageError, match="reason"):
            withdraw(low, first.name, reason)
    assert withdraw(low, first.name, "wrong").outcome is DiscardOutcome.WITHDRAWN
    assert withdraw(low, first.name, "wrong").outcome is DiscardOutcome.NOTHING


def test_the_bundles_that_build_on_it_are_named(low: Workspace) -> None:
    first = packed(low, b"one")
    send(low, first)
    more = [files_artifact(low, "docs", b"one"), files_artifact(low, "more", b"two")]
    second = pack(low, more, PackOptions(since=first.name))
    assert discard(low, first.name, dry_run=True).builds_on_it == (second.name,)


def test_nothing_is_discarded_while_a_pack_is_at_work(low: Workspace) -> None:
    first = packed(low, b"one")
    with locked(low.folder("spool") / LOCK_FILE, busy="taken"), pytest.raises(BusyError, match="a pack is at work"):
        discard(low, first.name)
    with low.state.reading() as tx:
        row = get_bundle(tx, first.bundle_id)
    assert row is not None
    assert row.state is BundleState.PACKED


def test_a_number_is_not_taken_of_a_bundle_that_was_sent_while_the_next_was_packed(low: Workspace) -> None:
    first = packed(low, b"one")
    place = find_place(low.state, low.trust.own_channel())
    send(low, first, only_begun=True)
    with low.state.reading() as tx:
        row = get_bundle(tx, first.bundle_id)
    assert row is not None
    with BundleFile.open(first.path) as bundle:
        manifest = bundle.manifest()
    with pytest.raises(BusyError, match="was sent or discarded"):
        record_pack(low, place, manifest, replace(row, bundle_id="ab" * 32), ())


def test_a_bundle_of_another_epoch_is_left_as_it_is(low: Workspace) -> None:
    first = packed(low, b"one")
    with low.state.transaction() as tx:
        row = get_bundle(tx, first.bundle_id)
        assert row is not None
        put_bundle(tx, replace(row, detail={**row.detail, "epoch": 7}))
    with pytest.raises(UsageError, match="epoch"):
        discard(low, first.name)
