"""Make the stream vectors again: `python tests/vectors/stream/make.py`.

Written from docs/format/stream.md with struct, json, blake3 and PyNaCl, and without Tidegate's own code, so that the
vectors say what the document says. `expected.json` lists every vector: its file, its kind, what a reader answers, and
the rule.

kinds: `datagram` (one datagram; the answer is `ok`, or `ignored`), `announcement` (a whole frame; the signature holds
for the key in `key`; `ok` or the name of the error), `heartbeat` (the same), and `session` (all datagrams of a session
in order, each after its length as two bytes; its parts are in `session.parts`, one after another).
"""

import hashlib
import json
import struct
from copy import deepcopy
from pathlib import Path

import blake3
import nacl.signing
import reedsolo

HERE = Path(__file__).parent
EXPECTED: dict[str, dict] = {}
KEY = nacl.signing.SigningKey(bytes(range(32)))
KEY_ID = hashlib.sha256(bytes(KEY.verify_key)).digest()
TRUST, ANNOUNCEMENT, DATA, HEARTBEAT, END = 1, 2, 3, 4, 5
PREAMBLE = (b"the chain of the channel's roots stands here\n" * 40)[:1700]
PARTS = (b"signatures and what rides along\n" * 3, b'{"the manifest":"and its tables"}' * 6, bytes(range(250)) * 8)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def write(name: str, suffix: str, data: bytes, answer: str, rule: str, **facts: object) -> None:
    (HERE / f"{name}.{suffix}").write_bytes(data)
    EXPECTED[name] = {"file": f"{name}.{suffix}", "kind": suffix, "answer": answer, "rule": rule, **facts}
    if suffix in {"announcement", "heartbeat"}:
        EXPECTED[name]["key"] = bytes(KEY.verify_key).hex()


def tag_of(data: bytes) -> bytes:
    return blake3.blake3(data).digest(8)


# --- datagrams ----------------------------------------------------------------------------------


def datagram(kind: int, tag: bytes, payload: bytes = b"", *, part=0, symbol=0, zero=0, block=0, running=0, pieces=0,
             length=None, magic=b"TGS1", spoil=0) -> bytes:  # fmt: skip
    length = len(payload) if length is None else length
    header = struct.pack("<4sBBBB8sIIHH", magic, kind, part, symbol, zero, tag, block, running, length, pieces)
    return header + struct.pack("<I", crc32c(header) ^ spoil) + payload


TAG = bytes.fromhex("0102030405060708")
SYMBOL = bytes(range(64))


def make_datagrams() -> None:
    good = {"part": 2, "symbol": 254, "block": 2**32 - 1, "running": 2**32 - 1}
    write("ok_data", "datagram", datagram(DATA, TAG, SYMBOL, **good), "ok", "S-1")
    write("ok_trust", "datagram", datagram(TRUST, TAG, b"x" * 1400, block=0, pieces=64), "ok", "S-6")
    write("ok_end", "datagram", datagram(END, TAG, block=77, running=77), "ok", "S-3")
    write("s01_magic", "datagram", datagram(DATA, TAG, SYMBOL, magic=b"TGS2"), "ignored", "S-1")
    write("s01_short", "datagram", datagram(END, TAG)[:31], "ignored", "S-1")
    write("s01_empty", "datagram", b"", "ignored", "S-1")
    write("s02_kind_0", "datagram", datagram(0, TAG, SYMBOL), "ignored", "S-2")
    write("s02_kind_6", "datagram", datagram(6, TAG, SYMBOL), "ignored", "S-2")
    write("s03_part_3", "datagram", datagram(DATA, TAG, SYMBOL, part=3), "ignored", "S-3")
    write("s03_symbol_255", "datagram", datagram(DATA, TAG, SYMBOL, symbol=255), "ignored", "S-3")
    write("s03_zero", "datagram", datagram(DATA, TAG, SYMBOL, zero=1), "ignored", "S-3")
    write("s03_data_pieces", "datagram", datagram(DATA, TAG, SYMBOL, pieces=1), "ignored", "S-3")
    write("s03_announcement_part", "datagram", datagram(ANNOUNCEMENT, TAG, SYMBOL, part=1), "ignored", "S-3")
    write("s03_announcement_block", "datagram", datagram(ANNOUNCEMENT, TAG, SYMBOL, block=1), "ignored", "S-3")
    write("s03_heartbeat_symbol", "datagram", datagram(HEARTBEAT, TAG, SYMBOL, symbol=1), "ignored", "S-3")
    write("s03_end_payload", "datagram", datagram(END, TAG, SYMBOL), "ignored", "S-3")
    write("s04_longer", "datagram", datagram(DATA, TAG, SYMBOL, length=63), "ignored", "S-4")
    write("s04_cut", "datagram", datagram(DATA, TAG, SYMBOL)[:-1], "ignored", "S-4")
    write("s05_checksum", "datagram", datagram(DATA, TAG, SYMBOL, spoil=1), "ignored", "S-5")
    write("s06_no_pieces", "datagram", datagram(TRUST, TAG, SYMBOL, pieces=0), "ignored", "S-6")
    write("s06_65_pieces", "datagram", datagram(TRUST, TAG, SYMBOL, pieces=65), "ignored", "S-6")
    write("s06_piece_beyond", "datagram", datagram(TRUST, TAG, SYMBOL, block=2, pieces=2), "ignored", "S-6")


# --- announcements and heartbeats ---------------------------------------------------------------


def canonical(value: object) -> bytes:
    # Enough of RFC 8785 for ASCII keys, texts and integers.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def frame(magic: bytes, kind: str, payload: bytes, *, length=None, zero=0) -> bytes:
    type_ = f"application/vnd.tidegate.{kind}.v1+json".encode()
    message = b"DSSEv1 %d %s %d %s" % (len(type_), type_, len(payload), payload)
    length = len(payload) if length is None else length
    return struct.pack("<4sHH", magic, length, zero) + KEY_ID + KEY.sign(message).signature + payload


def part(length: int, sources: int, symbol_size: int, repairs: int = 2, interleave: int = 2) -> dict:
    return {"length": length, "source_count": sources, "repair_count": repairs, "symbol_size": symbol_size,
            "interleave": interleave}  # fmt: skip


STREAM = {
    "format": 1, "critical": [], "carrier": "stream", "channel": "7f3a" + "00" * 30, "epoch": 1, "sequence": 192,
    "bundle_id": "ab" * 32, "manifest_length": 120,
    "parts": [part(len(PARTS[0]), 2, 64, 1, 1), part(len(PARTS[1]), 4, 64, 1, 1), part(len(PARTS[2]), 5, 64)],
    "set": "0123456789abcdef", "volume": 1, "spans": [[0, 0, 1], [1, 0, 1], [2, 0, 4], [1, 0, 1], [0, 0, 1]],
}  # fmt: skip
BEAT = {
    "format": 1, "critical": [], "channel": "7f3a" + "00" * 30, "epoch": 1, "link": "diode-1", "number": 7,
    "time": "2026-01-31T08:00:00Z", "interval_seconds": 60, "sequence": 192,
}  # fmt: skip


def changed(base: dict, **changes: object) -> dict:
    value = deepcopy(base)
    for name, new in changes.items():
        value[name] = new
    return {name: item for name, item in value.items() if item is not None}


def announcement(name: str, answer: str, rule: str, **changes: object) -> None:
    data = frame(b"TGA1", "announcement", canonical(changed(STREAM, **changes)))
    write(name, "announcement", data, answer, rule)


def heartbeat(name: str, answer: str, rule: str, **changes: object) -> None:
    write(name, "heartbeat", frame(b"TGH1", "heartbeat", canonical(changed(BEAT, **changes))), answer, rule)


def make_frames() -> None:
    refused = "CarrierFormatError"
    announcement("ok_announcement", "ok", "S-7")
    largest = [*STREAM["parts"][:2], part(10**6, 5, 65472)]
    announcement("ok_largest_symbol", "ok", "S-7", parts=largest, spans=[[2, 0, 1]])
    announcement(
        "s07_symbol_size", refused, "S-7", parts=[*STREAM["parts"][:2], part(10**6, 5, 65480)], spans=[[2, 0, 1]]
    )
    many = [*STREAM["parts"][:2], part(2**20 * 64, 1, 64, 1, 1)]
    announcement("ok_most_groups", "ok", "S-12", parts=many, spans=[[2, 0, 2**20]])
    many = [*STREAM["parts"][:2], part(2**20 * 64 + 1, 1, 64, 1, 1)]
    announcement("s12_groups", refused, "S-12", parts=many, spans=[[2, 0, 1]])
    heartbeat("ok_heartbeat", "ok", "S-11")
    heartbeat("ok_checkpoint", "ok", "S-11", checkpoint="plant/low\n12\nroot\n", sequence=0, unknown=1)
    heartbeat("s11_link", refused, "S-11", link="Diode 1")
    heartbeat("s11_link_empty", refused, "S-11", link="")
    heartbeat("s11_number_0", refused, "S-11", number=0)
    heartbeat("s11_time", refused, "S-11", time="2026-01-31 08:00:00")
    heartbeat("s11_interval", refused, "S-11", interval_seconds=3601)
    heartbeat("s11_sequence_missing", refused, "S-11", sequence=None)
    heartbeat("s11_format", "FeatureUnknownError", "S-11", format=2)
    heartbeat("s11_critical", "FeatureUnknownError", "S-11", critical=["later"])
    payload = canonical(BEAT)
    write("s11_magic", "heartbeat", frame(b"TGA1", "heartbeat", payload), refused, "S-11")
    write("s11_length", "heartbeat", frame(b"TGH1", "heartbeat", payload, length=5), refused, "S-11")
    write("s11_zero", "heartbeat", frame(b"TGH1", "heartbeat", payload, zero=1), refused, "S-11")
    write("s11_cut", "heartbeat", frame(b"TGH1", "heartbeat", payload)[:104], refused, "S-11")
    long = canonical(changed(BEAT, checkpoint="x" * 1024, unknown="y" * 300))
    write("s11_above_1400", "heartbeat", frame(b"TGH1", "heartbeat", long), refused, "S-11")


# --- a session ----------------------------------------------------------------------------------


def blocks_of(length: int, sources: int, size: int) -> list[tuple[int, int]]:
    """(first symbol, count) of each block: RFC 5052, section 9.1."""
    total = -(-length // size)
    count = -(-total // sources)
    small, large = divmod(total, count)
    sizes = [small + 1] * large + [small] * (count - large)
    return [(sum(sizes[:at]), sizes[at]) for at in range(count)]


def symbols_of(data: bytes, geometry: dict) -> list[list[bytes]]:
    """The symbols of each block, sources and repairs; the last source filled with zeros."""
    size, repairs = geometry["symbol_size"], geometry["repair_count"]
    filled = data.ljust(-(-len(data) // size) * size, b"\0")
    codec = reedsolo.RSCodec(repairs)
    found = []
    for first, count in blocks_of(len(data), geometry["source_count"], size):
        sources = [filled[(first + at) * size : (first + at + 1) * size] for at in range(count)]
        columns = [bytes(codec.encode(bytes(column)))[count:] for column in zip(*sources, strict=True)]
        found.append(sources + [bytes(column[at] for column in columns) for at in range(repairs)])
    return found


def group_datagrams(number: int, group: int, geometry: dict, tag: bytes) -> list[dict]:
    """What `datagram` takes for each symbol of a group, in record order (E-12)."""
    blocks = symbols_of(PARTS[number], geometry)
    first = group * geometry["interleave"]
    chosen = range(first, min(first + geometry["interleave"], len(blocks)))
    found = []
    for symbol in range(max(len(blocks[block]) for block in chosen)):
        for block in chosen:
            if symbol < len(blocks[block]):
                payload = blocks[block][symbol]
                if block == len(blocks) - 1 and symbol == len(blocks[block]) - geometry["repair_count"] - 1:
                    payload = payload[: len(PARTS[number]) - (-(-len(PARTS[number]) // 64) - 1) * 64]
                found.append({"payload": payload, "part": number, "symbol": symbol, "block": block})
    return found


def make_session() -> None:
    data = frame(b"TGA1", "announcement", canonical(STREAM))
    tag, running, out = tag_of(data), 0, []
    pieces = [PREAMBLE[at : at + 1400] for at in range(0, len(PREAMBLE), 1400)]
    for number, piece in enumerate(pieces):
        out.append(datagram(TRUST, tag_of(PREAMBLE), piece, block=number, running=number, pieces=len(pieces)))
    for number, first, end in STREAM["spans"]:
        for group in range(first, end):
            out.append(datagram(ANNOUNCEMENT, tag, data, running=running))
            running += 1
            for fields in group_datagrams(number, group, STREAM["parts"][number], tag):
                out.append(datagram(DATA, tag, fields.pop("payload"), running=running, **fields))
                running += 1
    out.append(datagram(ANNOUNCEMENT, tag, data, running=running))
    for _ in range(3):
        running += 1
        out.append(datagram(END, tag, block=running, running=running))
    stored = b"".join(struct.pack("<H", len(item)) + item for item in out)
    (HERE / "session.parts").write_bytes(b"".join(PARTS))
    write("ok_session", "session", stored, "ok", "S-10", parts="session.parts", lengths=[len(item) for item in PARTS])


if __name__ == "__main__":
    make_datagrams()
    make_frames()
    make_session()
    text = json.dumps(EXPECTED, indent=1, sort_keys=True) + "\n"
    (HERE / "expected.json").write_text(text)
