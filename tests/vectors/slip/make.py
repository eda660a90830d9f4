"""Make the slip vectors again: `python tests/vectors/slip/make.py`. From docs/format/slip.md alone, with a hash, a
signature and the standard library's base32; none of Tidegate's code."""

import json
from base64 import b32encode, b64encode
from hashlib import sha256
from pathlib import Path

from nacl.signing import SigningKey

HERE = Path(__file__).parent
RFC4648, CROCKFORD = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))
CHANNEL = "7f3a" * 16
RECEIPT = "ab" * 32


def letters(data: bytes, count: int | None = None) -> str:
    text = b32encode(data).decode().rstrip("=").translate(str.maketrans(RFC4648, CROCKFORD))
    return text if count is None else text[:count]


def check(line: str) -> str:
    """CRC-15 as a remainder of polynomials: the start value is added to the first 15 bits."""
    data = line.encode() + b"\0\0"
    bits = int.from_bytes(data, "big") >> 1  # 15 zero bits behind the line
    length = len(line) * 8 + 15
    bits ^= 0x7FFF << (length - 15)
    for place in range(length - 1, 14, -1):
        if bits >> place & 1:
            bits ^= (0x8000 | 0x4599) << (place - 15)
    return "".join(CROCKFORD[bits >> shift & 31] for shift in (10, 5, 0))


def code(site: str, number: int, epoch: int = 1, receipt: str = RECEIPT, channel: str = CHANNEL) -> str:
    facts = f"tidegate-code-v1\n{channel}\n{epoch}\n{number}\n{site}\n{receipt}\n"
    proof = letters(sha256(facts.encode()).digest(), 5)
    end = proof + check(f"{channel[:4].upper()}-{number:04d}-{proof}")
    return f"{channel[:4]}-{number:04d}-{end[:4]}-{end[4:]}"


def held_sum(numbers: list[int]) -> str:
    data = b"".join(n.to_bytes(8, "little") + n.to_bytes(32, "big") for n in numbers)
    return letters(sha256(b"tidegate-held-v1\n" + data).digest(), 8)


def slip(**changes: object) -> dict[str, object]:
    """A slip with `changes` of its fields; `line_…` replaces the values of a line after signing."""
    held = [*range(1, 191), 192]
    facts = {
        "site": "plant-7", "epoch": 1, "held": "1-190+192", "missing": "191", "sum": held_sum(held), "size": 4711,
        "root": bytes(range(32)), "code": code("plant-7", 192), "date": "2026-01-31", "key": KEY, "channel": CHANNEL,
    } | {name: value for name, value in changes.items() if not name.startswith("line_")}  # fmt: skip
    note = (
        f"{facts['site']}/high\n{facts['size']}\n{b64encode(facts['root']).decode()}\ntidegate-slip 1\n"
        f"channel {facts['channel']}\nepoch {facts['epoch']}\nheld {facts['held']}\nsum {facts['sum']}\n"
        f"missing {facts['missing']}\ncode {facts['code']}\ndate {facts['date']}\n"
    )
    seal = letters(facts["key"].sign(note.encode()).signature)
    values = {
        "SLIP": f"1 {facts['site']} {facts['channel'][:4]} {facts['epoch']}".upper(),
        "HELD": f"{facts['held']} {facts['sum']}",
        "MISSING": facts["missing"],
        "CODE": str(facts["code"]).upper(),
        "LEDGER": f"{facts['size']} {facts['date']}",
        "ROOT": letters(facts["root"]),
        "SIGN": seal[:52],
        "SEAL": seal[52:],
    } | {name[5:].upper(): value for name, value in changes.items() if name.startswith("line_")}
    lines = [f"{word} {value}" for word, value in values.items()]
    return {"text": "/".join(f"{line} {check(line)}" for line in lines), "note": note}


def slips() -> list[dict[str, object]]:
    good = slip()
    text = str(good["text"])
    lines = text.split("/")
    one = held_sum([1])
    cases = [
        {"name": "ok_example", **good, "result": "accept"},
        {"name": "ok_nothing_held", "result": "accept",
         **slip(held="NONE", missing="NONE", sum=held_sum([]), code="NONE")},
        {"name": "ok_site_with_an_o", **slip(site="plant-o"), "result": "accept"},
        {"name": "ok_without_code", **slip(code="NONE"), "result": "accept"},
        {"name": "s01_typed_small_with_spaces_and_look_alikes", "note": good["note"], "result": "accept",
         "text": "\n\n".join(lines[:5]).lower() + "\n" + lines[5].replace("ROOT 0", "root  o ") + "\n"
                 + "\n".join(line.replace(" ", "   ", 1) for line in lines[6:])},
        {"name": "s01_line_missing", "text": "/".join(lines[:-1])},
        {"name": "s01_line_twice", "text": "/".join([lines[0], *lines])},
        {"name": "s01_lines_swapped", "text": "/".join([lines[1], lines[0], *lines[2:]])},
        {"name": "s01_format_2", **slip(line_slip="2 PLANT-7 7F3A 1")},
        {"name": "s01_too_long", **slip(held="+".join(str(n) for n in range(1, 90, 2)), missing="NONE", code="NONE")},
        {"name": "s01_not_ascii", "text": text.replace("PLANT", "PLÄNT")},
        {"name": "s02_wrong_letter", "text": text.replace("HELD 1-190", "HELD 1-191")},
        {"name": "s02_neighbours_swapped", "text": text.replace("4711", "4171")},
        {"name": "s03_zero_for_o_in_a_site", "text": str(slip(site="plant-o")["text"]).replace("PLANT-O", "PLANT-0")},
        {"name": "s03_spare_bits", **slip(line_root=letters(bytes(range(32)))[:-1] + "Z")},
        {"name": "s04_ranges_fall", **slip(line_held=f"192+1-190 {one}")},
        {"name": "s04_ranges_touch", **slip(line_held=f"1-190+191-192 {one}")},
        {"name": "s04_number_zero", **slip(line_missing="0")},
        {"name": "s04_range_of_one", **slip(line_missing="191-191")},
        {"name": "s05_held_and_missing", **slip(line_missing="190-191")},
        {"name": "s05_epoch_zero", **slip(line_slip="1 PLANT-7 7F3A 0")},
        {"name": "s05_no_date", **slip(line_ledger="4711 2026-02-30")},
        {"name": "s05_size_zero", **slip(line_ledger="0 2026-01-31")},
        {"name": "s06_code_of_a_lower_number", **slip(code=code("plant-7", 190))},
        {"name": "s06_code_of_another_channel", **slip(code=code("plant-7", 192, channel="aaaa" * 16))},
        {"name": "s07_signed_by_another_key", **slip(key=OTHER), "result": "SlipForgedError"},
        {"name": "s07_another_channel_with_the_same_digits", **slip(channel="7f3a" + "00" * 30),
         "result": "SlipForgedError"},
        {"name": "s07_another_number_held", **slip(line_held=f"1-192 {one}", line_missing="NONE"),
         "result": "SlipForgedError"},
        {"name": "s07_another_site", **slip(line_slip="1 PLANT-8 7F3A 1"), "result": "SlipForgedError"},
    ]  # fmt: skip
    return [{"result": "SlipMistypedError", **case} for case in cases]


def codes() -> list[dict[str, object]]:
    good = code("plant-7", 192)
    facts = {"channel": CHANNEL, "epoch": 1, "sequence": 192, "site": "plant-7", "receipt": RECEIPT}
    head, tail = good[:-1], good[-1]
    return [
        {"name": "ok_example", "text": good, "result": "accept", **facts},
        {"name": "ok_spaces_and_small", "text": good.lower().replace("-", " "), "result": "accept", **facts},
        {"name": "ok_high_number", "text": code("plant-7", 1234567), "result": "accept", **facts, "sequence": 1234567},
        {"name": "s06_other_site", "text": code("plant-8", 192), "result": "other", **facts},
        {"name": "s06_other_content", "text": code("plant-7", 192, receipt="cd" * 32), "result": "other", **facts},
        {"name": "s06_other_epoch", "text": code("plant-7", 192, epoch=2), "result": "other", **facts},
        {"name": "s02_last_letter", "text": head + ("0" if tail != "0" else "1"), "result": "SlipMistypedError"},
        {"name": "s02_number", "text": good.replace("0192", "0193"), "result": "SlipMistypedError"},
        {"name": "s06_group_missing", "text": good[:-5], "result": "SlipMistypedError"},
        {"name": "s06_zeros_before_a_long_number", "text": good.replace("0192", "00192"),
         "result": "SlipMistypedError"},
        {"name": "s06_letter_u", "text": good[:-1] + "U", "result": "SlipMistypedError"},
    ]  # fmt: skip


def receipts() -> list[dict[str, object]]:
    made = []
    for name, blobs in (("ok_nothing", []), ("ok_one_byte", [b"x"]), ("ok_empty_blob_between", [b"ab" * 50, b"", b"c"]),
                        ("ok_three", [bytes([n]) * (1000 * n) for n in (1, 2, 3)])):  # fmt: skip
        ordered = sorted(blobs, key=lambda blob: sha256(blob).digest())
        bundle_id = sha256(name.encode()).digest()
        content = b"".join(ordered)
        ends = [sum(len(blob) for blob in ordered[: at + 1]) for at in range(len(ordered))]
        digest = sha256(b"tidegate-receipt-v1\n" + bundle_id)
        for number in range(16 if content else 0):
            place = sha256(b"tidegate-sample-v1\n" + bundle_id + bytes([number])).digest()
            offset = int.from_bytes(place[:8], "little") % len(content)
            digest.update(content[offset : min(offset + 32, next(end for end in ends if end > offset))])
        made.append({"name": name, "bundle_id": bundle_id.hex(), "blobs": [blob.hex() for blob in ordered],
                     "receipt": digest.hexdigest()})  # fmt: skip
    return made


def site_keys() -> list[dict[str, object]]:
    public = bytes(KEY.verify_key)
    line = f"SITE PLANT-7 {letters(public)}"
    good = f"{line} {check(line)}"
    vkey_id = sha256(b"plant-7/high\n\x01" + public).digest()[:4].hex()
    vkey = f"plant-7/high+{vkey_id}+{b64encode(bytes([1]) + public).decode()}"
    return [
        {"name": "ok_example", "text": good, "vkey": vkey, "result": "accept"},
        {"name": "ok_grouped_and_small", "text": good.lower().replace(" ", "  "), "vkey": vkey, "result": "accept"},
        {"name": "s08_wrong_letter", "text": good.replace("PLANT-7", "PLANT-8"), "result": "SlipMistypedError"},
        {"name": "s08_letter_missing", "text": good[:-1], "result": "SlipMistypedError"},
        {"name": "s08_no_site", "text": good.replace("SITE", "SIDE"), "result": "SlipMistypedError"},
    ]


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\1" + tree(leaves[:half]) + tree(leaves[half:])).digest()


def subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if old == len(leaves):
        return [] if whole else [tree(leaves)]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= half:
        return [*subproof(old, leaves[:half], whole=whole), tree(leaves[half:])]
    return [*subproof(old - half, leaves[half:], whole=False), tree(leaves[:half])]


def proofs() -> list[dict[str, object]]:
    """A log of the entries "0", "1", …; from 5 of them to 9, and what is wrong with it."""

    def proof(old: int, size: int) -> list[str]:
        leaves = [str(number).encode() for number in range(size)]
        bare = [f"PROOF {old} {letters(tree(leaves[:old]))}"]
        bare += [f"NODE {letters(node)}" for node in subproof(old, leaves, whole=True)]
        return [f"{line} {check(line)}" for line in bare]

    root = tree([str(number).encode() for number in range(9)]).hex()
    facts = {"size": 9, "root": root}
    good = proof(5, 9)
    zero = f"PROOF 0 {letters(bytes(32))}"
    return [
        {"name": "ok_example", "text": "/".join(good), "result": "accept", "from": 5, **facts},
        {"name": "ok_small_and_lines", "text": "\n".join(good).lower(), "result": "accept", "from": 5, **facts},
        {"name": "ok_power_of_two", "text": "/".join(proof(8, 9)), "result": "accept", "from": 8, **facts},
        {"name": "s15_leads_elsewhere", "text": "/".join(proof(5, 8)), "result": "elsewhere", **facts},
        {"name": "s15_node_missing", "text": "/".join(good[:-1]), "result": "elsewhere", **facts},
        {"name": "s15_size_changed", "text": "/".join(good).replace("PROOF 5", "PROOF 6"),
         "result": "SlipMistypedError", **facts},
        {"name": "s15_other_word", "text": "/".join(good).replace("NODE", "NOTE"),
         "result": "SlipMistypedError", **facts},
        {"name": "s15_size_zero", "text": f"{zero} {check(zero)}", "result": "SlipMistypedError", **facts},
        {"name": "s15_too_many_nodes", "text": "/".join([good[0], *[good[1]] * 65]),
         "result": "SlipMistypedError", **facts},
    ]  # fmt: skip


def main() -> None:
    made = (("slips", slips()), ("codes", codes()), ("receipts", receipts()), ("site-keys", site_keys()),
            ("proofs", proofs()))  # fmt: skip
    for name, cases in made:
        (HERE / f"{name}.json").write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
