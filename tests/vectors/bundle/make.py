"""Make the bundle vectors again: `python tests/vectors/bundle/make.py`.

Written from docs/format/bundle.md with struct, json, hashlib, blake3, PyNaCl and zstandard, and without the code it is
for, so that the vectors say what the document says. `expected.json` lists every vector: its file, what a reader answers
(`ok` or the name of the error), and the rule.
"""

import base64
import hashlib
import json
import struct
from copy import deepcopy
from pathlib import Path

import blake3
import nacl.signing
import zstandard

HERE = Path(__file__).parent
EXPECTED: dict[str, dict] = {}


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def canonical(value: object) -> bytes:
    # Enough of RFC 8785 for ASCII keys, texts and integers.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write(name: str, suffix: str, data: bytes, answer: str, rule: str, **facts: object) -> None:
    (HERE / f"{name}.{suffix}").write_bytes(data)
    EXPECTED[name] = {"file": f"{name}.{suffix}", "kind": suffix, "answer": answer, "rule": rule, **facts}


# --- heads --------------------------------------------------------------------------------------

HELLO, WORLD = b"hello\n", b"world\n"


def chunk(stored: bytes, raw: bytes, codec: int) -> dict:
    return {"offset": 0, "stored": len(stored), "raw": len(raw), "codec": codec, "zero": bytes(7),
            "digest": blake3.blake3(stored).digest(), "bytes": stored}  # fmt: skip


def segment(where: int, offset: int, length: int, kind: int = 1, flags: int = 0) -> dict:
    return {"kind": kind, "flags": flags, "where": where, "offset": offset, "length": length}


def blob(data: bytes, first: int, count: int) -> dict:
    return {"sha256": sha(data), "size": len(data), "first": first, "count": count}


def base() -> dict:
    """Two blobs that share one chunk, stored as it is, and one required blob; sequence 2."""
    blobs = sorted([(sha(HELLO), HELLO), (sha(WORLD), WORLD)])
    joined = HELLO + WORLD
    where = {sha(HELLO): 0, sha(WORLD): len(HELLO)}
    return {
        "manifest": {
            "format": 1, "critical": [], "channel": "7f3a" + "00" * 30, "channel_name": "plant", "epoch": 1,
            "sequence": 2, "previous": {"bundle_id": "11" * 32, "sequence": 1}, "created": "2026-01-31T08:00:00Z",
            "audience": ["plant-7"], "base": ["11" * 32],
            "compressor": {"name": "zstd", "version": "1.5.7", "level": 3}, "chunk_digest": "blake3-256",
            "artifacts": [{"name": "files/hello", "kind": "files", "media_type": "text/plain",
                           "digest": "sha256:" + sha(HELLO).hex(), "size": 6}],
            "removed": [],
        },
        "blobs": [blob(data, number, 1) for number, (_, data) in enumerate(blobs)],
        "segments": [segment(0, where[key], len(data)) for key, data in blobs],
        "chunks": [chunk(joined, joined, 0)],
        "required": [{"sha256": b"\xee" * 32, "size": 1000, "sequence": 1}],
    }  # fmt: skip


def tables(content: dict) -> list[bytes]:
    return [
        b"".join(struct.pack("<32sQII", b["sha256"], b["size"], b["first"], b["count"]) for b in content["blobs"]),
        b"".join(struct.pack("<HHIQQ", s["kind"], s["flags"], s["where"], s["offset"], s["length"])
                 for s in content["segments"]),
        b"".join(struct.pack("<QIIB7s32s", c["offset"], c["stored"], c["raw"], c["codec"], c["zero"], c["digest"])
                 for c in content["chunks"]),
        b"".join(struct.pack("<32sQQ", r["sha256"], r["size"], r["sequence"]) for r in content["required"]),
    ]  # fmt: skip


def head(content: dict) -> tuple[bytes, int, int]:
    """The head's bytes, the manifest's length, the length of part 2."""
    made = tables(content)
    chunks_length = sum(c["stored"] for c in content["chunks"])
    manifest = {
        "chunks_length": chunks_length,
        "content_size": sum(b["size"] for b in content["blobs"]),
        "tables": {name: {"count": len(content[name]), "sha256": sha(data).hex()}
                   for name, data in zip(("blobs", "segments", "chunks", "required"), made, strict=True)},
        **content["manifest"],
    }  # fmt: skip
    text = content.get("text", canonical)(manifest)
    return text + b"".join(made), len(text), chunks_length


def write_head(name: str, answer: str, rule: str, change=lambda content: None, **over: object) -> None:
    content = deepcopy(base())
    change(content)
    data, manifest_length, chunks_length = head(content)
    data = over.pop("cut", lambda data: data)(data)
    facts = {"manifest_length": manifest_length, "chunks_length": chunks_length, **over}
    write(name, "head", data, answer, rule, **facts)


def put(table: str, number: int, **values: object):
    return lambda content: content[table][number].update(values)


def manifest(**values: object):
    return lambda content: content["manifest"].update(values)


def ok_heads() -> None:
    def empty_blob(c: dict) -> None:
        c["blobs"] = sorted([*c["blobs"], blob(b"", 0, 0)], key=lambda b: b["sha256"])
        first = 0
        for b in c["blobs"]:
            b["first"], first = first, first + b["count"]

    def split(c: dict) -> None:
        c["chunks"] = [chunk(HELLO, HELLO, 0), chunk(WORLD, WORLD, 0)]
        c["chunks"][1]["offset"] = 6
        both = HELLO + WORLD
        c["blobs"], c["segments"] = [blob(both, 0, 2)], [segment(0, 0, 6), segment(1, 0, 6)]
        c["manifest"]["artifacts"][0].update(digest="sha256:" + sha(both).hex(), size=12)

    def nothing_brought(c: dict) -> None:
        c.update(blobs=[], segments=[], chunks=[])
        c["manifest"]["artifacts"][0].update(digest="sha256:" + "ee" * 32, size=1000)

    write_head("ok_two_blobs_in_a_chunk", "ok", "")
    write_head("ok_empty_blob", "ok", "B-13", empty_blob)
    write_head("ok_blob_over_two_chunks", "ok", "", split)
    write_head("ok_everything_required", "ok", "B-9", nothing_brought)
    write_head("ok_unknown_field", "ok", "B-7", manifest(later={"field": 1}))
    write_head("ok_expires_and_classification", "ok", "",
               manifest(expires="2026-03-01T00:00:00Z", classification="für intern"))  # fmt: skip


def bad_manifests() -> None:
    write_head("b05_not_canonical", "FormatError", "B-5",
               lambda c: c.update(text=lambda m: json.dumps(m, sort_keys=True).encode()))  # fmt: skip
    twice = b'"epoch":1,"epoch":1'
    write_head("b05_key_twice", "FormatError", "B-5",
               lambda c: c.update(text=lambda m: canonical(m).replace(b'"epoch":1', twice)))  # fmt: skip
    write_head("b05_null", "FormatError", "B-5", manifest(expires=None))
    write_head("b05_float_in_unknown_field", "FormatError", "B-5", manifest(later=1.5))
    write_head("b05_name_with_newline", "FormatError", "B-5", manifest(channel_name="plant\n"))
    write_head("b05_expires_before_created", "FormatError", "B-5", manifest(expires="2026-01-31T08:00:00Z"))
    write_head("b05_no_audience", "FormatError", "B-5", manifest(audience=[]))
    write_head("b05_escape_sequence_in_name", "FormatError", "B-5",
               lambda c: c["manifest"]["artifacts"][0].update(name="files/\x1b[2J"))  # fmt: skip
    write_head("b06_critical_unknown", "FeatureUnknownError", "B-6", manifest(critical=["sealed"]))
    write_head("b06_format_2", "FeatureUnknownError", "B-6", manifest(format=2))

    def second(name: str):
        return lambda c: c["manifest"]["artifacts"].append({**c["manifest"]["artifacts"][0], "name": name})

    write_head("b08_artifacts_unsorted", "FormatError", "B-8", second("files/a"))
    write_head("b08_artifact_twice", "FormatError", "B-8", second("files/hello"))

    def root(**values: object):
        return lambda c: c["manifest"]["artifacts"][0].update(values)

    write_head("b09_root_in_no_table", "FormatError", "B-9", root(digest="sha256:" + "ab" * 32))
    write_head("b09_root_size", "FormatError", "B-9", root(size=7))

    def void(*numbers: int, **more: object):
        return manifest(sequence=5, void=[{"sequence": number, "bundle_id": "22" * 32, **more} for number in numbers])

    write_head("ok_void_numbers", "ok", "B-26", void(3, 4, reason="the stick was lost"))
    write_head("b26_void_unsorted", "FormatError", "B-26", void(4, 3))
    write_head("b26_void_twice", "FormatError", "B-26", void(3, 3))
    write_head("ok_audience", "ok", "", manifest(audience=["plant-9", "plant-7"]), site="plant-7")
    write_head("b27_audience", "AudienceError", "B-27", manifest(audience=["plant-9", "plant"]), site="plant-7")
    write_head("b26_void_is_own", "FormatError", "B-26", void(4, 5))
    write_head("b10_count_above_limit", "FormatError", "B-10",
               manifest(tables={n: {"count": 2**24 + 1, "sha256": "00" * 32}
                                for n in ("blobs", "segments", "chunks", "required")}))  # fmt: skip
    write_head("b10_chunks_length_above_limit", "FormatError", "B-10", manifest(chunks_length=2**42 + 1))
    write_head("b10_content_size", "FormatError", "B-10", manifest(content_size=13))
    write_head("b10_head_short", "FormatError", "B-10", cut=lambda data: data[:-1])
    write_head("b10_head_long", "FormatError", "B-10", cut=lambda data: data + b"\0")


def bad_tables() -> None:
    def swap(table: str):
        return lambda c: c[table].reverse()

    def blob_twice(c: dict) -> None:
        c["blobs"][1]["sha256"] = c["blobs"][0]["sha256"]

    def required(**values: object):
        return put("required", 0, **values)

    bad = "FormatError"
    write_head("b11_blobs_unsorted", bad, "B-11", swap("blobs"))
    write_head("b11_blob_twice", bad, "B-11", blob_twice)
    write_head("b12_first_segment", bad, "B-12", put("blobs", 1, first=0))
    write_head("b12_segments_beyond", bad, "B-12", put("blobs", 1, count=2))
    write_head("b12_segment_of_nobody", bad, "B-12", lambda c: c["segments"].append(segment(0, 0, 12)))
    write_head("b13_size", bad, "B-13", put("blobs", 0, size=5))
    write_head("b13_segment_of_length_zero", bad, "B-13", put("segments", 0, length=0))
    write_head("b14_kind_2", bad, "B-14", put("segments", 0, kind=2))
    write_head("b14_flags", bad, "B-14", put("segments", 0, flags=1))
    write_head("b15_overlapping_segments", bad, "B-15",
               lambda c: [s.update(offset=0) for s in c["segments"]])  # fmt: skip
    write_head("b15_gap_in_chunk", bad, "B-15",
               lambda c: c["chunks"].__setitem__(0, chunk(b"x" * 13, b"x" * 13, 0)))  # fmt: skip
    write_head("b15_chunk_that_nobody_names", bad, "B-15",
               lambda c: c["chunks"].append({**chunk(b"y", b"y", 0), "offset": 12}))  # fmt: skip
    write_head("b15_beyond_the_chunk", bad, "B-15", put("segments", 0, offset=7))
    write_head("b15_offset_wraps", bad, "B-15", put("segments", 0, offset=2**64 - 3))
    write_head("b15_chunk_unknown", bad, "B-15", put("segments", 0, where=1))
    write_head("b16_offset", bad, "B-16", put("chunks", 0, offset=1))
    write_head("b16_chunks_length", bad, "B-16", chunks_length=13)
    write_head("b16_stored_zero", bad, "B-16", put("chunks", 0, stored=0))
    write_head("b17_raw_zero", bad, "B-17", put("chunks", 0, raw=0))
    write_head("b17_raw_above_limit", bad, "B-17", put("chunks", 0, raw=4 * 2**20 + 1))
    write_head("b17_codec_2", bad, "B-17", put("chunks", 0, codec=2))
    write_head("b17_padding", bad, "B-17", put("chunks", 0, zero=b"\0\0\0\0\0\0\1"))
    write_head("b17_stored_differs", bad, "B-17", put("chunks", 0, stored=11))
    write_head("b17_frame_saves_nothing", bad, "B-17", put("chunks", 0, codec=1))
    write_head("b19_required_unsorted", bad, "B-19", lambda c: c["required"].append(
        {"sha256": b"\xed" * 32, "size": 1, "sequence": 1}))  # fmt: skip
    write_head("b19_required_is_brought", bad, "B-19", required(sha256=sha(WORLD)))
    write_head("b19_sequence_is_own", bad, "B-19", required(sequence=2))
    write_head("b19_size_above_limit", bad, "B-19", required(size=2**42 + 1))

    def flip(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1])

    write_head("b24_table_digest", "DigestError", "B-24", cut=flip)


# --- covers -------------------------------------------------------------------------------------


def piece(type_: int, flags: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", type_, flags, len(data) if length is None else length) + data


def covers() -> None:
    signatures = piece(1, 1, canonical({"payloadType": "application/vnd.tidegate.manifest.v1+json", "signatures": []}))
    bad = "FormatError"
    write("ok_cover", "cover", signatures + piece(2, 0, b"checkpoint") + piece(900, 0, b"later"), "ok", "B-2")
    write("b01_too_many_pieces", "cover", signatures + piece(3, 0, b"") * 4096, bad, "B-1")
    write("b02_critical_unknown", "cover", signatures + piece(900, 1, b"later"), "FeatureUnknownError", "B-2")
    write("b02_flags", "cover", signatures + piece(2, 2, b""), bad, "B-2")
    write("b03_cut_head", "cover", signatures + b"\2\0\0", bad, "B-3")
    write("b03_length_beyond", "cover", signatures + piece(2, 0, b"abc", length=4), bad, "B-3")
    write("b03_length_huge", "cover", piece(1, 1, b"", length=2**32 - 1), bad, "B-3")
    write("b04_no_signatures", "cover", piece(2, 0, b"checkpoint"), bad, "B-4")
    write("b04_empty", "cover", b"", bad, "B-4")
    write("b04_two_signatures", "cover", signatures * 2, bad, "B-4")
    write("b04_signatures_not_critical", "cover", piece(1, 0, b"{}"), bad, "B-4")
    write("b04_signatures_too_long", "cover", piece(1, 1, b"x" * (65536 + 1)), bad, "B-4")


# --- chunks -------------------------------------------------------------------------------------


def write_chunk(name: str, answer: str, rule: str, stored: bytes, raw: int, codec: int = 1, digest=None) -> None:
    digest = blake3.blake3(stored).digest() if digest is None else digest
    write(name, "chunk", stored, answer, rule, codec=codec, raw=raw, digest=digest.hex())


def chunks() -> None:
    content = b"tidegate " * 1000
    frame = zstandard.ZstdCompressor(level=3).compress(content)
    without_size = zstandard.ZstdCompressor(level=3, write_content_size=False).compress(content)
    bad = "FormatError"
    write_chunk("ok_stored", "ok", "B-17", HELLO, 6, codec=0)
    write_chunk("ok_frame", "ok", "B-17", frame, 9000)
    write_chunk("b17_no_content_size", bad, "B-17", without_size, 9000)
    write_chunk("b17_frame_holds_more", bad, "B-17", frame, 8999)
    write_chunk("b17_frame_holds_less", bad, "B-17", frame, 9001)
    write_chunk("b17_bomb", bad, "B-17", zstandard.ZstdCompressor(level=3).compress(bytes(64 << 20)), 4 << 20)
    # A single segment of 9000 bytes says so in its header; patched to 4000, the blocks hold more than it says.
    assert struct.pack("<H", 9000 - 256) == frame[5:7]
    lying = frame.replace(struct.pack("<H", 9000 - 256), struct.pack("<H", 4000 - 256), 1)
    write_chunk("b17_content_size_lies", bad, "B-17", lying, 4000)
    # The same blocks behind a header that asks for a window of 2^23: no single segment, 4 bytes of content size.
    assert frame[4] == 0b01100000
    wide = frame[:4] + bytes([0b10000000, (23 - 10) << 3]) + struct.pack("<I", 9000) + frame[7:]
    write_chunk("b17_window_8_mib", bad, "B-17", wide, 9000)
    narrow = frame[:4] + bytes([0b10000000, (22 - 10) << 3]) + struct.pack("<I", 9000) + frame[7:]
    write_chunk("ok_window_4_mib", "ok", "B-17", narrow, 9000)
    # With a dictionary number: magic, descriptor (single segment, 1-byte dictionary id), id, size, raw block.
    dictionary = bytes.fromhex("28b52ffd") + bytes([0b00100001, 7, 1, 0b00001001, 0, 0]) + b"x"
    write_chunk("b17_dictionary", bad, "B-17", dictionary, 1)
    write_chunk("b17_bytes_after_the_frame", bad, "B-17", frame + b"x", 9000)
    write_chunk("b17_second_frame", bad, "B-17", frame + frame, 9000)
    write_chunk("b17_truncated_frame", bad, "B-17", frame[:-1], 9000)
    write_chunk("b17_skippable_frame", bad, "B-17", struct.pack("<II", 0x184D2A50, 4) + b"abcd", 4)
    write_chunk("b17_no_frame", bad, "B-17", b"abcd", 5)
    write_chunk("b18_digest", "DigestError", "B-18", frame, 9000, digest=bytes(32))


# --- files --------------------------------------------------------------------------------------


def container(**change: object) -> bytes:
    """A whole `.tgb`: chunks, head, cover, preamble in this order; `change` overrides fields of the header."""
    content = base()
    data, manifest_length, chunks_length = head(content)
    stored = b"".join(c["bytes"] for c in content["chunks"])
    cover = piece(1, 1, canonical({"payloadType": "application/vnd.tidegate.manifest.v1+json", "signatures": []}))
    parts = {"chunks": stored, "head": data, "cover": cover, "preamble": b"{}\n"}
    body, places = b"", {}
    for name, part in parts.items():
        body += bytes(-len(body) % 4096)
        places[name] = 4096 + len(body)
        body += part
    fields = {
        "magic": b"TGB1", "format": 1,
        "cover_offset": places["cover"], "cover_length": len(cover),
        "head_offset": places["head"], "head_length": len(data),
        "chunks_offset": places["chunks"], "chunks_length": chunks_length,
        "manifest_length": manifest_length, "bundle_id": sha(data[:manifest_length]),
        "preamble_length": 3, "zero": 0, "preamble_offset": places["preamble"], "rest": bytes(3952),
    }  # fmt: skip
    fields.update(change)
    header = struct.pack("<4sIQQQQQQQ32sIIQ3952s", *fields.values())
    return header + blake3.blake3(header).digest() + body


def files() -> None:
    bad = "FormatError"
    write("ok_file", "tgb", container(), "ok", "")
    write("b20_magic", "tgb", container(magic=b"TGB2"), bad, "B-20")
    write("b20_format", "tgb", container(format=2), bad, "B-20")
    write("b20_header_damaged", "tgb", b"TGB1\1\0\0\0\1" + container()[9:], bad, "B-20")
    write("b20_header_short", "tgb", container()[:4095], bad, "B-23")
    write("b20_bytes_not_zero", "tgb", container(rest=bytes(3951) + b"\1"), bad, "B-20")
    write("b21_manifest_longer_than_head", "tgb", container(manifest_length=10**6), bad, "B-21")
    write("b21_cover_above_limit", "tgb", container(cover_length=16 * 2**20 + 1), bad, "B-21")
    write("b21_chunks_above_limit", "tgb", container(chunks_length=2**64 - 1), bad, "B-21")
    write("b22_parts_overlap", "tgb", container(cover_offset=8192), bad, "B-22")
    write("b22_part_not_aligned", "tgb", container(chunks_offset=4097), bad, "B-22")
    write("b22_gap_not_zero", "tgb", container()[:8000] + b"\1" + container()[8001:], bad, "B-22")
    write("b23_truncated", "tgb", container()[:-1], bad, "B-23")
    write("b23_longer", "tgb", container() + b"\0", bad, "B-23")
    write("b25_bundle_id", "tgb", container(bundle_id=bytes(32)), "DigestError", "B-25")


def example() -> None:
    """The bundle of the document's example, signed by the Ed25519 key whose seed is 32 bytes 01."""
    content = b"hello, far side\n"
    stored = chunk(content, content, 0)
    made = {
        "manifest": {
            **base()["manifest"], "channel": "7f3a" * 16, "sequence": 1, "base": [],
            "artifacts": [{"name": "files/hello", "kind": "files", "media_type": "text/plain",
                           "digest": "sha256:" + sha(content).hex(), "size": 16}],
        },
        "blobs": [blob(content, 0, 1)], "segments": [segment(0, 0, 16)], "chunks": [stored], "required": [],
    }  # fmt: skip
    del made["manifest"]["previous"]
    data, manifest_length, _ = head(made)
    kind = b"application/vnd.tidegate.manifest.v1+json"
    key = nacl.signing.SigningKey(b"\1" * 32)
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, manifest_length, data[:manifest_length])
    signature = base64.b64encode(key.sign(pae).signature).decode()
    signatures = [{"keyid": sha(bytes(key.verify_key)).hex(), "sig": signature}]
    cover = piece(1, 1, canonical({"payloadType": kind.decode(), "signatures": signatures}))
    parts = (content, data, cover, b"")
    places, body = [], b""
    for part in parts:
        body += bytes(-len(body) % 4096)
        places.append(4096 + len(body))
        body += part
    fields = (
        b"TGB1", 1, places[2], len(cover), places[1], len(data), places[0], 16, manifest_length,
        sha(data[:manifest_length]), 0, 0, places[3], bytes(3952),
    )  # fmt: skip
    header = struct.pack("<4sIQQQQQQQ32sIIQ3952s", *fields)
    write("ok_example", "tgb", header + blake3.blake3(header).digest() + body, "ok", "")


def main() -> None:
    for old in HERE.iterdir():
        if old.suffix in {".head", ".cover", ".chunk", ".tgb"}:
            old.unlink()
    for part in (ok_heads, bad_manifests, bad_tables, covers, chunks, files, example):
        part()
    text = json.dumps(dict(sorted(EXPECTED.items())), indent=1)
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
