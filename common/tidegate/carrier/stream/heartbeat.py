"""Heartbeats: a signed, numbered sign of life, so that silence on the link means something.

A frame is split without looking into its JSON; whoever trusts it verifies it first (`verify_heartbeat`) and parses
then. Whether its number is higher than the last one's is for whoever remembers it. Format: docs/format/stream.md.
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import blake3
from msgspec import Meta

from tidegate import canonical
from tidegate.carrier.announcement import PAYLOAD_OFFSET
from tidegate.carrier.stream.header import TAG_BYTES
from tidegate.clock import TIME_PATTERN
from tidegate.errors import CarrierFormatError, FeatureUnknownError, FormatError, SignatureError
from tidegate.names import HEX64

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer
    from tidegate.trust.root import Chain, VerifiedSigner

HEARTBEAT_MAGIC = b"TGH1"
HEARTBEAT_FORMAT: Final = 1
HEARTBEAT_MAX_BYTES = 1400  # one datagram, whatever the MTU
PAYLOAD_MAX_BYTES = HEARTBEAT_MAX_BYTES - PAYLOAD_OFFSET
LINK_PATTERN = r"^[a-z0-9._-]{1,64}\Z"
INTERVAL_MAX_SECONDS = 3600

_HEADER = struct.Struct("<4sHH32s64s")

_Count = Annotated[int, Meta(ge=1, le=canonical.INTEGER_MAX)]
_Feature = Annotated[str, Meta(max_length=64)]


@dataclass(frozen=True, slots=True)
class HeartbeatFrame:
    """A heartbeat taken apart, nothing verified."""

    key_id: str
    signature: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Opening:
    format: int
    critical: Annotated[tuple[_Feature, ...], Meta(max_length=16)]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat says. `sequence` is the highest number of the channel sent over this link, 0 for none."""

    format: Literal[1]
    critical: Annotated[tuple[_Feature, ...], Meta(max_length=16)]
    channel: Annotated[str, Meta(pattern=HEX64)]
    epoch: _Count
    link: Annotated[str, Meta(pattern=LINK_PATTERN)]
    number: _Count
    time: Annotated[str, Meta(pattern=TIME_PATTERN)]
    interval_seconds: Annotated[int, Meta(ge=1, le=INTERVAL_MAX_SECONDS)]
    sequence: Annotated[int, Meta(ge=0, le=canonical.INTEGER_MAX)]
    checkpoint: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None


def heartbeat_tag(data: bytes | memoryview) -> bytes:
    """The tag of the datagram that carries the frame `data`."""
    return blake3.blake3(data).digest(TAG_BYTES)


def build_heartbeat(heartbeat: Heartbeat, signer: "Signer") -> bytes:
    """The signed frame. Raises what a reader would raise, so that nothing unreadable is sent."""
    from tidegate.trust.envelope import HEARTBEAT_TYPE, pae

    payload = canonical.dumps(heartbeat)
    _parse_payload(payload)
    signature = signer.sign(pae(HEARTBEAT_TYPE, payload))
    return _HEADER.pack(HEARTBEAT_MAGIC, len(payload), 0, bytes.fromhex(signer.key_id), signature) + payload


def read_heartbeat_frame(data: bytes | memoryview) -> HeartbeatFrame:
    """Split `data`, exactly one heartbeat. No JSON is parsed. Raises CarrierFormatError."""
    data = bytes(data[: HEARTBEAT_MAX_BYTES + 1])
    if not PAYLOAD_OFFSET < len(data) <= HEARTBEAT_MAX_BYTES:
        raise CarrierFormatError(
            f"heartbeat: {len(data)} bytes, not within {PAYLOAD_OFFSET + 1} … {HEARTBEAT_MAX_BYTES} (S-11)"
        )
    magic, length, zero, key_id, signature = _HEADER.unpack_from(data)
    if magic != HEARTBEAT_MAGIC:
        raise CarrierFormatError(f"heartbeat: starts with {magic.hex()}, not {HEARTBEAT_MAGIC.hex()} (S-11)")
    if zero or length != len(data) - PAYLOAD_OFFSET:
        raise CarrierFormatError(f"heartbeat: speaks of {length} bytes, has {len(data) - PAYLOAD_OFFSET} (S-11)")
    return HeartbeatFrame(key_id.hex(), signature, data[PAYLOAD_OFFSET:])


def verify_heartbeat(frame: HeartbeatFrame, chain: "Chain") -> "VerifiedSigner":
    """Check that a carrier key of the channel's newest root signed; raises SignatureError."""
    from tidegate.trust.envelope import HEARTBEAT_TYPE, Signature, pae
    from tidegate.trust.payload import RoleName, RootType
    from tidegate.trust.root import verified_signers

    root = chain.newest
    signatures = (Signature(frame.key_id, frame.signature),)
    signers: tuple[VerifiedSigner, ...] = ()
    if root.type is RootType.CHANNEL:
        message = pae(HEARTBEAT_TYPE, frame.payload)
        signers = verified_signers(root, RoleName.CARRIER, message, signatures, "heartbeat")
    if not signers:
        raise SignatureError(f"heartbeat: key {frame.key_id[:16]} is no carrier key of {root.label}")
    return signers[0]


def parse_heartbeat(frame: HeartbeatFrame) -> Heartbeat:
    """The payload of a frame whose signature the caller has verified.

    Raises FeatureUnknownError for a format or feature from the future, CarrierFormatError for anything malformed.
    """
    return _parse_payload(frame.payload)


def _parse_payload(payload: bytes) -> Heartbeat:
    try:
        opening = canonical.loads(payload, _Opening, what="heartbeat", max_bytes=PAYLOAD_MAX_BYTES)
        if opening.format != HEARTBEAT_FORMAT:
            raise FeatureUnknownError(
                f"heartbeat: format {opening.format}, this version reads {HEARTBEAT_FORMAT} (S-11)"
            )
        if opening.critical:
            unknown = ", ".join(map(repr, opening.critical))
            raise FeatureUnknownError(f"heartbeat: needs {unknown}, unknown to this version (S-11)")
        return canonical.loads(payload, Heartbeat, what="heartbeat", max_bytes=PAYLOAD_MAX_BYTES)
    except FormatError as error:
        raise CarrierFormatError(f"{error.message} (S-11)") from None
