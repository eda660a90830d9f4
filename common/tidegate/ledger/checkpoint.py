"""The checkpoint: a statement of a log's origin, size and root hash, as a C2SP signed note.

Format: docs/format/ledger.md, "Checkpoint" (c2sp.org/signed-note, c2sp.org/tlog-checkpoint). Nothing of a note is
taken before a signature by the known key holds.
"""

import binascii
import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass

from tidegate.errors import FormatError, SignatureError
from tidegate.ledger.merkle import HASH_BYTES
from tidegate.trust.keys import PUBLIC_BYTES, Signer, verify
from tidegate.units import KIB

CHECKPOINT_MAX_BYTES = 64 * KIB
SIGNATURES_MAX = 100  # as in Go's note package
SIZE_MAX = 2**53 - 1
ED25519 = b"\x01"  # signature type of c2sp.org/signed-note
KEY_ID_BYTES = 4
_DASH = "— "


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself. `data` is the signed note that said so."""

    origin: str
    size: int
    root: bytes
    data: bytes = b""

    def text(self) -> str:
        """The note's text, the bytes that are signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class NoteKey:
    """The public key of a log under the name that stands in its signature lines, which is the log's origin."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name) or len(self.public) != PUBLIC_BYTES:
            raise FormatError(f"{self.name!r} with {len(self.public)} bytes is no verifier key")

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        """The *vkey*, as Go's note package and every witness reads it."""
        return f"{self.name}+{self.id.hex()}+{b64encode(ED25519 + self.public).decode()}"


def parse_vkey(text: str) -> NoteKey:
    """Raises FormatError where `text` is no verifier key of type Ed25519, or its key id is another's."""
    parts = text.strip().split("+", 2) if len(text) <= KIB else []
    if len(parts) != 3:
        raise FormatError("verifier key: is not NAME+ID+KEY")
    data = _base64(parts[2], "verifier key")
    if data[:1] != ED25519:
        raise FormatError("verifier key: is not of type Ed25519")
    key = NoteKey(parts[0], data[1:])
    if key.id.hex() != parts[1]:
        raise FormatError(f"verifier key: has the id {parts[1]!r}, its name and key give {key.id.hex()}")
    return key


def sign_checkpoint(origin: str, size: int, root: bytes, signer: Signer) -> Checkpoint:
    """A checkpoint with one signature, under the origin as key name."""
    text = Checkpoint(origin, size, root).text()
    key = NoteKey(origin, signer.public)
    line = signature_line(key.name, key.id + signer.sign(text.encode()))
    return Checkpoint(origin, size, root, f"{text}\n{line}".encode())


def signature_line(name: str, raw: bytes) -> str:
    """One signature line of a note; `raw` are the key id and the signature."""
    return f"{_DASH}{name} {b64encode(raw).decode()}\n"


def open_checkpoint(data: bytes, key: NoteKey, *, what: str = "checkpoint") -> Checkpoint:
    """Verify the note `data` and read its text.

    Raises FormatError where it is no note or its text no checkpoint of `key`'s log, SignatureError where no signature
    of `key` is there, or one that does not hold.
    """
    text, lines = split_note(data, what)
    found = False
    for line in lines:
        name, raw = parse_signature_line(line, what)
        if name == key.name and raw[:KEY_ID_BYTES] == key.id:
            verify(key.public, text.encode(), raw[KEY_ID_BYTES:])
            found = True
    if not found:
        raise SignatureError(f"{what}: is not signed by {key.name} ({key.id.hex()})")
    checkpoint = _parse_text(text, data, what)
    if checkpoint.origin != key.name:
        raise FormatError(f"{what}: is of the log {checkpoint.origin[:256]!r}, not of {key.name!r}")
    return checkpoint


def read_unverified(data: bytes, *, what: str = "checkpoint") -> Checkpoint:
    """What the note says, whoever signed it: to show a log, never to judge one. Raises FormatError."""
    text, _ = split_note(data, what)
    return _parse_text(text, data, what)


def split_note(data: bytes, what: str) -> tuple[str, list[str]]:
    """The text of a note with its last newline, and its signature lines."""
    if len(data) > CHECKPOINT_MAX_BYTES:
        raise FormatError(f"{what}: {len(data)} bytes, the limit is {CHECKPOINT_MAX_BYTES}")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{what}: is not UTF-8") from None
    if any(letter < " " and letter != "\n" for letter in note):
        raise FormatError(f"{what}: has a control character")
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise FormatError(f"{what}: has no signature lines after an empty line")
    lines = signatures[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise FormatError(f"{what}: {len(lines)} signature lines, the limit is {SIGNATURES_MAX}")
    return text + "\n", lines


def parse_signature_line(line: str, what: str) -> tuple[str, bytes]:
    """(key name, key id and signature)."""
    if not line.startswith(_DASH):
        raise FormatError(f"{what}: has a line among the signatures that is none")
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _base64(encoded, what)
    if not _is_key_name(name) or len(raw) <= KEY_ID_BYTES:
        raise FormatError(f"{what}: has a malformed signature line")
    return name, raw


def _parse_text(text: str, data: bytes, what: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise FormatError(f"{what}: has not the three lines origin, size, root hash")
    origin, size_text, root_text = lines[:3]
    if not (size_text.isascii() and size_text.isdecimal()) or len(size_text) > 16 or str(int(size_text)) != size_text:
        raise FormatError(f"{what}: {size_text[:32]!r} is no size")
    size, root = int(size_text), _base64(root_text, what)
    if size > SIZE_MAX or len(root) != HASH_BYTES:
        raise FormatError(f"{what}: size {size}, root hash of {len(root)} bytes")
    return Checkpoint(origin, size, root, data)


def _base64(text: str, what: str) -> bytes:
    """Strict base64: the one way to write these bytes, and no other."""
    try:
        raw = b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or b64encode(raw).decode() != text:
        raise FormatError(f"{what}: has malformed base64")
    return raw


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(letter.isspace() for letter in name)
