"""A ledger folder: checkpoint, tiles, entry bundles, everything recomputed (ledger.md)."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from second_reader import ground
from second_reader.ground import RefusedError, need
from second_reader.trust import holds

_SIZE = re.compile(r"0|[1-9][0-9]*", re.ASCII)


class Key(NamedTuple):
    """A verifier key: name, four bytes of key id, 32 of the public key."""

    name: str
    id: bytes
    public: bytes


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes


class Finding(NamedTuple):
    rule: str
    what: str


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(one.isspace() for one in name)


def make_key(name: str, public: bytes) -> Key:
    """L-10."""
    return Key(name, hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4], public)


def read_vkey(text: str) -> Key:
    name, key_id, body = (*text.strip("\n").split("+", 2), "", "")[:3]
    data = ground.from_base64(body, "L-11", "vkey")
    need(_is_key_name(name) and len(data) == 33 and data[0] == 1, "L-11", "no Ed25519 vkey")
    key = make_key(name, data[1:])
    need(key.id.hex() == key_id, "L-10", "the key id is another")
    return key


def read_checkpoint(note: bytes, key: Key, origin: str) -> Checkpoint:
    """A signed note (L-8 to L-13)."""
    need(len(note) <= 65536, "L-9", "the note is too long")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError("L-11", "no UTF-8") from None
    need(not any(unicodedata.category(one) == "Cc" and one != "\n" for one in whole), "L-11", "a control character")
    text, gap, signatures = whole.rpartition("\n\n")
    need(gap and signatures.endswith("\n"), "L-9", "no signature lines")
    _need_signature(signatures[:-1].split("\n"), (text + "\n").encode(), key)
    lines = text.split("\n")
    need(len(lines) >= 3 and _SIZE.fullmatch(lines[1]) and len(lines[1]) <= 16, "L-8", "three lines")
    size, root = int(lines[1]), ground.from_base64(lines[2], "L-8", "root hash")
    need(size <= ground.LARGEST_INTEGER and len(root) == 32, "L-8", "size or root hash")
    need(lines[0] == origin, "L-13", f"origin {lines[0]}")
    return Checkpoint(lines[0], size, root)


def _need_signature(lines: list[str], text: bytes, key: Key) -> None:
    need(len(lines) <= 100, "L-9", "too many signature lines")
    known = 0
    for line in lines:
        words = line.split(" ")
        need(len(words) == 3 and words[0] == "—" and _is_key_name(words[1]), "L-9", "a signature line")
        data = ground.from_base64(words[2], "L-11", "signature")
        need(len(data) >= 5, "L-9", "a signature line")
        if words[1] == key.name and data[:4] == key.id:
            need(len(data) == 68 and holds(key.public, data[4:], text), "L-12", "the signature does not hold")
            known += 1
    need(known, "L-12", f"not signed by {key.name}")


def read_entry(data: bytes) -> dict[str, Any]:
    """The fields of section Entry that every entry has (L-14)."""
    need(len(data) <= 65535, "L-14", "an entry is too long")
    body = ground.parse_object(data, "L-14", "entry")
    ground.field(body, "version", ground.is_int(1, 1), "L-15")
    for name in ("event", "outcome", "event_id", "host", "software"):
        ground.field(body, name, ground.is_text(1000), "L-14")
    ground.field(body, "time", ground.is_time, "L-14")
    ground.field(body, "clock", lambda value: value in ("trusted", "untrusted"), "L-14")
    ground.field(body, "actor", lambda value: isinstance(value, dict) and {"uid", "person"} <= set(value), "L-14")
    return body


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + tree_root(leaves[:half]) + tree_root(leaves[half:])).digest()


def tile_name(number: int) -> str:
    """L-3: 1234067 is x001/x234/067."""
    text = str(number)
    text = text.zfill(-(-len(text) // 3) * 3)
    groups = [text[i : i + 3] for i in range(0, len(text), 3)]
    return "/".join([*("x" + group for group in groups[:-1]), groups[-1]])


def _split_bundle(data: bytes, most: int) -> tuple[list[bytes], str]:
    """Up to `most` entries of a bundle, and what is wrong with it (L-4, L-5)."""
    entries: list[bytes] = []
    at = 0
    while len(entries) < most and at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        entry = data[at + 2 : at + 2 + size]
        if len(data) < at + 2 or len(entry) < size or size == 0:
            return entries, f"entry {len(entries)} of it is cut off or empty"
        entries.append(entry)
        at += 2 + size
    return entries, "" if len(entries) == most else "is too short"


class Ledger:
    """One folder, verified with every finding; the checkpoint must hold, else RefusedError."""

    def __init__(self, folder: Path, key: Key) -> None:
        self.folder = folder
        self.findings: list[Finding] = []
        self.checkpoint = read_checkpoint((folder / "checkpoint").read_bytes(), key, key.name)
        self.entries = self._read_entries()
        self.leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in self.entries]
        if len(self.entries) == self.checkpoint.size:
            self._compare_tiles()
            self._compare_old_partials()

    def compare(self, outside: Checkpoint) -> None:
        """A checkpoint known from elsewhere (L-25)."""
        if outside.size > self.checkpoint.size:
            self._find("L-25", f"rolled back: the log has {self.checkpoint.size} entries")
        elif tree_root(self.leaves[: outside.size]) != outside.root:
            self._find("L-25", f"rewritten: at size {outside.size} the root is another")

    def _find(self, rule: str, what: str) -> None:
        self.findings.append(Finding(rule, what))

    def _read(self, start: str, number: int, width: int) -> tuple[str, bytes | None]:
        """A tile or bundle of the checkpoint's size; the full one serves where the partial one is missing (L-6)."""
        full = f"{start}/{tile_name(number)}"
        for name in (full,) if width == 256 else (f"{full}.p/{width}", full):
            if (self.folder / name).is_file():
                return name, (self.folder / name).read_bytes()
        return full if width == 256 else f"{full}.p/{width}", None

    def _read_entries(self) -> list[bytes]:
        size, entries = self.checkpoint.size, list[bytes]()
        for number in range(-(-size // 256)):
            width = min(256, size - 256 * number)
            name, data = self._read("tile/entries", number, width)
            if data is None:
                self._find("L-24", f"{name}: is missing")
                break
            found, wrong = _split_bundle(data, width)
            if not wrong and name.endswith(f".p/{width}") and sum(2 + len(one) for one in found) != len(data):
                wrong = "is too long"
            entries += found
            if wrong:
                self._find("L-24", f"{name}: {wrong}")
                break
        return entries

    def _compare_tiles(self) -> None:
        good = tree_root(self.leaves) == self.checkpoint.root
        if not good:
            self._find("L-24", f"root hash at size {self.checkpoint.size} is another")
        level, hashes = 0, self.leaves
        while hashes:
            for number in range(-(-len(hashes) // 256)):
                own = hashes[256 * number : 256 * number + 256]
                self._compare_tile(level, number, own, good)
            hashes = [tree_root(hashes[i : i + 256]) for i in range(0, len(hashes) // 256 * 256, 256)]
            level += 1

    def _compare_tile(self, level: int, number: int, own: list[bytes], good: bool) -> None:
        name, data = self._read(f"tile/{level}", number, len(own))
        if data is None:
            self._find("L-24", f"{name}: is missing")
            return
        right = 32 * (256 if len(own) < 256 and "/" in name and ".p/" not in name else len(own))
        if len(data) != right:
            self._find("L-24", f"{name}: has {len(data)} bytes")
        differing = [i for i, one in enumerate(own) if data[32 * i : 32 * i + 32] != one]
        if level == 0 and not good:
            for i in differing:
                self._find("L-24", f"entry {256 * number + i}: was changed, or its hash in {name}")
        elif differing:
            self._find("L-24", f"{name}: hash {differing[0]} is another")

    def _compare_old_partials(self) -> None:
        """L-7: what lies there of earlier sizes agrees as far as it goes; leftovers do not count (L-21)."""
        for path in sorted((self.folder / "tile").glob("**/*.p/*")):
            name = path.relative_to(self.folder).as_posix()
            kind, _, rest = name.removeprefix("tile/").partition("/")
            number = int(re.sub(r"[x/]", "", rest.partition(".p/")[0]))
            width, data = int(path.name), path.read_bytes()
            hashes = self.leaves
            for _ in range(0 if kind == "entries" else int(kind)):
                hashes = [tree_root(hashes[i : i + 256]) for i in range(0, len(hashes) // 256 * 256, 256)]
            if 256 * number + width > len(hashes):
                continue
            own = slice(256 * number, 256 * number + width)
            expected = b"".join(hashes[own])
            if kind == "entries":
                expected = b"".join(len(one).to_bytes(2, "big") + one for one in self.entries[own])
            if data != expected and not any(name in finding.what for finding in self.findings):
                self._find("L-7", f"{name}: differs")
