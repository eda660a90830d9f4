"""Every vector of tests/vectors/bundle gets the answer that expected.json gives it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from tidegate import errors
from tidegate.bundle.chunks import ChunkOpener
from tidegate.bundle.container import BundleFile
from tidegate.bundle.cover import find_signatures, parse_cover
from tidegate.bundle.manifest import check_audience, parse_manifest
from tidegate.bundle.tables import parse_tables
from tidegate.trust.envelope import MANIFEST_TYPE, pae, parse_detached
from tidegate.trust.keys import verify

VECTORS = Path(__file__).parents[2] / "vectors" / "bundle"
DOCUMENT = Path(__file__).parents[3] / "docs" / "format" / "bundle.md"
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
        check_audience(manifest, facts.get("site", manifest.audience[0]))
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
    assert rules == {f"B-{number}" for number in range(1, 28)} - {"B-7"}


def test_the_example_of_the_document_is_the_vector() -> None:
    text = (DOCUMENT.read_text(encoding="utf-8")).partition("## Example")[2].partition("## Cover")[0]
    data = (VECTORS / "ok_example.tgb").read_bytes()
    lines = [line for line in text.splitlines() if re.match(r"[0-9a-f]{6}  [0-9a-f]{2} ", line)]
    shown = [(int(line[:6], 16), bytes.fromhex(line[8:57])) for line in lines]
    assert len(shown) > 20
    for offset, piece in shown:
        assert data[offset : offset + len(piece)] == piece, f"{offset:06x}"
    for start in ('{"artifacts"', '{"payloadType"'):
        json_text = text[text.index(start) :]
        json_text = re.split(r"\n\n|\n```", json_text)[0].replace("\n", "")
        assert json_text.encode() in data


def test_the_example_of_the_document_is_signed_by_the_key_it_names() -> None:
    with BundleFile.open(VECTORS / "ok_example.tgb") as bundle:
        envelope = parse_detached(find_signatures(bundle.cover()))
        (signature,) = envelope.signatures
        public = bytes(SigningKey(b"\1" * 32).verify_key)
        verify(public, pae(MANIFEST_TYPE, bundle.manifest_bytes()), signature.value)
        assert bundle.name == "7f3a-0001"


def test_every_rule_stands_in_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert {int(number) for number in re.findall(r"B-(\d+)", text)} == set(range(1, 28))
