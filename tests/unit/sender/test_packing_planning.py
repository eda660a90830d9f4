"""Planning: what would be brought, and nothing changed by asking."""

import os
from pathlib import Path

import pytest
from made_roots import low_side

from tidegate.bundle.container import BundleFile
from tidegate.errors import MediaNotFoundError
from tidegate.state.bundles import BundleState, set_bundle_state
from tidegate.units import MIB
from tidegate.workspace import Workspace
from tidegate_sender.collect.items import Item
from tidegate_sender.collect.lists.arguments import items_from_arguments
from tidegate_sender.collect.pipeline import collect
from tidegate_sender.media.plan import estimate_volume
from tidegate_sender.packing.pack import PackReport, pack
from tidegate_sender.packing.planning import Novelty, plan


@pytest.fixture
def low(tmp_path: Path) -> Workspace:
    return low_side(tmp_path / "low")


@pytest.fixture
def layout(tmp_path: Path) -> tuple[Item, ...]:
    """An image in an OCI layout, whose blobs are known without reading them."""
    from content import add_image

    from tidegate.depot.store import Depot

    depot = Depot(tmp_path / "layout")
    image = add_image(depot, [b"one layer" * 1000, os.urandom(2 * MIB)])
    depot.set_references({"localhost/app:1": image})
    return items_from_arguments((f"oci:{tmp_path / 'layout'}:localhost/app:1",))


def snapshot(folder: Path) -> dict[str, int]:
    ignored = {"state.db", "state.db-wal", "state.db-shm"}
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name not in ignored}


def collect_and_pack(low: Workspace, items: tuple[Item, ...]) -> PackReport:
    return pack(low, collect(items, low.depot).artifacts)


def test_a_first_plan_brings_everything_and_changes_nothing(low: Workspace, layout: tuple[Item, ...]) -> None:
    before = snapshot(low.root)
    found = plan(low, layout)
    assert snapshot(low.root) == before
    (artifact,) = found.artifacts
    assert (artifact.novelty, found.newest, found.replaces, found.room) == (Novelty.NEW, None, None, None)
    assert found.content_size == found.brought_size == found.new_size == found.missing_size > 2 * MIB
    assert found.bundle.endswith("-0001")


def test_what_is_planned_is_what_is_packed(low: Workspace, layout: tuple[Item, ...]) -> None:
    planned = plan(low, layout)
    packed = collect_and_pack(low, layout)
    assert (planned.bundle, planned.content_size) == (packed.name, packed.content_size)
    with BundleFile.open(packed.path) as bundle:
        preamble = low.trust.own_channel().to_bytes()
        assert estimate_volume(bundle, low.settings.redundancy, preamble=preamble) <= planned.volume_bytes


def test_what_the_newest_bundle_has_is_not_new(low: Workspace, layout: tuple[Item, ...]) -> None:
    packed = collect_and_pack(low, layout)
    found = plan(low, layout)
    assert found.artifacts[0].novelty is Novelty.SAME
    assert (found.new_size, found.missing_size, found.artifacts[0].new_size) == (0, 0, 0)
    assert found.brought_size == packed.content_size  # without a base all of it rides again
    assert (found.newest, found.replaces) == (packed.name, packed.name)


def test_a_base_is_left_out_of_the_plan(low: Workspace, layout: tuple[Item, ...]) -> None:
    packed = collect_and_pack(low, layout)
    with low.state.transaction() as tx:
        set_bundle_state(tx, packed.bundle_id, BundleState.SENT)
    found = plan(low, layout, since=packed.name)
    assert (found.brought_size, found.required_size) == (0, packed.content_size)
    assert found.bundle.endswith("-0002")


def test_files_count_in_full_because_they_are_not_read(low: Workspace, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "file").write_bytes(bytes(100_000))
    items = items_from_arguments((str(tmp_path / "docs"),))
    first = plan(low, items)
    assert first.brought_size > 100_000
    packed = collect_and_pack(low, items)
    assert plan(low, items).artifacts[0].novelty is Novelty.UNREAD
    with BundleFile.open(packed.path) as bundle:
        preamble = low.trust.own_channel().to_bytes()
        assert estimate_volume(bundle, low.settings.redundancy, preamble=preamble) <= first.volume_bytes


def test_what_cannot_be_looked_at_is_listed(low: Workspace, tmp_path: Path, layout: tuple[Item, ...]) -> None:
    items = (*layout, *items_from_arguments((f"{tmp_path}/nothing",)))
    found = plan(low, items)
    assert len(found.artifacts) == 1
    assert [failure.label for failure in found.failures] == [f"{tmp_path}/nothing"]


def test_a_medium_fits_or_not(
    low: Workspace, layout: tuple[Item, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = plan(low, layout, medium=tmp_path).room
    assert room is not None
    assert room.needed == plan(low, layout).volume_bytes
    monkeypatch.setattr(
        "tidegate_sender.packing.planning._room", lambda medium, needed: type(room)(medium, needed, needed - 1)
    )
    tight = plan(low, layout, medium=tmp_path).room
    assert tight is not None
    assert not tight.fits


def test_a_medium_that_is_not_there_is_named(low: Workspace, layout: tuple[Item, ...], tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="unplugged"):
        plan(low, layout, medium=tmp_path / "unplugged")
