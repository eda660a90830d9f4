"""A baseline: what a site's depot has already, so that the first bundle for it need not bring that.

The high side writes it (digests and sizes of blobs, nothing of their content), signs it with the key of its ledger, and
somebody carries it to the low side, which believes it by the key that also signs the site's return slips. Bytes in,
values out; the signature is verified before anything is decompressed or parsed. Format: docs/format/baseline.md.
"""

import struct
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import msgspec

from tidegate import canonical
from tidegate.clock import TIME_PATTERN, parse_time
from tidegate.errors import FormatError, LimitError, SignatureError
from tidegate.names import NAME
from tidegate.trust.envelope import DETACHED_MAX_BYTES, pae, parse_detached, sign_detached
from tidegate.trust.keys import key_id, verify
from tidegate.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.trust.keys import Signer

BASELINE_TYPE = "application/vnd.tidegate.baseline.v1+json"
MAGIC = b"TGI1"
#: magic, length of the signatures, length of the frame, all little-endian
HEADER = struct.Struct("<4sII")
BASELINE_FORMAT = 1
BLOBS_MAX = 2**20
#: 64 letters of a digest and up to 14 of a size with its comma, for each blob
PAYLOAD_MAX_BYTES = 80 * MIB + 4096
FILE_MAX_BYTES = PAYLOAD_MAX_BYTES + MIB
WINDOW_MAX_BYTES = 128 * MIB
_SIZE_MAX = 2**42  # bytes: what a bundle can require, docs/format/bundle.md, B-19
_LEVEL = 9  # digests do not compress beyond their hexadecimal form; sizes do


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    site: Annotated[str, msgspec.Meta(pattern=NAME)]
    created: Annotated[str, msgspec.Meta(pattern=TIME_PATTERN)]
    digests: Annotated[str, msgspec.Meta(max_length=64 * BLOBS_MAX)]
    sizes: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=_SIZE_MAX)]], msgspec.Meta(max_length=BLOBS_MAX)]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What one site had at one time. `blobs` are SHA-256 (32 bytes) → size in bytes."""

    site: str
    created: str
    blobs: dict[bytes, int]

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(self.blobs.values())


@dataclass(frozen=True, slots=True)
class BaselineFile:
    """A baseline's bytes, taken apart. Nothing in it is verified yet."""

    signatures: bytes
    frame: bytes

    @property
    def baseline_id(self) -> str:
        """What a bundle names as its base."""
        return sha256(self.frame).hexdigest()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys that are said to have signed. Raises FormatError."""
        return tuple(item.key_id for item in parse_detached(self.signatures).signatures)


def build_baseline(baseline: Baseline, signer: "Signer") -> bytes:
    """The bytes of a baseline. Raises LimitError for more blobs than one can list."""
    import zstandard

    if len(baseline.blobs) > BLOBS_MAX:
        raise LimitError(f"{len(baseline.blobs)} blobs, a baseline lists at most {BLOBS_MAX}")
    keys = sorted(baseline.blobs)
    payload = canonical.dumps(
        {
            "format": BASELINE_FORMAT,
            "site": baseline.site,
            "created": baseline.created,
            "digests": b"".join(keys).hex(),
            "sizes": [baseline.blobs[key] for key in keys],
        }
    )
    frame = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(payload)
    signatures = sign_detached(frame, BASELINE_TYPE, (signer,))
    return HEADER.pack(MAGIC, len(signatures), len(frame)) + signatures + frame


def split_baseline(data: bytes) -> BaselineFile:
    """Take a file of at most `FILE_MAX_BYTES` apart; raises FormatError (I-1, I-2)."""
    if len(data) < HEADER.size:
        raise FormatError(f"baseline: {len(data)} bytes, its header alone has {HEADER.size} (I-1)")
    magic, signatures_length, frame_length = HEADER.unpack_from(data)
    if magic != MAGIC:
        hint = '"tidegate baseline --out FILE" on the high side makes one'
        raise FormatError(f"baseline: begins with {magic.hex()}, expected {MAGIC.hex()} (I-1)", hint=hint)
    if signatures_length > DETACHED_MAX_BYTES:
        raise FormatError(f"baseline: signatures of {signatures_length} bytes, the limit is {DETACHED_MAX_BYTES} (I-2)")
    if len(data) > FILE_MAX_BYTES or len(data) != HEADER.size + signatures_length + frame_length:
        raise FormatError(
            f"baseline: {len(data)} bytes, its header speaks of {signatures_length} + {frame_length} (I-2)"
        )
    start = HEADER.size + signatures_length
    return BaselineFile(data[HEADER.size : start], data[start:])


def verify_baseline(file: BaselineFile, public_keys: "Mapping[str, bytes]") -> str:
    """The site whose key signed; `public_keys` are those of the sites. Raises FormatError, SignatureError (I-3)."""
    envelope = parse_detached(file.signatures)
    if envelope.payload_type != BASELINE_TYPE:
        raise FormatError(f"baseline: signs {envelope.payload_type!r}, expected {BASELINE_TYPE!r} (I-3)")
    by_id = {key_id(public): site for site, public in public_keys.items()}
    for signature in envelope.signatures:
        site = by_id.get(signature.key_id)
        if site is not None:
            verify(public_keys[site], pae(BASELINE_TYPE, file.frame), signature.value)
            return site
    signed = ", ".join(signature.key_id[:16] for signature in envelope.signatures)
    raise SignatureError(
        f"baseline: signed by key {signed}, which is of no site that is known here (I-3)",
        hint='"tidegate keys export" on the site prints its key; "tidegate trust add LINE --fingerprint …" here',
    )


def parse_baseline(file: BaselineFile) -> Baseline:
    """The values of a file whose signature was verified. Raises FormatError (I-4 to I-7)."""
    payload = _decompress(file.frame)
    plain = canonical.loads(payload, _Payload, what="baseline", max_bytes=PAYLOAD_MAX_BYTES)
    if plain.format != BASELINE_FORMAT:
        raise FormatError(f"baseline: format {plain.format}, this version reads format {BASELINE_FORMAT} (I-5)")
    try:
        parse_time(plain.created)  # the pattern knows no months
    except ValueError as error:
        raise FormatError(f"baseline: {error} (I-5)") from None
    try:
        joined = bytes.fromhex(plain.digests)
    except ValueError:
        joined = b""
    if joined.hex() != plain.digests or len(joined) != 32 * len(plain.sizes):
        raise FormatError(f"baseline: digests are not {len(plain.sizes)} times 64 small hexadecimal digits (I-6)")
    keys = [joined[at : at + 32] for at in range(0, len(joined), 32)]
    if any(before >= after for before, after in pairwise(keys)):
        raise FormatError("baseline: digests do not rise (I-7)")
    return Baseline(plain.site, plain.created, dict(zip(keys, plain.sizes, strict=True)))


def _decompress(frame: bytes) -> bytes:
    """I-4: one frame that says its size, within the limit, before memory is taken."""
    import zstandard

    try:
        parameters = zstandard.get_frame_parameters(frame)
        if not 0 < parameters.content_size <= PAYLOAD_MAX_BYTES or parameters.dict_id:
            raise FormatError(f"baseline: a frame of {parameters.content_size} bytes, limit {PAYLOAD_MAX_BYTES} (I-4)")
        if parameters.window_size > WINDOW_MAX_BYTES:  # the limit given below counts for streams alone
            raise FormatError(f"baseline: a window of {parameters.window_size} bytes, limit {WINDOW_MAX_BYTES} (I-4)")
        payload = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX_BYTES).decompress(
            frame, max_output_size=PAYLOAD_MAX_BYTES, read_across_frames=False, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise FormatError(f"baseline: {error} (I-4)") from None
    if len(payload) != parameters.content_size:
        raise FormatError("baseline: its frame is not whole, or something follows it (I-4)")
    return payload


def read_signed(data: bytes, public_keys: "Mapping[str, bytes]") -> tuple[Baseline, str]:
    """A baseline and its id after every check. Raises FormatError, SignatureError."""
    file = split_baseline(data)
    site = verify_baseline(file, public_keys)
    baseline = parse_baseline(file)
    if baseline.site != site:
        raise SignatureError(f"baseline: speaks for site {baseline.site}, and the key of {site} signed it (I-8)")
    return baseline, file.baseline_id
