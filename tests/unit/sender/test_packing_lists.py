"""A list for each purpose on one channel: what left which list, what takes whose place, and what is nothing new."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from made_roots import files_artifact, low_side, noise

from tidegate.depot.descriptors import Descriptor
from tidegate.slip.numbers import Numbers
from tidegate.state.bundles import BundleState, get_bundle, put_bundle, set_bundle_state
from tidegate.workspace import Workspace
from tidegate_sender.collect.lists.arguments import items_from_arguments
from tidegate_sender.packing.lists import LISTS_KEY
from tidegate_sender.packing.pack import PackOptions, PackOutcome, PackReport, pack
from tidegate_sender.packing.planning import plan
from tidegate_sender.slips.memory import Confirmed, put_confirmed

SITES = ("plant-7",)


@pytest.fixture
def low(tmp_path: Path) -> Workspace:
    return low_side(tmp_path, sites=SITES)


@dataclass(frozen=True)
class Listed:
    """An artifact that a list asked for."""

    name: str
    kind: str
    descriptor: Descriptor
    listed: tuple[str, ...]


def pack_lists(low: Workspace, send: bool = True, partial: bool = False, **lists: str) -> PackReport:
    """Pack what lists ask for, each letter an artifact; the list `typed` is the command line."""
    wanted = []
    for name, letters in lists.items():
        for letter in letters:
            made = files_artifact(low, letter, noise(5000, ord(letter)))
            wanted.append(Listed(made.name, made.kind, made.descriptor, () if name == "typed" else (name,)))
    report = pack(low, wanted, PackOptions(is_partial=partial))
    if send:
        with low.state.transaction() as tx:
            set_bundle_state(tx, report.bundle_id, BundleState.SENT, detail={"write_begun": True})
    return report


def confirm(low: Workspace, *numbers: int) -> None:
    with low.state.transaction() as tx:
        put_confirmed(tx, low.trust.own_channel().channel_id, 1, SITES[0], Confirmed(Numbers.of(numbers)))


def letters(report: PackReport) -> str:
    return "".join(name.removeprefix("files/") for name in report.removed)


def test_what_another_list_carries_did_not_leave(low: Workspace) -> None:
    pack_lists(low, web="ab")
    assert letters(pack_lists(low, tools="xy")) == ""
    assert letters(pack_lists(low, typed="m")) == ""
    assert letters(pack_lists(low, web="ac")) == "b"


def test_each_list_is_held_against_its_own_newest_bundle_however_long_ago_it_was(low: Workspace) -> None:
    pack_lists(low, web="ab")
    pack_lists(low, tools="x")
    confirm(low, 1, 2)
    for number in range(3, 6):
        pack_lists(low, tools="x" + "yzk"[: number - 2])
    confirm(low, 1, 2, 3, 4, 5)
    assert letters(pack_lists(low, web="a")) == "b"


def test_what_left_is_told_again_by_bundles_of_other_lists_until_one_is_confirmed(low: Workspace) -> None:
    pack_lists(low, web="ab")
    assert letters(pack_lists(low, web="a")) == "b"
    assert letters(pack_lists(low, tools="x")) == "b"
    confirm(low, 1, 2, 3)
    assert letters(pack_lists(low, tools="xy")) == ""


def test_what_went_from_one_list_to_another_is_still_carried(low: Workspace) -> None:
    pack_lists(low, web="ab")
    assert letters(pack_lists(low, web="a")) == "b"
    assert letters(pack_lists(low, tools="b")) == ""
    assert letters(pack_lists(low, web="ac")) == ""


def test_two_lists_in_one_bundle_are_each_held_against_their_own(low: Workspace) -> None:
    pack_lists(low, web="ab", tools="xy")
    assert letters(pack_lists(low, web="a")) == "b"
    assert letters(pack_lists(low, web="a", tools="x")) == "by"
    confirm(low, 1, 2, 3)
    assert letters(pack_lists(low, web="ac", tools="x")) == ""


def test_what_could_not_be_had_is_still_asked_for_by_its_list(low: Workspace) -> None:
    pack_lists(low, web="ab")
    assert letters(pack_lists(low, web="a", partial=True)) == ""
    assert letters(pack_lists(low, tools="x")) == ""
    assert letters(pack_lists(low, web="ac")) == "b"


def test_a_bundle_that_waits_keeps_its_number_when_another_list_is_packed(low: Workspace) -> None:
    first = pack_lists(low, send=False, web="a")
    second = pack_lists(low, send=False, tools="x")
    assert (second.sequence, second.outcome) == (first.sequence + 1, PackOutcome.PACKED)
    third = pack_lists(low, send=False, tools="xy")
    assert (third.sequence, third.outcome) == (second.sequence, PackOutcome.REPLACED)
    assert pack_lists(low, send=False, tools="xyz", web="a").sequence == second.sequence


def test_a_list_of_which_nothing_changed_makes_no_bundle_after_another_list_was_packed(low: Workspace) -> None:
    first = pack_lists(low, web="ab")
    pack_lists(low, tools="x")
    again = pack_lists(low, send=False, web="ab")
    assert (again.outcome, again.bundle_id) == (PackOutcome.NOTHING, first.bundle_id)


def test_a_list_is_packed_again_when_another_one_set_one_of_its_names_anew(low: Workspace) -> None:
    pack_lists(low, web="ab")
    other = files_artifact(low, "b", noise(5000, 99))
    pack(low, [Listed(other.name, other.kind, other.descriptor, ("tools",))])
    assert pack_lists(low, web="ab").outcome is PackOutcome.PACKED


def test_of_a_restored_bundle_nothing_left_until_a_list_has_named_it_again(low: Workspace) -> None:
    first = pack_lists(low, web="abc")
    with low.state.transaction() as tx:
        row = get_bundle(tx, first.bundle_id)
        assert row is not None
        put_bundle(tx, replace(row, detail={key: value for key, value in row.detail.items() if key != LISTS_KEY}))
    assert letters(pack_lists(low, web="ab")) == ""
    assert letters(pack_lists(low, web="a")) == "b"


def test_a_list_goes_by_its_name_or_its_file_and_plan_says_what_left_it(low: Workspace, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(noise(100, ord(name)))
    named, other = tmp_path / "web.yaml", tmp_path / "tools.yaml"
    named.write_text("tidegate: 1\nname: the web\nfiles: [./a, ./b]\n")
    other.write_text("tidegate: 1\nfiles: [./c]\n")
    items = items_from_arguments((str(named), str(other), str(tmp_path / "c")))
    assert [item.listed for item in items] == [("the web",), ("the web",), (str(other.resolve()),), ()]
    pack_lists(low, **{"the web": "ab"})
    moved = tmp_path / "moved.yaml"
    moved.write_text("tidegate: 1\nname: the web\nfiles: [./a]\n")
    assert plan(low, items_from_arguments((str(moved),))).removed == ("files/b",)
    assert plan(low, items_from_arguments((str(other),))).removed == ()
    pack_lists(low, **{str(other.resolve()): "c"})
    planned = plan(low, items_from_arguments((str(moved),)))
    assert planned.newest is not None
    assert planned.newest.endswith("-0001")
