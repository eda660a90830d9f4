"""Public keys of those who sign images: what cosign calls ``cosign.pub``, read from PEM and checked by `cryptography`.

Any key that cosign makes or takes: ECDSA (its default, P-256), RSA, Ed25519. A key is known by the SHA-256 of its DER.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import KeyFileError
from tidegate.units import KIB

KEY_MAX_BYTES = 16 * KIB
_RSA_BITS_MIN = 2048


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`name` is the operator's; `der` is its SubjectPublicKeyInfo."""

    name: str
    der: bytes

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    @property
    def text(self) -> str:
        """The DER as base64, as an expectation carries it."""
        return base64.b64encode(self.der).decode()

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` over `message` is this key's."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
        from cryptography.hazmat.primitives.hashes import SHA256

        key = _load(self.der)
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(SHA256()))
            elif isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, message, padding.PKCS1v15(), SHA256())
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            else:
                return False
        except InvalidSignature:
            return False
        return True


def read_key(path: Path, name: str = "") -> PublicKey:
    """The key in a PEM file. Raises KeyFileError."""
    try:
        with open(path, "rb") as file:
            data = file.read(KEY_MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    return parse_key(data, name or path.stem, what=str(path))


def parse_key(data: bytes, name: str, *, what: str) -> PublicKey:
    """The key in PEM. Raises KeyFileError; a private key is refused by name."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    if b"PRIVATE KEY" in data:
        raise KeyFileError(
            f"{what}: holds a private key, and only public ones belong here", hint="cosign.pub is the public one"
        )
    if len(data) > KEY_MAX_BYTES:
        raise KeyFileError(f"{what}: more than {KEY_MAX_BYTES} bytes")
    try:
        der = load_pem_public_key(data).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"{what}: holds no public key in PEM form") from None
    return _checked(PublicKey(name, der), what)


def key_from_text(text: str, name: str, *, what: str) -> PublicKey:
    """The key that an expectation carries. Raises KeyFileError."""
    try:
        der = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError(f"{what}: its key is no base64") from None
    return _checked(PublicKey(name, der), what)


def _checked(key: PublicKey, what: str) -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        loaded = _load(key.der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"{what}: holds no public key that can be used") from None
    if not isinstance(loaded, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise KeyFileError(f"{what}: is of a kind with which images are not signed")
    if isinstance(loaded, rsa.RSAPublicKey) and loaded.key_size < _RSA_BITS_MIN:
        raise KeyFileError(f"{what}: an RSA key of {loaded.key_size} bits, {_RSA_BITS_MIN} are needed")
    return key


def _load(der: bytes) -> object:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    return load_der_public_key(der)
