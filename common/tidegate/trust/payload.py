"""What one version of a root says: keys with their holders, roles with thresholds and limits, revoked keys.

Bytes in, a `Root` that keeps every rule of the format out. Who signed it is the matter of `root`, which knows the
version before. Format: docs/format/trust.md, "Root"; the rules T-13 to T-28 carry their numbers here.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate import canonical
from tidegate.clock import TIME_PATTERN, parse_time
from tidegate.errors import FeatureUnknownError, FormatError
from tidegate.trust.keys import ALGORITHM, PUBLIC_BYTES, Hex64, Name, key_id
from tidegate.units import KIB

NUMBER_MAX = 2**31 - 1
CHANNEL_ROOT_MAX_BYTES = 16 * KIB  # two of them with 32 signatures each fit into one preamble
SITE_ROOT_MAX_BYTES = 256 * KIB
KEYS_MAX = 64
ROLES_MAX = 16
SITES_MAX = 64
REVOKED_MAX = 128
CHANNELS_MAX = 256
PATTERNS_MAX = 64
ROOT_FORMAT = 1
CRITICAL_MAX = 64

Number = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
Time = Annotated[str, Meta(pattern=TIME_PATTERN)]
Patterns = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=PATTERNS_MAX)]


class RootType(StrEnum):
    """Of which side a root speaks."""

    CHANNEL = "channel"
    SITE = "site"


class RoleName(StrEnum):
    """The roles that this version knows."""

    ROOT = "root"
    RELEASE = "release"
    CARRIER = "carrier"
    LEDGER = "ledger"
    APPROVER = "approver"
    REVIEWER = "reviewer"
    SCANNER = "scanner"


KNOWN_ROLES = frozenset(str(role) for role in RoleName)
REQUIRED_ROLES = {
    RootType.CHANNEL: (RoleName.ROOT, RoleName.RELEASE, RoleName.CARRIER, RoleName.LEDGER),
    RootType.SITE: (RoleName.ROOT, RoleName.LEDGER),
}
#: these keys work unattended on a connected host, so that nothing else may hang on them (T-24)
ONLINE_ROLES = (RoleName.CARRIER, RoleName.LEDGER, RoleName.SCANNER)
#: what these sign has room for one signature (T-23)
SINGLE_ROLES = (RoleName.CARRIER, RoleName.LEDGER)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and who holds it. `public` is hex."""

    algorithm: Name
    public: Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2})+\Z", max_length=4096)]
    holder: Name

    @property
    def public_bytes(self) -> bytes:
        return bytes.fromhex(self.public)

    @property
    def is_known(self) -> bool:
        """Whether this version can verify with it."""
        return self.algorithm == ALGORITHM


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be signed; None limits nothing, an empty tuple allows nothing.

    A struct, so that a limit of a later format is refused here and not ignored.
    """

    channels: Patterns | None = None
    kinds: Patterns | None = None
    names: Patterns | None = None
    max_bytes: Annotated[int, Meta(ge=0, le=canonical.INTEGER_MAX)] | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """Whose signatures count for one thing, and how many holders must have signed."""

    keys: Annotated[tuple[Hex64, ...], Meta(min_length=1, max_length=KEYS_MAX)]
    threshold: Annotated[int, Meta(ge=1, le=KEYS_MAX)] = 1
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """A key that never counts again."""

    key_id: Hex64
    reason: Annotated[str, Meta(max_length=256)] | None = None


@dataclass(frozen=True, slots=True)
class ChannelPin:
    """A channel that the site trusts; the channel's id is the key of the map that it stands in."""

    name: Name
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """One version of a channel root or site root. Treat the maps as frozen."""

    type: RootType
    name: Name
    version: Number
    epoch: Number
    created: Time
    keys: Annotated[dict[Hex64, Key], Meta(min_length=1, max_length=KEYS_MAX)]
    roles: Annotated[dict[Name, Role], Meta(min_length=1, max_length=ROLES_MAX)]
    format: Literal[1] = 1
    critical: Annotated[tuple[Name, ...], Meta(max_length=CRITICAL_MAX)] = ()
    revoked: Annotated[tuple[RevokedKey, ...], Meta(max_length=REVOKED_MAX)] = ()
    id: Hex64 | None = None
    expires: Time | None = None
    sites: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=SITES_MAX)] | None = None
    channels: Annotated[dict[Hex64, ChannelPin], Meta(max_length=CHANNELS_MAX)] | None = None

    @property
    def label(self) -> str:
        """How messages name it: ``channel root plant, version 3``."""
        return f"{self.type} root {self.name}, version {self.version}"

    @property
    def revoked_ids(self) -> frozenset[str]:
        return frozenset(item.key_id for item in self.revoked)

    def role_keys(self, role: str) -> dict[str, Key]:
        """Key id → key for one role; empty where the root does not have the role."""
        entry = self.roles.get(role)
        return {} if entry is None else {item: self.keys[item] for item in entry.keys}

    def to_bytes(self) -> bytes:
        return canonical.dumps(self)


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is looked at first: of a format from the future nothing else may be as we know it."""

    format: int


@dataclass(frozen=True, slots=True)
class _Head:
    """What says how to read the rest, and the fields that `Root` has defaults for though the format demands them."""

    format: Literal[1]
    critical: Annotated[tuple[Name, ...], Meta(max_length=CRITICAL_MAX)]
    type: RootType
    revoked: tuple[object, ...]


def parse_root(data: bytes, what: str) -> Root:
    """Read one root payload and hold it to the rules that need no other version.

    Raises FeatureUnknownError for a format or feature from the future, FormatError for anything malformed.
    """
    opening = canonical.loads(data, _Opening, what=what, max_bytes=SITE_ROOT_MAX_BYTES)
    if opening.format != ROOT_FORMAT:
        raise FeatureUnknownError(f"{what}: format {opening.format}, this version reads format {ROOT_FORMAT} (T-14)")
    head = canonical.loads(data, _Head, what=what, max_bytes=SITE_ROOT_MAX_BYTES, exact=False)
    if head.critical:
        raise FeatureUnknownError(f"{what}: needs {', '.join(head.critical)}, which this version does not know (T-14)")
    root = canonical.loads(data, Root, what=what, max_bytes=_size_limit(head.type))
    try:
        check_root(root)
    except FormatError as error:
        raise FormatError(f"{what}: {error.message}") from None
    return root


def _size_limit(type_: RootType) -> int:
    return CHANNEL_ROOT_MAX_BYTES if type_ is RootType.CHANNEL else SITE_ROOT_MAX_BYTES


def check_root(root: Root) -> None:
    """The rules within one root; raises FormatError."""
    _check_identity(root)
    _check_times(root)
    for given, key in root.keys.items():
        _check_key(given, key)
    _check_sorted("revoked", [item.key_id for item in root.revoked])
    for needed in REQUIRED_ROLES[root.type]:
        _demand(needed in root.roles, f"role {needed} is missing")
    for name, role in root.roles.items():
        _check_role(root, name, role)
    _check_online_keys(root.roles)


def _check_identity(root: Root) -> None:
    _demand((root.id is None) == (root.version == 1), "id must be absent in version 1, and only there")
    is_channel = root.type is RootType.CHANNEL
    _demand((root.sites is not None) == is_channel, "sites belong to a channel root, and to no other")
    _demand((root.channels is None) == is_channel, "channels belong to a site root, and to no other")
    if root.sites is not None:
        _check_sorted("sites", root.sites)
    if root.channels is not None:
        names = [pin.name for pin in root.channels.values()]
        _demand(len(names) == len(set(names)), "two pinned channels have one name")


def _check_times(root: Root) -> None:
    try:
        created = parse_time(root.created)
        expires = None if root.expires is None else parse_time(root.expires)
    except ValueError as error:
        raise FormatError(str(error)) from None
    _demand(expires is None or expires > created, "expires is not later than created")


def _check_key(given: str, key: Key) -> None:
    short = given[:16]
    _demand(key_id(key.public_bytes) == given, f"key {short} is not named by the SHA-256 of its public key")
    if key.is_known:
        _demand(len(key.public_bytes) == PUBLIC_BYTES, f"key {short} has no {PUBLIC_BYTES} bytes")


def _check_role(root: Root, name: str, role: Role) -> None:
    _check_sorted(f"keys of role {name}", role.keys)
    for item in role.keys:
        _demand(item in root.keys, f"role {name}: key {item[:16]} is not in keys")
        _demand(item not in root.revoked_ids, f"role {name}: key {item[:16]} is revoked")
    holders = {root.keys[item].holder for item in role.keys if root.keys[item].is_known}
    # A role of a later format may have keys of a later algorithm only; we never count it.
    if name in KNOWN_ROLES and role.threshold > len(holders):
        raise FormatError(f"role {name}: threshold {role.threshold}, but only {len(holders)} holders")
    _demand(name not in SINGLE_ROLES or role.threshold == 1, f"role {name}: threshold must be 1")


def _check_online_keys(roles: Mapping[str, Role]) -> None:
    seen: dict[str, str] = {}
    for name in sorted(roles, key=lambda name: name in ONLINE_ROLES):
        for item in roles[name].keys:
            if name in ONLINE_ROLES and item in seen:
                raise FormatError(f"key {item[:16]} of the online role {name} is also in role {seen[item]}")
            seen[item] = name


def _check_sorted(what: str, items: Collection[str]) -> None:
    _demand(list(items) == sorted(set(items)), f"{what} are not sorted, each once")


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FormatError(otherwise)
