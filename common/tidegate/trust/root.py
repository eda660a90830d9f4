"""Chains of roots: every version is signed by the one before it and by itself.

A chain begins with version 1, whose payload's SHA-256 is the channel's id; whoever holds that id can judge the whole
chain. What travels may be only its newest part, and is taken by whoever has stored a version in it
(`continue_chain`). Files are `store`'s matter, new versions are made in `rotation`.
Format: docs/format/trust.md, "Counting a threshold" and "Chain".
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidegate.errors import FormatError, RotationError, SignatureError
from tidegate.trust.envelope import ROOT_TYPE, Envelope, Signature, pae, parse_envelope
from tidegate.trust.keys import verify
from tidegate.trust.payload import ChannelPin, Key, Limits, RevokedKey, Role, RoleName, Root, RootType, parse_root
from tidegate.units import KIB, MIB

__all__ = [
    "CARRIED_MAX_BYTES",
    "CHANNEL_CHAIN_MAX_BYTES",
    "SITE_CHAIN_MAX_BYTES",
    "Chain",
    "ChannelPin",
    "Key",
    "Limits",
    "RevokedKey",
    "Role",
    "RoleName",
    "Root",
    "RootType",
    "VerifiedSigner",
    "check_threshold",
    "continue_chain",
    "parse_chain",
    "read_chain_id",
    "verified_signers",
]

CARRIED_MAX_BYTES = 64 * KIB  # the preamble of media.md and bundle.md
CHANNEL_CHAIN_MAX_BYTES = 1 * MIB
SITE_CHAIN_MAX_BYTES = 16 * MIB
VERSIONS_MAX = 1024


@dataclass(frozen=True, slots=True)
class VerifiedSigner:
    """A key of a role whose signature was checked and holds."""

    holder: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Chain:
    """All versions of one root, oldest first, every one verified against the one before."""

    roots: tuple[Root, ...]
    envelopes: tuple[Envelope, ...]
    channel_id: str

    @property
    def newest(self) -> Root:
        return self.roots[-1]

    def to_bytes(self) -> bytes:
        """The chain as it travels, at most 64 KiB: whole, or its newest versions where it has grown longer."""
        lines = _lines(self.envelopes)
        size = 0
        first = len(lines)
        while first > 0 and size + len(lines[first - 1]) <= CARRIED_MAX_BYTES:
            first -= 1
            size += len(lines[first])
        return b"".join(lines[first:])

    def to_whole_bytes(self) -> bytes:
        """The chain from version 1 on: what is stored, and what a pairing file holds."""
        return b"".join(_lines(self.envelopes))

    def find_key(self, key_id: str) -> Key | None:
        """A key of any version, the newest version's word first; says nothing about roles."""
        return next((root.keys[key_id] for root in reversed(self.roots) if key_id in root.keys), None)

    def extended(self, envelope: Envelope) -> "Chain":
        """This chain and one version more, checked in the order of the format; raises RotationError, FormatError."""
        if len(self.roots) >= VERSIONS_MAX:
            raise RotationError(f"{self.newest.label}: a chain has at most {VERSIONS_MAX} versions")
        old = self.newest
        what = f"{old.type} root {old.name}, version {old.version + 1}"
        _check_root_type(envelope, what)
        _check_rotation_threshold(old, envelope, what, by=old.version)
        new = parse_root(envelope.payload, what)
        _check_follows(old, new, self.channel_id, what)
        _check_rotation_threshold(new, envelope, what, by=new.version)
        _check_no_strangers(envelope, {**old.role_keys(RoleName.ROOT), **new.role_keys(RoleName.ROOT)}, what)
        return Chain((*self.roots, new), (*self.envelopes, envelope), self.channel_id)


def start_chain(envelope: Envelope) -> Chain:
    """The chain of version 1 alone; raises FormatError, RotationError, SignatureError."""
    what = "root, first line"
    _check_root_type(envelope, what)
    root = parse_root(envelope.payload, what)
    if root.version != 1:
        raise RotationError(f"{root.label}: a whole chain begins with version 1")
    check_threshold(root, RoleName.ROOT, pae(ROOT_TYPE, envelope.payload), envelope.signatures, root.label)
    _check_no_strangers(envelope, root.role_keys(RoleName.ROOT), root.label)
    return Chain((root,), (envelope,), hashlib.sha256(envelope.payload).hexdigest())


def parse_chain(data: bytes | memoryview, *, max_bytes: int = CHANNEL_CHAIN_MAX_BYTES) -> Chain:
    """Read and fully verify a whole chain. That it is a trusted one only its channel_id can tell.

    Raises FormatError, RotationError, SignatureError.
    """
    first, *later = _split(data, max_bytes)
    chain = start_chain(first)
    for envelope in later:
        chain = chain.extended(envelope)
    return chain


def read_chain_id(data: bytes | memoryview) -> str:
    """The id that a carried chain claims. Good for looking up what is stored, and for nothing else."""
    root, envelope = _peek(_split(data, CHANNEL_CHAIN_MAX_BYTES))
    return root.id if root.id is not None else hashlib.sha256(envelope.payload).hexdigest()


def continue_chain(stored: Chain, data: bytes | memoryview) -> Chain:
    """`stored` with the later versions that `data`, a carried or whole chain, brings.

    Returns `stored` itself where there is nothing later. Raises RotationError where the two do not meet or differ.
    """
    envelopes = _split(data, CHANNEL_CHAIN_MAX_BYTES)
    first, _ = _peek(envelopes)
    have = stored.newest
    if first.version > have.version:
        raise RotationError(
            f"{have.label} is stored, and this chain begins with version {first.version}",
            hint='ask the low side for a new pairing file and add it with "tidegate trust add FILE --fingerprint …"',
        )
    chain = stored
    for number, envelope in enumerate(envelopes, start=first.version):
        if number > have.version:
            chain = chain.extended(envelope)
        elif envelope.payload != stored.envelopes[number - 1].payload:
            raise RotationError(
                f"{have.type} root {have.name}: version {number} differs from the one that is stored",
                hint="keep this medium as evidence and call the low side: its root keys signed two stories",
            )
    return chain


def verified_signers(
    root: Root, role: str, message: bytes, signatures: Iterable[Signature], what: str
) -> tuple[VerifiedSigner, ...]:
    """The keys of `role` that signed; raises SignatureError when one of them is named and does not hold (T-30)."""
    keys = root.role_keys(role)
    signers = []
    for item in signatures:
        key = keys.get(item.key_id)
        if key is None or not key.is_known:
            continue
        try:
            verify(key.public_bytes, message, item.value)
        except SignatureError as error:
            raise SignatureError(f"{what}: {error.message} ({key.holder}, role {role})") from None
        signers.append(VerifiedSigner(key.holder, item.key_id))
    return tuple(signers)


def check_threshold(
    root: Root, role: str, message: bytes, signatures: Iterable[Signature], what: str
) -> tuple[VerifiedSigner, ...]:
    """The signers of `role`, when they are enough holders; raises SignatureError otherwise."""
    signers = verified_signers(root, role, message, signatures, what)
    holders = sorted({signer.holder for signer in signers})
    entry = root.roles.get(role)
    needed = 1 if entry is None else entry.threshold
    if len(holders) < needed:
        found = ", ".join(holders) or "nobody"
        raise SignatureError(f"{what}: signed by {len(holders)} of {needed} holders that role {role} needs: {found}")
    return signers


def _check_rotation_threshold(root: Root, envelope: Envelope, what: str, *, by: int) -> None:
    try:
        check_threshold(root, RoleName.ROOT, pae(ROOT_TYPE, envelope.payload), envelope.signatures, what)
    except SignatureError as error:
        raise RotationError(f"{error.message} (rotation, by version {by})") from None


def _check_follows(old: Root, new: Root, chain_id: str, what: str) -> None:
    pairs = (("type", old.type, new.type), ("name", old.name, new.name), ("version", old.version + 1, new.version))
    for field, expected, found in (*pairs, ("id", chain_id, new.id)):
        if expected != found:
            raise RotationError(f"{what}: {field} is {found}, expected {expected}")
    if new.epoch < old.epoch:
        raise RotationError(f"{what}: epoch {new.epoch} is lower than {old.epoch}")
    for key_id in sorted(old.revoked_ids - new.revoked_ids):
        raise RotationError(f"{what}: key {key_id[:16]} was revoked in version {old.version} and is not any more")


def _check_no_strangers(envelope: Envelope, keys: Mapping[str, Key], what: str) -> None:
    # Without this rule a forger could change a superfluous signature's key id, and two chains would be one.
    for item in envelope.signatures:
        if item.key_id not in keys:
            raise RotationError(f"{what}: signed also by {item.key_id[:16]}, which is no root key")


def _check_root_type(envelope: Envelope, what: str) -> None:
    if envelope.payload_type != ROOT_TYPE:
        raise FormatError(f"{what}: payload type is {envelope.payload_type!r}, not {ROOT_TYPE!r}")


def _lines(envelopes: Iterable[Envelope]) -> list[bytes]:
    return [envelope.to_bytes() + b"\n" for envelope in envelopes]


def _split(data: bytes | memoryview, max_bytes: int) -> list[Envelope]:
    """The envelopes of a chain's lines, at least one; nothing is verified."""
    if len(data) > max_bytes:
        raise FormatError(f"root chain: {len(data)} bytes, the limit is {max_bytes}")
    lines = bytes(data).split(b"\n", VERSIONS_MAX + 1)
    if lines.pop() != b"" or not 1 <= len(lines) <= VERSIONS_MAX:
        raise FormatError(f"root chain: is not 1 to {VERSIONS_MAX} lines, each ended by a line feed")
    return [
        parse_envelope(line, what=f"root chain, line {number}", max_bytes=max_bytes)
        for number, line in enumerate(lines, start=1)
    ]


def _peek(envelopes: list[Envelope]) -> tuple[Root, Envelope]:
    """The first root, not verified: its size is bounded, and only its version and id are used."""
    what = "root, first line"
    _check_root_type(envelopes[0], what)
    return parse_root(envelopes[0].payload, what), envelopes[0]
