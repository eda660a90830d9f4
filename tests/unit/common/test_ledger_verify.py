"""Verifying: every place where a log can be changed is named (the vectors have one of each kind)."""

import shutil
from pathlib import Path

import pytest
from ledgers import Desk, open_desk

from tidegate.errors import LedgerDamagedError, UsageError
from tidegate.ledger import verify as verify_module
from tidegate.ledger.verify import OutsideCheckpoint, verify_ledger


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = open_desk(tmp_path_factory.mktemp("ledger"))
    desk.record(700)
    return desk


@pytest.fixture
def copy(log: Desk, tmp_path: Path) -> Path:
    return Path(shutil.copytree(log.folder, tmp_path / "copy"))


def findings(folder: Path, log: Desk, **outside: bytes) -> tuple[str, ...]:
    against = [OutsideCheckpoint(source, data) for source, data in outside.items()]
    with pytest.raises(LedgerDamagedError) as caught:
        verify_ledger(folder, log.recorder.key, against=against)
    return caught.value.findings


def change(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x80
    path.write_bytes(data)


def test_a_whole_log_without_an_outside_checkpoint_is_never_called_intact(log: Desk) -> None:
    report = verify_ledger(log.folder, log.recorder.key)
    assert report.summary.endswith("700 entries agree with the checkpoint; not checked against any outside checkpoint")
    assert (report.leftovers, report.strangers) == ((), ())


def test_a_flip_in_any_file_of_the_log_is_found_and_the_file_named(copy: Path, log: Desk) -> None:
    for path in sorted(path for path in copy.rglob("*") if path.is_file() and path.name != "lock"):
        original = path.read_bytes()
        change(path, len(original) // 2)
        found = " ".join(findings(copy, log))
        name = str(path.relative_to(copy))
        assert name in found or name.replace("tile/entries", "tile/0") in found  # an entry is named beside its tile
        path.write_bytes(original)
    verify_ledger(copy, log.recorder.key)


def test_any_missing_file_of_the_log_is_named(copy: Path, log: Desk) -> None:
    for path in sorted(path for path in (copy / "tile").rglob("*") if path.is_file()):
        original = path.read_bytes()
        path.unlink()
        assert f"{path.relative_to(copy)}: is missing" in " ".join(findings(copy, log))
        path.write_bytes(original)


def test_one_changed_entry_is_one_finding_with_its_number(copy: Path, log: Desk) -> None:
    change(copy / "tile/entries/001", 2)
    (finding,) = findings(copy, log)
    assert finding.startswith("entry 256: was changed")


def test_a_changed_tile_is_not_blamed_on_an_entry(copy: Path, log: Desk) -> None:
    change(copy / "tile/0/001", 32 * 5)
    (finding,) = findings(copy, log)
    assert finding.startswith("tile/0/001: hash 5 is")
    assert "entry 261, which holds" in finding


def test_a_changed_entry_and_another_changed_tile_are_both_named(copy: Path, log: Desk) -> None:
    change(copy / "tile/entries/000", 2)
    change(copy / "tile/1/000.p/2", 32)
    found = findings(copy, log)
    assert found[0].startswith("tile/1/000.p/2: hash 1 is")
    assert found[1].startswith("entry 0: was changed")


def test_a_truncated_bundle_and_its_missing_tile_end_the_walk(copy: Path, log: Desk) -> None:
    (copy / "tile/entries/001").unlink()
    (copy / "tile/0/001").unlink()
    found = findings(copy, log)
    assert len(found) == 3
    assert "nothing after them can be checked" in found[-1]


def test_bytes_after_the_last_entry_are_named(copy: Path, log: Desk) -> None:
    path = copy / "tile/entries/000"
    path.write_bytes(path.read_bytes() + b"more")
    assert "tile/entries/000: goes on for 4 bytes after its last entry" in findings(copy, log)[0]


def test_many_differences_are_named_up_to_a_limit(copy: Path, log: Desk) -> None:
    for name in ("tile/0/000", "tile/0/001"):
        (copy / name).write_bytes(bytes(8192))
    found = findings(copy, log)
    assert len(found) == verify_module.FINDINGS_MAX + 1
    assert found[-1] == "stopped after 100 findings"


def test_a_missing_checkpoint_is_damage_where_one_is_remembered(copy: Path, log: Desk) -> None:
    note = (copy / "checkpoint").read_bytes()
    (copy / "checkpoint").unlink()
    assert findings(copy, log, elsewhere=note) == ("checkpoint: is missing, elsewhere has one of 700 entries",)
    assert verify_ledger(copy, log.recorder.key).size == 0


def test_an_outside_checkpoint_of_another_log_is_refused(log: Desk) -> None:
    with pytest.raises(LedgerDamagedError, match="checkpoint from paper"):
        verify_ledger(log.folder, log.recorder.key, against=[OutsideCheckpoint("paper", b"nothing")])


def test_files_that_no_log_has_are_listed_and_harmless(copy: Path, log: Desk) -> None:
    (copy / "tile/0/notes.txt").write_bytes(b"x")
    assert verify_ledger(copy, log.recorder.key).strangers == ("tile/0/notes.txt",)


def test_an_against_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        verify_module._read_outside(tmp_path / "nothing")
