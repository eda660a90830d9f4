"""Make roots: the first version, and later ones signed by the old keys and the new.

Every result is verified by the same rules as a received chain before it is returned, so a chain that could not be
followed is never made. Format: docs/format/trust.md, "Root" and "Chain".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tidegate.clock import format_time
from tidegate.errors import TrustError
from tidegate.trust.envelope import ROOT_TYPE, Envelope, sign_envelope
from tidegate.trust.keys import ALGORITHM, HeldSigner, Signer
from tidegate.trust.payload import ChannelPin, Key, Limits, RevokedKey, Role, RoleName, Root, RootType
from tidegate.trust.root import CHANNEL_CHAIN_MAX_BYTES, SITE_CHAIN_MAX_BYTES, Chain, start_chain

SignersByRole = Mapping[str, Sequence[HeldSigner]]


def create_channel_root(
    name: str,
    sites: Iterable[str],
    signers: SignersByRole,
    created: int,
    *,
    thresholds: Mapping[str, int] | None = None,
    limits: Mapping[str, Limits] | None = None,
) -> Chain:
    """Version 1, epoch 1 of a channel root, signed by its own root keys.

    `signers` maps a role (root, release, carrier, ledger) to its keys; thresholds are 1 unless given.
    """
    root = _first_root(RootType.CHANNEL, name, signers, created, thresholds or {}, limits or {})
    return _start(replace(root, sites=tuple(sorted(set(sites)))), signers[RoleName.ROOT])


def create_site_root(
    name: str, signers: SignersByRole, created: int, *, thresholds: Mapping[str, int] | None = None
) -> Chain:
    """Version 1, epoch 1 of a site root that pins no channel yet."""
    root = _first_root(RootType.SITE, name, signers, created, thresholds or {}, {})
    return _start(replace(root, channels={}), signers[RoleName.ROOT])


def rotate(chain: Chain, signers: Iterable[Signer], created: int, **changes: Any) -> Chain:
    """The chain with one version more, in which `changes` (fields of Root) are made.

    `signers` must reach the threshold of the old root role and of the new. Raises TrustError, RotationError.
    """
    return _extended(chain, _sign(next_root(chain, created, **changes), signers))


def next_root(chain: Chain, created: int, **changes: Any) -> Root:
    """The version after the newest one, with `changes`, which nobody has signed yet."""
    old = chain.newest
    return replace(old, version=old.version + 1, id=chain.channel_id, created=format_time(created), **changes)


def _extended(chain: Chain, envelope: Envelope) -> Chain:
    longer = chain.extended(envelope)
    new = longer.newest
    limit = CHANNEL_CHAIN_MAX_BYTES if new.type is RootType.CHANNEL else SITE_CHAIN_MAX_BYTES
    size = len(longer.to_whole_bytes())
    if size > limit:
        raise TrustError(f"{new.label}: the chain would have {size} bytes, the limit is {limit}")
    return longer


def revoke_key(
    chain: Chain, key_id: str, signers: Iterable[Signer], created: int, *, reason: str | None = None
) -> Chain:
    """The next version, in which `key_id` is in no role and never counts again."""
    return rotate(chain, signers, created, **changes_to_revoke(chain.newest, key_id, reason))


def replace_key(
    chain: Chain,
    key_id: str,
    new: HeldSigner,
    signers: Iterable[Signer],
    created: int,
    *,
    revoke: bool = True,
    reason: str | None = None,
) -> Chain:
    """The next version, in which `new` stands in every role of `key_id`, which is revoked unless told otherwise."""
    return rotate(
        chain, signers, created, **changes_to_replace(chain.newest, key_id, new, revoke=revoke, reason=reason)
    )


# --- what changes, as fields of the next root -------------------------------------------------


def changes_to_revoke(root: Root, key_id: str, reason: str | None) -> dict[str, Any]:
    """`key_id` is in no role and never counts again. Raises TrustError where it is the only one of a role."""
    _check_known(root, key_id)
    roles = {name: _without(root.label, name, role, key_id) for name, role in root.roles.items()}
    return {"roles": roles, "revoked": _revoked(root, key_id, reason)}


def changes_to_replace(
    root: Root, key_id: str, new: HeldSigner, *, revoke: bool = True, reason: str | None = None
) -> dict[str, Any]:
    """`new` stands in every role of `key_id`, which is revoked unless told otherwise."""
    _check_known(root, key_id)
    roles = {name: _with_other(role, key_id, new.key_id) for name, role in root.roles.items()}
    keys = {**root.keys, new.key_id: _key_of(new)}
    revoked = _revoked(root, key_id, reason) if revoke else root.revoked
    return {"roles": roles, "keys": keys, "revoked": revoked}


def changes_to_add(root: Root, role: str, key: Key, key_id: str, threshold: int | None = None) -> dict[str, Any]:
    """One key more in `role`, which may need more holders from now on. Raises TrustError for an unknown role."""
    entry = root.roles.get(role)
    if entry is None:
        raise TrustError(f"{root.label}: has no role {role}, only {', '.join(sorted(root.roles))}")
    if key_id in root.revoked_ids:
        raise TrustError(f"{root.label}: key {key_id[:16]} is revoked, and never counts again")
    keys = tuple(sorted({*entry.keys, key_id}))
    changed = replace(entry, keys=keys, threshold=entry.threshold if threshold is None else threshold)
    return {"roles": {**root.roles, role: changed}, "keys": {**root.keys, key_id: key}}


def _check_known(root: Root, key_id: str) -> None:
    if key_id not in root.keys:
        raise TrustError(f"{root.label}: has no key {key_id[:16]}")


def pin_channel(chain: Chain, channel_id: str, pin: ChannelPin, signers: Iterable[Signer], created: int) -> Chain:
    """The next version of a site root, in which the channel is trusted."""
    channels = {**(chain.newest.channels or {}), channel_id: pin}
    return rotate(chain, signers, created, channels=channels)


def unpin_channel(chain: Chain, channel_id: str, signers: Iterable[Signer], created: int) -> Chain:
    """The next version of a site root, in which the channel is not trusted any more."""
    channels = {key: pin for key, pin in (chain.newest.channels or {}).items() if key != channel_id}
    return rotate(chain, signers, created, channels=channels)


def _first_root(
    type_: RootType,
    name: str,
    signers: SignersByRole,
    created: int,
    thresholds: Mapping[str, int],
    limits: Mapping[str, Limits],
) -> Root:
    keys = {signer.key_id: _key_of(signer) for held in signers.values() for signer in held}
    roles = {
        role: Role(tuple(sorted({item.key_id for item in held})), thresholds.get(role, 1), limits.get(role))
        for role, held in signers.items()
    }
    if RoleName.ROOT not in roles:
        raise TrustError(f"{type_} root {name}: nobody holds the role root")
    return Root(type_, name, version=1, epoch=1, created=format_time(created), keys=keys, roles=roles)


def _start(root: Root, signers: Iterable[Signer]) -> Chain:
    return start_chain(_sign(root, signers))


def _sign(root: Root, signers: Iterable[Signer]) -> Envelope:
    return sign_envelope(root.to_bytes(), ROOT_TYPE, signers)


def _key_of(signer: HeldSigner) -> Key:
    return Key(ALGORITHM, signer.public.hex(), signer.holder)


def _without(label: str, name: str, role: Role, key_id: str) -> Role:
    keys = tuple(item for item in role.keys if item != key_id)
    if not keys:
        raise TrustError(
            f"{label}: key {key_id[:16]} is the only one of role {name}", hint="replace the key instead of revoking it"
        )
    return replace(role, keys=keys)


def _with_other(role: Role, key_id: str, new_id: str) -> Role:
    return replace(role, keys=tuple(sorted({new_id if item == key_id else item for item in role.keys})))


def _revoked(root: Root, key_id: str, reason: str | None) -> tuple[RevokedKey, ...]:
    others = [item for item in root.revoked if item.key_id != key_id]
    return tuple(sorted((*others, RevokedKey(key_id, reason)), key=lambda item: item.key_id))
