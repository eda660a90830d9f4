"""Envelopes, chains of roots and whose signatures count (trust.md)."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import mnemonic
import nacl.exceptions
import nacl.pwhash.argon2id
import nacl.secret
import nacl.signing

from second_reader import ground
from second_reader.ground import (
    RefusedError,
    field,
    is_hex,
    is_int,
    is_list,
    is_name,
    is_rising,
    is_text,
    is_time,
    need,
)
from second_reader.roots import Root, parse_root

MANIFEST = "application/vnd.tidegate.manifest.v1+json"
ANNOUNCEMENT = "application/vnd.tidegate.announcement.v1+json"
ACT = "application/vnd.tidegate.act.v1+json"
ROOT = "application/vnd.tidegate.root.v1+json"


def pae(kind: str, payload: bytes) -> bytes:
    """trust.md, Envelopes: what is signed."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()


def words(fingerprint: bytes) -> str:
    """Section Fingerprint: twelve words of the first 16 bytes."""
    return str(mnemonic.Mnemonic("english").to_mnemonic(fingerprint[:16]))


def same_words(typed: str, fingerprint: bytes) -> bool:
    """T-41: any case; spaces, commas, hyphens, line ends between; all twelve."""
    return re.sub(r"[ ,\r\n-]+", " ", typed).strip(" ").lower() == words(fingerprint)


def holds(public: bytes, signature: bytes, message: bytes) -> bool:
    """Ed25519 as libsodium verifies it (T-2)."""
    try:
        nacl.signing.VerifyKey(public).verify(message, signature)
    except (nacl.exceptions.BadSignatureError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Envelope:
    payload: bytes
    signatures: dict[str, bytes]


def _signatures(body: dict[str, Any], kind: str, fields: set[str]) -> dict[str, bytes]:
    need(set(body) == fields, "T-12", "an envelope with other fields")
    need(body["payloadType"] == kind, "T-42", "the payload type of another place")
    entries = body["signatures"]
    need(is_list(lambda item: isinstance(item, dict), 1, 32)(entries), "T-8", "not 1 to 32 signatures")
    found: dict[str, bytes] = {}
    for entry in entries:
        need(set(entry) == {"keyid", "sig"}, "T-12", "a signature with other fields")
        name = field(entry, "keyid", is_hex(32), "T-9")
        need(name not in found, "T-9", "a key id twice")
        found[name] = ground.from_base64(entry["sig"], "T-1", "sig")
        need(len(found[name]) == 64, "T-10", "a signature has 64 bytes")
    need(is_rising(list(found)), "T-9", "signatures are not sorted")
    return found


def parse_envelope(line: bytes, kind: str, rule: str) -> Envelope:
    body = ground.parse_object(line, rule, "envelope")
    found = _signatures(body, kind, {"payload", "payloadType", "signatures"})
    return Envelope(ground.from_base64(body["payload"], "T-1", "payload"), found)


def parse_detached(data: bytes, kind: str, payload: bytes) -> Envelope:
    need(len(data) <= 65536, "T-11", "a detached envelope is too long")
    body = ground.parse_object(data, "T-12", "detached envelope")
    return Envelope(payload, _signatures(body, kind, {"payloadType", "signatures"}))


def _signers(envelope: Envelope, kind: str, root: Root, role: str) -> list[str]:
    """Keys of a role whose signatures hold; one that does not hold refuses all (T-30)."""
    message = pae(kind, envelope.payload)
    signers = []
    for name, signature in envelope.signatures.items():
        public = root.ed25519(name) if name in root.roles[role].keys and name not in root.revoked else None
        if public is None:
            continue
        need(holds(public, signature, message), "T-30", f"the signature of {name} does not hold", "signature")
        signers.append(name)
    return signers


def _need_threshold(signers: list[str], root: Root, role: str, rule: str, cause: str = "signature") -> None:
    threshold = root.roles[role].threshold
    reached = len({root.holder(name) for name in signers}) >= threshold
    need(reached, "T-29" if len(signers) >= threshold else rule, f"role {role}: threshold not reached", cause)


def _lines(data: bytes) -> list[Envelope]:
    need(data.endswith(b"\n"), "T-31", "a chain ends with a line feed")
    need(data.count(b"\n") <= 1024, "T-31", "a chain has at most 1024 lines")
    return [parse_envelope(line, ROOT, "T-31") for line in data[:-1].split(b"\n")]


def _step(before: Root, envelope: Envelope, chain_id: str) -> Root:
    """May this envelope follow that version (Chain: Version N + 1 follows version N)?"""
    _need_threshold(_signers(envelope, ROOT, before, "root"), before, "root", "T-34", "rotation")
    after = parse_root(envelope.payload)
    _need_threshold(_signers(envelope, ROOT, after, "root"), after, "root", "T-34", "rotation")
    known = {*before.roles["root"].keys, *after.roles["root"].keys}
    need(set(envelope.signatures) <= known, "T-35", "a signature by a stranger", "rotation")
    need(after.version == before.version + 1, "T-36", "the version is not the next", "rotation")
    need(after.epoch >= before.epoch, "T-37", "the epoch is lower", "rotation")
    need((after.type, after.name) == (before.type, before.name), "T-38", "another type or name", "rotation")
    need(after.id == chain_id, "T-15", "the id of another chain", "rotation")
    need(before.revoked <= after.revoked, "T-28", "a key is not revoked any more", "rotation")
    return after


@dataclass(frozen=True)
class Chain:
    id: str
    roots: tuple[Root, ...]

    @property
    def newest(self) -> Root:
        return self.roots[-1]


def read_whole(data: bytes) -> Chain:
    """A whole chain, as the pairing file and trust/ have it; what vouches for it is its id."""
    need(len(data) <= 16 << 20, "T-33", "a chain is too long")
    first, *later = _lines(data)
    root = parse_root(first.payload)
    need(root.type == "site" or len(data) <= 1 << 20, "T-33", "a channel's chain is too long")
    need(root.version == 1, "T-33", "a whole chain begins with version 1", "rotation")
    _need_threshold(_signers(first, ROOT, root, "root"), root, "root", "T-32")
    need(set(first.signatures) <= set(root.roles["root"].keys), "T-35", "a signature by a stranger", "rotation")
    chain_id = hashlib.sha256(first.payload).hexdigest()
    roots = [root]
    for envelope in later:
        roots.append(_step(roots[-1], envelope, chain_id))
    return Chain(chain_id, tuple(roots))


def follow(stored: Chain, data: bytes) -> Chain:
    """A carried chain beside the stored one: the longer of the two (T-39, T-40)."""
    need(len(data) <= 65536, "T-39", "a carried chain is too long")
    envelopes = _lines(data)
    first = parse_root(envelopes[0].payload)
    need(first.type == "channel", "T-45", "no channel root")
    whose = first.id or hashlib.sha256(first.payload).hexdigest()
    need(whose == stored.id, "T-40", "another chain", "rotation")
    roots = list(stored.roots)
    need(first.version <= len(roots), "T-40", "no version that is stored", "rotation")
    for number, envelope in enumerate(envelopes, first.version):
        if number <= len(stored.roots):
            need(envelope.payload == roots[number - 1].payload, "T-40", f"fork at version {number}", "rotation")
        else:
            try:
                roots.append(_step(roots[-1], envelope, stored.id))
            except RefusedError as error:
                raise RefusedError("T-40", f"version {number} does not follow: {error}", error.cause) from None
    return Chain(stored.id, tuple(roots))


def verify_announcement(root: Root, name: str, signature: bytes, payload: bytes) -> None:
    """One signature, by the key that the frame names, of role carrier (Counting a threshold)."""
    need(root.type == "channel", "T-45", "no channel root")
    cause = "key-revoked" if name in root.revoked else "signature"
    public = root.ed25519(name) if name in root.roles["carrier"].keys and name not in root.revoked else None
    if public is None:
        raise RefusedError("T-29", "not by a key of role carrier", cause)
    need(holds(public, signature, pae(ANNOUNCEMENT, payload)), "T-30", "the signature does not hold", "signature")


def verify_manifest(root: Root, detached: bytes, manifest: bytes, others: Iterable[Root] = ()) -> list[str]:
    """Who of role release signed these bytes; refused below the threshold, with the cause."""
    need(root.type == "channel", "T-45", "no channel root")
    envelope = parse_detached(detached, MANIFEST, manifest)
    signers = _signers(envelope, MANIFEST, root, "release")
    cause = "signature"
    if any(name in other.keys for other in others for name in envelope.signatures):
        cause = "channel-unknown"
    if any(name in root.revoked for name in envelope.signatures):
        cause = "key-revoked"
    _need_threshold(signers, root, "release", "T-29", cause)
    return signers


def read_act(data: bytes, site: Root, site_id: str, floor: str) -> set[str]:
    """Section Act: the holders who signed it; two of them are enough (T-50)."""
    need(len(data) <= 16384, "T-46", "an act is too long")
    envelope = parse_envelope(data, ACT, "T-46")
    signers = _signers(envelope, ACT, site, "approver")
    need(signers, "T-47", "no approver signed it", "signature")
    body = ground.parse_object(envelope.payload, "T-48", "act")
    need(field(body, "format", is_int(-ground.LARGEST_INTEGER), "T-48") == 1, "T-48", "another format")
    need(body.get("act") == "lower-floor", "T-48", "another act")
    need(field(body, "reason", is_text(256), "T-48"), "T-48", "no reason")
    whose = field(body, "site", is_hex(32), "T-48")
    before, after = (field(body, name, is_time, "T-48") for name in ("before", "after"))
    need(whose == site_id and before == floor and after < before, "T-49", "another site or floor, or not earlier")
    return {site.holder(name) for name in signers}


def read_key_file(data: bytes, passphrase: str | None) -> nacl.signing.SigningKey:
    """A private key file (Keys, T-3 to T-7)."""
    need(len(data) <= 4096, "T-3", "a key file is too long")
    body = ground.parse_object(data, "T-3", "key file")
    need(body.get("kind") == "tidegate-private-key", "T-3", "another kind of file")
    need(is_int(1, 1)(body.get("format")) and body.get("algorithm") == "ed25519", "T-3", "format or algorithm")
    field(body, "holder", is_name, "T-3")
    public = field(body, "public", is_hex(32), "T-3")
    need(("seed" in body) != ("locked" in body), "T-5", "not exactly one of seed and locked")
    seed = bytes.fromhex(field(body, "seed", is_hex(32), "T-3")) if "seed" in body else _unlock(body, passphrase)
    key = nacl.signing.SigningKey(seed)
    need(bytes(key.verify_key).hex() == public, "T-7", "public belongs to another key")
    return key


def _unlock(body: dict[str, Any], passphrase: str | None) -> bytes:
    box = field(body, "locked", lambda value: isinstance(value, dict), "T-3")
    need(box.get("kdf") == "argon2id", "T-6", "another kdf")
    operations = field(box, "operations", is_int(1, 16), "T-6")
    memory = field(box, "memory_bytes", is_int(8192, 268435456), "T-6")
    need(memory % 1024 == 0, "T-6", "memory_bytes is no multiple of 1024")
    salt, nonce, sealed = (
        bytes.fromhex(field(box, name, is_hex(size), "T-3"))
        for name, size in (("salt", 16), ("nonce", 24), ("sealed", 48))
    )
    word = ground.nfc(passphrase or "")
    need(1 <= len(word) <= 1024, "T-6", "a passphrase has 1 to 1024 bytes")
    secret = nacl.pwhash.argon2id.kdf(32, word, salt, opslimit=operations, memlimit=memory)
    try:
        return nacl.secret.SecretBox(secret).decrypt(sealed, nonce)
    except nacl.exceptions.CryptoError:
        raise RefusedError("T-6", "the passphrase does not open it") from None
