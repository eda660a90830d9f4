"""The published vectors of docs/format/ledger.md: each folder is a log, and what verifying it says."""

import importlib.util
import json
from pathlib import Path

import pytest

from tidegate.errors import LedgerDamagedError
from tidegate.ledger.checkpoint import parse_vkey
from tidegate.ledger.verify import OutsideCheckpoint, verify_ledger

FOLDER = Path(__file__).parents[2] / "vectors" / "ledger"
CASES = sorted(path.parent for path in FOLDER.glob("*/expected.json"))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_verify_says_of_each_vector_what_the_vector_says(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    key = parse_vkey((case / "vkey").read_text(encoding="utf-8"))
    against = [OutsideCheckpoint("FILE", path.read_bytes()) for path in case.glob("against")]
    if expected["findings"] is None:
        report = verify_ledger(case, key, against=against)
        assert (report.size, report.root.hex()) == (expected["size"], expected["root"])
        assert ("not checked against any outside checkpoint" in report.summary) == (not against)
        return
    with pytest.raises(LedgerDamagedError) as caught:
        verify_ledger(case, key, against=against)
    assert caught.value.exit_code == 61
    assert len(caught.value.findings) == len(expected["findings"])
    for finding, words in zip(caught.value.findings, expected["findings"], strict=True):
        assert words in finding


def test_the_vectors_are_what_their_maker_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("make_ledger_vectors", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    module.main()
    kept = [path for case in CASES for path in case.rglob("*") if path.is_file()]
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path): path.read_bytes() for path in made} == {
        path.relative_to(FOLDER): path.read_bytes() for path in kept
    }
