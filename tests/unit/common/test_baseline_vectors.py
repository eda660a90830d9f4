"""The vectors of docs/format/baseline.md, which were made from the document alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tidegate.baseline import read_signed
from tidegate.errors import FormatError, SignatureError

FOLDER = Path(__file__).parents[2] / "vectors" / "baseline"
SAID = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
KEYS = {SAID["site"]: bytes.fromhex(SAID["public"])}


@pytest.mark.parametrize(("name", "case"), SAID["vectors"].items(), ids=SAID["vectors"])
def test_a_baseline_ends_as_the_vector_says(name: str, case: dict[str, Any]) -> None:
    data = (FOLDER / f"{name}.baseline").read_bytes()
    if case["answer"] == "ok":
        found, baseline_id = read_signed(data, KEYS)
        blobs = {key.hex(): size for key, size in found.blobs.items()}
        assert (found.site, blobs, baseline_id) == (SAID["site"], case["blobs"], case["id"])
        return
    with pytest.raises((FormatError, SignatureError)):
        read_signed(data, KEYS)


def test_the_vectors_are_what_their_program_writes(tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text((FOLDER / "make.py").read_text())
    subprocess.run([sys.executable, str(tmp_path / "make.py")], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert made == {path.name: path.read_bytes() for path in FOLDER.glob("*.*")}
