"""Make the media vectors again: `python tests/vectors/media/make.py`.

Written from docs/format/media.md with struct, json, blake3 and PyNaCl, and without Tidegate's own code, so that the
vectors say what the document says. `expected.json` lists every vector: its file, its kind, what a reader answers
(`ok` or the name of the error), and the rule.

kinds: `announcement` (the whole frame; the signature holds for the key in `key`), `label`, `index` (4096 bytes each),
`layout` (an announcement whose volume is to be laid out with `preamble_length`), and `volume` (a whole file,
to be damaged as `damage` says: [offset, length] ranges that are overwritten with 0xff; the answer is `ok`, or the
error of reading part `part`), and `share` (a whole file of one volume of a striped set of three: any two of them hold
the parts; part 2 is named by its SHA-256).
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
TYPE = b"application/vnd.tidegate.announcement.v1+json"
PREAMBLE = b"the chain of the channel's roots stands here\n"

PARTS = (b"signatures and what rides along\n" * 3, b'{"the manifest":"and its tables"}' * 6, bytes(range(250)) * 22)


def write(name: str, suffix: str, data: bytes, answer: str, rule: str, **facts: object) -> None:
    (HERE / f"{name}.{suffix}").write_bytes(data)
    EXPECTED[name] = {"file": f"{name}.{suffix}", "kind": suffix, "answer": answer, "rule": rule, **facts}
    if suffix == "announcement":
        EXPECTED[name]["key"] = bytes(KEY.verify_key).hex()


def hash3(data: bytes, length: int = 32) -> bytes:
    return blake3.blake3(data).digest(length)


# --- announcements ------------------------------------------------------------------------------


def part(length: int, sources: int) -> dict:
    return {"length": length, "source_count": sources, "repair_count": 1, "symbol_size": 4096, "interleave": 1}


BASE = {
    "format": 1, "critical": [], "carrier": "media", "channel": "7f3a" + "00" * 30, "epoch": 1, "sequence": 192,
    "bundle_id": "ab" * 32, "manifest_length": 120,
    "parts": [part(len(PARTS[0]), 1), part(len(PARTS[1]), 1), part(len(PARTS[2]), 2)],
    "set": "0123456789abcdef", "volume": 1, "spans": [[0, 0, 1], [1, 0, 1], [2, 0, 1], [1, 0, 1], [0, 0, 1]],
    "file_bytes": 4294901760,
}  # fmt: skip


def canonical(value: object) -> bytes:
    # Enough of RFC 8785 for ASCII keys, texts and integers.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def frame(payload: bytes) -> bytes:
    message = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(payload), payload)
    key_id = hashlib.sha256(bytes(KEY.verify_key)).digest()
    return struct.pack("<4sHH", b"TGA1", len(payload), 0) + key_id + KEY.sign(message).signature + payload


def announcement(name: str, answer: str, rule: str, change=lambda value: None) -> None:
    value = deepcopy(BASE)
    change(value)
    write(name, "announcement", frame(canonical(value)), answer, rule)


def setter(*path, value):
    def change(target: dict) -> None:
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


def announcements() -> None:
    good = frame(canonical(BASE))
    announcement("ok_announcement", "ok", "")
    announcement("ok_unknown_field", "ok", "", setter("weather", value="fine"))
    announcement("ok_stream", "ok", "", lambda value: (value.update(carrier="stream"), value.pop("file_bytes")))
    write("m02_magic", "announcement", b"TGA2" + good[4:], "CarrierFormatError", "M-2")
    write("m02_cut", "announcement", good[:-1], "CarrierFormatError", "M-2")
    write("m02_longer", "announcement", good + b"\0", "CarrierFormatError", "M-2")
    write("m02_zero", "announcement", good[:6] + b"\1" + good[7:], "CarrierFormatError", "M-2")
    write("m02_no_payload", "announcement", good[:104], "CarrierFormatError", "M-2")
    announcement("m02_above_1400", "CarrierFormatError", "M-2", setter("note", value="x" * 700))
    announcement("m05_cover_above_limit", "CarrierFormatError", "M-5", setter("parts", 0, "length", value=2**24 + 1))
    announcement("m05_head_above_limit", "CarrierFormatError", "M-5", setter("parts", 1, "length", value=2**32))
    announcement("m05_manifest_longer_than_head", "CarrierFormatError", "M-5", setter("manifest_length", value=4000))
    announcement("m06_no_file_bytes", "CarrierFormatError", "M-6", lambda value: value.pop("file_bytes"))
    announcement("m06_symbol_not_aligned", "CarrierFormatError", "M-6", setter("parts", 2, "symbol_size", value=4104))
    announcement("m07_group_beyond", "CarrierFormatError", "M-7", setter("spans", value=[[2, 0, 2]]))
    announcement("m07_empty_range", "CarrierFormatError", "M-7", setter("spans", value=[[2, 0, 0]]))
    announcement("m13_no_spans", "CarrierFormatError", "M-13", setter("spans", value=[]))
    announcement("m13_25_spans", "CarrierFormatError", "M-13", setter("spans", value=[[2, 0, 1]] * 25))
    announcement("m13_part_3", "CarrierFormatError", "M-13", setter("spans", value=[[3, 0, 1]]))
    announcement("m13_file_bytes_odd", "CarrierFormatError", "M-13", setter("file_bytes", value=262145))
    announcement("m13_file_bytes_4_gib", "CarrierFormatError", "M-13", setter("file_bytes", value=2**32))
    announcement("m13_code_too_long", "CarrierFormatError", "M-13", setter("parts", 2, "source_count", value=255))
    announcement("m13_no_sources", "CarrierFormatError", "M-13", setter("parts", 2, "source_count", value=0))
    announcement("m13_symbol_size_zero", "CarrierFormatError", "M-13", setter("parts", 2, "symbol_size", value=0))
    announcement("m13_interleave_256", "CarrierFormatError", "M-13", setter("parts", 2, "interleave", value=256))
    announcement("m13_length_negative", "CarrierFormatError", "M-13", setter("parts", 2, "length", value=-1))
    announcement("m13_length_above_limit", "CarrierFormatError", "M-13", setter("parts", 2, "length", value=2**42 + 1))
    announcement("m13_group_above_256_mib", "CarrierFormatError", "M-13", setter("parts", 2, value={
        "length": 2**40, "source_count": 200, "repair_count": 20, "symbol_size": 2**20, "interleave": 8}))  # fmt: skip
    announcement("m13_two_parts", "CarrierFormatError", "M-13", lambda value: value["parts"].pop())
    announcement("m13_sequence_missing", "CarrierFormatError", "M-13", lambda value: value.pop("sequence"))
    announcement("m13_carrier_unknown", "CarrierFormatError", "M-13", setter("carrier", value="pigeon"))
    write("m13_not_canonical", "announcement", frame(json.dumps(BASE).encode()), "CarrierFormatError", "M-13")
    write("m13_not_json", "announcement", frame(b"\xff\xfe{"), "CarrierFormatError", "M-13")
    announcement("m14_critical_unknown", "FeatureUnknownError", "M-14", setter("critical", value=["striped"]))
    stripes()
    announcement("m14_format_2", "FeatureUnknownError", "M-14", setter("format", value=2))


#: media.md, Sets: K = 3, R = 2, D = 2 and V = 3, two blocks of part 2
STRIPED = {**BASE, "critical": ["stripes"], "volumes": 3, "parts": [*BASE["parts"][:2], {
    "length": 21480, "source_count": 3, "repair_count": 2, "symbol_size": 4096, "interleave": 2}]}  # fmt: skip


def stripes() -> None:
    bad = "CarrierFormatError"
    for name, answer, change in (
        ("ok_striped", "ok", {}),
        ("m15_no_volumes", bad, {"volumes": None}),
        ("m15_one_volume", bad, {"volumes": 1}),
        ("m15_volume_above_volumes", bad, {"volume": 4}),
        ("m15_of_a_stream", bad, {"carrier": "stream", "file_bytes": None}),
        ("m15_blocks_smaller_than_volumes", bad, {"volumes": 6}),
    ):
        value = {key: item for key, item in {**deepcopy(STRIPED), **change}.items() if item is not None}
        write(name, "announcement", frame(canonical(value)), answer, "M-15" if answer == bad else "")


def layouts() -> None:
    def layout(name: str, rule: str, change) -> None:
        value = deepcopy(BASE)
        change(value)
        write(name, "layout", frame(canonical(value)), "CarrierFormatError", rule, preamble_length=45)

    many = {"length": 2**42, "source_count": 1, "repair_count": 0, "symbol_size": 4096, "interleave": 255}
    layout("m10_too_many_groups", "M-10", lambda v: v.update(parts=[*v["parts"][:2], many], spans=[[2, 0, 4210753]]))
    runs = {**many, "source_count": 255}
    layout("m10_too_many_runs", "M-10", lambda v: v.update(parts=[*v["parts"][:2], runs], spans=[[2, 0, 16513]]))
    long_run = {"length": 2**23, "source_count": 64, "repair_count": 0, "symbol_size": 65536, "interleave": 1}
    layout("m11_run_fits_no_file", "M-11", lambda v: v.update(
        parts=[*v["parts"][:2], long_run], spans=[[2, 0, 2]], file_bytes=262144))  # fmt: skip
    files = {"length": 2**30, "source_count": 16, "repair_count": 0, "symbol_size": 4096, "interleave": 2}
    layout("m11_more_than_999_files", "M-11", lambda v: v.update(
        parts=[*v["parts"][:2], files], spans=[[2, 0, 8192]], file_bytes=262144))  # fmt: skip


# --- labels, index blocks, a volume -------------------------------------------------------------


def seal(body: bytes) -> bytes:
    body = body.ljust(4064, b"\0")
    return body + hash3(body)


def label(place: int, signed: bytes, runs: int) -> bytes:
    tag, preamble = hash3(signed, 8), hash3(PREAMBLE)
    fields = (b"TGL1", place, tag, 1, 1, 0, runs, len(PREAMBLE), preamble, len(signed))
    head = struct.pack("<4sB3x8sHHIII32sH6x", *fields)
    return seal(head + signed)


def entry(record: tuple[int, int, int, bytes]) -> bytes:
    block, number, symbol, slot = record
    return struct.pack("<IBBH8s", block, number, symbol, 0, hash3(slot, 8))


def index(run: int, signed: bytes, before: list, after: list) -> bytes:
    fields = (b"TGI1", run, hash3(signed, 8), 1, len(before), len(after), len(signed), 0, len(PREAMBLE), 0)
    head = struct.pack("<4sI8sHBBHHII", *fields)
    entries = [b"".join(map(entry, side)).ljust(1024, b"\0") for side in (before, after)]
    return seal(head + b"".join(entries) + signed)


def section(number: int) -> list:
    """The records of a part of one block with one repair symbol, which is the sum (XOR) of the sources."""
    data = PARTS[number]
    slots = [data[at : at + 4096].ljust(4096, b"\0") for at in range(0, len(data), 4096)]
    repair = bytes(4096)
    for slot in slots:
        repair = bytes(a ^ b for a, b in zip(repair, slot, strict=True))
    return [(0, number, symbol, slot) for symbol, slot in enumerate([*slots, repair])]


def volume(signed: bytes, runs: list) -> bytes:
    padded = PREAMBLE.ljust(4096, b"\0")
    pieces = [label(0, signed, len(runs)), padded]
    for number, records in enumerate(runs):
        pieces.append(index(number, signed, runs[number - 1] if number else [], records))
        pieces += [slot for _, _, _, slot in records]
    pieces += [index(len(runs), signed, runs[-1], []), padded, label(1, signed, len(runs))]
    return b"".join(pieces)


def blocks() -> None:
    signed = frame(canonical(BASE))
    good, numbers = label(0, signed, 5), index(2, signed, section(1), section(2))
    write("ok_label", "label", good, "ok", "")
    write("ok_index", "index", numbers, "ok", "")
    for name, offset, value, rule in (
        ("m08_place_2", 4, b"\2", "M-8"), ("m08_file_0", 16, b"\0\0", "M-8"), ("m08_file_2_of_1", 16, b"\2\0", "M-8"),
        ("m08_1000_files", 18, b"\xe8\3", "M-8"), ("m08_zero", 71, b"\1", "M-8"),
        ("m08_behind_announcement", 4000, b"\1", "M-8"),
        ("m12_label_preamble_65537", 28, b"\1\0\1\0", "M-12"), ("m02_label_announcement_1401", 64, b"\x79\5", "M-2"),
    ):  # fmt: skip
        write(name, "label", seal(good[:offset] + value + good[offset + len(value) : 4064]), "CarrierFormatError", rule)
    for name, offset, value, rule in (
        ("m09_file_0", 16, b"\0\0", "M-9"), ("m09_file_1000", 16, b"\xe8\3", "M-9"),
        ("m09_65_entries", 19, b"\x41", "M-9"),
        ("m09_entry_not_counted", 1056 + 48, b"\1", "M-9"), ("m09_zero_of_an_entry", 32 + 6, b"\1", "M-9"),
        ("m09_zero", 28, b"\1", "M-9"), ("m12_index_preamble_65537", 24, b"\1\0\1\0", "M-12"),
    ):  # fmt: skip
        write(
            name,
            "index",
            seal(numbers[:offset] + value + numbers[offset + len(value) : 4064]),
            "CarrierFormatError",
            rule,
        )
    write("m04_label_damaged", "label", good[:200] + b"\xff" + good[201:], "CarrierFormatError", "M-4")
    write("m04_index_damaged", "index", numbers[:40] + b"\xff" + numbers[41:], "CarrierFormatError", "M-4")
    write("m04_label_for_index", "index", good, "CarrierFormatError", "M-4")


def volumes() -> None:
    data = volume(frame(canonical(BASE)), [section(number) for number, _, _ in BASE["spans"]])
    write("ok_volume", "volume", data, "ok", "", damage=[], tag=hash3(frame(canonical(BASE)), 8).hex())

    def damaged(name: str, damage: list, answer: str = "ok", **facts: object) -> None:
        EXPECTED[name] = {
            "file": "ok_volume.volume",
            "kind": "volume",
            "answer": answer,
            "rule": "M-3",
            "damage": damage,
            **facts,
        }

    # Pages: 0 label, 1 preamble, 2 index, 3-4 cover, 5 index, 6-7 head, 8 index, 9-11 chunks, 12 index, …
    page = 4096
    damaged("m03_one_record_of_a_block", [[page * 9 + 17, 1]])
    damaged("m03_two_records_of_a_block", [[page * 9, 1], [page * 11, 1]], "VolumeMissingError", part=2)
    damaged("m03_first_cover_and_head", [[page * 2, page * 6]])
    damaged("m03_both_labels", [[0, page], [len(data) - page, page]])
    damaged("m03_both_labels_and_every_second_index_block", [[0, page], [len(data) - page, page], [page * 8, page]])
    damaged("m03_index_blocks_around_a_run", [[page * 8, 1], [page * 12, 1]], "VolumeMissingError", part=2)


# --- a striped set ------------------------------------------------------------------------------


def striped_content() -> bytes:
    return bytes((i * i + 3 * i + i // 251) % 256 for i in range(STRIPED["parts"][2]["length"]))


def striped_group() -> list:
    """All records of the one group of part 2, in record order: symbol 0 of each block, symbol 1, …"""
    data = striped_content().ljust(6 * 4096, b"\0")
    coder, blocks = reedsolo.RSCodec(2), []
    for block in range(2):
        sources = [data[(block * 3 + i) * 4096 :][:4096] for i in range(3)]
        columns = [bytes(coder.encode(bytes(column)))[3:] for column in zip(*sources, strict=True)]
        blocks.append([*sources, bytes(c[0] for c in columns), bytes(c[1] for c in columns)])
    return [(block, 2, symbol, blocks[block][symbol]) for symbol in range(5) for block in range(2)]


def shares() -> None:
    digest = hashlib.sha256(striped_content()).hexdigest()
    for number in (1, 2, 3):
        signed = frame(canonical({**STRIPED, "volume": number}))
        share = [record for record in striped_group() if (record[0] + record[2]) % 3 == number - 1]
        runs = [share if part == 2 else section(part) for part, _, _ in STRIPED["spans"]]
        write(f"ok_share_{number}", "share", volume(signed, runs), "ok", "", chunks_sha256=digest)


if __name__ == "__main__":
    for old in HERE.iterdir():
        if old.suffix in {".announcement", ".layout", ".label", ".index", ".volume", ".share"}:
            old.unlink()
    announcements()
    layouts()
    blocks()
    volumes()
    shares()
    (HERE / "expected.json").write_text(json.dumps(EXPECTED, indent=1, sort_keys=True) + "\n", encoding="utf-8")
