"""Writes the vectors of docs/format/baseline.md, with a hash and a signature function and none of Tidegate's code.

python tests/vectors/baseline/make.py
"""

import base64
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import nacl.signing
import rfc8785

HERE = Path(__file__).resolve().parent
TYPE = "application/vnd.tidegate.baseline.v1+json"
SITE_NAME = "plant-7"
SITE = nacl.signing.SigningKey(bytes(range(32)))
STRANGER = nacl.signing.SigningKey(bytes(range(64, 96)))
MAGIC = b"\x28\xb5\x2f\xfd"
FIRST, SECOND = "00" * 32, "ff" * 32
expected: dict[str, dict[str, Any]] = {}


def content(blobs: dict[str, int], **changes: Any) -> dict[str, Any]:
    plain = {
        "created": "2026-01-01T00:00:00Z",
        "digests": "".join(blobs),
        "format": 1,
        "site": SITE_NAME,
        "sizes": list(blobs.values()),
    }
    return {**plain, **changes}


TWO = {FIRST: 5, SECOND: 7}
PLAIN = rfc8785.dumps(content(TWO))


def block(data: bytes) -> bytes:
    """The last block of a frame, as it is."""
    return struct.pack("<I", 1 | len(data) << 3)[:3] + data


def frame(data: bytes, says: int | None = None) -> bytes:
    """A zstd frame of one raw block, with its content size as four bytes."""
    return MAGIC + b"\xa0" + struct.pack("<I", len(data) if says is None else says) + block(data)


def key_id(key: nacl.signing.SigningKey) -> str:
    return hashlib.sha256(bytes(key.verify_key)).hexdigest()


def signatures(data: bytes, *keys: nacl.signing.SigningKey, kind: str = TYPE) -> bytes:
    """A detached envelope of trust.md over `data`."""
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(data), data)
    entries = [
        {"keyid": key_id(key), "sig": base64.b64encode(key.sign(message).signature).decode()}
        for key in sorted(keys, key=key_id)
    ]
    return rfc8785.dumps({"payloadType": kind, "signatures": entries})


def file(body: bytes, signed: bytes | None = None) -> bytes:
    signed = signatures(body, SITE) if signed is None else signed
    return b"TGI1" + struct.pack("<II", len(signed), len(body)) + signed + body


def add(name: str, data: bytes, rule: str = "", blobs: dict[str, int] | None = None) -> None:
    """`rule` is that by which it is refused; without `blobs` it is."""
    (HERE / f"{name}.baseline").write_bytes(data)
    said: dict[str, Any] = {"answer": "refused", "rule": rule}
    if blobs is not None:
        body = data[12 + struct.unpack_from("<I", data, 4)[0] :]
        said = {"answer": "ok", "blobs": blobs, "id": hashlib.sha256(body).hexdigest(), "rule": rule}
    expected[name] = said


def add_files() -> None:
    whole, own = file(frame(PLAIN)), frame(PLAIN)
    signed = signatures(own, SITE)
    add("ok_two_blobs", whole, "I-7", TWO)
    add("ok_no_blobs", file(frame(rfc8785.dumps(content({})))), "I-6", {})
    largest = {FIRST: 0, "0" * 63 + "1": 2**42}
    add("ok_sizes_at_their_limits", file(frame(rfc8785.dumps(content(largest)))), "I-6", largest)
    add("ok_a_stranger_signed_too", file(own, signatures(own, SITE, STRANGER)), "I-3", TWO)
    add("i01_magic", b"TGI2" + whole[4:], "I-1")
    add("i01_short", whole[:11], "I-1")
    add("i01_empty", b"", "I-1")
    add("i02_signatures_above", b"TGI1" + struct.pack("<II", 65537, 9) + bytes(65546), "I-2")
    add("i02_signatures_beyond", b"TGI1" + struct.pack("<II", len(whole), 0) + whole[12:], "I-2")
    add("i02_lengths_wrap", b"TGI1" + struct.pack("<II", len(signed), 2**32 - 12) + whole[12:], "I-2")
    add("i02_cut", whole[:-1], "I-2")
    add("i02_byte_after", whole + b"\0", "I-2")


def add_signatures() -> None:
    own = frame(PLAIN)
    good = signatures(own, SITE)
    add("i03_by_a_stranger", file(own, signatures(own, STRANGER)), "I-3")
    add("i03_of_another_frame", file(own, signatures(frame(PLAIN + b" "), SITE)), "I-3")
    add("i03_over_the_content", file(own, signatures(PLAIN, SITE)), "I-3")
    forged = json.loads(signatures(own, STRANGER))
    forged["signatures"][0]["keyid"] = key_id(SITE)
    add("i03_under_the_sites_key_id", file(own, rfc8785.dumps(forged)), "I-3")
    changed = bytearray(own)
    changed[-1] ^= 1
    add("i03_frame_changed", file(bytes(changed), good), "I-3")
    # Rules of trust.md: an envelope is one before anybody looks who signed it.
    other = "application/vnd.tidegate.manifest.v1+json"
    add("t42_of_another_type", file(own, signatures(own, SITE, kind=other)), "T-42")
    add("t08_no_signatures", file(own, rfc8785.dumps({"payloadType": TYPE, "signatures": []})), "T-8")
    add("t12_no_envelope", file(own, b""), "T-12")


def add_frames() -> None:
    size = struct.pack("<I", len(PLAIN))
    skippable = struct.pack("<II", 0x184D2A50, 4) + bytes(4)
    frames = {
        "no_frame": PLAIN,
        "empty": b"",
        "no_content_size": MAGIC + b"\x00\x58" + block(PLAIN),
        "content_size_0": frame(b""),
        "content_size_above": frame(PLAIN, 83890177),
        "holds_less": frame(PLAIN, len(PLAIN) + 1),
        "holds_more": frame(PLAIN, len(PLAIN) - 1),
        "dictionary": MAGIC + b"\xa1\x07" + size + block(PLAIN),
        "window_of_256_mib": MAGIC + b"\x80\x90" + size + block(PLAIN),
        "cut": frame(PLAIN)[:-1],
        "byte_after": frame(PLAIN) + b"\0",
        "second_frame": frame(PLAIN) + frame(PLAIN),
        "skippable_frame_after": frame(PLAIN) + skippable,
        "skippable_frame_before": skippable + frame(PLAIN),
    }
    for name, data in frames.items():
        add(f"i04_{name}", file(data), "I-4")


def add_contents() -> None:
    def case(name: str, rule: str, plain: dict[str, Any] | bytes) -> None:
        add(name, file(frame(plain if isinstance(plain, bytes) else rfc8785.dumps(plain))), rule)

    case("i05_format_2", "I-5", content(TWO, format=2))
    case("i05_format_text", "I-5", content(TWO, format="1"))
    case("i05_unknown_field", "I-5", content(TWO, more=1))
    case("i05_field_missing", "I-5", {name: value for name, value in content(TWO).items() if name != "created"})
    case("i05_created_is_no_time", "I-5", content(TWO, created="2026-01-01"))
    case("i05_created_on_no_day", "I-5", content(TWO, created="2026-02-30T00:00:00Z"))
    case("i05_not_canonical", "I-5", PLAIN.replace(b":1,", b": 1,"))
    case("i05_field_twice", "I-5", PLAIN.replace(b'"format":1,', b'"format":1,"format":1,'))
    case("i05_array", "I-5", b"[]")
    case("i05_line_feed_after", "I-5", PLAIN + b"\n")
    case("i06_capital_letters", "I-6", content({"aa" * 32: 5}, digests="AA" * 32))
    case("i06_digest_short", "I-6", content(TWO, digests=FIRST + SECOND[1:]))
    case("i06_one_size_more", "I-6", content(TWO, sizes=[5, 7, 9]))
    case("i06_one_digest_more", "I-6", content(TWO, sizes=[5]))
    case("i06_space_within", "I-6", content(TWO, digests=FIRST[:-1] + " " + SECOND))
    case("i06_size_above", "I-6", content({FIRST: 2**42 + 1}))
    case("i06_size_below_0", "I-6", content({FIRST: -1}))
    case("i06_size_is_true", "I-6", content(TWO, sizes=[5, True]))
    case("i07_falling", "I-7", content({SECOND: 7, FIRST: 5}))
    case("i07_twice", "I-7", content(TWO, digests=FIRST + FIRST))
    case("i08_another_site", "I-8", content(TWO, site="plant-8"))


def main() -> None:
    add_files()
    add_signatures()
    add_frames()
    add_contents()
    said = {"site": SITE_NAME, "public": bytes(SITE.verify_key).hex(), "vectors": expected}
    (HERE / "expected.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
