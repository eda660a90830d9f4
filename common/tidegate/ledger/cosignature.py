"""Co-signatures: that a witness saw a log's checkpoint, when, and that it went on from what the witness saw before.

C2SP's tlog-cosignature, type Ed25519, one more signature line of a signed note. Format: docs/format/witness.md, W-8.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tidegate.errors import FormatError, SignatureError
from tidegate.ledger.checkpoint import (
    KEY_ID_BYTES,
    Checkpoint,
    NoteKey,
    open_checkpoint,
    parse_signature_line,
    signature_line,
    split_note,
)
from tidegate.trust.keys import SIGNATURE_BYTES, Signer, verify

COSIGNATURE = b"\x04"
TIME_BYTES = 8
TIME_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """The public key of a witness, under the name in its signature lines."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        """The *vkey* of type 4."""
        return f"{self.name}+{self.id.hex()}+{b64encode(COSIGNATURE + self.public).decode()}"


def cosign(note: bytes, name: str, signer: Signer, time: int) -> bytes:
    """`note` with one more signature line; that the checkpoint may be co-signed is the caller's to know."""
    text, _ = split_note(note, "checkpoint")
    key = CosignerKey(name, signer.public)
    signature = signer.sign(_message(text, time))
    return note + signature_line(name, key.id + time.to_bytes(TIME_BYTES, "big") + signature).encode()


def open_cosignature(note: bytes, key: CosignerKey, *, what: str = "co-signature") -> int:
    """The time at which `key` co-signed the note, in seconds since 1970.

    Raises FormatError where it is no note, SignatureError where no co-signature of `key` is there or it does not hold.
    """
    text, lines = split_note(note, what)
    for line in lines:
        name, raw = parse_signature_line(line, what)
        if name != key.name or raw[:KEY_ID_BYTES] != key.id:
            continue
        stamped = raw[KEY_ID_BYTES:]
        time = int.from_bytes(stamped[:TIME_BYTES], "big")
        if len(stamped) != TIME_BYTES + SIGNATURE_BYTES or time > TIME_MAX:
            raise FormatError(f"{what}: a co-signature of {len(stamped)} bytes")
        verify(key.public, _message(text, time), stamped[TIME_BYTES:])
        return time
    raise SignatureError(f"{what}: is not co-signed by {key.name} ({key.id.hex()})")


def open_cosigned(note: bytes, own: Sequence[NoteKey], witnesses: Sequence[NoteKey]) -> tuple[Checkpoint, NoteKey, int]:
    """A co-signed checkpoint of one's own log: what it says, the key that signed it, and when a witness co-signed it.

    Raises FormatError and SignatureError where not both signatures hold.
    """
    failure: FormatError | SignatureError = SignatureError("co-signature: no key is known that could have made it")
    for key in own:
        for witness in witnesses:
            try:
                checkpoint = open_checkpoint(note, key, what="co-signed checkpoint")
                return checkpoint, key, open_cosignature(note, CosignerKey(witness.name, witness.public))
            except (FormatError, SignatureError) as error:
                failure = error
    raise failure


class OwnHead(StrEnum):
    """What a co-signed head of one's own log is (W-10)."""

    KEPT = "kept"
    OLDER = "older"  # than the one that is kept
    REWRITTEN = "rewritten"  # the own log does not give it


def judge_own(head: Checkpoint, own_root: bytes | None, kept_size: int) -> OwnHead:
    """`own_root` is that of the own log at the head's size, None where it is shorter; `kept_size` 0 for none."""
    if own_root != head.root:
        return OwnHead.REWRITTEN
    return OwnHead.KEPT if head.size >= kept_size else OwnHead.OLDER


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
