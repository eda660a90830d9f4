"""The recorder: what a drain writes, what it recognises after a crash, and what it refuses."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from ledgers import ORIGIN, SIGNER, Desk, open_desk, slow_root

from tidegate.errors import DiskFullError, FormatError, HostError, LedgerBusyError, LedgerDamagedError, StateOldError
from tidegate.files import SYNCS
from tidegate.ledger import recorder as recorder_module
from tidegate.ledger import writer
from tidegate.ledger.checkpoint import NoteKey, sign_checkpoint
from tidegate.ledger.entries import Event, entry, read_entry
from tidegate.ledger.listing import list_recorded
from tidegate.ledger.recorder import Recorder
from tidegate.ledger.verify import verify_ledger
from tidegate.state.outbox import count_waiting, number_of_event, remembered_checkpoint


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


def fresh(desk: Desk) -> Recorder:
    """A recorder of another process: nothing in its memory."""
    return Recorder(desk.folder, desk.state, SIGNER, ORIGIN, wait_seconds=0.05)


def recorded(desk: Desk) -> list[str]:
    return [item.text("event_id") for item in list_recorded(desk.folder)]


def assert_whole(desk: Desk, events: list[str]) -> None:
    report = verify_ledger(desk.folder, desk.recorder.key)
    assert report.size == len(events)
    assert recorded(desk) == events
    with desk.state.reading() as tx:
        assert count_waiting(tx) == 0
        assert [number_of_event(tx, event) for event in events] == list(range(len(events)))
        assert remembered_checkpoint(tx) == (desk.folder / "checkpoint").read_bytes()


def snapshot(desk: Desk) -> dict[str, bytes]:
    return {str(path.relative_to(desk.folder)): path.read_bytes() for path in desk.folder.rglob("*") if path.is_file()}


def restore(desk: Desk, files: dict[str, bytes]) -> None:
    shutil.rmtree(desk.folder)
    for name, data in files.items():
        (desk.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (desk.folder / name).write_bytes(data)


# --- what a drain writes ------------------------------------------------------------------------


def test_nobody_else_may_write_to_the_folders_of_a_log(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        desk = open_desk(tmp_path)
        desk.queue(3)
        desk.recorder.drain()
    finally:
        os.umask(before)
    folders = [path for path in desk.folder.rglob("*") if path.is_dir()]
    assert len(folders) >= 5
    assert {path.stat().st_mode & 0o022 for path in folders} == {0}


def test_drain_without_entries_writes_nothing(desk: Desk) -> None:
    assert desk.recorder.drain() == 0
    assert list(desk.folder.iterdir()) == []
    assert desk.recorder.checkpoint() is None


@pytest.mark.parametrize("counts", [(1,), (1, 1, 1), (255, 1), (256,), (255, 2), (3, 600, 1, 0, 200)])
def test_drains_of_any_size_make_one_log(desk: Desk, counts: tuple[int, ...]) -> None:
    events = [event for count in counts for event in desk.record(count)]
    assert_whole(desk, events)
    raw = [item.data for item in list_recorded(desk.folder)]
    assert desk.recorder.log.checkpoint() is not None
    assert verify_ledger(desk.folder, desk.recorder.key).root == slow_root(raw)


def test_a_recorder_of_another_process_goes_on_where_the_log_ends(desk: Desk) -> None:
    events = desk.record(300) + desk.queue(2)
    assert fresh(desk).drain() == 2
    events += desk.record(1)
    assert_whole(desk, events)


def test_more_entries_than_a_batch_are_drained_in_one_call(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "BATCH_ENTRIES", 7)
    assert_whole(desk, desk.record(40))


def test_batches_end_at_their_bytes_and_take_one_entry_at_least(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "BATCH_BYTES", 1)
    assert_whole(desk, desk.record(4))


def test_partial_tiles_are_removed_once_the_full_one_is_covered(desk: Desk) -> None:
    desk.record(200)
    desk.record(100)
    assert not (desk.folder / "tile/0/000.p").exists()
    assert not (desk.folder / "tile/entries/000.p").exists()
    assert (desk.folder / "tile/0/001.p/44").exists()


def test_a_group_of_entries_costs_as_few_syncs_as_one(desk: Desk) -> None:
    desk.record(1)
    for count in (1, 100):
        desk.queue(count)
        before = SYNCS.count
        desk.recorder.drain()
        # two files and their folders, the checkpoint and its folder, the state
        assert SYNCS.count - before == 7
    desk.queue(5000)
    before = SYNCS.count
    desk.recorder.drain()
    assert SYNCS.count - before == 5


def test_l19_files_that_the_checkpoint_covers_are_never_written_again(desk: Desk) -> None:
    desk.record(600)
    before = {name: (desk.folder / name).stat().st_ino for name in snapshot(desk) if name.startswith("tile/")}
    desk.record(300)
    for name, inode in before.items():
        path = desk.folder / name
        assert ".p/" in name or path.stat().st_ino == inode


# --- after a crash ------------------------------------------------------------------------------


def test_l22_entries_of_a_checkpoint_that_the_state_missed_are_recognised(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = desk.record(3) + desk.queue(5)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_mark", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            desk.recorder.drain()
    assert len(recorded(desk)) == 8
    events += desk.queue(2)
    fresh(desk).drain()
    assert_whole(desk, events)


def test_l22_a_state_restored_from_a_backup_does_not_double_entries(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    events = desk.record(2) + desk.queue(3)
    desk.state.close()
    backup = (tmp_path / "state.db").read_bytes()
    with open_desk(tmp_path) as later:
        later.recorder.drain()
    (tmp_path / "state.db").write_bytes(backup)
    for name in ("state.db-wal", "state.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    again = open_desk(tmp_path)
    again.recorder.check()
    assert_whole(again, events)


def test_nothing_is_written_on_a_state_that_is_older_than_its_log_until_it_caught_up(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.record(300)
    desk.state.close()
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    again = open_desk(tmp_path)
    for attempt in (again.recorder.check, again.recorder.check):
        with pytest.raises(StateOldError, match="knows 0 entries of the ledger, and it has 300"):
            attempt()
    seen: list[int] = []
    assert again.recorder.catch_up(lambda _, entries: seen.append(len(entries))) == 300
    assert seen == [300]
    # a step that was recorded before the loss has an attempt of its own now
    with again.state.transaction() as tx:
        tx.queue(entry(Event.PACK, subject="7f3a-0001", step="pack", detail="after the loss"))
    assert again.recorder.drain() == 1
    assert verify_ledger(again.folder, again.recorder.key).size == 301
    assert again.recorder.catch_up(lambda *_: None) == 0


@pytest.mark.parametrize("failing", ["_publish", "write_checkpoint"])
def test_l21_leftovers_of_a_crash_are_settled_by_the_next_drain(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    events = desk.record(250) + desk.queue(20)
    real = writer._publish

    def publish_and_die(folder: Path, files: list[tuple[str, bytes]]) -> None:
        real(folder, files)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        if failing == "_publish":
            patch.setattr(writer, "_publish", publish_and_die)
        else:
            patch.setattr(writer, "write_checkpoint", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O error")))
        with pytest.raises(HostError):
            desk.recorder.drain()
    report = verify_ledger(desk.folder, desk.recorder.key)
    assert report.size == 250
    assert "tile/0/000" in report.leftovers
    events += desk.queue(300)
    fresh(desk).drain()
    assert_whole(desk, events)
    assert verify_ledger(desk.folder, desk.recorder.key).leftovers == ()


def test_l21_leftovers_of_other_content_are_replaced(desk: Desk) -> None:
    events = desk.record(3)
    for name in ("tile/entries/000.p/5", "tile/0/000.p/5", "tile/entries/000.p/9", "tile/0/000", "tile/entries/001"):
        path = desk.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(3))
    events += desk.record(2)
    assert_whole(desk, events)
    events += desk.record(400)
    assert_whole(desk, events)
    assert verify_ledger(desk.folder, desk.recorder.key).leftovers == ()


def test_l21_a_log_whose_checkpoint_was_taken_away_is_refused_once_the_state_is_lost_too(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.record(5)
    desk.state.close()
    for path in (*tmp_path.glob("state.db*"), desk.folder / "checkpoint"):
        path.unlink()
    again = open_desk(tmp_path)
    with again.state.transaction() as tx:
        tx.queue(entry(Event.INIT, subject="x", step="init"))
    before = snapshot(again)
    with pytest.raises(LedgerDamagedError, match="has no checkpoint"):
        again.recorder.drain()
    after = snapshot(again)
    assert {name: after[name] for name in before} == before


def test_temporary_files_of_a_crash_are_removed(desk: Desk) -> None:
    desk.record(1)
    (desk.folder / "new" / "0").write_bytes(b"half of a tile")
    events = recorded(desk) + desk.record(1)
    assert list((desk.folder / "new").iterdir()) == []
    assert_whole(desk, events)


# --- what is refused ----------------------------------------------------------------------------


def test_l23_a_log_that_was_rolled_back_is_refused(desk: Desk) -> None:
    desk.record(3)
    old = snapshot(desk)
    desk.record(2)
    restore(desk, old)
    with pytest.raises(LedgerDamagedError, match=r"rolled back: it has 3 entries, .* a checkpoint of 5"):
        fresh(desk).check()
    with pytest.raises(LedgerDamagedError, match="rolled back"):
        desk.recorder.check()


def test_l23_a_log_that_was_rewritten_is_refused(tmp_path: Path) -> None:
    desk, other = open_desk(tmp_path / "a"), open_desk(tmp_path / "b")
    desk.record(3)
    for count in (3, 1):
        with other.state.transaction() as tx:
            for _ in range(count):
                tx.queue(entry(Event.DENY, subject="x", step="y"))
        other.recorder.drain()
        restore(desk, snapshot(other))
        with pytest.raises(LedgerDamagedError, match="was rewritten: at size 3"):
            fresh(desk).check()


def test_l23_a_log_that_was_removed_is_refused(desk: Desk) -> None:
    desk.record(3)
    restore(desk, {"lock": b""})
    with pytest.raises(LedgerDamagedError, match="it has 0 entries, the state remembers a checkpoint of 3"):
        fresh(desk).check()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("checkpoint", "signature"),
        ("tile/0/001.p/44", "root hash"),
        ("tile/1/000.p/1", "root hash"),
        ("tile/entries/001.p/44", "entry 299: its hash"),
    ],
)
def test_l18_nothing_is_appended_to_a_damaged_log(desk: Desk, name: str, words: str) -> None:
    desk.record(300)
    data = bytearray((desk.folder / name).read_bytes())
    data[12 if name == "checkpoint" else -1] ^= 1
    (desk.folder / name).write_bytes(data)
    desk.queue(1)
    before = snapshot(desk)
    with pytest.raises(LedgerDamagedError, match=words):
        fresh(desk).drain()
    assert snapshot(desk) == before


def test_a_checkpoint_of_another_key_in_the_state_is_refused(desk: Desk) -> None:
    desk.record(1)
    with desk.state.transaction() as tx:
        tx.execute("UPDATE meta SET value = 'x' WHERE key = 'ledger.checkpoint'")
    with pytest.raises(LedgerDamagedError, match="the checkpoint in the state"):
        fresh(desk).check()


def test_l16_a_second_writer_waits_and_then_says_so(desk: Desk) -> None:
    desk.queue(1)
    fd = os.open(desk.folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(LedgerBusyError):
            fresh(desk).drain()
    finally:
        os.close(fd)
    assert desk.recorder.drain() == 1


def test_check_refuses_a_full_disk_before_anything_is_begun(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "FREE_MIN_BYTES", 2**62)
    with pytest.raises(DiskFullError):
        desk.recorder.check()


def test_check_refuses_where_the_folder_is_gone(desk: Desk) -> None:
    desk.folder.rmdir()
    with pytest.raises(HostError):
        desk.recorder.check()


def test_an_entry_stays_waiting_when_the_disk_is_full(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    events = desk.queue(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(DiskFullError):
            desk.recorder.drain()
    desk.recorder.check()
    assert_whole(desk, events)


def test_an_origin_that_is_no_key_name_is_refused(desk: Desk) -> None:
    with pytest.raises(FormatError):
        Recorder(desk.folder, desk.state, SIGNER, "two words")


def test_a_checkpoint_without_tiles_is_refused(desk: Desk) -> None:
    key = NoteKey(ORIGIN, SIGNER.public)
    (desk.folder / "checkpoint").write_bytes(sign_checkpoint(key.name, 2**53 - 1, bytes(32), SIGNER).data)
    with pytest.raises(LedgerDamagedError, match="is missing"):
        desk.recorder.check()


def test_entries_say_what_was_queued(desk: Desk) -> None:
    desk.record(2)
    found = [read_entry(item.number, item.data) for item in list_recorded(desk.folder)]
    assert [(item.number, item.text("event"), item.text("event_id")) for item in found] == [
        (0, "pack", "7f3a-0001/pack/1"),
        (1, "pack", "7f3a-0001/pack/2"),
    ]
