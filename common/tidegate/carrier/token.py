"""The token of a medium: a small signed file that tells clones apart, and gives no authority.

`read_token` takes the file apart without looking into its payload; `judge_token` finds the key that signed it and only
then parses. A token that does not count is an answer, not an error: a medium is read with any token or none.
No file is opened here. Format: docs/format/media-token.md.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

from msgspec import Meta

from tidegate import canonical
from tidegate.clock import TIME_PATTERN, parse_time
from tidegate.errors import FormatError, SignatureError
from tidegate.names import HEX64
from tidegate.trust.envelope import Envelope, pae, parse_envelope, sign_envelope
from tidegate.trust.keys import Signer, verify
from tidegate.trust.payload import Key, RoleName
from tidegate.trust.root import Chain

TOKEN_NAME = "MEDIUM.TGM"  # noqa: S105 - a file name, 8.3
TOKEN_TYPE = "application/vnd.tidegate.medium.v1+json"  # noqa: S105 - a media type
TOKEN_MAX_BYTES = 4096
LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z"

_Time = Annotated[str, Meta(pattern=TIME_PATTERN)]


@dataclass(frozen=True, slots=True)
class MediumToken:
    """The payload: which medium it is, and how often it was written."""

    format: Literal[1]
    channel: Annotated[str, Meta(pattern=HEX64)]
    label: Annotated[str, Meta(pattern=LABEL)]
    token: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    counter: Annotated[int, Meta(ge=1, le=canonical.INTEGER_MAX)]
    registered: _Time
    written: _Time


class TokenState(StrEnum):
    """What a token file is worth."""

    GOOD = "good"
    UNREADABLE = "unreadable"  # breaks the format: damaged, or not ours at all
    UNKNOWN = "unknown"  # signed by a key that no root here knows
    FORGED = "forged"  # the signature does not hold, the key is revoked, or it speaks of another channel


@dataclass(frozen=True, slots=True)
class JudgedToken:
    """A token file after one look. `token` is there only when `state` is GOOD; else `reason` says what is wrong."""

    state: TokenState
    digest: str
    token: MediumToken | None = None
    reason: str = ""


def build_token(token: MediumToken, signer: Signer) -> bytes:
    """The bytes of the file, signed by the carrier key."""
    return sign_envelope(canonical.dumps(token), TOKEN_TYPE, [signer]).to_bytes()


def read_token(data: bytes) -> Envelope:
    """Take the file apart; nothing is verified and the payload is not parsed. Raises FormatError (K-2 to K-4)."""
    envelope = parse_envelope(data, what="token", max_bytes=TOKEN_MAX_BYTES)
    if envelope.payload_type != TOKEN_TYPE:
        raise FormatError(f"token: payload type is {envelope.payload_type!r}, not {TOKEN_TYPE!r} (K-4)")
    if len(envelope.signatures) != 1:
        raise FormatError(f"token: {len(envelope.signatures)} signatures, not one (K-3)")
    return envelope


def judge_token(data: bytes, chains: Iterable[Chain]) -> JudgedToken:
    """What the token file `data` is worth to somebody who trusts `chains`. Raises nothing for what `data` holds."""
    digest = token_digest(data)
    try:
        envelope = read_token(data)
        return _judge(envelope, digest, chains)
    except FormatError as error:
        return JudgedToken(TokenState.UNREADABLE, digest, reason=error.message)


def known_token(data: bytes) -> JudgedToken:
    """A token file that is byte for byte the one which this side wrote, whatever became of its key since.

    The caller has compared its digest with the register's. Raises FormatError.
    """
    payload = read_token(data).payload
    token = canonical.loads(payload, MediumToken, what="token", max_bytes=TOKEN_MAX_BYTES)
    return JudgedToken(TokenState.GOOD, token_digest(data), token)


def token_digest(data: bytes) -> str:
    """What tells two token files apart, as the register remembers it."""
    return sha256(data).hexdigest()


def valid_label(text: str) -> bool:
    """Whether `text` may be the label of a medium."""
    return re.match(LABEL, text) is not None


def key_of(data: bytes) -> str:
    """The id of the key that is said to have signed; empty where the file cannot be read."""
    try:
        return read_token(data).signatures[0].key_id
    except FormatError:
        return ""


def find_carrier_key(chain: Chain, key_id: str) -> Key | None:
    """A key of the carrier role of any version (K-5): a token written before a rotation is still the medium's own."""
    for root in reversed(chain.roots):
        if (key := root.role_keys(RoleName.CARRIER).get(key_id)) is not None:
            return key
    return None


def _judge(envelope: Envelope, digest: str, chains: Iterable[Chain]) -> JudgedToken:
    signature = envelope.signatures[0]
    short = signature.key_id[:16]
    for chain in chains:
        key = find_carrier_key(chain, signature.key_id)
        if key is None or not key.is_known:
            continue
        try:
            verify(key.public_bytes, pae(TOKEN_TYPE, envelope.payload), signature.value)
        except SignatureError as error:
            return JudgedToken(TokenState.FORGED, digest, reason=f"token: {error.message}")
        if signature.key_id in chain.newest.revoked_ids:
            return JudgedToken(TokenState.FORGED, digest, reason=f"token: key {short} is revoked")
        token = canonical.loads(envelope.payload, MediumToken, what="token", max_bytes=TOKEN_MAX_BYTES)
        _check_times(token)
        if token.channel != chain.channel_id:
            reason = f"token: speaks of channel {token.channel[:16]}, signed by a key of {chain.newest.name}"
            return JudgedToken(TokenState.FORGED, digest, reason=reason)
        return JudgedToken(TokenState.GOOD, digest, token)
    return JudgedToken(TokenState.UNKNOWN, digest, reason=f"token: signed by key {short}, which is not known here")


def _check_times(token: MediumToken) -> None:
    """The pattern lets the 31st of February pass."""
    try:
        parse_time(token.registered)
        parse_time(token.written)
    except ValueError as error:
        raise FormatError(f"token: {error}") from None
