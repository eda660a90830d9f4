"""A bundle's parts: cover, manifest, tables, chunks, blobs; and the `.tgb` file (bundle.md)."""

import hashlib
import itertools
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import zstandard

from second_reader import ground
from second_reader.ground import RefusedError, field, is_hex, is_int, is_line, is_list, is_name, is_time, need

MIB = 1 << 20
LARGEST_MANIFEST, LARGEST_COVER, LARGEST_CONTENT = 16 * MIB, 16 * MIB, 2**42
RECORDS = {
    "blobs": ("<32sQII", 2**22),
    "segments": ("<HHIQQ", 2**23),
    "chunks": ("<QIIB7s32s", 2**24),
    "required": ("<32sQQ", 2**22),
}
LARGEST_HEAD = LARGEST_MANIFEST + sum(struct.calcsize(form) * most for form, most in RECORDS.values())
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Blob(NamedTuple):
    sha256: bytes
    size: int
    first_segment: int
    segment_count: int


class Segment(NamedTuple):
    kind: int
    flags: int
    where: int
    offset: int
    length: int


class Chunk(NamedTuple):
    offset: int
    stored: int
    raw: int
    codec: int
    zero: bytes
    digest: bytes


class Required(NamedTuple):
    sha256: bytes
    size: int
    sequence: int


def read_cover(cover: bytes) -> dict[int, bytes]:
    """Section Cover: pieces by type, with the one piece of signatures."""
    need(len(cover) <= LARGEST_COVER, "B-1", "the cover is too long")
    pieces: dict[int, bytes] = {}
    at = number = 0
    while at < len(cover):
        number += 1
        need(number <= 4096, "B-1", "too many pieces")
        need(at + 8 <= len(cover), "B-3", "a piece is cut off")
        kind, flags, length = struct.unpack_from("<HHI", cover, at)
        data = cover[at + 8 : at + 8 + length]
        need(len(data) == length, "B-3", "a piece beyond the part")
        need(flags in (0, 1), "B-2", "unknown flags")
        need(not flags or 1 <= kind <= 6, "B-2", f"unknown critical piece {kind}", "feature-unknown")
        if kind == 1:
            need(kind not in pieces, "B-4", "signatures twice")
            need(flags == 1 and length <= 65536, "B-4", "signatures not critical or too long")
        pieces.setdefault(kind, data)
        at += 8 + length
    need(1 in pieces, "B-4", "no signatures")
    return pieces


@dataclass(frozen=True)
class Head:
    id: bytes
    manifest: dict[str, Any]
    blobs: list[Blob]
    segments: list[Segment]
    chunks: list[Chunk]
    required: list[Required]


def read_manifest(data: bytes) -> dict[str, Any]:
    """Section Manifest; its signatures were verified before."""
    need(len(data) <= LARGEST_MANIFEST, "B-5", "the manifest is too long")
    body = ground.parse_object(data, "B-5", "manifest")
    form = field(body, "format", is_int(-ground.LARGEST_INTEGER), "B-5")
    need(form == 1, "B-6", f"format {form}", "feature-unknown")
    critical = field(body, "critical", is_list(lambda item: isinstance(item, str), 0, 2**20), "B-5")
    need(not critical, "B-6", f"unknown features {critical}", "feature-unknown")
    forms: dict[str, Callable[[Any], bool]] = {
        "channel": is_hex(32),
        "channel_name": is_name,
        "epoch": is_int(1, 2**31 - 1),
        "sequence": is_int(1),
        "created": is_time,
        "audience": is_list(is_name, 1, 1024),
        "base": is_list(is_hex(32), 0, 65536),
        "compressor": lambda value: isinstance(value, dict),
        "chunk_digest": lambda value: value == "blake3-256",
        "removed": is_list(is_line(512, 1), 0, 2**20),
        "artifacts": is_list(lambda item: isinstance(item, dict), 0, 2**20),
    }
    for name, is_right in forms.items():
        field(body, name, is_right, "B-5")
    for name, of_compressor in (("name", is_line(32)), ("version", is_line(32)), ("level", is_int(-131072, 22))):
        field(body["compressor"], name, of_compressor, "B-5")
    for name in ("chunks_length", "content_size"):
        field(body, name, is_int(0, LARGEST_CONTENT), "B-10")
    field(body, "classification", is_line(256), "B-5", optional=True)
    expires = field(body, "expires", is_time, "B-5", optional=True)
    need(expires is None or expires > body["created"], "B-5", "expires is not later than created")
    void = field(body, "void", lambda value: isinstance(value, list) and 1 <= len(value) <= 1024, "B-5", optional=True)
    for item in void or ():
        need(isinstance(item, dict), "B-5", "void")
        field(item, "bundle_id", is_hex(32), "B-5")
        field(item, "sequence", is_int(1), "B-5")
        field(item, "reason", is_line(256), "B-5", optional=True)
    voided = [item["sequence"] for item in void or ()]
    need(voided == sorted(set(voided)) and body["sequence"] not in voided, "B-26", "void")
    previous = field(body, "previous", lambda value: isinstance(value, dict), "B-5", optional=True)
    if previous is not None:
        field(previous, "bundle_id", is_hex(32), "B-5")
        field(previous, "sequence", is_int(1, body["sequence"] - 1), "B-5")
    for artifact in body["artifacts"]:
        _check_artifact(artifact)
    names = [artifact["name"] for artifact in body["artifacts"]]
    need(ground.is_rising(names), "B-8", "artifacts are not sorted, or one is there twice")
    tables = field(body, "tables", lambda value: isinstance(value, dict), "B-5")
    for name, (_, most) in RECORDS.items():
        table = field(tables, name, lambda value: isinstance(value, dict), "B-5")
        field(table, "count", is_int(0, most), "B-10")
        field(table, "sha256", is_hex(32), "B-5")
    return body


def check_audience(manifest: dict[str, Any], site: str) -> None:
    """Section Manifest, `audience`."""
    need(site in manifest["audience"], "B-27", f"the bundle is for {', '.join(manifest['audience'])}")


def _check_artifact(artifact: dict[str, Any]) -> None:
    field(artifact, "name", is_line(512, 1), "B-5")
    field(artifact, "kind", is_line(64, 1), "B-5")
    field(artifact, "media_type", is_line(256, 1), "B-5")
    field(artifact, "digest", lambda value: isinstance(value, str) and bool(_DIGEST.fullmatch(value)), "B-5")
    field(artifact, "size", is_int(0, LARGEST_CONTENT), "B-5")
    for name in ("ticket", "justification"):
        field(artifact, name, is_line(256), "B-5", optional=True)
    notes = field(artifact, "annotations", lambda value: isinstance(value, dict), "B-5", optional=True) or {}
    for key, value in notes.items():
        need(len(key) <= 256 and ground.is_text(4096)(value), "B-5", "an annotation")


def read_head(head: bytes, manifest_length: int, chunks_length: int) -> Head:
    """Manifest and tables, in the order of section Reading the tables."""
    manifest = read_manifest(head[:manifest_length])
    at = manifest_length
    tables: dict[str, list[Any]] = {}
    sizes = {name: manifest["tables"][name]["count"] * struct.calcsize(form) for name, (form, _) in RECORDS.items()}
    need(at + sum(sizes.values()) == len(head), "B-10", "manifest and tables are not all of the head")
    for (name, (form, _)), record in zip(RECORDS.items(), (Blob, Segment, Chunk, Required), strict=True):
        data = head[at : at + sizes[name]]
        need(hashlib.sha256(data).hexdigest() == manifest["tables"][name]["sha256"], "B-24", f"table {name}")
        tables[name] = [record(*values) for values in struct.iter_unpack(form, data)]
        at += sizes[name]
    found = Head(hashlib.sha256(head[:manifest_length]).digest(), manifest, **tables)
    _check_order(found)
    _check_chunks(found.chunks, chunks_length, manifest["chunks_length"])
    _check_segments(found)
    _check_roots(found)
    return found


def _check_order(head: Head) -> None:
    for rule, digests in (("B-11", [b.sha256 for b in head.blobs]), ("B-19", [r.sha256 for r in head.required])):
        need(all(a < b for a, b in itertools.pairwise(digests)), rule, "not sorted, or one twice")
    brought = {blob.sha256 for blob in head.blobs}
    for item in head.required:
        need(item.sha256 not in brought, "B-19", "a required blob is brought")
        need(item.size <= LARGEST_CONTENT and item.sequence < head.manifest["sequence"], "B-19", "size or sequence")


def _check_chunks(chunks: list[Chunk], length: int, said: int) -> None:
    at = 0
    for chunk in chunks:
        need(chunk.offset == at and chunk.stored >= 1, "B-16", "a chunk's place")
        at += chunk.stored
    need(at == length == said, "B-16", "the chunks do not end where part 2 does")
    for chunk in chunks:
        need(1 <= chunk.raw <= 4 * MIB and chunk.zero == bytes(7), "B-17", "a chunk's size or zeros")
        fits = {0: chunk.stored == chunk.raw, 1: chunk.stored < chunk.raw}.get(chunk.codec, False)
        need(fits, "B-17", f"codec {chunk.codec} with these sizes")


def _check_segments(head: Head) -> None:
    for segment in head.segments:
        need(segment.kind == 1 and segment.flags == 0, "B-14", f"segment of kind {segment.kind}")
        need(segment.where < len(head.chunks), "B-15", "a segment in no chunk")
        raw = head.chunks[segment.where].raw
        need(segment.offset + segment.length <= raw, "B-15", "a segment beyond its chunk")
    at = 0
    for blob in head.blobs:
        need(blob.first_segment == at and (blob.segment_count == 0) == (blob.size == 0), "B-12", "a blob's segments")
        at += blob.segment_count
        own = head.segments[blob.first_segment : at]
        need(len(own) == blob.segment_count, "B-12", "segments beyond the table")
        need(all(s.length for s in own) and sum(s.length for s in own) == blob.size, "B-13", "a blob's size")
    need(at == len(head.segments), "B-12", "segments of no blob")
    need(sum(blob.size for blob in head.blobs) == head.manifest["content_size"], "B-10", "content_size")
    ends = [0] * len(head.chunks)
    for segment in sorted(head.segments, key=lambda s: (s.where, s.offset)):
        need(segment.offset == ends[segment.where], "B-15", "a gap or an overlap")
        ends[segment.where] += segment.length
    need(ends == [chunk.raw for chunk in head.chunks], "B-15", "content of a chunk that no blob names")


def _check_roots(head: Head) -> None:
    sizes = {blob.sha256: blob.size for blob in head.blobs} | {item.sha256: item.size for item in head.required}
    for artifact in head.manifest["artifacts"]:
        need(sizes.get(bytes.fromhex(artifact["digest"][7:])) == artifact["size"], "B-9", artifact["name"])


def read_chunk(stored: bytes, raw: int, codec: int, digest: bytes) -> bytes:
    """Section Chunks: digest first, then the frame's header, then the content."""
    need(ground.blake(stored) == digest, "B-18", "the digest of a chunk")
    if codec == 0:
        return stored
    try:
        # The magic number first: a skippable frame is none.
        need(stored[:4] == b"\x28\xb5\x2f\xfd", "B-17", "no zstd frame")
        header = zstandard.get_frame_parameters(stored)
        need(header.content_size == raw and header.window_size <= 4 * MIB, "B-17", "content size or window")
        need(header.dict_id == 0, "B-17", "a dictionary")
        reader = zstandard.ZstdDecompressor(max_window_size=4 * MIB)
        content = reader.decompress(stored, max_output_size=raw, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise RefusedError("B-17", str(error)) from None
    need(len(content) == raw, "B-17", "the frame holds another number of bytes")
    return content


def read_blobs(head: Head, part2: bytes) -> Iterator[tuple[str, bytes]]:
    """Every blob with its digest, compared with the table's."""
    contents = [read_chunk(part2[c.offset : c.offset + c.stored], c.raw, c.codec, c.digest) for c in head.chunks]
    for blob in head.blobs:
        own = head.segments[blob.first_segment :][: blob.segment_count]
        data = b"".join(contents[s.where][s.offset : s.offset + s.length] for s in own)
        need(hashlib.sha256(data).digest() == blob.sha256, "B-11", "the digest of a blob")
        yield blob.sha256.hex(), data


class File(NamedTuple):
    """The parts that a `.tgb` file holds."""

    cover: bytes
    head: bytes
    chunks: bytes
    preamble: bytes
    manifest_length: int
    bundle_id: bytes


def read_file(data: bytes) -> File:
    """Section The .tgb file."""
    need(len(data) >= 4096, "B-23", "shorter than its header")
    need(ground.blake(data[:4064]) == data[4064:4096], "B-20", "the header is damaged")
    magic, form, *places, manifest_length, bundle_id, preamble_length, zero, preamble_at, rest = struct.unpack_from(
        "<4sIQQQQQQQ32sIIQ3952s", data
    )
    need((magic, form, zero, rest) == (b"TGB1", 1, 0, bytes(3952)), "B-20", "magic, format or zeros")
    ranges = [(places[0], places[1]), (places[2], places[3]), (places[4], places[5]), (preamble_at, preamble_length)]
    largest = (LARGEST_COVER, LARGEST_HEAD, LARGEST_CONTENT, 65536)
    need(all(length <= most for (_, length), most in zip(ranges, largest, strict=True)), "B-21", "a part's length")
    need(manifest_length <= min(places[3], LARGEST_MANIFEST), "B-21", "the manifest's length")
    end = 4096
    for offset, length in sorted(ranges):
        need(offset == -(-end // 4096) * 4096, "B-22", "a part is not where it belongs")
        need(not data[end:offset].strip(b"\0"), "B-22", "a gap is not zero")
        end = offset + length
    need(len(data) == end, "B-23", "the file does not end with its last part")
    parts = [data[offset : offset + length] for offset, length in ranges]
    need(hashlib.sha256(parts[1][:manifest_length]).digest() == bundle_id, "B-25", "bundle_id")
    return File(parts[0], parts[1], parts[2], parts[3], manifest_length, bundle_id)
