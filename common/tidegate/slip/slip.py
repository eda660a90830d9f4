"""The return slip of one site for one channel: what it holds, what it misses, and the checkpoint of its ledger.

What is signed is a C2SP checkpoint whose further lines are the slip's fields: one signature of the site's ledger key
covers both, and any tool that opens a signed note opens a slip. What travels is shorter: lines of capital letters, each
with a check of its own, from which the reader writes the signed text again; the channel's whole id it takes from its
own root. Bytes in, values out. Format: docs/format/slip.md.
"""

import re
from base64 import b64encode
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeVar

from tidegate.clock import parse_time
from tidegate.errors import FormatError, SignatureError, SlipForgedError, SlipMistypedError, UsageError
from tidegate.ledger.checkpoint import KEY_ID_BYTES, SIZE_MAX, NoteKey, open_checkpoint
from tidegate.names import NAME
from tidegate.slip import base32
from tidegate.slip.code import Code, parse_code
from tidegate.slip.numbers import NONE, Numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tidegate.trust.keys import Signer

SLIP_FORMAT = 1
SLIP_MAX_BYTES = 400
INPUT_MAX_CHARACTERS = 4096  # what is typed may have spaces and empty lines
EPOCH_MAX = 9999
SUM_LETTERS = 8
ROOT_BYTES, SIGNATURE_BYTES = 32, 64
SIGN_LETTERS = 52  # of the 103 of a signature; SEAL has the others
_HELD = b"tidegate-held-v1\n"
_WORDS = ("SLIP", "HELD", "MISSING", "CODE", "LEDGER", "ROOT", "SIGN", "SEAL")
_GROUPED = ("ROOT", "SIGN", "SEAL")
Value = TypeVar("Value")
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_PREFIX = re.compile(r"[0-9A-F]{4}")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a slip says. `size` and `root` are the ledger's; `date` is by the site's own clock."""

    site: str
    #: the first four hex digits of the channel's id
    prefix: str
    epoch: int
    held: Numbers
    missing: Numbers
    #: `held_sum` of the held bundles
    held_sum: str
    #: of the highest bundle that is held; None where there is none, or its receipt is not known
    code: Code | None
    size: int
    root: bytes
    #: a day, or NONE where the site does not tell it
    date: str

    @property
    def highest(self) -> int:
        """The highest number that the slip speaks of."""
        return max(self.held.highest, self.missing.highest)


@dataclass(frozen=True, slots=True)
class Slip:
    """A statement with the signature of the site's ledger key, which may not have been verified yet."""

    statement: Statement
    signature: bytes

    def lines(self) -> tuple[str, ...]:
        """The lines as they travel, each with its check."""
        said, sealed = self.statement, base32.encode(self.signature)
        values = (
            f"{SLIP_FORMAT} {said.site.upper()} {said.prefix.upper()} {said.epoch}",
            f"{said.held} {said.held_sum}",
            str(said.missing),
            str(said.code).upper() if said.code else NONE,
            f"{said.size} {said.date}",
            base32.encode(said.root),
            sealed[:SIGN_LETTERS],
            sealed[SIGN_LETTERS:],
        )
        bare = (f"{word} {value}" for word, value in zip(_WORDS, values, strict=True))
        return tuple(f"{line} {base32.check_of(line)}" for line in bare)

    def text(self) -> str:
        """The slip as bytes: what a QR code holds, at most SLIP_MAX_BYTES."""
        return "/".join(self.lines())

    def printed(self) -> str:
        """The slip for a person: one line a field, long values in groups of four."""
        return "".join(f"{_grouped(line)}\n" for line in self.lines())


def held_sum(held: "Iterable[tuple[int, str]]") -> str:
    """Which bundles are meant by the numbers: (number, bundle_id) of each, by number."""
    digest = sha256(_HELD)
    for number, bundle_id in held:
        digest.update(number.to_bytes(8, "little") + bytes.fromhex(bundle_id))
    return base32.encode(digest.digest(), SUM_LETTERS)


def signed_text(said: Statement, channel_id: str) -> str:
    """The checkpoint with the slip's fields as further lines: what the signature is over."""
    return (
        f"{said.site}/high\n{said.size}\n{b64encode(said.root).decode()}\n"
        f"tidegate-slip {SLIP_FORMAT}\nchannel {channel_id}\nepoch {said.epoch}\nheld {said.held}\n"
        f"sum {said.held_sum}\nmissing {said.missing}\ncode {said.code or NONE}\ndate {said.date}\n"
    )


def sign_slip(said: Statement, channel_id: str, signer: "Signer") -> Slip:
    """Sign a statement. Raises UsageError where a field does not fit the format."""
    slip = Slip(said, signer.sign(signed_text(said, channel_id).encode()))
    try:
        fits = parse_slip(slip.text()) == slip
    except SlipMistypedError as error:
        raise UsageError(f"slip for channel {said.prefix}: {error}") from None
    if not fits:
        raise UsageError(f"slip for channel {said.prefix}: does not read back as it was written")
    return slip


def verify_slip(slip: Slip, key: NoteKey, channel_id: str) -> bytes:
    """Hold the slip to the site's ledger key; the signed note. Raises SlipForgedError."""
    text = signed_text(slip.statement, channel_id)
    raw = b64encode(key.id[:KEY_ID_BYTES] + slip.signature).decode()
    note = f"{text}\n— {key.name} {raw}\n".encode()
    try:
        open_checkpoint(note, key, what="slip")
    except (FormatError, SignatureError) as error:
        raise SlipForgedError(f"slip of {slip.statement.site}: {error}") from None
    return note


def fit(said: Statement, ids: "Mapping[int, str]", code_of: "Callable[[int], Code | None]") -> Statement:
    """`said` with as many ranges as fit, its sum and its code; `ids` are the bundle_ids of what is held.

    Left out are the ranges of the fewest numbers, of the longer list first. What a slip does not name it says nothing
    about: unconfirmed content rides again.
    """
    while True:
        held = said.held
        total = held_sum((number, ids[number]) for number in held)
        said = replace(said, held_sum=total, code=code_of(held.highest) if held else None)
        if len(Slip(said, bytes(SIGNATURE_BYTES)).text()) <= SLIP_MAX_BYTES:
            return said
        if len(str(said.missing)) > len(str(held)):
            said = replace(said, missing=said.missing.without_smallest())
        elif held:
            said = replace(said, held=held.without_smallest())
        else:
            raise UsageError(f"slip for channel {said.prefix}: does not fit {SLIP_MAX_BYTES} bytes")


# --- reading ----------------------------------------------------------------------------------


def parse_slip(text: str) -> Slip:
    """Read a slip as it was typed or scanned; nothing of it is verified but the checks of its lines.

    Raises SlipMistypedError, which names the line.
    """
    fields = _split(text)
    site, prefix, epoch = _read("SLIP", _parse_head, fields)
    held, total = _read("HELD", _parse_held, fields)
    size, date = _read("LEDGER", _parse_ledger, fields)
    said = Statement(
        site=site,
        prefix=prefix,
        epoch=epoch,
        held=held,
        missing=_read("MISSING", Numbers.parse, fields),
        held_sum=total,
        code=_read("CODE", _parse_code, fields),
        size=size,
        root=_read("ROOT", lambda value: base32.decode(value, ROOT_BYTES), fields),
        date=date,
    )
    _check_sense(said)
    sealed = _read("SIGN", _parse_sign, fields)
    slip = Slip(said, _read("SEAL", lambda value: base32.decode(sealed + value, SIGNATURE_BYTES), fields))
    if len(slip.text()) > SLIP_MAX_BYTES:
        raise SlipMistypedError(f"slip: {len(slip.text())} bytes, the limit is {SLIP_MAX_BYTES}")
    return slip


def _split(text: str) -> dict[str, str]:
    """Word → value of each line, after its check (S-1, S-2)."""
    if len(text) > INPUT_MAX_CHARACTERS:
        raise SlipMistypedError(f"slip: {len(text)} characters, the limit is {INPUT_MAX_CHARACTERS}")
    if not text.isascii():
        raise SlipMistypedError("slip: has a letter that no slip has")
    lines = [line.split() for line in text.upper().replace("/", "\n").split("\n") if line.strip()]
    words = [line[0] for line in lines]
    for found, due in zip_longest(words, _WORDS):
        if found != due:
            there = "is missing" if found is None else f"is due, and there is {found[:32]!r}"
            raise SlipMistypedError(f"slip: line {due} {there}" if due else f"slip: goes on with {str(found)[:32]!r}")
    return {line[0]: _checked(line) for line in lines}


def _checked(line: list[str]) -> str:
    """The value of a line whose check holds."""
    word, *values = line
    if word in _GROUPED:
        joined = base32.plain("".join(values))
        values = [joined[: -base32.CHECK_LETTERS], joined[-base32.CHECK_LETTERS :]]
    *values, check = values or [""]
    value = base32.plain(" ".join(values)) if word == "CODE" and values != [NONE] else " ".join(values)
    if base32.plain(check) != base32.check_of(f"{word} {value}"):
        raise SlipMistypedError(f"slip: line {word}: something in it is mistyped")
    return value


def _read(word: str, parse: "Callable[[str], Value]", fields: dict[str, str]) -> "Value":
    """The value of a line; what is wrong with it names the line."""
    try:
        return parse(fields[word])
    except SlipMistypedError as error:
        raise SlipMistypedError(f"slip: line {word}: {error}") from None


def _words(value: str, count: int) -> list[str]:
    words = value.split(" ")
    if len(words) != count:
        raise SlipMistypedError(f"{len(words)} values, {count} are due")
    return words


def _parse_head(value: str) -> tuple[str, str, int]:
    number, site, prefix, epoch = _words(value, 4)
    if number != str(SLIP_FORMAT):
        raise SlipMistypedError(f"format {number[:16]!r}, this version reads format {SLIP_FORMAT}")
    if not re.match(NAME, site.lower()) or not _PREFIX.fullmatch(prefix):
        raise SlipMistypedError("has no site and channel")
    return site.lower(), prefix.lower(), _whole(epoch, 1, EPOCH_MAX)


def _parse_held(value: str) -> tuple[Numbers, str]:
    numbers, total = _words(value, 2)
    if len(total) != SUM_LETTERS or any(letter not in base32.ALPHABET for letter in total):
        raise SlipMistypedError(f"{total[:32]!r} is no sum of {SUM_LETTERS} letters")
    return Numbers.parse(numbers), total


def _parse_code(value: str) -> Code | None:
    return None if value == NONE else parse_code(value)


def _parse_ledger(value: str) -> tuple[int, str]:
    size, date = _words(value, 2)
    try:
        if date != NONE:
            parse_time(f"{date}T00:00:00Z")
    except ValueError:
        raise SlipMistypedError(f"{date[:32]!r} is no date") from None
    return _whole(size, 1, SIZE_MAX), date


def _parse_sign(value: str) -> str:
    if len(value) != SIGN_LETTERS:
        raise SlipMistypedError(f"{len(value)} letters, {SIGN_LETTERS} are due")
    return value


def _whole(text: str, low: int, high: int) -> int:
    if not _WHOLE_NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise SlipMistypedError(f"{text[:32]!r} is no number from {low} to {high}")
    return int(text)


def _check_sense(said: Statement) -> None:
    """S-5: what the lines say together."""
    if said.held.meets(said.missing):
        raise SlipMistypedError("slip: a number is held and missing")
    if said.code is not None and (said.code.prefix, said.code.sequence) != (said.prefix, said.held.highest):
        raise SlipMistypedError("slip: line CODE: is not of the highest bundle that is held")


def _grouped(line: str) -> str:
    """A line with its long value in groups of four."""
    word, *values = line.split(" ")
    if word not in _GROUPED:
        return line
    value, check = values
    return " ".join([word, *(value[at : at + 4] for at in range(0, len(value), 4)), check])
