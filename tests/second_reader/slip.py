"""Return slips, codes of bundles, site keys and proofs, as people type them (slip.md)."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from second_reader import ground, ledger
from second_reader.ground import RefusedError, is_name, need
from second_reader.tree import leads
from second_reader.trust import holds

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOK_ALIKE = str.maketrans("OIL", "011")
_NUMBER = re.compile(r"[1-9][0-9]*", re.ASCII)
_LINES = ("SLIP", "HELD", "MISSING", "CODE", "LEDGER", "ROOT", "SIGN", "SEAL")
_LONG = ("ROOT", "SIGN", "SEAL", "PROOF", "NODE", "SITE")
MISTYPED, FORGED = "mistyped", "forged"


def to_letters(data: bytes) -> str:
    """Crockford's base32, the most significant bit first, the last letter filled with zero bits."""
    count = -(-len(data) * 8 // 5)
    bits = int.from_bytes(data, "big") << (count * 5 - len(data) * 8)
    return "".join(LETTERS[bits >> 5 * i & 31] for i in reversed(range(count)))


def from_letters(text: str, size: int, rule: str) -> bytes:
    """So many bytes, in the one form that gives them."""
    need(len(text) == -(-size * 8 // 5) and set(text) <= set(LETTERS), rule, f"no {size} bytes as letters", MISTYPED)
    bits = 0
    for letter in text:
        bits = bits << 5 | LETTERS.index(letter)
    spare = len(text) * 5 - size * 8
    need(bits & ((1 << spare) - 1) == 0, rule, "bits that fill the last letter are not zero", MISTYPED)
    return (bits >> spare).to_bytes(size, "big")


def check_of(line: str) -> str:
    """S-2: three letters."""
    value = 0x7FFF
    for byte in line.encode("ascii"):
        for i in reversed(range(8)):
            high = value >> 14 ^ byte >> i & 1
            value = (value << 1 & 0x7FFF) ^ (0x4599 if high else 0)
    return LETTERS[value >> 10] + LETTERS[value >> 5 & 31] + LETTERS[value & 31]


def _number(text: str, most: int, rule: str) -> int:
    right = _NUMBER.fullmatch(text) and len(text) <= 16 and int(text) <= most
    need(right, rule, f"{text} is no number from 1 to {most}", MISTYPED)
    return int(text)


def _words(line: str) -> list[str]:
    """The words of one line whose check is right, without it (S-1 to S-3)."""
    words = line.split()
    if words[0] in _LONG:
        # White space in long values does not count; the last three letters are the check.
        ahead = 2 if words[0] in ("PROOF", "SITE") else 1
        letters = "".join(words[ahead:]).translate(_LOOK_ALIKE)
        words = [*words[:ahead], letters[:-3], letters[-3:]]
    elif words[0] == "CODE" and words[1:2] != ["NONE"]:
        words[1:-1] = [word.translate(_LOOK_ALIKE) for word in words[1:-1]]
    said = words.pop().translate(_LOOK_ALIKE)
    need(len(words) >= 1 and all(words) and check_of(" ".join(words)) == said, "S-2", f"line {words[:1]}", MISTYPED)
    return words


def _lines(text: str, most: int) -> list[list[str]]:
    need(len(text) <= most, "S-1", "the input is too long", MISTYPED)
    need(text.isascii(), "S-1", "not ASCII", MISTYPED)
    return [_words(line) for line in re.split(r"[/\r\n]", text.upper()) if line.strip()]


def parse_ranges(text: str) -> list[range]:
    """S-4."""
    if text == "NONE":
        return []
    found: list[range] = []
    for part in text.split("+"):
        first, dash, last = part.partition("-")
        start = _number(first, 9999999, "S-4")
        stop = _number(last, 9999999, "S-4") if dash else start
        need(stop > start or not dash, "S-4", "a range of one number or none", MISTYPED)
        need(not found or start > found[-1].stop, "S-4", "ranges fall or touch", MISTYPED)
        found.append(range(start, stop + 1))
    return found


def sum_of(held: Iterable[range], bundle_ids: Mapping[int, bytes]) -> str:
    """S-5."""
    digest = hashlib.sha256(b"tidegate-held-v1\n")
    for number in (number for one in held for number in one):
        digest.update(number.to_bytes(8, "little") + bundle_ids[number])
    return to_letters(digest.digest()[:5])


class Code(NamedTuple):
    channel: str  # the first four hex digits
    sequence: int
    proof: str

    def __str__(self) -> str:
        start = f"{self.channel.upper()}-{self.sequence:04}-{self.proof}"
        check = check_of(start)
        return f"{self.channel}-{self.sequence:04}-{self.proof[:4]}-{self.proof[4]}{check}"


def read_code(text: str) -> Code:
    """S-6: four groups, dashes or spaces between them."""
    need(len(text) <= 4096 and text.isascii(), "S-6", "no code", MISTYPED)
    groups = text.upper().translate(_LOOK_ALIKE).replace("-", " ").split()
    need(len(groups) == 4, "S-6", "not four groups", MISTYPED)
    channel, number, first, second = groups
    need(re.fullmatch(r"[0-9A-F]{4}", channel), "S-6", "the channel", MISTYPED)
    sequence = _number(number.lstrip("0"), 9999999, "S-6")
    need(number == f"{sequence:04}", "S-6", "zeros before a number", MISTYPED)
    need(len(first) == len(second) == 4 and set(first + second) <= set(LETTERS), "S-6", "letters", MISTYPED)
    code = Code(channel.lower(), sequence, first + second[0])
    need(str(code)[-3:] == second[1:], "S-2", "the check of a code", MISTYPED)
    return code


def proof_of(channel: str, epoch: int, sequence: int, site: str, receipt: str) -> str:
    """S-6: five letters."""
    text = f"tidegate-code-v1\n{channel}\n{epoch}\n{sequence}\n{site}\n{receipt}\n"
    return to_letters(hashlib.sha256(text.encode()).digest())[:5]


def receipt_of(bundle_id: bytes, blobs: Sequence[bytes]) -> str:
    """S-6: sixteen samples of the blobs, in the order of their table."""
    digest = hashlib.sha256(b"tidegate-receipt-v1\n" + bundle_id)
    length = sum(map(len, blobs))
    for i in range(16 if length else 0):
        place = hashlib.sha256(b"tidegate-sample-v1\n" + bundle_id + bytes([i])).digest()[:8]
        at = int.from_bytes(place, "little") % length
        for blob in blobs:
            if at < len(blob):
                digest.update(blob[at : at + 32])
                break
            at -= len(blob)
    return digest.hexdigest()


@dataclass(frozen=True)
class Slip:
    site: str
    channel: str  # the first four hex digits
    epoch: int
    held: list[range]
    sum: str
    missing: list[range]
    code: str  # as it is signed
    size: int
    date: str
    root: bytes
    signature: bytes
    ranges: tuple[str, str]

    def note(self, channel: str) -> str:
        """What is signed; `channel` is the whole id, from the reader's own root."""
        held, missing = self.ranges
        head = [f"{self.site}/high", str(self.size), base64.b64encode(self.root).decode(), "tidegate-slip 1"]
        more = [f"channel {channel}", f"epoch {self.epoch}", f"held {held}", f"sum {self.sum}"]
        return "\n".join([*head, *more, f"missing {missing}", f"code {self.code}", f"date {self.date}", ""])


def _parse(words: list[list[str]]) -> Slip:
    need(tuple(line[0] for line in words) == _LINES, "S-1", "not the eight lines", MISTYPED)
    counts = [len(line) for line in words]
    need(counts == [5, 3, 2, 2, 3, 2, 2, 2], "S-1", "a line with other values", MISTYPED)
    (_, form, site, channel, epoch), (_, held, total), (_, missing), (_, code), (_, size, day), *long = words
    need(form == "1", "S-1", f"format {form}", MISTYPED)
    need(is_name(site.lower()) and re.fullmatch(r"[0-9A-F]{4}", channel), "S-1", "site or channel", MISTYPED)
    need(len(total) == 8 and set(total) <= set(LETTERS), "S-5", "the sum", MISTYPED)
    ranges, absent = parse_ranges(held), parse_ranges(missing)
    both = any(a.start < b.stop and b.start < a.stop for a in ranges for b in absent)
    need(not both, "S-5", "a number held and missing", MISTYPED)
    if code != "NONE":
        found = read_code(code)
        right = ranges and (found.channel, found.sequence) == (channel.lower(), ranges[-1][-1])
        need(right, "S-6", "the code of another bundle", MISTYPED)
        code = str(found)
    try:
        need(day == "NONE" or date.fromisoformat(day).isoformat() == day, "S-5", "the date", MISTYPED)
    except ValueError:
        raise RefusedError("S-5", "no date", MISTYPED) from None
    root, sign, seal = (line[1] for line in long)
    need(len(sign) == 52, "S-1", "SIGN", MISTYPED)
    return Slip(
        site=site.lower(),
        channel=channel.lower(),
        epoch=_number(epoch, 9999, "S-1"),
        held=ranges,
        sum=total,
        missing=absent,
        code=code,
        size=_number(size, ground.LARGEST_INTEGER, "S-1"),
        date=day,
        root=from_letters(root, 32, "S-3"),
        signature=from_letters(sign + seal, 64, "S-3"),
        ranges=(held, missing),
    )


def read_slip(text: str) -> Slip:
    """The eight lines, each with its check; no signature is looked at."""
    words = _lines(text, 4096)
    slip = _parse(words)
    length = sum(len(" ".join(line)) + 4 for line in words) + len(words) - 1
    need(length <= 400, "S-1", "more than 400 bytes", MISTYPED)
    return slip


def verify(slip: Slip, channel: str, public: bytes) -> None:
    """S-7."""
    good = channel.startswith(slip.channel) and holds(public, slip.signature, slip.note(channel).encode())
    need(good, "S-7", "the signature does not hold", FORGED)


def read_site_key(text: str) -> str:
    """S-8, as a verifier key."""
    lines = _lines(text, 4096)
    need(len(lines) == 1 and len(lines[0]) == 3 and lines[0][0] == "SITE", "S-8", "not one line SITE", MISTYPED)
    _, site, letters = lines[0]
    need(is_name(site.lower()), "S-8", "the site", MISTYPED)
    public = from_letters(letters, 32, "S-8")
    key = ledger.make_key(f"{site.lower()}/high", public)
    return f"{key.name}+{key.id.hex()}+{base64.b64encode(bytes([1]) + public).decode()}"


def read_proof(text: str, size: int, root: bytes) -> tuple[int, bytes] | None:
    """S-15: the earlier head that leads to this one; None for a proof that leads elsewhere."""
    lines = _lines(text, 8192)
    need([line[0] for line in lines] == ["PROOF"] + ["NODE"] * (len(lines) - 1), "S-15", "lines", MISTYPED)
    need(len(lines) <= 65, "S-15", "more than 64 nodes", MISTYPED)
    start = _number(lines[0][1], ground.LARGEST_INTEGER, "S-15")
    old, *nodes = (from_letters(line[-1], 32, "S-15") for line in lines)
    return (start, old) if leads(start, old, size, root, nodes) else None
