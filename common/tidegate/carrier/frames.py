"""Signed frames: an announcement or a heartbeat as it travels, with its key and signature before its payload.

A frame is split without looking into its JSON; whoever trusts it verifies the signature first and parses then.
Format: docs/format/media.md, "Announcement"; docs/format/stream.md, "Heartbeat".
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import blake3
from msgspec import Meta

from tidegate import canonical
from tidegate.errors import CarrierFormatError, FeatureUnknownError

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer

FRAME_MAX_BYTES = 1400  # fits into one datagram, whatever the MTU
PAYLOAD_OFFSET = 104
PAYLOAD_MAX_BYTES = FRAME_MAX_BYTES - PAYLOAD_OFFSET
TAG_BYTES = 8

_HEADER = struct.Struct("<4sHH32s64s")

Feature = Annotated[str, Meta(max_length=64)]


@dataclass(frozen=True, slots=True)
class FrameKind:
    """What a frame is: its word in messages, its magic, and the rules of its layout and of its first fields."""

    word: str
    magic: bytes
    layout_rule: str
    feature_rule: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame taken apart, nothing verified: `data` is all of it, `tag` binds to it what carries the tag."""

    key_id: str
    signature: bytes
    payload: bytes
    data: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class _Opening:
    """The two fields that say whether the others can be understood."""

    format: int
    critical: Annotated[tuple[Feature, ...], Meta(max_length=16)]


def tag_of(data: bytes | memoryview) -> bytes:
    """The tag of a frame, or of a preamble: in labels and index blocks of a volume, in datagrams of a session."""
    return blake3.blake3(data).digest(TAG_BYTES)


def sign_frame(kind: FrameKind, payload: bytes, payload_type: str, signer: "Signer") -> bytes:
    """The signed bytes of a frame."""
    from tidegate.trust.envelope import pae

    signature = signer.sign(pae(payload_type, payload))
    return _HEADER.pack(kind.magic, len(payload), 0, bytes.fromhex(signer.key_id), signature) + payload


def split_frame(kind: FrameKind, data: bytes | memoryview) -> Frame:
    """Split `data`, exactly one frame, into its fields. No JSON is parsed. Raises CarrierFormatError."""
    data = bytes(data[: FRAME_MAX_BYTES + 1])
    word, rule = kind.word, kind.layout_rule
    if not PAYLOAD_OFFSET < len(data) <= FRAME_MAX_BYTES:
        raise CarrierFormatError(
            f"{word}: {len(data)} bytes, not within {PAYLOAD_OFFSET + 1} … {FRAME_MAX_BYTES} ({rule})"
        )
    magic, length, zero, key_id, signature = _HEADER.unpack_from(data)
    if magic != kind.magic:
        raise CarrierFormatError(f"{word}: starts with {magic.hex()}, not {kind.magic.hex()} ({rule})")
    if zero or length != len(data) - PAYLOAD_OFFSET:
        raise CarrierFormatError(f"{word}: speaks of {length} bytes, has {len(data) - PAYLOAD_OFFSET} ({rule})")
    return Frame(key_id.hex(), signature, data[PAYLOAD_OFFSET:], data, tag_of(data))


def check_opening(kind: FrameKind, payload: bytes, known_format: int, known_features: frozenset[str]) -> None:
    """Refuse a payload of another format or with an unknown critical feature, whatever its other fields are.

    Raises FeatureUnknownError, FormatError for what is no such JSON.
    """
    opening = canonical.loads(payload, _Opening, what=kind.word, max_bytes=PAYLOAD_MAX_BYTES)
    if opening.format != known_format:
        raise FeatureUnknownError(
            f"{kind.word}: format {opening.format}, this version reads {known_format} ({kind.feature_rule})"
        )
    unknown = sorted(set(opening.critical) - known_features)
    if unknown:
        raise FeatureUnknownError(
            f"{kind.word}: needs {', '.join(map(repr, unknown))}, unknown to this version ({kind.feature_rule})"
        )
