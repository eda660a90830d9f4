"""Verify what cosign signs with a key, offline: image signatures, attestations, and bundles of version 0.3.

    .sig tag   payload (simple signing), the signature in an annotation of its layer
    .att tag   DSSE envelope with an in-toto statement
    referrer   sigstore bundle v0.3: a DSSE envelope, whose statement is an attestation, or cosign's own "sign"

The key is the operator's, never a hint of what was signed. A verdict is an answer, not an error: only limits raise.
Specifications: sigstore/cosign SIGNATURE_SPEC, secure-systems-lab/dsse, in-toto statement v0.1 and v1.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import BlobReader
from tidegate.names import DIGEST
from tidegate.provenance.attachments import Attachment
from tidegate.provenance.keys import PublicKey
from tidegate.trust.envelope import pae
from tidegate.units import MIB

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE_ENVELOPE = "application/vnd.dsse.envelope.v1+json"
SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
IN_TOTO = "application/vnd.in-toto+json"
#: the predicate type of an image's signature in a bundle
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
#: an attestation may hold a whole SBOM; twice this is held for a moment
ENVELOPE_MAX_BYTES = 24 * MIB
PAYLOAD_MAX_BYTES = 1 * MIB
LAYERS_MAX = 256
_PAYLOAD_TYPES = frozenset({"cosign container image signature", "atomic container signature"})
_SIGNATURES_MAX = 64


class Verdict(StrEnum):
    """What became of one signature."""

    VALID = "valid"
    OTHER_KEY = "by another key"
    OTHER_SUBJECT = "for another digest"
    OTHER_IDENTITY = "for another identity"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One signature that was looked at. `predicate_type` is empty for the signature of an image itself."""

    verdict: Verdict
    blob: str
    predicate_type: str = ""
    key: PublicKey | None = None
    reason: str = ""

    @property
    def is_signature(self) -> bool:
        return self.predicate_type in {"", SIGN_PREDICATE}


class _Image(msgspec.Struct, frozen=True, rename="kebab"):
    docker_manifest_digest: Annotated[str, msgspec.Meta(pattern=DIGEST)]


class _Identity(msgspec.Struct, frozen=True, rename="kebab"):
    docker_reference: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class _Critical(msgspec.Struct, frozen=True):
    image: _Image
    type: Annotated[str, msgspec.Meta(max_length=256)]
    identity: _Identity = _Identity()


class _Payload(msgspec.Struct, frozen=True):
    critical: _Critical


class _Signature(msgspec.Struct, frozen=True):
    sig: Annotated[str, msgspec.Meta(max_length=16384)]


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: str
    payload_type: Annotated[str, msgspec.Meta(max_length=256)]
    signatures: Annotated[list[_Signature], msgspec.Meta(max_length=_SIGNATURES_MAX)]


class _Bundle(msgspec.Struct, frozen=True, rename="camel"):
    dsse_envelope: _Envelope | None = None


class _StatementSubject(msgspec.Struct, frozen=True):
    digest: dict[str, str]


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    # The predicate itself is skipped, however large it is.
    predicate_type: Annotated[str, msgspec.Meta(max_length=1024)]
    subject: Annotated[list[_StatementSubject], msgspec.Meta(max_length=4096)]


def examine(
    reader: BlobReader, attachment: Attachment, keys: tuple[PublicKey, ...], *, identity: str = ""
) -> tuple[Finding, ...]:
    """Every signature in one attachment, held against `keys`. What is no signature gives none.

    `identity`: the reference, without tag, that the signature of an image must speak of. Raises DepotError for a blob
    that is missing or damaged.
    """
    return tuple(_findings(reader, attachment, keys, identity))


def _findings(
    reader: BlobReader, attachment: Attachment, keys: tuple[PublicKey, ...], identity: str
) -> Iterator[Finding]:
    for layer in attachment.manifest.layers[:LAYERS_MAX]:
        if layer.media_type == SIMPLE_SIGNING:
            yield _simple(reader, layer, attachment.subject, keys, identity)
        elif layer.media_type == DSSE_ENVELOPE:
            yield _enveloped(reader, layer, attachment.subject, keys, _Envelope)
        elif layer.media_type == SIGSTORE_BUNDLE:
            yield _enveloped(reader, layer, attachment.subject, keys, _Bundle)


def _simple(reader: BlobReader, layer: Descriptor, subject: str, keys: tuple[PublicKey, ...], identity: str) -> Finding:
    if layer.size > PAYLOAD_MAX_BYTES:
        return Finding(Verdict.MALFORMED, layer.digest, reason=f"a payload of {layer.size} bytes")
    payload = reader.read_blob(layer.digest, max_bytes=PAYLOAD_MAX_BYTES)
    signature = _decoded(layer.annotations.get(SIGNATURE_ANNOTATION, ""))
    key = _signing_key(keys, payload, [signature])
    if key is None:
        return Finding(Verdict.OTHER_KEY, layer.digest)
    try:
        critical = msgspec.json.decode(payload, type=_Payload).critical
    except (msgspec.MsgspecError, RecursionError) as error:
        return Finding(Verdict.MALFORMED, layer.digest, key=key, reason=str(error)[:200])
    if critical.type not in _PAYLOAD_TYPES:
        return Finding(Verdict.MALFORMED, layer.digest, key=key, reason=f"its type is {critical.type[:100]!r}")
    signed = critical.image.docker_manifest_digest
    if signed != subject:
        return Finding(Verdict.OTHER_SUBJECT, layer.digest, key=key, reason=signed)
    if identity and critical.identity.docker_reference != identity:
        return Finding(Verdict.OTHER_IDENTITY, layer.digest, key=key, reason=critical.identity.docker_reference[:200])
    return Finding(Verdict.VALID, layer.digest, key=key)


def _enveloped(
    reader: BlobReader, layer: Descriptor, subject: str, keys: tuple[PublicKey, ...], kind: type[Any]
) -> Finding:
    if layer.size > ENVELOPE_MAX_BYTES:
        return Finding(Verdict.MALFORMED, layer.digest, reason=f"an envelope of {layer.size} bytes")
    try:
        envelope = msgspec.json.decode(reader.read_blob(layer.digest, max_bytes=ENVELOPE_MAX_BYTES), type=kind)
        envelope = envelope.dsse_envelope if kind is _Bundle else envelope
        if envelope is None or envelope.payload_type != IN_TOTO:
            return Finding(Verdict.MALFORMED, layer.digest, reason="it holds no in-toto statement")
        payload = base64.b64decode(envelope.payload, validate=True)
    except (msgspec.MsgspecError, RecursionError, binascii.Error, ValueError) as error:
        return Finding(Verdict.MALFORMED, layer.digest, reason=str(error)[:200])
    signatures = [_decoded(item.sig) for item in envelope.signatures]
    del envelope
    key = _signing_key(keys, pae(IN_TOTO, payload), signatures)
    if key is None:
        return Finding(Verdict.OTHER_KEY, layer.digest)
    try:
        statement = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.MsgspecError, RecursionError) as error:
        return Finding(Verdict.MALFORMED, layer.digest, key=key, reason=str(error)[:200])
    named = {f"sha256:{item.digest.get('sha256', '')}" for item in statement.subject}
    verdict = Verdict.VALID if subject in named else Verdict.OTHER_SUBJECT
    return Finding(verdict, layer.digest, statement.predicate_type, key)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _signing_key(keys: Iterable[PublicKey], message: bytes, signatures: list[bytes]) -> PublicKey | None:
    pairs = ((key, signature) for key in keys for signature in signatures if signature)
    return next((key for key, signature in pairs if key.verifies(message, signature)), None)
