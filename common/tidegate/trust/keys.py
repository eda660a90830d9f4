"""Ed25519 keys: sign, verify, and private keys in files.

Everything that signs does so through `Signer`, so that a key may later live in an ssh-agent or a PKCS#11 token. A key
file is small canonical JSON of mode 0600, with the seed under a passphrase (Argon2id, secretbox) if wanted.
Format: docs/format/trust.md, "Keys".
"""

import hashlib
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import nacl.exceptions
import nacl.pwhash.argon2id
import nacl.secret
import nacl.signing
import nacl.utils
from msgspec import Meta

from tidegate import canonical
from tidegate.errors import FormatError, KeyFileError, SignatureError
from tidegate.files import host_error, make_folders, write_durably
from tidegate.names import HEX64, NAME
from tidegate.units import KIB, MIB

ALGORITHM = "ed25519"
PUBLIC_BYTES = 32  # RFC 8032, 5.1.5
SIGNATURE_BYTES = 64  # RFC 8032, 5.1.6
KEY_FILE_MAX_BYTES = 4 * KIB
PASSPHRASE_MAX_BYTES = 1 * KIB

#: what a new locked file costs to open: about 0.2 s and 64 MiB
ARGON2_OPERATIONS = 4
ARGON2_MEMORY_BYTES = 64 * MIB
#: what a reader will spend at most: a file that asks for more is refused before anything is allocated
ARGON2_OPERATIONS_MAX = 16
ARGON2_MEMORY_MAX_BYTES = 256 * MIB

Hex64 = Annotated[str, Meta(pattern=HEX64)]
Name = Annotated[str, Meta(pattern=NAME)]


class Signer(Protocol):
    """Something that holds one private key and signs with it."""

    @property
    def key_id(self) -> str: ...
    @property
    def public(self) -> bytes: ...
    def sign(self, message: bytes) -> bytes: ...


class HeldSigner(Signer, Protocol):
    """A signer of which it is known who holds it: what a root lists."""

    @property
    def holder(self) -> str: ...


def key_id(public: bytes) -> str:
    """The name of a public key: SHA-256 of its bytes, in hex."""
    return hashlib.sha256(public).hexdigest()


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Check one Ed25519 signature; raises SignatureError naming the key."""
    try:
        nacl.signing.VerifyKey(public).verify(message, signature)
    except (nacl.exceptions.CryptoError, ValueError):
        raise SignatureError(f"signature does not match key {key_id(public)[:16]}") from None


class FileSigner:
    """A key whose seed is in this process's memory, read from a file."""

    __slots__ = ("_key", "holder", "key_id", "public")

    def __init__(self, seed: bytes, holder: str) -> None:
        self._key = nacl.signing.SigningKey(seed)
        self.public = bytes(self._key.verify_key)
        self.key_id = key_id(self.public)
        self.holder = holder

    def __repr__(self) -> str:
        return f"FileSigner({self.key_id[:16]}, holder={self.holder!r})"

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message).signature


# --- private key files ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Locked:
    """A seed under a passphrase, with the parameters that its key is derived by."""

    kdf: Literal["argon2id"]
    operations: Annotated[int, Meta(ge=1, le=ARGON2_OPERATIONS_MAX)]
    memory_bytes: Annotated[int, Meta(ge=8 * KIB, le=ARGON2_MEMORY_MAX_BYTES, multiple_of=KIB)]
    salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    nonce: Annotated[str, Meta(pattern=r"^[0-9a-f]{48}\Z")]
    sealed: Annotated[str, Meta(pattern=r"^[0-9a-f]{96}\Z")]


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """The JSON of a private key file."""

    kind: Literal["tidegate-private-key"]
    format: Literal[1]
    algorithm: Literal["ed25519"]
    holder: Name
    public: Hex64
    seed: Hex64 | None = None
    locked: _Locked | None = None


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a private key file says in the open."""

    key_id: str
    public: bytes
    holder: str
    is_locked: bool


def generate_key(path: Path, holder: str, passphrase: str | None = None) -> FileSigner:
    """Make a key and write it to `path`, mode 0600; raises KeyFileError where a file is there already."""
    if path.exists():
        raise KeyFileError(f"{path}: exists already; a key is never overwritten")
    signer = FileSigner(nacl.utils.random(PUBLIC_BYTES), holder)
    data = build_key_file(signer, passphrase)
    parse_key_file(data, str(path))  # refuses a holder that is no name before anything is written
    try:
        make_folders(path.parent, mode=0o700)
        write_durably(path, data, mode=0o600)
    except OSError as error:
        raise host_error(error, f"writing key {path}") from None
    return signer


def build_key_file(signer: FileSigner, passphrase: str | None = None) -> bytes:
    """The bytes of a private key file, the seed sealed where there is a passphrase."""
    seed = bytes(signer._key)
    locked = None if passphrase is None else _lock_seed(seed, passphrase)
    shown = seed.hex() if locked is None else None
    file = _KeyFile("tidegate-private-key", 1, "ed25519", signer.holder, signer.public.hex(), seed=shown, locked=locked)
    return canonical.dumps(file)


def load_signer(path: Path, passphrase: str | None = None) -> FileSigner:
    """Read a private key file; raises KeyFileError for wrong permissions, content or passphrase."""
    return open_key_file(_read_private(path), passphrase, what=str(path))


def read_key_info(path: Path) -> KeyInfo:
    """What the file says without a passphrase, so that a command knows whether to ask for one."""
    file = parse_key_file(_read_private(path), str(path))
    public = bytes.fromhex(file.public)
    return KeyInfo(key_id(public), public, file.holder, file.locked is not None)


def open_key_file(data: bytes, passphrase: str | None = None, *, what: str = "key file") -> FileSigner:
    """The signer inside the bytes of a key file; raises KeyFileError."""
    file = parse_key_file(data, what)
    signer = FileSigner(_seed_of(file, passphrase, what), file.holder)
    if signer.public.hex() != file.public:
        raise KeyFileError(f"{what}: public key {file.public[:16]} does not belong to the private one")
    return signer


def parse_key_file(data: bytes, what: str) -> _KeyFile:
    try:
        file = canonical.loads(data, _KeyFile, what=what, max_bytes=KEY_FILE_MAX_BYTES)
    except FormatError as error:
        raise KeyFileError(f"{error.message} (is it a private key file?)") from None
    if (file.seed is None) == (file.locked is None):
        raise KeyFileError(f"{what}: needs exactly one of seed and locked")
    return file


def _seed_of(file: _KeyFile, passphrase: str | None, what: str) -> bytes:
    if file.seed is not None:
        return bytes.fromhex(file.seed)
    if passphrase is None:
        raise KeyFileError(
            f"{what}: the key has a passphrase, and none was given",
            hint="run it at a terminal, or name a file with the passphrase in TIDEGATE_PASSPHRASE_FILE",
        )
    locked = file.locked
    assert locked is not None  # parse_key_file: one of the two is there
    try:
        return _box(locked, passphrase).decrypt(bytes.fromhex(locked.sealed), bytes.fromhex(locked.nonce))
    except nacl.exceptions.CryptoError:
        raise KeyFileError(f"{what}: the passphrase is wrong") from None


def _lock_seed(seed: bytes, passphrase: str) -> _Locked:
    salt, nonce = nacl.utils.random(16), nacl.utils.random(24)
    empty = _Locked("argon2id", ARGON2_OPERATIONS, ARGON2_MEMORY_BYTES, salt.hex(), nonce.hex(), "")
    sealed = _box(empty, passphrase).encrypt(seed, nonce).ciphertext
    return _Locked("argon2id", ARGON2_OPERATIONS, ARGON2_MEMORY_BYTES, salt.hex(), nonce.hex(), sealed.hex())


def _box(locked: _Locked, passphrase: str) -> nacl.secret.SecretBox:
    try:
        secret = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise KeyFileError("the passphrase is no valid Unicode text") from None
    if not 1 <= len(secret) <= PASSPHRASE_MAX_BYTES:
        raise KeyFileError(f"the passphrase has {len(secret)} bytes; 1 to {PASSPHRASE_MAX_BYTES} are possible")
    salt = bytes.fromhex(locked.salt)
    try:
        key = nacl.pwhash.argon2id.kdf(32, secret, salt, opslimit=locked.operations, memlimit=locked.memory_bytes)
    except (nacl.exceptions.CryptoError, RuntimeError, MemoryError):
        raise KeyFileError(f"no memory for the key's passphrase ({locked.memory_bytes} bytes)") from None
    return nacl.secret.SecretBox(key)


def _read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner may read; the checks are made on the open file, not on its name."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO in place of a key must not hang
        try:
            status = os.fstat(fd)
            _check_private(path, status)
            return os.read(fd, KEY_FILE_MAX_BYTES + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _check_private(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: is no ordinary file")
    if mode & 0o077:
        raise KeyFileError(f"{path}: mode is {mode:04o}, others than its owner may use it", hint=f"chmod 600 {path}")
