"""The short code of one bundle, ``7f3a-0192-K4PX-9TQW``: its name, a proof from its verified content, and a check.

The proof is computed from the receipt, so nobody who has seen only a label can write it; the check finds every wrong
letter before anything is compared. Rule S-6 of docs/format/slip.md.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from tidegate.errors import SlipMistypedError
from tidegate.names import bundle_name
from tidegate.slip import base32
from tidegate.slip.numbers import NUMBER_MAX

PROOF_LETTERS = 5
CODE_MAX_CHARACTERS = 64
_CODE = re.compile(r"[0-9A-F]{4}-(?:[0-9]{4}|[1-9][0-9]{4,6})-[0-9A-Z]{4}-[0-9A-Z]{4}")


@dataclass(frozen=True, slots=True)
class Code:
    """A code whose check holds; whether its proof is right, the bundle's receipt tells."""

    prefix: str
    sequence: int
    proof: str

    def __str__(self) -> str:
        head = f"{self.prefix.upper()}-{self.sequence:04d}-{self.proof}"
        end = self.proof + base32.check_of(head)
        return f"{self.prefix}-{self.sequence:04d}-{end[:4]}-{end[4:]}"


def make_code(*, channel_id: str, epoch: int, sequence: int, site: str, receipt: str) -> Code:
    """The code that `site` gives for a bundle whose content has this receipt."""
    facts = f"tidegate-code-v1\n{channel_id}\n{epoch}\n{sequence}\n{site}\n{receipt}\n"
    proof = base32.encode(sha256(facts.encode()).digest(), PROOF_LETTERS)
    return Code(bundle_name(channel_id, sequence)[:4], sequence, proof)


def is_code(text: str) -> bool:
    """Whether `text` is meant as a code and not as a whole slip: one short line of four groups."""
    groups = _groups(text) if len(text) <= CODE_MAX_CHARACTERS else []
    return len(groups) == 4 and "/" not in text and groups[0] != base32.plain("SLIP")


def parse_code(text: str) -> Code:
    """Read a code in any case, with O for 0 and I or L for 1. Raises SlipMistypedError."""
    joined = "-".join(_groups(text[: CODE_MAX_CHARACTERS + 1]))
    if len(text) > CODE_MAX_CHARACTERS or not _CODE.fullmatch(joined):
        raise SlipMistypedError(f"{joined[:40]!r} is no code like 7f3a-0192-K4PX-9TQW")
    prefix, number, *ends = joined.split("-")
    end = "".join(ends)
    if not 1 <= int(number) <= NUMBER_MAX:
        raise SlipMistypedError(f"{joined!r}: there is no bundle {number}")
    code = Code(prefix.lower(), int(number), end[:PROOF_LETTERS])
    if str(code).upper() != joined:
        raise SlipMistypedError(f"{joined!r}: a letter is wrong")
    return code


def _groups(text: str) -> list[str]:
    """The groups between dashes or white space."""
    return re.split(r"\s*-\s*|\s+", base32.plain(text.strip())) if text.isascii() else []
