"""The payload of one root (trust.md, Root): fields, roles, limits. Who signed it is the matter of trust.py."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from second_reader import ground
from second_reader.ground import field, is_hex, is_int, is_list, is_name, is_rising, is_text, is_time, need

_LARGEST = {"channel": 16384, "site": 262144}  # T-13
_REQUIRED = {"channel": ("root", "release", "carrier", "ledger"), "site": ("root", "ledger")}  # T-22
_TABLE = ("root", "release", "carrier", "ledger", "approver", "reviewer", "scanner")
_ALONE = ("carrier", "ledger", "scanner")  # T-24
_NUMBER = is_int(1, 2**31 - 1)


@dataclass(frozen=True)
class Role:
    keys: tuple[str, ...]
    threshold: int
    limits: dict[str, Any]


@dataclass(frozen=True)
class Root:
    payload: bytes
    type: str
    name: str
    id: str | None
    version: int
    epoch: int
    keys: dict[str, dict[str, str]]
    roles: dict[str, Role]
    revoked: frozenset[str]
    channels: dict[str, dict[str, Any]]
    expires: str | None

    def ed25519(self, key_id: str) -> bytes | None:
        """The key's bytes; None for a key that is not there or of an algorithm that never counts."""
        key = self.keys.get(key_id)
        return bytes.fromhex(key["public"]) if key and key["algorithm"] == "ed25519" else None

    def holder(self, key_id: str) -> str:
        return self.keys[key_id]["holder"]


def parse_root(payload: bytes) -> Root:
    """Every rule of section Root that one version alone can break."""
    need(len(payload) <= max(_LARGEST.values()), "T-13", "the root's payload is too long")
    body = ground.parse_object(payload, "T-13", "the root's payload")
    form = field(body, "format", is_int(-ground.LARGEST_INTEGER), "T-13")
    need(form == 1, "T-14", f"format {form}", "feature-unknown")
    critical = field(body, "critical", is_list(is_name, 0, 64), "T-14")
    need(not critical, "T-14", f"unknown feature {critical}", "feature-unknown")
    kind = field(body, "type", lambda value: value in ("channel", "site"), "T-13")
    need(len(payload) <= _LARGEST[kind], "T-13", "the root's payload is too long")
    version = field(body, "version", _NUMBER, "T-36")
    need((version == 1) == ("id" not in body), "T-15", "id is absent exactly in version 1")
    _sites(body, kind)
    created = field(body, "created", is_time, "T-17")
    expires = field(body, "expires", is_time, "T-17", optional=True)
    need(expires is None or expires > created, "T-17", "expires is not later than created")
    keys = _keys(body)
    revoked = _revoked(body)
    roles = _roles(body, kind, keys, revoked)
    return Root(
        payload=payload,
        type=kind,
        name=field(body, "name", is_name, "T-38"),
        id=field(body, "id", is_hex(32), "T-15", optional=True),
        version=version,
        epoch=field(body, "epoch", _NUMBER, "T-37"),
        keys=keys,
        roles=roles,
        revoked=frozenset(revoked),
        channels=_channels(body, kind),
        expires=expires,
    )


def _sites(body: dict[str, Any], kind: str) -> None:
    if kind == "site":
        need("sites" not in body, "T-16", "sites in a site root")
        return
    sites = field(body, "sites", is_list(is_name, 1, 64), "T-16")
    need(is_rising(sites), "T-16", "sites are not sorted")


def _keys(body: dict[str, Any]) -> dict[str, dict[str, str]]:
    keys = field(body, "keys", lambda value: isinstance(value, dict) and 1 <= len(value) <= 64, "T-19")
    for key_id, key in keys.items():
        need(isinstance(key, dict), "T-19", "a key is no object")
        algorithm = field(key, "algorithm", is_name, "T-19")
        field(key, "holder", is_name, "T-19")
        public = field(key, "public", is_text(4096), "T-19")
        size = len(public) // 2
        need(is_hex(size)(public) and size >= 1, "T-19", "public is no hex of 1 to 2048 bytes")
        need(algorithm != "ed25519" or size == 32, "T-19", "an Ed25519 key has 32 bytes")
        need(hashlib.sha256(bytes.fromhex(public)).hexdigest() == key_id, "T-19", "the key id is another")
    return dict(keys)


def _revoked(body: dict[str, Any]) -> list[str]:
    entries = field(body, "revoked", is_list(lambda item: isinstance(item, dict), 0, 128), "T-27")
    ids = []
    for entry in entries:
        ids.append(field(entry, "key_id", is_hex(32), "T-27"))
        field(entry, "reason", is_text(256), "T-27", optional=True)
    need(is_rising(ids), "T-27", "revoked is not sorted")
    return ids


def _roles(body: dict[str, Any], kind: str, keys: dict[str, dict[str, str]], revoked: list[str]) -> dict[str, Role]:
    roles: dict[str, Role] = {}
    for name, role in field(body, "roles", lambda value: isinstance(value, dict) and len(value) <= 16, "T-22").items():
        need(is_name(name) and isinstance(role, dict), "T-20", "a role is no named object")
        members = field(role, "keys", is_list(is_hex(32), 1, 64), "T-20")
        need(is_rising(members) and all(key in keys for key in members), "T-20", f"keys of role {name}")
        threshold = field(role, "threshold", is_int(1), "T-21")
        holders = {keys[key]["holder"] for key in members if keys[key]["algorithm"] == "ed25519"}
        need(name not in _TABLE or threshold <= len(holders), "T-21", f"threshold of role {name}")
        need(name not in ("carrier", "ledger") or threshold == 1, "T-23", f"threshold of role {name}")
        need(not set(members) & set(revoked), "T-27", f"a revoked key in role {name}")
        roles[name] = Role(tuple(members), threshold, parse_limits(role))
    need(all(name in roles for name in _REQUIRED[kind]), "T-22", "a role is missing")
    for name, role in roles.items():
        others = {key for other, one in roles.items() if other != name for key in one.keys}
        need(name not in _ALONE or not others & set(role.keys), "T-24", f"a key of role {name} is in another")
    return roles


def _channels(body: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    if kind == "channel":
        need("channels" not in body, "T-18", "channels in a channel root")
        return {}
    channels = field(body, "channels", lambda value: isinstance(value, dict) and len(value) <= 256, "T-18")
    for key, entry in channels.items():
        need(is_hex(32)(key) and isinstance(entry, dict), "T-18", "a channel is no object with an id")
        field(entry, "name", is_name, "T-18")
        parse_limits(entry)
    need(len({entry["name"] for entry in channels.values()}) == len(channels), "T-18", "a name twice")
    return dict(channels)


def parse_limits(of: dict[str, Any]) -> dict[str, Any]:
    """Limits of a role or channel (T-25)."""
    limits = field(of, "limits", lambda value: isinstance(value, dict), "T-25", optional=True) or {}
    need(set(limits) <= {"channels", "kinds", "names", "max_bytes"}, "T-25", "an unknown limit")
    pattern = is_list(lambda item: isinstance(item, str) and 1 <= len(item) <= 256, 0, 64)
    for name in ("channels", "kinds", "names"):
        field(limits, name, pattern, "T-25", optional=True)
    field(limits, "max_bytes", is_int(0), "T-25", optional=True)
    return dict(limits)


def check_limits(limits: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Does a bundle stay within the limits (T-25, T-26)?"""

    def allowed(name: str, texts: list[str]) -> bool:
        return name not in limits or all(any(_matches(p, text) for p in limits[name]) for text in texts)

    artifacts = manifest["artifacts"]
    need(allowed("channels", [manifest["channel_name"]]), "T-26", "channel", "limit")
    need(allowed("kinds", [item["kind"] for item in artifacts]), "T-26", "kind", "limit")
    need(allowed("names", [item["name"] for item in artifacts] + manifest["removed"]), "T-26", "name", "limit")
    need(manifest["content_size"] <= limits.get("max_bytes", ground.LARGEST_INTEGER), "T-26", "size", "limit")


def _matches(pattern: str, text: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None
