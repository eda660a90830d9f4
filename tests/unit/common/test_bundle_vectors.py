"""Every vector of tests/vectors/bundle gets the answer that expected.json gives it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate import errors
from tidegate.bundle.chunks import ChunkOpener
from tidegate.bundle.container import BundleFile
from tidegate.bundle.cover import parse_cover
from tidegate.bundle.manifest import parse_manifest
from tidegate.bundle.tables import parse_tables

VECTORS = Path(__file__).parents[2] / "vectors" / "bundle"
EXPECTED: dict[str, dict[str, Any]] = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))


def read_vector(facts: dict[str, Any]) -> None:
    path = VECTORS / facts["file"]
    if facts["kind"] == "tgb":
        with BundleFile.open(path) as bundle:
            bundle.tables()
            bundle.cover()
        return
    data = path.read_bytes()
    if facts["kind"] == "cover":
        parse_cover(data)
    elif facts["kind"] == "chunk":
        ChunkOpener().open(0, data, facts["codec"], facts["raw"], bytes.fromhex(facts["digest"]))
    else:
        manifest = parse_manifest(data[: facts["manifest_length"]])
        parse_tables(data, facts["manifest_length"], manifest, facts["chunks_length"])


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_reader_gives_the_answer_of_the_vector(name: str) -> None:
    facts = EXPECTED[name]
    if facts["answer"] == "ok":
        read_vector(facts)
        return
    with pytest.raises(getattr(errors, facts["answer"])) as caught:
        read_vector(facts)
    assert type(caught.value).__name__ == facts["answer"]
    # The fields of the manifest are checked by their types (B-5); the message there names the field.
    if facts["rule"] not in {"B-5", "B-10"}:
        assert f"({facts['rule']})" in caught.value.message


def test_every_file_of_the_vectors_is_listed() -> None:
    files = {path.name for path in VECTORS.iterdir()} - {"expected.json", "make.py", "__pycache__"}
    assert files == {facts["file"] for facts in EXPECTED.values()}


def test_every_rule_of_the_format_that_can_break_has_a_vector() -> None:
    rules = {facts["rule"] for facts in EXPECTED.values() if facts["answer"] != "ok"}
    assert rules == {f"B-{number}" for number in range(1, 26)} - {"B-7"}
