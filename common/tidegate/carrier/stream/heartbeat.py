"""Heartbeats: a signed, numbered sign of life, so that silence on the link means something.

A frame is split without looking into its JSON; whoever trusts it verifies it first (`verify_heartbeat`) and parses
then. Whether its number is higher than the last one's is for whoever remembers it. Format: docs/format/stream.md.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta

from tidegate import canonical
from tidegate.carrier.frames import PAYLOAD_MAX_BYTES, Feature, Frame, FrameKind, check_opening, sign_frame, split_frame
from tidegate.clock import TIME_PATTERN
from tidegate.errors import CarrierFormatError, FormatError, SignatureError
from tidegate.names import HEX64

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer
    from tidegate.trust.root import Chain, VerifiedSigner

HEARTBEAT = FrameKind("heartbeat", b"TGH1", layout_rule="S-11", feature_rule="S-11")
HEARTBEAT_FORMAT: Final = 1
LINK_PATTERN = r"^[a-z0-9._-]{1,64}\Z"
INTERVAL_MAX_SECONDS = 3600

_Count = Annotated[int, Meta(ge=1, le=canonical.INTEGER_MAX)]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat says. `sequence` is the highest number of this epoch sent over this link, 0 for none."""

    format: Literal[1]
    critical: Annotated[tuple[Feature, ...], Meta(max_length=16)]
    channel: Annotated[str, Meta(pattern=HEX64)]
    epoch: _Count
    link: Annotated[str, Meta(pattern=LINK_PATTERN)]
    number: _Count
    time: Annotated[str, Meta(pattern=TIME_PATTERN)]
    interval_seconds: Annotated[int, Meta(ge=1, le=INTERVAL_MAX_SECONDS)]
    sequence: Annotated[int, Meta(ge=0, le=canonical.INTEGER_MAX)]
    checkpoint: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None


def build_heartbeat(heartbeat: Heartbeat, signer: "Signer") -> bytes:
    """The signed frame. Raises what a reader would raise, so that nothing unreadable is sent."""
    from tidegate.trust.envelope import HEARTBEAT_TYPE

    payload = canonical.dumps(heartbeat)
    _parse_payload(payload)
    return sign_frame(HEARTBEAT, payload, HEARTBEAT_TYPE, signer)


def read_heartbeat_frame(data: bytes | memoryview) -> Frame:
    """Split `data`, exactly one heartbeat. No JSON is parsed. Raises CarrierFormatError."""
    return split_frame(HEARTBEAT, data)


def verify_heartbeat(frame: Frame, chain: "Chain") -> "VerifiedSigner":
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


def parse_heartbeat(frame: Frame) -> Heartbeat:
    """The payload of a frame whose signature the caller has verified.

    Raises FeatureUnknownError for a format or feature from the future, CarrierFormatError for anything malformed.
    """
    return _parse_payload(frame.payload)


def _parse_payload(payload: bytes) -> Heartbeat:
    try:
        check_opening(HEARTBEAT, payload, HEARTBEAT_FORMAT, frozenset())
        return canonical.loads(payload, Heartbeat, what="heartbeat", max_bytes=PAYLOAD_MAX_BYTES)
    except FormatError as error:
        raise CarrierFormatError(f"{error.message} (S-11)") from None
