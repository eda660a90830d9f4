"""Cutting a bundle over media: whole groups, heads first and last, what spares cost; a set that goes on tomorrow."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_roots import files_artifact, low_side, noise
from made_volumes import make_bundle

from tidegate.carrier import parts
from tidegate.carrier.announcement import CHUNKS, FILE_MAX_BYTES, HEAD
from tidegate.carrier.medium import find_volumes
from tidegate.errors import BusyError, MediaFullError, UsageError
from tidegate.ledger.entries import Medium
from tidegate.ledger.listing import list_recorded
from tidegate.lookup import resolve_bundle
from tidegate.state.bundles import BundleState
from tidegate.units import GIB, MIB
from tidegate.workspace import Workspace
from tidegate_sender.delivery import SendOptions
from tidegate_sender.packing.pack import pack
from tidegate_sender.sets import plan as set_plan
from tidegate_sender.sets.delivery import SetDelivery, SetOptions, SetStep
from tidegate_sender.sets.plan import SetPlanner, SetShape, sized, striped_geometry

SMALL = ((0, 4096),)
BUNDLE = make_bundle(30 * MIB)


@pytest.fixture(autouse=True)
def _small_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of 7 MB, so that a set fits into a test."""
    monkeypatch.setattr(parts, "SYMBOL_SIZES", SMALL)
    monkeypatch.setattr(set_plan, "SYMBOL_SIZES", SMALL)


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(8 * MIB, 20 * MIB), min_size=1, max_size=5))
def test_the_volumes_of_a_set_fit_and_hold_everything_once(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "SYMBOL_SIZES", SMALL)
        planner = SetPlanner(BUNDLE, SetShape("00" * 8, 0.1), 1000)
        rooms = [sized(size) for size in (*sizes, *[20 * MIB] * 10)]
        volumes = list(planner.plan_all(1, 0, iter(rooms)))
        assert [volume.number for volume in volumes] == list(range(1, len(volumes) + 1))
        assert [volume.first for volume in volumes] == [0, *(volume.end for volume in volumes[:-1])]
        assert volumes[-1].end == planner.groups
        assert [volume.is_last for volume in volumes] == [False] * (len(volumes) - 1) + [True]
        for volume, room in zip(volumes, rooms, strict=False):
            assert room.available is not None and volume.volume_bytes <= room.available
            announcement = planner.announcement(volume)
            assert announcement.last is (True if volume.is_last and volume.number > 1 else None)
            assert (CHUNKS, volume.first, volume.end) in announcement.spans


def test_a_large_head_lies_on_the_first_and_the_last_volume_only() -> None:
    bundle = make_bundle(40 * MIB, head=2 * MIB)
    planner = SetPlanner(bundle, SetShape("00" * 8, 0.1), 1000)
    volumes = list(planner.plan_all(1, 0, iter([sized(16 * MIB)] * 9)))
    assert len(volumes) > 2
    heads = [any(part == HEAD for part, _, _ in planner.announcement(volume).spans) for volume in volumes]
    assert heads == [True] + [False] * (len(volumes) - 2) + [True]


def test_a_medium_that_holds_no_group_is_refused_with_both_sizes() -> None:
    planner = SetPlanner(BUNDLE, SetShape("00" * 8, 0.1), 1000)
    with pytest.raises(MediaFullError, match=r"stick 1 needs at least .* bytes\), free are 2.0 MiB"):
        planner.next_volume(1, 0, sized(2 * MIB))


@pytest.mark.parametrize(
    ("volumes", "spare", "code", "percent"),
    [
        (3, 1, (150, 105), 70),
        (4, 1, (171, 84), 49),
        (5, 1, (184, 71), 39),
        (10, 1, (209, 46), 22),
        (5, 2, (133, 122), 92),
    ],
)
def test_what_spares_cost(
    volumes: int, spare: int, code: tuple[int, int], percent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    geometry = striped_geometry(20 * GIB, volumes, spare)
    assert (geometry.source_count, geometry.repair_count) == code
    assert round(100 * geometry.repair_count / geometry.source_count) == percent


@given(length=st.integers(1, 60 * MIB), volumes=st.integers(3, 40), spare=st.integers(1, 3))
def test_any_length_has_a_code_that_bears_the_loss_of_the_spares(length: int, volumes: int, spare: int) -> None:
    if volumes < spare + 2:
        return
    geometry = striped_geometry(length, volumes, spare)
    most = geometry.source_count + geometry.repair_count
    least = geometry.block_source_count(geometry.block_count - 1) + geometry.repair_count
    assert spare * -(-most // volumes) < geometry.repair_count
    assert least >= volumes


# --- over days --------------------------------------------------------------------------------


@pytest.fixture
def low(tmp_path: Path) -> Workspace:
    workspace = low_side(tmp_path / "low")
    pack(workspace, [files_artifact(workspace, "docs", noise(30 * MIB, 1))])
    return workspace


def send(low: Workspace, medium: Path, **choice: object) -> SetStep:
    """One `send` of its own: nothing but the state is carried over."""
    medium.mkdir(exist_ok=True)
    options = SetOptions(**{"stick_bytes": 17 * MIB, "file_bytes": FILE_MAX_BYTES} | choice)  # type: ignore[arg-type]
    found = resolve_bundle(low, "1")
    with SetDelivery(low, found, SendOptions(0.1), options) as delivery:
        return delivery.write(medium, Medium(), lambda _done, _total, _phase: None)


def state_of(low: Workspace) -> BundleState:
    row = resolve_bundle(low, "1").row
    assert row is not None
    return row.state


def test_a_set_goes_on_where_it_was_and_counts_as_sent_with_its_last_stick(low: Workspace, tmp_path: Path) -> None:
    steps = [send(low, tmp_path / name) for name in ("a", "b")]
    assert [(step.volume.number, step.is_complete, step.is_exact) for step in steps] == [
        (1, False, False),
        (2, False, False),
    ]
    assert steps[0].expected == 3
    assert state_of(low) is BundleState.PACKED
    assert send(low, tmp_path / "b").delivery is None  # still in
    last = send(low, tmp_path / "c")
    assert (last.volume.number, last.is_complete, last.is_exact, last.missing) == (3, True, True, ())
    assert state_of(low) is BundleState.SENT
    outcomes = [item.text("outcome") for item in list_recorded(low.folder("ledger")) if item.text("event") == "send"]
    assert outcomes == ["partial", "partial", "done"]
    assert send(low, tmp_path / "c").delivery is None  # and nothing is begun anew over the last stick


def test_sticks_of_different_size_and_a_lost_one_written_again_byte_for_byte(low: Workspace, tmp_path: Path) -> None:
    send(low, tmp_path / "a", stick_bytes=9 * MIB)
    send(low, tmp_path / "b", stick_bytes=30 * MIB)
    again = send(low, tmp_path / "again", again=1)
    assert again.volume.number == 1
    (first,), (second,) = (sorted((tmp_path / name).rglob("*.TGV")) for name in ("a", "again"))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(UsageError, match="stick 7 was not written"):
        send(low, tmp_path / "again", again=7)


def test_a_new_set_begins_at_the_first_volume_with_another_name(low: Workspace, tmp_path: Path) -> None:
    send(low, tmp_path / "a")
    step = send(low, tmp_path / "b", new_set=True)
    assert step.volume.number == 1
    tags = {find_volumes(tmp_path / name).volumes[0].frame.tag for name in ("a", "b")}
    assert len(tags) == 2


def test_of_two_commands_at_once_one_gives_way(low: Workspace, tmp_path: Path) -> None:
    send(low, tmp_path / "a")
    (tmp_path / "b").mkdir()
    found = resolve_bundle(low, "1")
    with SetDelivery(low, found, SendOptions(0.1), SetOptions(stick_bytes=17 * MIB)) as slow:
        assert send(low, tmp_path / "c").volume.number == 2
        with pytest.raises(BusyError, match="another command wrote stick 2"):
            slow.write(tmp_path / "b", Medium(), lambda _done, _total, _phase: None)
    assert send(low, tmp_path / "d").volume.number == 3


def test_a_set_goes_on_as_it_was_begun(low: Workspace, tmp_path: Path) -> None:
    send(low, tmp_path / "a")
    with pytest.raises(UsageError, match="a set with nothing to spare is under way"):
        send(low, tmp_path / "b", spare=1)


def test_spares_above_half_of_the_content_must_be_accepted(low: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"1 to spare among 3 sticks costs 7\d% more"):
        send(low, tmp_path / "a", spare=1, volumes=3, stick_bytes=None)
    step = send(low, tmp_path / "a", spare=1, volumes=3, stick_bytes=None, accept_overhead=True)
    assert (step.volume.number, step.expected, step.is_exact, step.missing) == (1, 3, True, (2, 3))
    for name in ("b", "c"):
        step = send(low, tmp_path / name, stick_bytes=None)
    assert step.is_complete
    sizes = [sum(path.stat().st_size for path in (tmp_path / name).rglob("*.TGV")) for name in "abc"]
    assert max(sizes) - min(sizes) < MIB
