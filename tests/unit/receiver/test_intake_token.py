"""Receiving from media with tokens: recorded, compared, never decisive."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from receiver_world import HighSide, LowSide, signer

from tidegate.carrier.token import MediumToken, build_token
from tidegate.ledger.entries import Medium
from tidegate.state.media import list_media
from tidegate_receiver.intake import looks
from tidegate_receiver.intake.intake import ReceiveOptions, receive_medium
from tidegate_receiver.intake.outcomes import OutcomeKind

TIME = "2026-01-31T08:00:00Z"
BLOBS = [b"a blob" * 100]


def put_token(low: LowSide, medium: Path, counter: int = 1, **changes: object) -> None:
    token = MediumToken(1, low.chain.channel_id, "STICK-07", "ab" * 16, counter, registered=TIME, written=TIME)
    folder = medium / "TIDEGATE"
    folder.mkdir(parents=True, exist_ok=True)
    data = build_token(replace(token, **changes), low.keys["carrier"])  # type: ignore[arg-type]
    (folder / "MEDIUM.TGM").write_bytes(data)


def media_entries(high: HighSide) -> list[tuple[str, str, dict[str, object]]]:
    return [
        (str(item["event"]), str(item.get("reason", "")), item["medium"])  # type: ignore[misc]
        for item in high.entries()
        if str(item["event"]) in {"media-inserted", "media-alarm"}
    ]


def alarms(high: HighSide) -> list[str]:
    return [reason for event, reason, _ in media_entries(high) if event == "media-alarm"]


def remembered(high: HighSide) -> list[tuple[str, int]]:
    workspace = high.workspace()
    try:
        with workspace.state.reading() as tx:
            return [(row.label, row.counter) for row in list_media(tx)]
    finally:
        workspace.state.close()


def test_label_token_and_counter_are_recorded_with_every_look(high: HighSide, low: LowSide, tmp_path: Path) -> None:
    put_token(low, tmp_path / "usb", 4)
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    assert high.receive_one(tmp_path / "usb").kind is OutcomeKind.RECEIVED
    ((_, _, medium),) = media_entries(high)
    assert (medium["register_label"], medium["token"], medium["counter"]) == ("STICK-07", "ab" * 16, 4)
    assert remembered(high) == [("STICK-07", 4)]
    entry = next(item for item in high.entries() if item["event"] == "receive")
    assert entry["medium"]["register_label"] == "STICK-07"  # type: ignore[index]


def test_a_medium_without_a_token_is_received_as_before(high: HighSide, low: LowSide, tmp_path: Path) -> None:
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    assert high.receive_one(tmp_path / "usb").kind is OutcomeKind.RECEIVED
    assert remembered(high) == []


def test_a_clone_that_fell_behind_is_an_alarm_and_is_received_all_the_same(
    high: HighSide, low: LowSide, tmp_path: Path
) -> None:
    put_token(low, tmp_path / "usb", 1)
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    shutil.copytree(tmp_path / "usb", tmp_path / "clone")
    put_token(low, tmp_path / "usb", 2)
    high.receive(tmp_path / "usb")
    workspace = high.workspace()
    report = receive_medium(workspace, tmp_path / "clone", ReceiveOptions())
    workspace.state.close()
    assert [outcome.kind for outcome in report.outcomes] == [OutcomeKind.DUPLICATE]
    assert "its counter is 1, it was 2" in report.notes[0]
    assert alarms(high) == ["medium-counter-back"]
    assert remembered(high) == [("STICK-07", 2)]


def test_two_writings_with_one_counter_are_an_alarm(high: HighSide, low: LowSide, tmp_path: Path) -> None:
    for name, written in (("usb", TIME), ("clone", "2026-02-01T08:00:00Z")):
        put_token(low, tmp_path / name, 2, written=written)
        low.write(low.bundle(BLOBS), tmp_path / name)
        high.receive(tmp_path / name)
    assert alarms(high) == ["medium-cloned"]


def test_a_token_on_another_device_is_an_alarm(
    high: HighSide, low: LowSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_token(low, tmp_path / "usb")
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    for serial in ("1111", "1111", "2222"):
        monkeypatch.setattr(looks, "medium_for_ledger", lambda _folder, serial=serial: Medium(serial=serial))
        high.receive(tmp_path / "usb")
    assert alarms(high) == ["medium-other-device"]


def test_the_same_medium_twice_is_no_alarm(high: HighSide, low: LowSide, tmp_path: Path) -> None:
    put_token(low, tmp_path / "usb")
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    high.receive(tmp_path / "usb")
    high.receive(tmp_path / "usb")
    assert alarms(high) == []


def test_a_token_of_a_carrier_key_that_comes_with_the_medium_counts(
    high: HighSide, low: LowSide, tmp_path: Path
) -> None:
    new = signer("new carrier", "link")
    root, old = low.chain.newest, low.keys["carrier"].key_id
    key = replace(root.keys[old], public=new.public.hex(), holder="link")
    role = replace(root.roles["carrier"], keys=(new.key_id,))
    keys = {name: value for name, value in root.keys.items() if name != old} | {new.key_id: key}
    low.rotate(keys=keys, roles=root.roles | {"carrier": role})
    low.keys["carrier"] = new
    put_token(low, tmp_path / "usb", 3)
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    assert high.receive_one(tmp_path / "usb").kind is OutcomeKind.RECEIVED
    assert remembered(high) == [("STICK-07", 3)]
    assert alarms(high) == []


def test_a_forged_token_is_an_alarm_and_changes_nothing_of_what_is_received(
    high: HighSide, low: LowSide, tmp_path: Path
) -> None:
    put_token(low, tmp_path / "usb", channel="beef" * 16)
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    assert high.receive_one(tmp_path / "usb").kind is OutcomeKind.RECEIVED
    assert alarms(high) == ["medium-token-forged"]
    assert remembered(high) == []


@pytest.mark.parametrize("data", [b"", b"{}", b"\x1b[31m" * 900, b"{" * 4096])
def test_a_damaged_token_is_no_alarm(high: HighSide, low: LowSide, tmp_path: Path, data: bytes) -> None:
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    (tmp_path / "usb/TIDEGATE/MEDIUM.TGM").write_bytes(data)
    assert high.receive_one(tmp_path / "usb").kind is OutcomeKind.RECEIVED
    assert alarms(high) == []


def test_a_dry_run_remembers_nothing(high: HighSide, low: LowSide, tmp_path: Path) -> None:
    put_token(low, tmp_path / "usb")
    low.write(low.bundle(BLOBS), tmp_path / "usb")
    workspace = high.workspace()
    receive_medium(workspace, tmp_path / "usb", ReceiveOptions(dry_run=True))
    workspace.state.close()
    assert remembered(high) == []
