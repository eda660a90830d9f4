"""Judge signatures and limits of announcements and manifests by a channel's newest root.

Each check returns what it found or raises the error that a person would handle: a signature that does not hold, a
revoked key, a key of another channel, a limit. No manifest or announcement is parsed here: the caller does
that after these checks. Format: docs/format/trust.md, "Counting a threshold".
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from tidegate.clock import parse_time
from tidegate.errors import (
    ChannelUnknownError,
    EpochError,
    ExpiredError,
    FormatError,
    KeyRevokedError,
    LimitError,
    SignatureError,
    StaleError,
)
from tidegate.trust.envelope import ANNOUNCEMENT_TYPE, MANIFEST_TYPE, Signature, pae, parse_detached
from tidegate.trust.keys import verify
from tidegate.trust.payload import Limits, Patterns, RoleName, RootType
from tidegate.trust.root import Chain, Key, Root, VerifiedSigner, verified_signers

_OLD_EPOCH = "the low side began to count anew after it was packed: set this medium aside"


class SignedFrame(Protocol):
    """What an announcement's fixed fields say before its payload is parsed."""

    @property
    def key_id(self) -> str: ...
    @property
    def signature(self) -> bytes: ...
    @property
    def payload(self) -> bytes: ...


class ArtifactFacts(Protocol):
    """What limits ask of one artifact."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...


class ManifestFacts(Protocol):
    """What limits ask of a manifest."""

    @property
    def channel_name(self) -> str: ...
    @property
    def content_size(self) -> int: ...
    @property
    def artifacts(self) -> Sequence[ArtifactFacts]: ...
    @property
    def removed(self) -> Sequence[str]: ...


def verify_announcement(frame: SignedFrame, chain: Chain, *, others: Iterable[Chain] = ()) -> VerifiedSigner:
    """Check the carrier key's signature; `others` are the other pinned channels, asked only to name a stranger."""
    signatures = (Signature(frame.key_id, frame.signature),)
    message = pae(ANNOUNCEMENT_TYPE, frame.payload)
    return _demand_role(chain, RoleName.CARRIER, message, signatures, "announcement", others)[0]


def verify_manifest(
    detached: bytes | memoryview, manifest: bytes | memoryview, chain: Chain, *, others: Iterable[Chain] = ()
) -> tuple[VerifiedSigner, ...]:
    """Check that enough holders of the release role signed `manifest`, which is not parsed.

    Raises FormatError, SignatureError, KeyRevokedError, ChannelUnknownError (signed by a key of one of `others`).
    """
    envelope = parse_detached(detached)
    if envelope.payload_type != MANIFEST_TYPE:
        raise FormatError(f"signatures: payload type is {envelope.payload_type!r}, not {MANIFEST_TYPE!r}")
    message = pae(MANIFEST_TYPE, bytes(manifest))
    return _demand_role(chain, RoleName.RELEASE, message, envelope.signatures, "manifest", others)


def check_channel(chain: Chain, channel_id: str, epoch: int, what: str) -> None:
    """Check that what a verified announcement or manifest says of its channel and epoch is what the root says."""
    root = chain.newest
    if channel_id != chain.channel_id:
        raise ChannelUnknownError(f"{what}: is of channel {channel_id[:16]}, signed by a key of channel {root.name}")
    if epoch < root.epoch:
        raise StaleError(f"{what}: epoch {epoch}, but channel {root.name} is in epoch {root.epoch}", hint=_OLD_EPOCH)
    if epoch > root.epoch:
        raise EpochError(f"{what}: epoch {epoch}, but channel {root.name} is in epoch {root.epoch}")


def check_root_time(root: Root, floor: int) -> None:
    """Check that a root has not expired by the trusted floor of time (seconds)."""
    if root.expires is not None and parse_time(root.expires) <= floor:
        raise ExpiredError(f"{root.label}: expired on {root.expires}", hint="ask the low side for a newer root")


def check_limits(root: Root, facts: ManifestFacts, role: str = RoleName.RELEASE) -> None:
    """Check a manifest against the limits of a role; raises LimitError naming the rule."""
    entry = root.roles.get(role)
    if entry is not None and entry.limits is not None:
        _check(entry.limits, facts, f"role {role} of {root.label}")


def check_site_limits(site: Root, channel_id: str, facts: ManifestFacts) -> None:
    """Check a manifest against what the site allows the channel; raises LimitError, ChannelUnknownError."""
    pin = (site.channels or {}).get(channel_id)
    if pin is None:
        raise ChannelUnknownError(f"channel {channel_id[:16]} is not pinned by {site.label}")
    if pin.limits is not None:
        _check(pin.limits, facts, f"channel {pin.name} in {site.label}")


def matches(patterns: Patterns, text: str) -> bool:
    """Whether one pattern matches the whole text; only ``*`` and ``?`` are special (T-25)."""
    # fnmatch knows a third special character, which our format does not have.
    return any(fnmatchcase(text, pattern.replace("[", "[[]")) for pattern in patterns)


def _check(limits: Limits, facts: ManifestFacts, whose: str) -> None:
    _check_text(limits.channels, facts.channel_name, f"{whose}: channel")
    for artifact in facts.artifacts:
        _check_text(limits.kinds, artifact.kind, f"{whose}: artifact {artifact.name}: kind")
        _check_text(limits.names, artifact.name, f"{whose}: artifact name")
    for name in facts.removed:
        _check_text(limits.names, name, f"{whose}: removed name")
    if limits.max_bytes is not None and facts.content_size > limits.max_bytes:
        raise LimitError(f"{whose}: {facts.content_size} bytes of content, the limit is {limits.max_bytes}")


def _check_text(patterns: Patterns | None, text: str, what: str) -> None:
    if patterns is not None and not matches(patterns, text):
        raise LimitError(f"{what} {text!r} is not allowed, only {', '.join(patterns) or 'nothing'}")


def _demand_role(
    chain: Chain, role: str, message: bytes, signatures: Sequence[Signature], what: str, others: Iterable[Chain]
) -> tuple[VerifiedSigner, ...]:
    """The signers when they reach the role's threshold, else the error that says best why not."""
    root = chain.newest
    if root.type is not RootType.CHANNEL:  # a medium may carry any root that verifies in itself
        raise SignatureError(f"{what}: a {root.label} vouches for no bundle")
    signers = verified_signers(root, role, message, signatures, what)
    holders = sorted({signer.holder for signer in signers})
    needed = root.roles[role].threshold
    if len(holders) >= needed:
        return signers
    for item in signatures:
        _explain(chain, role, message, item, what, others)
    found = ", ".join(holders) or "nobody"
    raise SignatureError(
        f"{what}: signed by {len(holders)} of {needed} holders that role {role} of channel {root.name} needs: {found}"
    )


def _explain(chain: Chain, role: str, message: bytes, item: Signature, what: str, others: Iterable[Chain]) -> None:
    """Raise the error that tells why a signature did not count; nothing where it did."""
    root = chain.newest
    if item.key_id in root.role_keys(role):
        return
    short, key = item.key_id[:16], chain.find_key(item.key_id)
    if item.key_id in root.revoked_ids:
        _check_claim(key, message, item, what)
        holder = "" if key is None else f" of {key.holder}"
        raise KeyRevokedError(f"{what}: key {short}{holder} is revoked in {root.label}")
    if key is not None:
        raise SignatureError(f"{what}: key {short} of {key.holder} is not in role {role} of {root.label}")
    for other in others:
        if other.find_key(item.key_id) is not None:
            raise ChannelUnknownError(
                f"{what}: signed by key {short} of channel {other.newest.name}, not of channel {root.name}"
            )


def _check_claim(key: Key | None, message: bytes, item: Signature, what: str) -> None:
    """A revoked key is blamed only for what it really signed."""
    if key is None or not key.is_known:
        return
    try:
        verify(key.public_bytes, message, item.value)
    except SignatureError as error:
        raise SignatureError(f"{what}: {error.message} ({key.holder})") from None
