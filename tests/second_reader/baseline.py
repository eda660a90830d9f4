"""What a site's depot has already (baseline.md)."""

import hashlib
import itertools
import struct
from typing import NamedTuple

import zstandard

from second_reader import ground, trust
from second_reader.ground import RefusedError, field, is_hex, is_int, is_list, is_name, is_time, need

BASELINE = "application/vnd.tidegate.baseline.v1+json"
MOST, LARGEST_FRAME = 1048576, 83890176


class Baseline(NamedTuple):
    id: str
    site: str
    created: str
    sizes: dict[str, int]


def read_baseline(data: bytes, site: str, public: bytes) -> Baseline:
    """`public` is the key of this site that the reader has pinned."""
    need(len(data) >= 12 and data[:4] == b"TGI1", "I-1", "magic")
    signed, length = struct.unpack_from("<II", data, 4)
    need(signed <= 65536 and 12 + signed + length == len(data) <= 84938752, "I-2", "lengths")
    frame = data[12 + signed :]
    envelope = trust.parse_detached(data[12 : 12 + signed], BASELINE, frame)
    signature = envelope.signatures.get(trust.key_id(public))
    message = trust.pae(BASELINE, frame)
    need(signature is not None and trust.holds(public, signature, message), "I-3", "not signed by the site")
    body = ground.parse_object(_content(frame), "I-5", "baseline")
    need(field(body, "format", is_int(-ground.LARGEST_INTEGER), "I-5") == 1, "I-5", "another format")
    need(set(body) == {"format", "site", "created", "digests", "sizes"}, "I-5", "other fields")
    need(field(body, "site", is_name, "I-8") == site, "I-8", "another site than the key's")
    field(body, "created", is_time, "I-5")
    sizes = field(body, "sizes", is_list(is_int(0, 2**42), 0, MOST), "I-6")
    joined = field(body, "digests", is_hex(32 * len(sizes)), "I-6")
    digests = [joined[at : at + 64] for at in range(0, len(joined), 64)]
    need(all(a < b for a, b in itertools.pairwise(digests)), "I-7", "digests are not rising")
    return Baseline(hashlib.sha256(frame).hexdigest(), site, body["created"], dict(zip(digests, sizes, strict=True)))


def _content(frame: bytes) -> bytes:
    try:
        need(frame[:4] == b"\x28\xb5\x2f\xfd", "I-4", "no zstd frame")
        header = zstandard.get_frame_parameters(frame)
        need(1 <= header.content_size <= LARGEST_FRAME and header.dict_id == 0, "I-4", "content size or dictionary")
        need(header.window_size <= 128 << 20, "I-4", "window")
        reader = zstandard.ZstdDecompressor(max_window_size=128 << 20)
        content = reader.decompress(frame, max_output_size=header.content_size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise RefusedError("I-4", str(error)) from None
    need(len(content) == header.content_size, "I-4", "the frame holds another number of bytes")
    return content
