"""The proof that may follow a slip: that the head of the site's ledger goes on from one that the low side co-signed.

It is no part of the 400 bytes: where people type, the slip alone will do, and the low side remembers the head without
co-signing it. Bytes in, values out. Format: docs/format/slip.md, S-15.
"""

from dataclasses import dataclass

from tidegate.errors import SlipMistypedError
from tidegate.ledger.checkpoint import SIZE_MAX
from tidegate.ledger.merkle import HASH_BYTES
from tidegate.ledger.proofs import is_consistent
from tidegate.slip import base32

INPUT_MAX_CHARACTERS = 8192  # of slip and proof together
NODES_MAX = 64  # a ledger of 2^32 entries needs no more
_PROOF, _NODE = "PROOF", "NODE"
_HASH_LETTERS = 52


@dataclass(frozen=True, slots=True)
class SlipProof:
    """A consistency proof of RFC 6962 from the tree of `size` entries, whose root hash the site says is `root`."""

    size: int
    root: bytes
    path: tuple[bytes, ...]

    def lines(self) -> tuple[str, ...]:
        """The lines as they travel, each with its check."""
        first = f"{_PROOF} {self.size} {base32.encode(self.root)}"
        bare = (first, *(f"{_NODE} {base32.encode(node)}" for node in self.path))
        return tuple(f"{line} {base32.check_of(line)}" for line in bare)

    def text(self) -> str:
        return "/".join(self.lines())

    def printed(self) -> str:
        return "".join(f"{line}\n" for line in self.lines())

    def leads_to(self, size: int, root: bytes) -> bool:
        """Whether the tree of (`size`, `root`) goes on from the smaller one that this proof is from."""
        return self.size < size and is_consistent(self.size, self.root, size, root, self.path)


def split_proof(text: str) -> tuple[str, SlipProof | None]:
    """A slip's own text, and the proof that follows it. Raises SlipMistypedError for a proof, never for the slip."""
    if len(text) > INPUT_MAX_CHARACTERS:
        raise SlipMistypedError(f"slip: {len(text)} characters, the limit is {INPUT_MAX_CHARACTERS}")
    lines = text.replace("/", "\n").split("\n")
    words = [line.split() for line in lines]
    start = next((at for at, line in enumerate(words) if line and line[0].upper() == _PROOF), None)
    if start is None:
        return text, None
    if not text.isascii():
        raise SlipMistypedError("slip: has a letter that no slip has")
    return "\n".join(lines[:start]), _parse([line for line in words[start:] if line])


def _parse(lines: list[list[str]]) -> SlipProof:
    if len(lines) > NODES_MAX + 1:
        raise SlipMistypedError(f"slip: a proof of {len(lines) - 1} nodes, the limit is {NODES_MAX}")
    (_, *first), *rest = ([word.upper() for word in line] for line in lines)
    size_text = first[0] if first else ""
    if not size_text.isdecimal() or len(size_text) > 16 or not 1 <= int(size_text) <= SIZE_MAX:
        raise SlipMistypedError(f"slip: line {_PROOF}: {size_text[:32]!r} is no size of a ledger")
    size = int(size_text)
    root = _hash(f"{_PROOF} {size}", first[1:])
    path = []
    for number, (word, *values) in enumerate(rest, start=1):
        if word != _NODE:
            raise SlipMistypedError(f"slip: line {_NODE} {number} is due, and there is {word[:32]!r}")
        path.append(_hash(_NODE, values, number))
    return SlipProof(size, root, tuple(path))


def _hash(start: str, values: list[str], number: int = 0) -> bytes:
    """The hash of a line whose check holds."""
    joined = base32.plain("".join(values))
    value, check = joined[: -base32.CHECK_LETTERS], joined[-base32.CHECK_LETTERS :]
    where = f"{_NODE} {number}" if number else _PROOF
    if len(value) != _HASH_LETTERS or check != base32.check_of(f"{start} {value}"):
        raise SlipMistypedError(f"slip: line {where}: something in it is mistyped")
    try:
        return base32.decode(value, HASH_BYTES)
    except SlipMistypedError as error:
        raise SlipMistypedError(f"slip: line {where}: {error}") from None
