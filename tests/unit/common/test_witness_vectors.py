"""The vectors of docs/format/witness.md, which were made from the document alone, case by case."""

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.bundle.cover import Piece, PieceType
from tidegate.errors import FormatError, SignatureError
from tidegate.ledger.checkpoint import Checkpoint, NoteKey
from tidegate.ledger.cosignature import judge_own, open_cosigned
from tidegate.ledger.riding import COSIGNATURE_PIECE_MAX, hold_proofs, parse_entries, parse_proofs, read_riding
from tidegate.ledger.witness_memory import Head, Memory, judge

FOLDER = Path(__file__).parents[2] / "vectors" / "witness"
SAID = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
TYPES = {
    "checkpoint": PieceType.LEDGER_CHECKPOINT,
    "entries": PieceType.LEDGER_ENTRIES,
    "proofs": PieceType.LEDGER_PROOFS,
}
LOW, SITE = (NoteKey(SAID[side]["name"], bytes.fromhex(SAID[side]["public"])) for side in ("low", "site"))


def cases(*kinds: str) -> Any:
    found = {name: case for name, case in SAID["vectors"].items() if case["kind"] in kinds}
    assert found
    return pytest.mark.parametrize("case", found.values(), ids=found)


def piece(file: str) -> Piece:
    return Piece(TYPES[file.rpartition(".")[2]], (FOLDER / file).read_bytes())


def head_of(case: dict[str, Any]) -> Checkpoint:
    return Checkpoint(LOW.name, case["size"], bytes.fromhex(case["root"]), b"")


@cases("checkpoint")
def test_a_checkpoint_holds_or_is_as_one_that_is_not_there(case: dict[str, Any]) -> None:
    riding = read_riding([piece(case["file"])], [LOW])
    assert (riding.checkpoint is not None, bool(riding.faults)) == (case["answer"] == "ok", case["answer"] != "ok")
    if riding.checkpoint is not None:
        assert (riding.checkpoint.size, riding.checkpoint.root.hex()) == (case["size"], case["root"])


@cases("entries")
def test_entries_lead_to_the_checkpoint_or_are_refused(case: dict[str, Any]) -> None:
    data = (FOLDER / case["file"]).read_bytes()
    if case["answer"] != "ok":
        with pytest.raises((FormatError, SignatureError)):
            parse_entries(data, [LOW], head_of(case))
        return
    found = parse_entries(data, [LOW], head_of(case))
    roots = {str(size): root.hex() for size, root in found.roots(range(1, case["size"] + 1)).items()}
    assert (found.first, roots) == (case["first"], case["heads"])


@cases("proofs")
def test_proofs_that_hold_are_kept_and_a_broken_piece_is_refused(case: dict[str, Any]) -> None:
    data = (FOLDER / case["file"]).read_bytes()
    if case["answer"] != "ok":
        with pytest.raises(FormatError):
            parse_proofs(data, case["size"])
        return
    held = hold_proofs(parse_proofs(data, case["size"]), head_of(case), [])
    assert {str(proof.size): proof.root.hex() for proof in held} == case["heads"]


@cases("cosignature")
def test_a_cosignature_needs_both_signatures(case: dict[str, Any]) -> None:
    note = (FOLDER / case["file"]).read_bytes()
    if case["answer"] == "ok":
        checkpoint, key, time = open_cosigned(note, [SITE], [LOW])
        assert (checkpoint.size, checkpoint.root.hex(), time) == (case["size"], case["root"], case["time"])
        assert key == SITE
        return
    if len(note) > COSIGNATURE_PIECE_MAX:
        assert read_riding([Piece(PieceType.COSIGNATURES, note)], [LOW]).cosignatures == ()
        return
    with pytest.raises((FormatError, SignatureError)):
        open_cosigned(note, [SITE], [LOW])


@cases("answer")
def test_the_witness_answers_as_the_vector_says(case: dict[str, Any]) -> None:
    heads = tuple(Head(size, root) for size, root in sorted(map(tuple, case["remembered"])))
    riding = read_riding([piece(file) for file in case["pieces"].values()], [LOW])
    assert judge(Memory(heads), riding, "7f3a-0001", {}).relation == case["answer"]


@cases("own")
def test_a_cosigned_head_is_held_against_the_own_log(case: dict[str, Any]) -> None:
    note = (FOLDER / case["file"]).read_bytes()
    if case["answer"] == "nothing":
        with pytest.raises((FormatError, SignatureError)):
            open_cosigned(note, [SITE], [LOW])
        return
    checkpoint, _, _ = open_cosigned(note, [SITE], [LOW])
    own = case["own"].get(str(checkpoint.size))
    assert judge_own(checkpoint, bytes.fromhex(own) if own else None, case["kept"]) == case["answer"]
