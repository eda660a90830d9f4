"""``tidegate ledger`` as installed: changes are named, with exit code 61, and nothing is begun on such a ledger."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def tidegate(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "tidegate"), "--root", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    assert tidegate(made, "init", "low", "--channel", "plant", "--site", "plant-7").returncode == 0
    assert tidegate(made, "keys", "export", str(tmp_path / "first.root")).returncode == 0
    return made


def test_a_ledger_that_holds_names_the_checkpoints_that_it_agrees_with(root: Path, tmp_path: Path) -> None:
    kept = shutil.copy(root / "ledger" / "checkpoint", tmp_path / "kept")
    assert tidegate(root, "keys", "export", str(tmp_path / "second.root")).returncode == 0
    done = tidegate(root, "ledger", "verify", "--against", str(kept))
    assert done.returncode == 0
    assert f"3 entries agree with the checkpoint, and with that of the state, {kept}" in done.stdout


def test_a_changed_entry_is_named_with_exit_code_61(root: Path) -> None:
    bundle = root / "ledger/tile/entries/000.p/2"
    bundle.write_bytes(bundle.read_bytes().replace(b'"done"', b'"dome"', 1))
    done = tidegate(root, "ledger", "verify")
    assert done.returncode == 61
    assert "tidegate: error: ledger plant/low: entry 0: was changed" in done.stderr


def test_nothing_is_begun_on_a_ledger_that_was_put_back(root: Path, tmp_path: Path) -> None:
    old = shutil.copytree(root / "ledger", tmp_path / "old")
    assert tidegate(root, "keys", "export", str(tmp_path / "second.root")).returncode == 0
    shutil.rmtree(root / "ledger")
    shutil.copytree(old, root / "ledger")
    done = tidegate(root, "keys", "export", str(tmp_path / "third.root"))
    assert done.returncode == 61
    assert "was rolled back: it has 2 entries, the state remembers a checkpoint of 3" in done.stderr
    assert not (tmp_path / "third.root").exists()
