"""The token of a medium (media-token.md): what one file is taken for."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from second_reader import ground, trust
from second_reader.ground import RefusedError, field, is_hex, is_int, is_time, need

MEDIUM = "application/vnd.tidegate.medium.v1+json"
UNREADABLE, UNKNOWN, FORGED = "unreadable", "unknown", "forged"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)


@dataclass(frozen=True)
class CarrierKey:
    """A key of role carrier in any version of a channel's root."""

    channel: str
    public: bytes
    revoked: bool = False


def read_token(data: bytes, keys: Iterable[CarrierKey]) -> dict[str, Any]:
    """The payload of a token that counts; else refused, with what the file is taken for as the cause."""
    known: Mapping[str, CarrierKey] = {trust.key_id(key.public): key for key in keys}
    need(len(data) <= 4096, "K-2", "the file is too long", UNREADABLE)
    try:
        envelope = trust.parse_envelope(data, MEDIUM, "K-2")
    except RefusedError as error:
        raise RefusedError("K-4" if error.rule == "T-42" else "K-2", f"({error})", UNREADABLE) from None
    need(len(envelope.signatures) == 1, "K-3", "not exactly one signature", UNREADABLE)
    ((name, signature),) = envelope.signatures.items()
    key = known.get(name)
    if key is None:
        raise RefusedError("K-5", "a key of no root", UNKNOWN)
    need(not key.revoked, "K-5", "a revoked key", FORGED)
    good = trust.holds(key.public, signature, trust.pae(MEDIUM, envelope.payload))
    need(good, "K-6", "the signature does not hold", FORGED)
    try:
        body = _parse(envelope.payload)
    except RefusedError as error:
        raise RefusedError(error.rule, f"({error})", UNREADABLE) from None
    need(body["channel"] == key.channel, "K-8", "another channel than the key's", FORGED)
    return body


def _parse(payload: bytes) -> dict[str, Any]:
    body = ground.parse_object(payload, "K-9", "token")
    need(field(body, "format", is_int(-ground.LARGEST_INTEGER), "K-7") == 1, "K-7", "another format")
    field(body, "channel", is_hex(32), "K-9")
    field(body, "label", lambda value: isinstance(value, str) and _LABEL.fullmatch(value) is not None, "K-9")
    field(body, "token", is_hex(16), "K-9")
    field(body, "counter", is_int(1), "K-9")
    field(body, "registered", is_time, "K-9")
    field(body, "written", is_time, "K-9")
    return body
