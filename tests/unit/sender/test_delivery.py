"""Sending: entries before and after the effect, and a number that is used up once a write has begun."""

from pathlib import Path

import pytest
from made_roots import files_artifact, low_side, noise

from tidegate.errors import MediaFullError, UsageError
from tidegate.ledger.entries import Medium
from tidegate.ledger.listing import list_recorded
from tidegate.lookup import resolve_bundle
from tidegate.state.bundles import BundleState
from tidegate.workspace import Workspace
from tidegate_sender import delivery
from tidegate_sender.commands.amounts import parse_percent
from tidegate_sender.delivery import SendOptions, deliver
from tidegate_sender.packing.pack import PackOutcome, pack

OPTIONS = SendOptions(redundancy=0.1)


@pytest.fixture
def low(tmp_path: Path) -> Workspace:
    return low_side(tmp_path / "low")


def send(low: Workspace, medium: Path, text: str = "1") -> delivery.Delivery:
    medium.mkdir(exist_ok=True)
    return deliver(low, resolve_bundle(low, text), medium, Medium(), OPTIONS, lambda _done, _total, _phase: None)


def events(low: Workspace) -> list[tuple[str, str]]:
    return [(item.text("event"), item.text("outcome")) for item in list_recorded(low.folder("ledger"))]


def test_sending_is_recorded_before_the_effect_and_after_it(low: Workspace, tmp_path: Path) -> None:
    pack(low, [files_artifact(low, "docs", noise(5000, 1))])
    send(low, tmp_path / "usb")
    assert events(low)[-4:] == [("write", "begun"), ("write", "done"), ("read-back", "done"), ("send", "done")]
    row = resolve_bundle(low, "1").row
    assert row is not None and row.state is BundleState.SENT


def test_sending_twice_writes_nothing_and_says_so_in_the_ledger(low: Workspace, tmp_path: Path) -> None:
    pack(low, [files_artifact(low, "docs", noise(5000, 1))])
    send(low, tmp_path / "usb")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "usb").rglob("*")}
    send(low, tmp_path / "usb")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "usb").rglob("*")} == before
    assert events(low)[-2:] == [("write", "nothing"), ("send", "nothing")]


def test_a_number_is_used_up_once_a_write_has_begun(
    low: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(low, [files_artifact(low, "docs", noise(5000, 1))])

    def fail(*_: object, **__: object) -> None:
        raise MediaFullError("full")

    monkeypatch.setattr(delivery, "write_volume", fail)
    with pytest.raises(MediaFullError):
        send(low, tmp_path / "usb")
    assert events(low)[-2:] == [("write", "begun"), ("write", "failed")]
    again = pack(low, [files_artifact(low, "docs", noise(6000, 2))])
    assert (again.outcome, again.sequence) == (PackOutcome.PACKED, 2)


def test_a_bundle_that_was_not_sent_gives_its_number_to_the_next(low: Workspace) -> None:
    pack(low, [files_artifact(low, "docs", noise(5000, 1))])
    again = pack(low, [files_artifact(low, "docs", noise(6000, 2))])
    assert (again.outcome, again.sequence) == (PackOutcome.REPLACED, 1)


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("10", 0.1), ("0.1", 0.1), ("150 %", 1.5), ("0.5%", 0.005)])
def test_a_redundancy_is_read_as_people_write_it(text: str, share: float) -> None:
    assert parse_percent(text) == pytest.approx(share)


def test_a_redundancy_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError):
        parse_percent("a lot")
