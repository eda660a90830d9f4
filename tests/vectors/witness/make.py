"""Writes the vectors of docs/format/witness.md, with a hash and a signature function and none of Tidegate's code.

python tests/vectors/witness/make.py
"""

import base64
import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nacl.signing

HERE = Path(__file__).resolve().parent
LOW = nacl.signing.SigningKey(bytes(range(32)))
SITE = nacl.signing.SigningKey(bytes(range(32, 64)))
STRANGER = nacl.signing.SigningKey(bytes(range(64, 96)))
LOW_NAME, SITE_NAME = "plant/low", "plant-7/high"
ENTRIES = b"application/vnd.tidegate.ledger-entries.v1"
SIZE = 23
LOG = [b'{"event":"entry %d"}' % i for i in range(SIZE)]
# Another log: the same up to entry 8, then changed.
FORKED = [*LOG[:9], *(entry.replace(b"entry", b"other") for entry in LOG[9:])]
expected: dict[str, dict[str, Any]] = {}


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def tree(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree(leaves[:half]) + tree(leaves[half:])).digest()


def root_of(log: Sequence[bytes], size: int | None = None) -> bytes:
    return tree([leaf(entry) for entry in log[:size]])


def proof(size: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2: SUBPROOF."""
    if size == len(leaves):
        return [] if whole else [tree(leaves)]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if size <= half:
        return [*proof(size, leaves[:half], whole), tree(leaves[half:])]
    return [*proof(size - half, leaves[half:], False), tree(leaves[:half])]


def peaks(log: Sequence[bytes], first: int) -> list[bytes]:
    """The roots of the perfect subtrees into which the entries before `first` fall, the largest first."""
    found, at = [], 0
    for bit in reversed(range(first.bit_length())):
        if first >> bit & 1:
            found.append(root_of(log[at : at + (1 << bit)]))
            at += 1 << bit
    return found


def frame(content: bytes, says: int | None = None) -> bytes:
    """A zstd frame of one raw block, with its content size as four bytes."""
    size = len(content) if says is None else says
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", size) + struct.pack("<I", 1 | len(content) << 3)[:3] + content


def framed(entries: Sequence[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def sign_entries(body: bytes, key: nacl.signing.SigningKey = LOW) -> bytes:
    return key.sign(b"DSSEv1 %d %s %d %s" % (len(ENTRIES), ENTRIES, len(body), body)).signature + body


def entries(
    first: int,
    log: Sequence[bytes] = LOG,
    count: int | None = None,
    raw: int | None = None,
    nodes: list[bytes] | None = None,
    content: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """A piece of type 3 without its signature; by default as the document says."""
    content = framed(log[first:]) if content is None else content
    raw = len(content) if raw is None else raw
    nodes = peaks(log, first) if nodes is None else nodes
    head = struct.pack("<QII", first, len(log) - first if count is None else count, raw)
    return head + b"".join(nodes) + frame(content, raw) + tail


def proofs(
    sizes: Sequence[int], log: Sequence[bytes] = LOG, roots: dict[int, bytes] | None = None, tail: bytes = b""
) -> bytes:
    """A piece of type 4."""
    leaves = [leaf(entry) for entry in log]
    nodes: list[bytes] = []

    def place(one: bytes) -> int:
        if one not in nodes:
            nodes.append(one)
        return nodes.index(one)

    body = b""
    for size in sizes:
        path = [place(one) for one in proof(size, leaves)]
        old = place((roots or {}).get(size, tree(leaves[:size])))
        body += struct.pack(f"<QBH{len(path)}H", size, len(path), old, *path)
    return struct.pack("<HH", len(nodes), len(sizes)) + b"".join(nodes) + body + tail


def one_proof(nodes: Sequence[bytes], size: int, old: int, path: Sequence[int], proof_count: int = 1) -> bytes:
    body = struct.pack(f"<QBH{len(path)}H", size, len(path), old, *path)
    return struct.pack("<HH", len(nodes), proof_count) + b"".join(nodes) + body


def line(name: str, key: nacl.signing.SigningKey, text: str) -> str:
    """A signature line of a signed note."""
    public = bytes(key.verify_key)
    key_id = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
    return f"— {name} {base64.b64encode(key_id + key.sign(text.encode()).signature).decode()}\n"


def co_line(
    name: str, key: nacl.signing.SigningKey, text: str, kind: bytes = b"\x04", time: int = 1769846400, says: int = 0
) -> str:
    """A line of cosignature/v1; `says` stands in the line in place of the time that was signed."""
    public = bytes(key.verify_key)
    key_id = hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]
    signature = key.sign(f"cosignature/v1\ntime {time}\n{text}".encode()).signature
    return f"— {name} {base64.b64encode(key_id + (says or time).to_bytes(8, 'big') + signature).decode()}\n"


def checkpoint(
    log: Sequence[bytes] = LOG, origin: str = LOW_NAME, name: str = LOW_NAME, key: nacl.signing.SigningKey = LOW
) -> bytes:
    text = f"{origin}\n{len(log)}\n{base64.b64encode(root_of(log)).decode()}\n"
    return f"{text}\n{line(name, key, text)}".encode()


SLIP = "\n".join(
    (
        SITE_NAME,
        "4711",
        base64.b64encode(bytes(range(32))).decode(),
        "tidegate-slip 1",
        "channel " + "7f3a" * 16,
        "epoch 1",
        "held 1-190+192",
        "sum QMBQGPRN",
        "missing 191",
        "code 7f3a-0192-E3R4-VKF2",
        "date 2026-01-31",
        "",
    )
)


def add(name: str, kind: str, data: bytes, answer: str, rule: str, **more: object) -> None:
    (HERE / f"{name}.{kind}").write_bytes(data)
    expected[name] = {"answer": answer, "file": f"{name}.{kind}", "kind": kind, "rule": rule, **more}


def add_checkpoints() -> None:
    head = {"root": root_of(LOG).hex(), "size": SIZE}
    add("ok_checkpoint", "checkpoint", checkpoint(), "ok", "W-2", **head)
    add("w02_another_key", "checkpoint", checkpoint(key=STRANGER), "refused", "W-2")
    add("w02_origin", "checkpoint", checkpoint(origin="plant/high"), "refused", "W-2")
    add("w02_key_name", "checkpoint", checkpoint(name="plant"), "refused", "W-2")
    add("w02_changed", "checkpoint", checkpoint().replace(b"\n23\n", b"\n24\n"), "refused", "W-2")
    lines = "".join(line(f"other-{i}", STRANGER, "") for i in range(60)).encode()
    add("w02_above_4096", "checkpoint", checkpoint() + lines, "refused", "W-2")


def add_entries() -> None:
    def case(name: str, body: bytes, answer: str, rule: str, key: nacl.signing.SigningKey = LOW) -> None:
        more: dict[str, object] = {"root": root_of(LOG).hex(), "size": SIZE}
        if answer == "ok":
            first = struct.unpack_from("<Q", body)[0]
            more |= {"first": first, "heads": {str(n): root_of(LOG, n).hex() for n in range(first or 1, SIZE + 1)}}
        add(name, "entries", sign_entries(body, key), answer, rule, **more)

    case("ok_entries_all", entries(0), "ok", "W-4")
    case("ok_entries_since", entries(13), "ok", "W-4")
    case("ok_entries_since_a_power_of_two", entries(16), "ok", "W-4")
    case("ok_entry_last", entries(22), "ok", "W-4")
    case("w03_another_key", entries(13), "refused", "W-3", STRANGER)
    signed = bytearray(sign_entries(entries(13)))
    signed[-1] ^= 1
    more = {"root": root_of(LOG).hex(), "size": SIZE}
    add("w03_changed", "entries", bytes(signed), "refused", "W-3", **more)
    add("w03_short", "entries", sign_entries(b""), "refused", "W-3", **more)
    whole = entries(13)
    case("w04_first_beyond", struct.pack("<QII", 23, 0, 3) + b"".join(peaks(LOG, 23)), "refused", "W-4")
    case("w04_count_0", entries(13, count=0), "refused", "W-4")
    case("w04_count", entries(13, count=9), "refused", "W-4")
    case("w04_sum_wraps", entries(2**64 - 42, count=65, nodes=[], content=b"\0\1a"), "refused", "W-4")
    case("w04_raw_below", entries(13, raw=29), "refused", "W-4")
    case("w04_raw_above", entries(13, raw=(4 << 20) + 1), "refused", "W-4")
    case("w04_raw_lies", struct.pack("<QII", 13, 10, len(framed(LOG[13:])) - 1) + whole[16:], "refused", "W-4")
    case("w04_node_missing", entries(13, nodes=peaks(LOG, 13)[:-1]), "refused", "W-4")
    case("w04_nodes_swapped", entries(13, nodes=peaks(LOG, 13)[::-1]), "refused", "W-4")
    case("w04_cut", whole[:-1], "refused", "W-4")
    case("w04_bytes_after_the_frame", entries(13, tail=b"\0"), "refused", "W-4")
    case("w04_no_frame", whole[: 16 + 96], "refused", "W-4")
    case("w04_entry_changed", entries(13, content=framed([*LOG[13:22], b"changed"])), "refused", "W-4")
    case("w04_entry_missing", entries(13, content=framed(LOG[13:22])), "refused", "W-4")
    case("w04_entry_too_many", entries(13, content=framed([*LOG[13:], b"more"])), "refused", "W-4")
    case("w04_entry_empty", entries(13, content=framed([*LOG[13:22], b""])), "refused", "W-4")
    case("w04_entry_cut", entries(13, content=framed(LOG[13:])[:-1]), "refused", "W-4")
    case("w04_of_another_log", entries(13, FORKED), "refused", "W-4")


def add_proofs() -> None:
    def case(name: str, data: bytes, holding: Sequence[int], answer: str = "ok") -> None:
        heads = {str(size): root_of(LOG, size).hex() for size in holding}
        more: dict[str, object] = {"heads": heads} if answer == "ok" else {}
        add(name, "proofs", data, answer, "W-5", root=root_of(LOG).hex(), size=SIZE, **more)

    case("ok_proofs_none", proofs([]), [])
    case("ok_proof_one", proofs([7]), [7])
    case("ok_proofs_every_size", proofs(range(1, SIZE)), range(1, SIZE))
    case("ok_proof_of_another_root_skipped", proofs([4, 7, 16], roots={7: root_of(FORKED, 10)}), [4, 16])
    spare = [bytes([i]) * 32 for i in range(3)]
    case("ok_proof_longer_path_skipped", one_proof(spare, 7, 0, [i % 3 for i in range(106)]), [])
    case("ok_node_of_no_proof", one_proof([root_of(LOG, 22), *spare], 22, 1, [0, 2, 3]), [])
    case("w05_short", b"\0\0\0", [], "refused")
    case("w05_2001_nodes", struct.pack("<HH", 2001, 0) + b"".join(leaf(b"%d" % i) for i in range(2001)), [], "refused")
    case("w05_65_proofs", struct.pack("<HH", 1, 65) + spare[0] + _sizes(range(1, 66)), [], "refused")
    case("w05_size_0", one_proof(spare, 0, 0, [1]), [], "refused")
    case("w05_size_of_the_checkpoint", one_proof(spare, SIZE, 0, [1]), [], "refused")
    case("w05_sizes_fall", proofs([9, 7]), [], "refused")
    case("w05_size_twice", proofs([7, 7]), [], "refused")
    case("w05_path_of_107", one_proof(spare, 7, 0, [i % 3 for i in range(107)]), [], "refused")
    case("w05_place_beyond", one_proof(spare, 7, 0, [3]), [], "refused")
    case("w05_old_root_beyond", one_proof(spare, 7, 3, [0]), [], "refused")
    case("w05_node_twice", one_proof([spare[0], *spare], 7, 0, [1]), [], "refused")
    case("w05_cut", proofs([7])[:-1], [], "refused")
    case("w05_longer", proofs([7], tail=b"\0"), [], "refused")
    case("w05_nodes_cut", struct.pack("<HH", 2, 0) + spare[0], [], "refused")


def _sizes(sizes: Sequence[int]) -> bytes:
    return b"".join(struct.pack("<QBH", size, 0, 0) for size in sizes)


def add_cosignatures() -> None:
    site = line(SITE_NAME, SITE, SLIP)
    other_site = line(SITE_NAME, STRANGER, SLIP)

    def case(name: str, lines: str, answer: str = "refused", text: str = SLIP) -> None:
        more: dict[str, object] = {}
        if answer == "ok":
            more = {"root": bytes(range(32)).hex(), "size": 4711, "time": 1769846400}
        add(name, "cosignature", f"{text}\n{lines}".encode(), answer, "W-8", **more)

    case("ok_cosignature", site + co_line(LOW_NAME, LOW, SLIP), "ok")
    case("ok_cosignature_and_another", site + co_line("x/low", STRANGER, SLIP) + co_line(LOW_NAME, LOW, SLIP), "ok")
    case("w08_not_cosigned", site)
    case("w08_not_signed_by_the_site", co_line(LOW_NAME, LOW, SLIP))
    case("w08_site_forged", other_site + co_line(LOW_NAME, LOW, SLIP))
    case("w08_another_key", site + co_line(LOW_NAME, STRANGER, SLIP))
    case("w08_another_name", site + co_line("plant-7/low", LOW, SLIP))
    case("w08_key_id_of_a_signature", site + co_line(LOW_NAME, LOW, SLIP, kind=b"\x01"))
    case("w08_plain_signature", site + line(LOW_NAME, LOW, SLIP))
    case("w08_time_changed", site + co_line(LOW_NAME, LOW, SLIP, says=1769846401))
    case("w08_of_another_slip", site + co_line(LOW_NAME, LOW, SLIP.replace("4711", "4710")))
    many = "".join(line(f"other-{i}", STRANGER, SLIP) for i in range(36))
    case("w08_above_4096", site + co_line(LOW_NAME, LOW, SLIP) + many)


def add_answers() -> None:
    """W-6, W-7: what is remembered, the pieces of a cover, and the answer."""

    def heads(*sizes: int, log: Sequence[bytes] = LOG) -> list[list[object]]:
        return [[size, root_of(log, size).hex()] for size in sizes]

    def case(name: str, rule: str, answer: str, remembered: list[list[object]], **pieces: str) -> None:
        expected[name] = {
            "answer": answer,
            "kind": "answer",
            "pieces": pieces,
            "remembered": remembered,
            "rule": rule,
        }

    add("checkpoint_forked", "checkpoint", checkpoint(FORKED), "ok", "W-2", root=root_of(FORKED).hex(), size=SIZE)
    forked = {"root": root_of(FORKED).hex(), "size": SIZE}
    every = {str(n): root_of(FORKED, n).hex() for n in range(5, SIZE + 1)}
    add("entries_forked", "entries", sign_entries(entries(5, FORKED)), "ok", "W-4", first=5, heads=every, **forked)
    some = {str(n): root_of(FORKED, n).hex() for n in (7, 16)}
    add("proofs_forked", "proofs", proofs([7, 16], FORKED), "ok", "W-5", heads=some, **forked)
    own, entry, proven = "ok_checkpoint.checkpoint", "ok_entries_since.entries", "ok_proof_one.proofs"
    other = "checkpoint_forked.checkpoint"
    case("w06_first", "W-6", "first", [], checkpoint=own)
    case("w06_linked_by_a_proof", "W-6", "linked", heads(4, 7), checkpoint=own, proofs=proven)
    case("w06_linked_by_entries", "W-6", "linked", heads(4, 17), checkpoint=own, entries=entry)
    case("w06_linked_at_first", "W-6", "linked", heads(13), checkpoint=own, entries=entry)
    case("w06_linked_late", "W-6", "linked", [*heads(SIZE), [40, "aa" * 32]], checkpoint=own)
    case("w06_linked_the_same_again", "W-6", "linked", heads(SIZE), checkpoint=own)
    case("w06_unlinked", "W-6", "unlinked", heads(4, 9), checkpoint=own, entries=entry, proofs=proven)
    case("w06_unlinked_late", "W-6", "unlinked", [[40, "aa" * 32]], checkpoint=own, entries=entry)
    case("w06_unlinked_without_a_checkpoint", "W-6", "unlinked", heads(7), entries=entry, proofs=proven)
    case("w06_fork_of_one_size", "W-6", "fork", heads(SIZE), checkpoint=other)
    case("w06_fork_by_a_proof", "W-6", "fork", heads(16), checkpoint=other, proofs="proofs_forked.proofs")
    case("w06_fork_by_entries", "W-6", "fork", heads(12), checkpoint=other, entries="entries_forked.entries")
    case("w06_fork_before_the_newest", "W-6", "fork", [*heads(12), *heads(16, log=FORKED)],
         checkpoint=other, entries="entries_forked.entries")  # fmt: skip
    case("w06_linked_before_the_fork", "W-6", "linked", heads(7), checkpoint=other, proofs="proofs_forked.proofs")
    case("w07_entries_forged", "W-7", "unlinked", heads(13), checkpoint=own, entries="w03_changed.entries")
    case(
        "w07_entries_of_another_log", "W-7", "unlinked", heads(12), checkpoint=own, entries="w04_of_another_log.entries"
    )
    case("w07_proof_skipped", "W-7", "unlinked", heads(7), checkpoint=own,
         proofs="ok_proof_of_another_root_skipped.proofs")  # fmt: skip
    case("w07_checkpoint_forged", "W-7", "unlinked", heads(SIZE), checkpoint="w02_another_key.checkpoint")
    case("w07_entries_broken_and_a_proof", "W-7", "linked", heads(7), checkpoint=own, entries="w04_cut.entries",
         proofs=proven)  # fmt: skip


SITE_LOG = [b'{"event":"of the site %d"}' % i for i in range(13)]
REWRITTEN = [*SITE_LOG[:4], *(entry.replace(b"of the", b"of that") for entry in SITE_LOG[4:])]


def add_cosigning() -> None:
    """W-9 with S-15 of slip.md: may the head of a slip be co-signed, after the one that was before?"""

    def at(size: int, log: Sequence[bytes] = SITE_LOG) -> list[object]:
        return [size, root_of(log, size).hex()]

    def proving(old: int, size: int, log: Sequence[bytes] = SITE_LOG, root: bytes | None = None) -> dict[str, object]:
        path = [node.hex() for node in proof(old, [leaf(entry) for entry in log[:size]])]
        return {"path": path, "root": (root or root_of(log, old)).hex(), "size": old}

    def case(name: str, answer: str, before: object, slip: object, given: object = None, **more: int) -> None:
        expected[name] = {"answer": answer, "before": before, "kind": "cosigning", "proof": given, "rule": "W-9",
                          "slip": slip, **more}  # fmt: skip

    case("w09_the_first", "cosigned", None, at(5))
    case("w09_the_first_with_a_proof", "cosigned", None, at(9), proving(5, 9))
    case("w09_with_a_proof", "cosigned", at(5), at(9), proving(5, 9))
    case("w09_from_a_power_of_two", "cosigned", at(8), at(13), proving(8, 13))
    case("w09_the_same_again", "nothing", at(9), at(9))
    case("w09_without_a_proof", "remembered", at(5), at(9), proof_from=5)
    case("w09_proof_from_another_head", "remembered", at(5), at(9), proving(8, 9), proof_from=5)
    case("w09_proof_of_another_slip", "mistyped", at(5), at(9), proving(5, 13))
    case("w09_proof_of_another_slip_for_the_first", "mistyped", None, at(9), proving(5, 13))
    case("w09_proof_with_a_wrong_root", "mistyped", at(5), at(9), proving(5, 9, root=root_of(REWRITTEN, 5)))
    case("w09_a_rewritten_ledger", "fork", at(5), at(9, REWRITTEN), proving(5, 9, REWRITTEN))
    case("w09_a_rewritten_ledger_without_a_proof", "remembered", at(5), at(9, REWRITTEN), proof_from=5)
    case("w09_proof_from_the_same_size", "mistyped", at(9), at(9, REWRITTEN), proving(9, 9, REWRITTEN))
    case("w09_not_rewritten_before_it", "cosigned", at(4), at(9, REWRITTEN), proving(4, 9, REWRITTEN))


def add_own_heads() -> None:
    """W-10: co-signatures that came up, held against the reader's own log and the one that it keeps."""

    def note(name: str, size: int, log: Sequence[bytes] = SITE_LOG, time: int = 1769846400) -> str:
        said = SLIP.replace("\n4711\n", f"\n{size}\n")
        said = said.replace(base64.b64encode(bytes(range(32))).decode(), base64.b64encode(root_of(log, size)).decode())
        lines = line(SITE_NAME, SITE, said) + co_line(LOW_NAME, LOW, said, time=time)
        more = {"root": root_of(log, size).hex(), "size": size, "time": time}
        add(name, "cosignature", f"{said}\n{lines}".encode(), "ok", "W-8", **more)
        return f"{name}.cosignature"

    nine, later = note("ok_cosigned_9", 9), note("ok_cosigned_9_later", 9, time=1769932800)
    beyond, other = note("ok_cosigned_13", 13), note("ok_cosigned_rewritten", 9, REWRITTEN)

    def case(name: str, answer: str, file: str, own: int, kept: int = 0) -> None:
        roots = {str(size): root_of(SITE_LOG, size).hex() for size in range(1, own + 1)}
        expected[name] = {"answer": answer, "file": file, "kept": kept, "kind": "own", "own": roots, "rule": "W-10"}

    case("w10_the_first", "kept", nine, 13)
    case("w10_at_the_end_of_the_log", "kept", nine, 9)
    case("w10_newer", "kept", nine, 13, kept=5)
    case("w10_of_the_same_head_later", "kept", later, 13, kept=9)
    case("w10_older", "older", nine, 13, kept=10)
    case("w10_beyond_the_own_log", "rewritten", beyond, 12)
    case("w10_no_log", "rewritten", nine, 0)
    case("w10_another_root", "rewritten", other, 13)
    case("w10_another_root_older_than_kept", "rewritten", other, 13, kept=10)
    case("w10_not_cosigned", "nothing", "w08_not_cosigned.cosignature", 13)
    case("w10_cosigned_by_a_stranger", "nothing", "w08_another_key.cosignature", 13)
    case("w10_of_another_site", "nothing", "w08_site_forged.cosignature", 13, kept=9)


def main() -> None:
    add_checkpoints()
    add_entries()
    add_proofs()
    add_cosignatures()
    add_answers()
    add_cosigning()
    add_own_heads()
    said = {
        "low": {"name": LOW_NAME, "public": bytes(LOW.verify_key).hex()},
        "site": {"name": SITE_NAME, "public": bytes(SITE.verify_key).hex()},
        "vectors": expected,
    }
    (HERE / "expected.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
