"""The few bundles that declare numbers void are found without making objects of all."""

from pathlib import Path

from tidegate.state.bundles import BundleRow, BundleState, bundles_with_voids, put_bundle
from tidegate.state.db import State


def row(number: int, channel: str, **detail: object) -> BundleRow:
    state = BundleState.QUARANTINED
    return BundleRow(f"{channel[:2]}{number:062x}", channel, number, "high", state, 0, 1, 1, detail=dict(detail))


def test_only_rows_whose_list_of_voids_has_something_in_it_are_found(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    one, other = "ab" * 32, "cd" * 32
    told = [[3, "ef" * 32, 'a reason with "void": [] in it']]
    with state.transaction() as tx:
        put_bundle(tx, row(1, one))
        put_bundle(tx, row(2, one, void=[]))
        put_bundle(tx, row(4, one, epoch=1, void=told))
        put_bundle(tx, row(5, other, void=told))
    with state.reading() as tx:
        assert [found.sequence for found in bundles_with_voids(tx, one)] == [4]
    state.close()
