"""DSSE envelopes: the pre-authentication encoding, whole and detached, strict in both directions.

A detached envelope has no payload: a bundle's manifest lies in the head, its signatures in the cover. `join` makes
the two a standard DSSE file. Nothing here decides whose signature counts (`checks`, `root`).
Format: docs/format/trust.md, "Envelopes".
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate import canonical
from tidegate.errors import FormatError
from tidegate.trust.keys import SIGNATURE_BYTES, Hex64, Signer
from tidegate.units import KIB

MANIFEST_TYPE = "application/vnd.tidegate.manifest.v1+json"
ANNOUNCEMENT_TYPE = "application/vnd.tidegate.announcement.v1+json"
HEARTBEAT_TYPE = "application/vnd.tidegate.heartbeat.v1+json"
ROOT_TYPE = "application/vnd.tidegate.root.v1+json"

DETACHED_MAX_BYTES = 64 * KIB
SIGNATURES_MAX = 32


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the id of the key that is said to have made it."""

    key_id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class DetachedEnvelope:
    """Signatures over a payload that lies elsewhere. Nothing in it is verified yet."""

    payload_type: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its signatures. Nothing in it is verified yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def to_bytes(self) -> bytes:
        return _dumps(self.payload_type, self.signatures, self.payload)


# Structs, not dataclasses: of these msgspec refuses unknown fields, so nothing unsigned can hide in an envelope.
class _SignatureJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: Hex64
    sig: Annotated[str, Meta(min_length=88, max_length=88)]  # base64 of 64 bytes


class _DetachedJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payloadType: Annotated[str, Meta(max_length=256)]  # noqa: N815 (DSSE's own field name)
    signatures: Annotated[tuple[_SignatureJson, ...], Meta(min_length=1, max_length=SIGNATURES_MAX)]


class _EnvelopeJson(_DetachedJson, frozen=True, forbid_unknown_fields=True):
    payload: str


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign_envelope(payload: bytes, payload_type: str, signers: Iterable[Signer]) -> Envelope:
    """Sign `payload` by every signer; signatures stand in the order of their key ids, each key once."""
    message = pae(payload_type, payload)
    by_id = {signer.key_id: signer for signer in signers}
    if not 1 <= len(by_id) <= SIGNATURES_MAX:
        raise ValueError(f"{len(by_id)} signers; 1 to {SIGNATURES_MAX} are possible")
    signatures = tuple(Signature(key_id, by_id[key_id].sign(message)) for key_id in sorted(by_id))
    return Envelope(payload_type, payload, signatures)


def sign_detached(payload: bytes, payload_type: str, signers: Iterable[Signer]) -> bytes:
    """The signatures piece of a cover: an envelope over `payload` without it."""
    return _dumps(payload_type, sign_envelope(payload, payload_type, signers).signatures, None)


def parse_detached(data: bytes | memoryview) -> DetachedEnvelope:
    """Read a detached envelope; raises FormatError."""
    what = "signatures"
    plain = canonical.loads(data, _DetachedJson, what=what, max_bytes=DETACHED_MAX_BYTES)
    return DetachedEnvelope(plain.payloadType, _read_signatures(plain, what))


def parse_envelope(data: bytes | memoryview, *, what: str, max_bytes: int) -> Envelope:
    """Read a whole envelope of at most `max_bytes`; raises FormatError naming `what`."""
    plain = canonical.loads(data, _EnvelopeJson, what=what, max_bytes=max_bytes)
    payload = _decode_base64(plain.payload, f"{what}: payload")
    return Envelope(plain.payloadType, payload, _read_signatures(plain, what))


def join(detached: DetachedEnvelope, payload: bytes) -> bytes:
    """The standard DSSE JSON of a detached envelope and its payload."""
    return Envelope(detached.payload_type, payload, detached.signatures).to_bytes()


def _dumps(payload_type: str, signatures: tuple[Signature, ...], payload: bytes | None) -> bytes:
    listed = tuple(_SignatureJson(item.key_id, base64.b64encode(item.value).decode()) for item in signatures)
    if payload is None:
        return canonical.dumps(_DetachedJson(payload_type, listed))
    return canonical.dumps(_EnvelopeJson(payload_type, listed, base64.b64encode(payload).decode()))


def _read_signatures(plain: _DetachedJson, what: str) -> tuple[Signature, ...]:
    signatures = tuple(_read_signature(item, what) for item in plain.signatures)
    ids = [item.key_id for item in signatures]
    if ids != sorted(set(ids)):
        raise FormatError(f"{what}: signatures are not sorted by keyid, each key once")
    return signatures


def _read_signature(item: _SignatureJson, what: str) -> Signature:
    value = _decode_base64(item.sig, f"{what}: signature of {item.keyid[:16]}")
    if len(value) != SIGNATURE_BYTES:
        raise FormatError(f"{what}: signature of {item.keyid[:16]} has {len(value)} bytes, not {SIGNATURE_BYTES}")
    return Signature(item.keyid, value)


def _decode_base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(f"{what}: is not base64") from None
    # The decoder lets unused bits pass: two texts for the same bytes would be two envelopes.
    if base64.b64encode(data).decode() != text:
        raise FormatError(f"{what}: is not base64 in its one form (RFC 4648, section 4)")
    return data
