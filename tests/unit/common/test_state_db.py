"""The database under the state: transactions, the outbox, and what a damaged, full or busy one says."""

import sqlite3
import stat
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidegate.errors import BusyError, DiskFullError, HostError, StateDamagedError, StateError
from tidegate.ledger.entries import Event, entry
from tidegate.state import db, schema
from tidegate.state.db import State
from tidegate.state.meta import get_meta, set_meta
from tidegate.state.outbox import count_waiting, mark_recorded, number_of_event, waiting_entries


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state.db", busy_wait_seconds=0.05)


def pack(attempt: int = 0) -> db.Entry:
    return entry(Event.PACK, subject="7f3a-0001", step="pack", attempt=attempt)


def waiting(state: State) -> list[str]:
    with state.reading() as tx:
        return [item.event_id for item in waiting_entries(tx, limit=100, limit_bytes=10**6)]


def test_a_new_state_is_private_durable_and_of_the_newest_schema(state: State) -> None:
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600
    with state.reading() as tx:
        assert tx.execute("PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]
        assert tx.execute("PRAGMA journal_mode") == [("wal",)]
        assert tx.execute("PRAGMA synchronous") == [(2,)]  # FULL


def test_what_a_transaction_wrote_is_there_after_opening_again(state: State) -> None:
    with state.transaction() as tx:
        set_meta(tx, "a", "1")
    state.close()
    with State(state.path) as again, again.reading() as tx:
        assert get_meta(tx, "a") == "1"


def test_a_failed_transaction_leaves_neither_its_rows_nor_its_entries(state: State) -> None:
    with pytest.raises(KeyError), state.transaction() as tx:
        set_meta(tx, "a", "1")
        tx.queue(pack())
        raise KeyError
    with state.reading() as tx:
        assert get_meta(tx, "a") is None
        assert count_waiting(tx) == 0


def test_queue_counts_the_attempts_of_a_step(state: State) -> None:
    with state.transaction() as tx:
        assert tx.queue(pack()) == "7f3a-0001/pack/1"
        assert tx.queue(pack()) == "7f3a-0001/pack/2"
        assert tx.queue(entry(Event.SEND, subject="7f3a-0001", step="send")) == "7f3a-0001/send/1"


def test_queue_drops_an_attempt_that_is_there_already(state: State) -> None:
    with state.transaction() as tx:
        tx.queue(pack(3))
        tx.queue(pack(3))
        mark_recorded(tx, [(1, 0)])
        tx.queue(pack(3))
        assert number_of_event(tx, "7f3a-0001/pack/3") == 0
        assert tx.queue(pack()) == "7f3a-0001/pack/4"
    assert waiting(state) == ["7f3a-0001/pack/4"]


def test_an_entry_says_whether_the_clock_counts(tmp_path: Path) -> None:
    with State(tmp_path / "a.db", clock_trusted=True) as state, state.transaction() as tx:
        tx.queue(pack())
        (item,) = waiting_entries(tx, limit=1, limit_bytes=1)
        assert b'"clock":"trusted"' in item.data


def test_waiting_entries_come_in_their_order_up_to_a_count_and_size(state: State) -> None:
    with state.transaction() as tx:
        events = [tx.queue(pack()) for _ in range(5)]
        assert [item.event_id for item in waiting_entries(tx, limit=2, limit_bytes=10**6)] == events[:2]
        assert [item.event_id for item in waiting_entries(tx, limit=9, limit_bytes=0)] == events[:1]
        mark_recorded(tx, [(1, 0), (2, 1)])
        assert [item.event_id for item in waiting_entries(tx, limit=9, limit_bytes=10**6)] == events[2:]


def test_a_reading_transaction_takes_no_entries(state: State) -> None:
    with pytest.raises(StateError, match="only reads"), state.reading() as tx:
        tx.queue(pack())


def test_a_transaction_inside_of_another_is_refused(state: State) -> None:
    with state.transaction(), pytest.raises(StateError, match="inside of another"), state.reading():
        pass
    with state.transaction() as tx:
        set_meta(tx, "a", "1")


def test_threads_take_turns(state: State) -> None:
    def count() -> None:
        for _ in range(20):
            with state.transaction() as tx:
                set_meta(tx, "n", str(int(get_meta(tx, "n") or 0) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with state.reading() as tx:
        assert get_meta(tx, "n") == "80"


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_state_that_another_process_writes_is_busy(state: State) -> None:
    other = sqlite3.connect(state.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError), state.transaction():
        pass
    other.close()


def test_a_file_that_is_no_database_is_damaged_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(StateDamagedError):
        State(path)
    assert path.read_bytes() == b"this is not a database" * 100


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "state.db")
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(StateDamagedError, match="another program"):
        State(tmp_path / "state.db")


def test_a_state_of_a_newer_version_is_refused(state: State) -> None:
    with state.transaction() as tx:
        tx.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    state.close()
    with pytest.raises(StateError, match="schema version"):
        State(state.path)


def test_damage_within_the_database_is_said(state: State) -> None:
    with state.transaction() as tx:
        for number in range(300):
            set_meta(tx, f"{number:06d}", "x" * 200)
    state.close()
    data = bytearray(state.path.read_bytes())
    data[4096 * 3 :] = b"\xff" * (len(data) - 4096 * 3)
    state.path.write_bytes(data)
    with pytest.raises(StateDamagedError), State(state.path) as again, again.reading() as tx:
        tx.execute("SELECT * FROM meta")


def test_a_full_disk_is_said_and_nothing_is_half_written(state: State) -> None:
    with state.reading() as tx:
        tx.execute("PRAGMA max_page_count = 30")
    with pytest.raises(DiskFullError), state.transaction() as tx:
        for number in range(300):
            set_meta(tx, f"{number:06d}", "x" * 2000)
    with state.reading() as tx:
        assert tx.execute("SELECT count(*) FROM meta") == [(0,)]


@pytest.mark.parametrize(("free_blocks", "expected"), [(0, DiskFullError), (1000, HostError)])
def test_an_io_error_on_a_disk_without_room_is_a_full_disk(
    state: State, monkeypatch: pytest.MonkeyPatch, free_blocks: int, expected: type[Exception]
) -> None:
    # SQLite cannot make room for its -shm file and calls that a disk I/O error.
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    room = SimpleNamespace(f_bavail=free_blocks, f_frsize=4096)
    monkeypatch.setattr("tidegate.state.db.os.statvfs", lambda _folder: room)
    assert type(db._as_state_error(state.path, error)) is expected


def test_a_state_in_a_missing_folder_is_a_host_error(tmp_path: Path) -> None:
    with pytest.raises(HostError):
        State(tmp_path / "nowhere" / "state.db")


def test_a_statement_that_breaks_a_constraint_is_a_state_error(state: State) -> None:
    with pytest.raises(StateError), state.transaction() as tx:
        tx.execute("INSERT INTO meta (key, value) VALUES ('a', NULL)")


def test_a_migration_that_fails_leaves_the_old_schema(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with state.transaction() as tx:
        set_meta(tx, "a", "1")
    state.close()
    steps = (*schema.MIGRATIONS, ("CREATE TABLE later (a)", "CREATE TABLE later (a)"))
    with monkeypatch.context() as patch:
        patch.setattr(db, "MIGRATIONS", steps)
        patch.setattr(db, "SCHEMA_VERSION", len(steps))
        with pytest.raises(StateError):
            State(state.path)
    with State(state.path) as again, again.reading() as tx:
        assert get_meta(tx, "a") == "1"
        assert tx.execute("SELECT 1 FROM sqlite_master WHERE name = 'later'") == []


def test_a_migration_keeps_what_is_there(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with state.transaction() as tx:
        set_meta(tx, "a", "1")
    state.close()
    monkeypatch.setattr(db, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE later (a)",)))
    monkeypatch.setattr(db, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    with State(state.path) as again, again.reading() as tx:
        assert get_meta(tx, "a") == "1"
        assert tx.execute("SELECT count(*) FROM later") == [(0,)]
        assert tx.execute("PRAGMA user_version") == [(schema.SCHEMA_VERSION + 1,)]


def test_a_database_of_version_1_gets_the_media_register_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(db, "MIGRATIONS", schema.MIGRATIONS[:1])
        patch.setattr(db, "SCHEMA_VERSION", 1)
        with State(tmp_path / "old.db") as old, old.transaction() as tx:
            set_meta(tx, "a", "1")
            assert tx.execute("SELECT 1 FROM sqlite_master WHERE name = 'media'") == []
    with State(tmp_path / "old.db") as state, state.reading() as tx:
        assert get_meta(tx, "a") == "1"
        assert tx.execute("SELECT count(*) FROM media") == [(0,)]
        assert tx.execute("PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]
