"""Signatures of images: by another key, for another digest, with a wrong identity, and every way to be malformed."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tidegate.depot.descriptors import Descriptor, Manifest
from tidegate.errors import KeyFileError
from tidegate.oci import OCI_MANIFEST
from tidegate.provenance.attachments import Attachment
from tidegate.provenance.cosign import (
    DSSE_ENVELOPE,
    IN_TOTO,
    SIGN_PREDICATE,
    SIGNATURE_ANNOTATION,
    SIGSTORE_BUNDLE,
    SIMPLE_SIGNING,
    Verdict,
    examine,
)
from tidegate.provenance.expectation import PREDICATES, Expectation, ExpectedKey, judge
from tidegate.provenance.keys import PublicKey, parse_key
from tidegate.trust.envelope import pae

IMAGE = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
SPDX = PREDICATES["spdx"]


@dataclass
class Blobs:
    """A reader of blobs in memory."""

    held: dict[str, bytes] = field(default_factory=dict)

    def add(self, data: bytes, media_type: str, **annotations: str) -> Descriptor:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.held[digest] = data
        return Descriptor(media_type, digest, len(data), annotations)

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        assert len(self.held[digest]) <= max_bytes
        return self.held[digest]


def public(key: Any, name: str = "release") -> PublicKey:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return parse_key(pem, name, what="a test's key")


def signed(key: Any, message: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), SHA256())
    made: bytes = key.sign(message)
    return made


def payload(digest: str = IMAGE, reference: str = "registry.example/app", kind: str | None = None) -> bytes:
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": kind or "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


def attached(*layers: Descriptor, suffix: str = "sig") -> Attachment:
    manifest = Manifest(OCI_MANIFEST, config=Descriptor("x/y", OTHER, 2), layers=layers)
    return Attachment(IMAGE, Descriptor(OCI_MANIFEST, OTHER, 10), suffix, manifest)


def simple(blobs: Blobs, key: Any, data: bytes) -> Attachment:
    signature = base64.b64encode(signed(key, data)).decode()
    return attached(blobs.add(data, SIMPLE_SIGNING, **{SIGNATURE_ANNOTATION: signature}))


def envelope(key: Any, predicate: str, *digests: str) -> dict[str, Any]:
    subjects = [{"name": "x", "digest": {"sha256": digest[7:]}} for digest in digests]
    data = json.dumps({"predicateType": predicate, "subject": subjects, "predicate": {"any": "thing"}}).encode()
    signature = base64.b64encode(signed(key, pae(IN_TOTO, data))).decode()
    return {"payloadType": IN_TOTO, "payload": base64.b64encode(data).decode(), "signatures": [{"sig": signature}]}


P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize("key", [P256, P384, RSA, ED25519], ids=["P-256", "P-384", "RSA", "Ed25519"])
def test_a_signature_by_any_key_that_cosign_makes_is_valid(key: Any) -> None:
    blobs = Blobs()
    (found,) = examine(blobs, simple(blobs, key, payload()), (public(P256, "other"), public(key)))
    assert found.verdict is Verdict.VALID
    assert found.is_signature


def test_a_signature_by_another_key_is_named() -> None:
    blobs = Blobs()
    (found,) = examine(blobs, simple(blobs, P384, payload()), (public(P256),))
    assert found.verdict is Verdict.OTHER_KEY


def test_a_signature_for_another_digest_is_named() -> None:
    blobs = Blobs()
    (found,) = examine(blobs, simple(blobs, P256, payload(OTHER)), (public(P256),))
    assert (found.verdict, found.reason) == (Verdict.OTHER_SUBJECT, OTHER)


def test_a_signature_with_a_wrong_identity_is_named() -> None:
    blobs = Blobs()
    (found,) = examine(blobs, simple(blobs, P256, payload()), (public(P256),), identity="registry.example/other")
    assert (found.verdict, found.reason) == (Verdict.OTHER_IDENTITY, "registry.example/app")


def test_a_payload_of_another_type_is_no_signature_of_an_image() -> None:
    blobs = Blobs()
    (found,) = examine(blobs, simple(blobs, P256, payload(kind="something else")), (public(P256),))
    assert found.verdict is Verdict.MALFORMED


@pytest.mark.parametrize("form", [DSSE_ENVELOPE, SIGSTORE_BUNDLE])
def test_an_attestation_speaks_of_the_digests_in_its_statement(form: str) -> None:
    blobs = Blobs()

    def layer(*digests: str) -> Descriptor:
        made = envelope(P256, SPDX, *digests)
        wrapped = made if form == DSSE_ENVELOPE else {"mediaType": form, "dsseEnvelope": made}
        return blobs.add(json.dumps(wrapped).encode(), form)

    good, bad = examine(blobs, attached(layer(OTHER, IMAGE), layer(OTHER)), (public(P256),))
    assert (good.verdict, good.predicate_type) == (Verdict.VALID, SPDX)
    assert bad.verdict is Verdict.OTHER_SUBJECT


def test_a_bundle_whose_predicate_is_cosigns_own_signs_the_image() -> None:
    blobs = Blobs()
    data = json.dumps({"dsseEnvelope": envelope(P256, SIGN_PREDICATE, IMAGE)}).encode()
    (found,) = examine(blobs, attached(blobs.add(data, SIGSTORE_BUNDLE)), (public(P256),))
    assert found.is_signature


@given(st.sampled_from([SIMPLE_SIGNING, DSSE_ENVELOPE, SIGSTORE_BUNDLE]), st.binary(max_size=300), st.text(max_size=40))
def test_any_bytes_end_in_a_verdict(form: str, data: bytes, signature: str) -> None:
    blobs = Blobs()
    (found,) = examine(blobs, attached(blobs.add(data, form, **{SIGNATURE_ANNOTATION: signature})), (public(P256),))
    assert found.verdict in {Verdict.OTHER_KEY, Verdict.MALFORMED}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists))
def test_any_signed_statement_ends_in_a_verdict(value: Any) -> None:
    blobs = Blobs()
    for data in (json.dumps(value).encode(), json.dumps({"critical": value}).encode()):
        (found,) = examine(blobs, simple(blobs, P256, data), (public(P256),))
        assert found.verdict is Verdict.MALFORMED


def expectation(*keys: PublicKey, **more: Any) -> Expectation:
    return Expectation(keys=tuple(ExpectedKey(key.name, key.text) for key in keys), **more)


def test_what_is_expected_and_there_gives_a_verdict_without_faults() -> None:
    blobs = Blobs()
    key = public(P256)
    attestation = blobs.add(json.dumps(envelope(P256, SPDX, IMAGE)).encode(), DSSE_ENVELOPE)
    judged = judge(
        blobs,
        (simple(blobs, P256, payload()), attached(attestation, suffix="att")),
        (key,),
        expectation(key, predicates=(SPDX,), sbom=True),
    )
    assert judged.faults == ()
    assert judged.verdict == f"signed by release; attested: {SPDX}"


def test_every_key_must_have_signed_and_what_is_there_instead_is_said() -> None:
    blobs = Blobs()
    keys = (public(P256), public(P384, "second"))
    judged = judge(blobs, (simple(blobs, P256, payload()), simple(blobs, RSA, payload())), keys, expectation(*keys))
    assert judged.faults == ("no signature by second holds; there is one by another key",)
    assert judged.verdict.startswith("refused: ")


def test_what_is_missing_is_named_one_by_one() -> None:
    expected = Expectation(types=("application/x-report",), sbom=True)
    judged = judge(Blobs(), (), (), expected)
    assert judged.faults == ("nothing of type application/x-report belongs to it", "no SBOM belongs to it")


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"x" * 20_000],
    ids=["empty", "garbage", "no key", "too long"],
)
def test_a_file_that_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(KeyFileError):
        parse_key(data, "x", what="x.pub")


def test_a_private_key_is_refused_by_name() -> None:
    with pytest.raises(KeyFileError, match="holds a private key"):
        parse_key(b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "x", what="x.key")


def test_an_rsa_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(KeyFileError, match="1024 bits"):
        public(rsa.generate_private_key(65537, 1024))
