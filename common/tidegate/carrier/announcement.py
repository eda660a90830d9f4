"""The announcement: what a reader must know, signed, before it spends memory or disk on a volume or session.

A frame is split without looking into its JSON (`read_announcement_frame`); whoever trusts it verifies the frame first
(`tidegate.trust.checks`) and parses then (`parse_announcement`). Format: docs/format/media.md, "Announcement".
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta

from tidegate import canonical
from tidegate.bundle.header import COVER_MAX_BYTES, HEAD_MAX_BYTES, MANIFEST_MAX_BYTES
from tidegate.carrier.frames import PAYLOAD_MAX_BYTES, Feature, Frame, FrameKind, check_opening, sign_frame, split_frame
from tidegate.erasure.geometry import PartGeometry
from tidegate.errors import CarrierFormatError, FormatError
from tidegate.names import HEX64, bundle_name
from tidegate.units import GIB, KIB

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer

ANNOUNCEMENT = FrameKind("announcement", b"TGA1", layout_rule="M-2", feature_rule="M-14")
ANNOUNCEMENT_FORMAT: Final = 1

COVER, HEAD, CHUNKS = 0, 1, 2
PART_NAMES = ("cover", "head", "chunks")
SYMBOL_ALIGNMENT = 4096  # bytes, on media: slots can be read and written with O_DIRECT
STREAM_SYMBOL_MAX_BYTES = 65472  # with its header of 32 bytes it fits into a datagram
STREAM_GROUPS_MAX = 2**20
FILE_MIN_BYTES = 256 * KIB
FILE_MAX_BYTES = 4 * GIB - 64 * KIB  # FAT32 ends at 4 GiB - 1
SPANS_MAX = 24
#: a critical feature: each volume of the set holds its share of every group of the chunks
STRIPES = "stripes"
STRIPED_MIN_VOLUMES = 2
KNOWN_FEATURES = frozenset({STRIPES})

_Count = Annotated[int, Meta(ge=1, le=canonical.INTEGER_MAX)]
_Hex64 = Annotated[str, Meta(pattern=HEX64)]
_Part = Annotated[int, Meta(ge=0, le=2)]
_Group = Annotated[int, Meta(ge=0, le=2**32)]


@dataclass(frozen=True, slots=True)
class Announcement:
    """The payload. `spans` are (part, from, to): the group ranges that lie on this volume, in their order."""

    format: Literal[1]
    critical: Annotated[tuple[Feature, ...], Meta(max_length=16)]
    carrier: Literal["media", "stream"]
    channel: _Hex64
    epoch: _Count
    sequence: _Count
    bundle_id: _Hex64
    manifest_length: Annotated[int, Meta(ge=1, le=MANIFEST_MAX_BYTES)]
    parts: tuple[PartGeometry, PartGeometry, PartGeometry]
    set: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    volume: Annotated[int, Meta(ge=1, le=999)]
    spans: Annotated[tuple[tuple[_Part, _Group, _Group], ...], Meta(min_length=1, max_length=SPANS_MAX)]
    volumes: Annotated[int, Meta(ge=1, le=999)] | None = None
    file_bytes: Annotated[int, Meta(ge=FILE_MIN_BYTES, le=FILE_MAX_BYTES, multiple_of=SYMBOL_ALIGNMENT)] | None = None
    last: bool | None = None

    def geometry(self, part: int) -> PartGeometry:
        return self.parts[part]

    @property
    def is_striped(self) -> bool:
        """Whether each volume of the set holds its share of every group of the chunks."""
        return STRIPES in self.critical

    @property
    def is_one_of_several(self) -> bool:
        """Whether the volume lacks groups of the chunks, or has only a share of them: it belongs to a set."""
        groups = self.parts[CHUNKS].group_count
        return self.is_striped or bool(groups and (CHUNKS, 0, groups) not in self.spans)

    @property
    def name(self) -> str:
        """The bundle's name, ``CCCC-NNNN``."""
        return bundle_name(self.channel, self.sequence)


def build_announcement(announcement: Announcement, signer: "Signer") -> bytes:
    """The signed bytes. Raises what a reader would raise, so that nothing unreadable is written."""
    from tidegate.trust.envelope import ANNOUNCEMENT_TYPE

    payload = canonical.dumps(announcement)
    _parse_payload(payload)
    return sign_frame(ANNOUNCEMENT, payload, ANNOUNCEMENT_TYPE, signer)


def read_announcement_frame(data: bytes | memoryview) -> Frame:
    """Split `data`, exactly one announcement, into its fields. No JSON is parsed. Raises CarrierFormatError."""
    return split_frame(ANNOUNCEMENT, data)


def parse_announcement(frame: Frame) -> Announcement:
    """The payload of a frame whose signature the caller has verified (or says that it has not).

    Raises FeatureUnknownError for a format or feature from the future, CarrierFormatError for anything malformed.
    """
    return _parse_payload(frame.payload)


def _parse_payload(payload: bytes) -> Announcement:
    try:
        check_opening(ANNOUNCEMENT, payload, ANNOUNCEMENT_FORMAT, KNOWN_FEATURES)
        announcement = canonical.loads(payload, Announcement, what="announcement", max_bytes=PAYLOAD_MAX_BYTES)
    except FormatError as error:
        raise CarrierFormatError(f"{error.message} (M-13)") from None
    _check_lengths(announcement)
    _check_media(announcement)
    _check_stream(announcement)
    _check_spans(announcement)
    _check_stripes(announcement)
    return announcement


def _check_lengths(announcement: Announcement) -> None:
    """M-5: parts within the bundle's limits."""
    for part, limit in ((COVER, COVER_MAX_BYTES), (HEAD, HEAD_MAX_BYTES)):
        length = announcement.parts[part].length
        if length > limit:
            raise CarrierFormatError(f"announcement: {PART_NAMES[part]} of {length} bytes, the limit is {limit} (M-5)")
    if announcement.manifest_length > announcement.parts[HEAD].length:
        raise CarrierFormatError("announcement: the manifest is longer than the head (M-5)")


def _check_media(announcement: Announcement) -> None:
    """M-6: what only media have."""
    if announcement.carrier != "media":
        return
    if announcement.file_bytes is None:
        raise CarrierFormatError("announcement: file_bytes is missing (M-6)")
    for part, geometry in enumerate(announcement.parts):
        if geometry.symbol_size % SYMBOL_ALIGNMENT:
            raise CarrierFormatError(
                f"announcement: {PART_NAMES[part]}: symbol_size {geometry.symbol_size} is no multiple of 4096 (M-6)"
            )


def _check_stream(announcement: Announcement) -> None:
    """S-7 and S-12: a symbol and its header fit into a datagram, and not more groups than a reader keeps account of."""
    if announcement.carrier != "stream":
        return
    for part, geometry in enumerate(announcement.parts):
        if geometry.symbol_size > STREAM_SYMBOL_MAX_BYTES:
            raise CarrierFormatError(
                f"announcement: {PART_NAMES[part]}: symbol_size {geometry.symbol_size},"
                f" the limit of a stream is {STREAM_SYMBOL_MAX_BYTES} (S-7)"
            )
        if geometry.group_count > STREAM_GROUPS_MAX:
            raise CarrierFormatError(
                f"announcement: {PART_NAMES[part]} of {geometry.group_count} groups,"
                f" the limit of a stream is {STREAM_GROUPS_MAX} (S-12)"
            )


def _check_spans(announcement: Announcement) -> None:
    """M-7: ranges that exist."""
    for part, first, end in announcement.spans:
        count = announcement.parts[part].group_count
        if not first < end <= count:
            raise CarrierFormatError(
                f"announcement: groups {first} to {end} of the {PART_NAMES[part]}, which has {count} (M-7)"
            )


def _check_stripes(announcement: Announcement) -> None:
    """M-15: every volume of a striped set has a share of every block, so that no group of it is empty."""
    if not announcement.is_striped:
        return
    volumes, chunks = announcement.volumes, announcement.parts[CHUNKS]
    if announcement.carrier != "media" or volumes is None or volumes < STRIPED_MIN_VOLUMES:
        raise CarrierFormatError("announcement: striped, and does not say over how many volumes, 2 or more (M-15)")
    if announcement.volume > volumes:
        raise CarrierFormatError(f"announcement: striped volume {announcement.volume} of {volumes} (M-15)")
    if chunks.length:
        least = chunks.block_source_count(chunks.block_count - 1) + chunks.repair_count
        if least < volumes:
            raise CarrierFormatError(f"announcement: blocks of {least} symbols over {volumes} volumes (M-15)")
