"""Which entries ``ledger list`` shows."""

from pathlib import Path

import pytest
from ledgers import open_desk

from tidegate.errors import LedgerDamagedError, UsageError
from tidegate.ledger.entries import Event, entry
from tidegate.ledger.listing import list_recorded

BUNDLE_ID = "ab" * 32


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    desk = open_desk(tmp_path)
    for time, event in ((100, Event.PACK), (200, Event.SEND), (300, Event.PACK)):
        monkeypatch.setattr("tidegate.clock.now", lambda time=time: time)
        with desk.state.transaction() as tx:
            tx.queue(entry(event, subject="s", step=event, bundle=BUNDLE_ID, bundle_name=f"7f3a-{time:04d}"))
    desk.recorder.drain()
    return desk.folder


def numbers(folder: Path, **filters: str) -> list[int]:
    return [item.number for item in list_recorded(folder, **filters)]


def test_all_entries_come_in_order_with_their_numbers(folder: Path) -> None:
    assert numbers(folder) == [0, 1, 2]


def test_entries_are_chosen_by_event_bundle_and_time(folder: Path) -> None:
    assert numbers(folder, event="pack") == [0, 2]
    assert numbers(folder, bundle="7f3a-0200") == [1]
    assert numbers(folder, bundle="abababab") == [0, 1, 2]
    assert numbers(folder, bundle="ab") == []
    assert numbers(folder, since="1970-01-01T00:03:20Z") == [1, 2]
    assert numbers(folder, event="pack", since="1970-01-01T00:03:20Z") == [2]


def test_a_since_that_is_no_time_is_a_usage_error(folder: Path) -> None:
    with pytest.raises(UsageError):
        numbers(folder, since="yesterday")


def test_an_empty_ledger_has_no_entries(tmp_path: Path) -> None:
    assert numbers(tmp_path) == []


def test_a_missing_bundle_is_said_by_path(folder: Path) -> None:
    (folder / "tile/entries/000.p/3").unlink()
    with pytest.raises(LedgerDamagedError, match=r"tile/entries/000\.p/3: is missing"):
        numbers(folder)


def test_a_checkpoint_that_is_no_note_is_damage(folder: Path) -> None:
    (folder / "checkpoint").write_bytes(b"x")
    with pytest.raises(LedgerDamagedError):
        numbers(folder)
