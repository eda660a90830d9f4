"""The vectors of docs/format/slip.md, which were made from the document alone, and the document itself."""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import tidegate.errors
from tidegate.ledger.checkpoint import NoteKey, open_checkpoint, parse_vkey
from tidegate.slip.code import make_code, parse_code
from tidegate.slip.proof import split_proof
from tidegate.slip.receipt import receipt_of
from tidegate.slip.site_key import build_site_key, parse_site_key
from tidegate.slip.slip import SLIP_MAX_BYTES, parse_slip, signed_text, verify_slip
from tidegate.trust.keys import FileSigner

VECTORS = Path(__file__).parents[2] / "vectors" / "slip"
DOCUMENT = Path(__file__).parents[3] / "docs" / "format" / "slip.md"
CHANNEL = "7f3a" * 16


def cases(name: str) -> Any:
    found = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return pytest.mark.parametrize("case", found, ids=[case["name"] for case in found])


def key_of(site: str) -> NoteKey:
    return NoteKey(f"{site}/high", FileSigner(bytes(range(32)), "ann").public)


@cases("slips")
def test_a_slip_ends_as_the_vector_says(case: dict[str, str]) -> None:
    if case["result"] == "accept":
        slip = parse_slip(case["text"])
        assert signed_text(slip.statement, CHANNEL) == case["note"]
        note = verify_slip(slip, key_of(slip.statement.site), CHANNEL)
        assert open_checkpoint(note, key_of(slip.statement.site)).size == slip.statement.size
        assert parse_slip(slip.printed()) == parse_slip(slip.text()) == slip
        assert len(slip.text()) <= SLIP_MAX_BYTES
        return
    with pytest.raises(getattr(tidegate.errors, case["result"])):
        verify_slip(parse_slip(case["text"]), key_of("plant-7"), CHANNEL)


@cases("codes")
def test_a_code_ends_as_the_vector_says(case: dict[str, Any]) -> None:
    if case["result"] == "SlipMistypedError":
        with pytest.raises(tidegate.errors.SlipMistypedError):
            parse_code(case["text"])
        return
    names = ("epoch", "sequence", "site", "receipt")
    made = make_code(channel_id=case["channel"], **{name: case[name] for name in names})
    assert (parse_code(case["text"]) == made) == (case["result"] == "accept")


@cases("receipts")
def test_a_receipt_is_the_one_of_the_vector(case: dict[str, Any]) -> None:
    blobs = [bytes.fromhex(text) for text in case["blobs"]]
    by_digest = {f"sha256:{sha256(blob).hexdigest()}": blob for blob in blobs}

    def read(digest: str, offset: int, length: int) -> bytes:
        return by_digest[digest][offset : offset + length]

    digests, sizes = [sha256(blob).digest() for blob in blobs], [len(blob) for blob in blobs]
    assert receipt_of(case["bundle_id"], digests, sizes, read) == case["receipt"]


@cases("site-keys")
def test_a_site_key_ends_as_the_vector_says(case: dict[str, str]) -> None:
    if case["result"] == "accept":
        key = parse_site_key(case["text"])
        assert key == parse_vkey(case["vkey"])
        assert parse_site_key(build_site_key(key)) == key
        return
    with pytest.raises(tidegate.errors.SlipMistypedError):
        parse_site_key(case["text"])


@cases("proofs")
def test_a_proof_ends_as_the_vector_says(case: dict[str, Any]) -> None:
    if case["result"] == "SlipMistypedError":
        with pytest.raises(tidegate.errors.SlipMistypedError):
            split_proof(f"SLIP/{case['text']}")
        return
    slip, proof = split_proof(f"SLIP/{case['text']}")
    assert slip == "SLIP"
    assert proof is not None
    assert proof.leads_to(case["size"], bytes.fromhex(case["root"])) is (case["result"] == "accept")
    if case["result"] == "accept":
        assert proof.size == case["from"]


def test_the_example_of_the_document_is_the_vector() -> None:
    (example,) = [case for case in json.loads((VECTORS / "slips.json").read_text()) if case["name"] == "ok_example"]
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = [
        re.split(r"\s{3,}", line)[0] for line in text.splitlines() if re.match(r"[A-Z]{4,7} \S+ .*[0-9A-Z]{3}", line)
    ]
    assert "\n".join(shown) + "\n" == parse_slip(example["text"]).printed()
    assert f"```\n{example['note']}```" in text


def test_every_rule_of_the_format_that_can_break_has_a_vector() -> None:
    names = [case["name"] for file in VECTORS.glob("*.json") for case in json.loads(file.read_text())]
    rules = {int(name[1:3]) for name in names if re.match(r"s\d\d_", name)}
    assert rules == {*range(1, 9), 15}
    text = DOCUMENT.read_text(encoding="utf-8")
    assert {int(number) for number in re.findall(r"S-(\d+)", text)} == set(range(1, 16))
