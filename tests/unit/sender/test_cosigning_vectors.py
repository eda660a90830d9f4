"""The vectors of rule W-9 (docs/format/witness.md), which were made from the document alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.errors import SlipForkError, SlipMistypedError
from tidegate.slip.numbers import NO_NUMBERS, NONE
from tidegate.slip.proof import SlipProof
from tidegate.slip.slip import Slip, Statement, held_sum, sign_slip
from tidegate.trust.keys import FileSigner
from tidegate_sender.slips.cosigning import plan_cosigning
from tidegate_sender.slips.memory import Cosigned

FOLDER = Path(__file__).parents[2] / "vectors" / "witness"
FOUND = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))["vectors"]
CASES = {name: case for name, case in FOUND.items() if case["kind"] == "cosigning"}
CHANNEL = "7f3a" * 16


def slip(size: int, root: str) -> Slip:
    said = Statement("plant-7", "7f3a", 1, NO_NUMBERS, NO_NUMBERS, held_sum([]), None, size, bytes.fromhex(root), NONE)
    return sign_slip(said, CHANNEL, FileSigner(bytes(range(32)), "ann"))


def answer(case: dict[str, Any]) -> tuple[str, int | None]:
    given = case["proof"]
    path = tuple(map(bytes.fromhex, given["path"])) if given else ()
    proof = SlipProof(given["size"], bytes.fromhex(given["root"]), path) if given else None
    before = Cosigned("key", *case["before"], "note") if case["before"] else None
    try:
        plan = plan_cosigning(slip(*case["slip"]), proof, before)
    except SlipMistypedError:
        return "mistyped", None
    except SlipForkError:
        return "fork", None
    if plan.may_cosign:
        return "cosigned", plan.proof_from
    return ("nothing" if plan.proof_from is None else "remembered"), plan.proof_from


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_head_is_cosigned_only_where_it_goes_on_from_the_one_before(case: dict[str, Any]) -> None:
    assert answer(case) == (case["answer"], case.get("proof_from"))
