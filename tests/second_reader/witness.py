"""What rides in the cover of the low side's ledger, and the receiver as its witness (witness.md)."""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from second_reader import bundle, ground, ledger
from second_reader.ground import RefusedError, need
from second_reader.tree import grow, leads
from second_reader.trust import holds, pae

ENTRIES = "application/vnd.tidegate.ledger-entries.v1"
LARGEST = {2: 4096, 3: 1 << 20, 4: 65536, 5: 4096}


class Entries(NamedTuple):
    first: int
    entries: list[bytes]
    heads: dict[int, bytes]  # the roots at `first` and at every size after it


def read_checkpoint(piece: bytes, name: str, keys: Iterable[bytes]) -> ledger.Checkpoint:
    """Type 2 (W-2); `name` is `<channel name>/low`."""
    need(len(piece) <= LARGEST[2], "W-2", "the checkpoint is too long")
    failure = RefusedError("W-2", "no key of role ledger")
    for public in keys:
        try:
            return ledger.read_checkpoint(piece, ledger.make_key(name, public), name)
        except RefusedError as error:
            failure = RefusedError("W-2", f"({error})")
    raise failure


def read_entries(piece: bytes, keys: Iterable[bytes], size: int, root: bytes) -> Entries:
    """Type 3, for the head of the checkpoint beside it."""
    need(80 <= len(piece) <= LARGEST[3], "W-3", "the entries are too short or too long")
    message = pae(ENTRIES, piece[64:])
    need(any(holds(public, piece[:64], message) for public in keys), "W-3", "the signature does not hold")
    first, count, raw = struct.unpack_from("<QII", piece, 64)
    need(first < size and 1 <= count <= 65536 and first + count == size, "W-4", "first or count")
    need(3 * count <= raw <= 4 << 20, "W-4", "raw")
    start = 80 + 32 * first.bit_count()
    nodes = [piece[at : at + 32] for at in range(80, start, 32)]
    frame = piece[start:]
    try:
        data = bundle.read_chunk(frame, raw, 1, ground.blake(frame))
    except RefusedError as error:
        raise RefusedError("W-4", f"({error})") from None
    entries = _split(data, count)
    heads = dict(grow(first, nodes, entries))
    need(heads[size] == root, "W-4", "the entries do not lead to the checkpoint")
    return Entries(first, entries, heads)


def _split(data: bytes, count: int) -> list[bytes]:
    entries, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : at + 2 + size])
        need(len(entries) <= count and 0 < size == len(entries[-1]), "W-4", "the framing of the entries")
        at += 2 + size
    need(len(entries) == count, "W-4", "another number of entries")
    return entries


def read_proofs(piece: bytes, size: int, root: bytes) -> dict[int, bytes]:
    """Type 4: the earlier heads whose proofs hold; one that does not is skipped."""
    need(4 <= len(piece) <= LARGEST[4], "W-5", "the proofs are too short or too long")
    node_count, proof_count = struct.unpack_from("<HH", piece)
    need(node_count <= 2000 and proof_count <= 64, "W-5", "too many nodes or proofs")
    at = 4 + 32 * node_count
    need(at <= len(piece), "W-5", "nodes are cut off")
    nodes = [piece[i : i + 32] for i in range(4, at, 32)]
    need(len(set(nodes)) == node_count, "W-5", "a node twice")
    heads: dict[int, bytes] = {}
    before = 0
    for _ in range(proof_count):
        need(at + 11 <= len(piece), "W-5", "a proof is cut off")
        old_size, length, old = struct.unpack_from("<QBH", piece, at)
        need(before < old_size < size, "W-5", "old sizes")
        need(length <= 106 and at + 11 + 2 * length <= len(piece), "W-5", "the length of a path")
        path = struct.unpack_from(f"<{length}H", piece, at + 11)
        need(max(path, default=0) < node_count and old < node_count, "W-5", "a place in nodes")
        if leads(old_size, nodes[old], size, root, [nodes[place] for place in path]):
            heads[old_size] = nodes[old]
        before, at = old_size, at + 11 + 2 * length
    need(at == len(piece), "W-5", "bytes after the proofs")
    return heads


def cosigner_id(name: str, public: bytes) -> bytes:
    """W-8: a key id of cosignature/v1."""
    return hashlib.sha256(name.encode() + b"\n\x04" + public).digest()[:4]


def read_cosignature(note: bytes, site: ledger.Key, name: str, keys: Iterable[bytes]) -> tuple[ledger.Checkpoint, int]:
    """Type 5: the head of the site's ledger and when the low side co-signed it."""
    need(len(note) <= LARGEST[5], "W-8", "the note is too long")
    try:
        head = ledger.read_checkpoint(note, site, site.name)
    except RefusedError as error:
        raise RefusedError("W-8", f"({error})") from None
    body, _, lines = note.decode().rpartition("\n\n")
    known = {cosigner_id(name, public): public for public in keys}
    times = []
    for words in (line.split(" ") for line in lines[:-1].split("\n")):
        data = ground.from_base64(words[2], "W-8", "signature")
        if words[1] == name and data[:4] in known:
            need(len(data) == 76, "W-8", "a co-signature has 76 bytes")
            time = int.from_bytes(data[4:12], "big")
            message = f"cosignature/v1\ntime {time}\n{body}\n".encode()
            need(holds(known[data[:4]], data[12:], message), "W-8", "the co-signature does not hold")
            times.append(time)
    need(times, "W-8", "not co-signed")
    return head, times[-1]


Head = tuple[int, bytes]


def may_cosign(before: Head | None, slip: Head, proof: tuple[Head, Sequence[bytes]] | None) -> str:
    """W-9, with the table of S-15 in slip.md; a proof is the head that it is from, and its path."""
    if proof is not None and not leads(*proof[0], *slip, list(proof[1])):
        return "mistyped"
    if before is None:
        return "cosigned"
    if before == slip:
        return "nothing"
    if proof is None or proof[0][0] != before[0]:
        return "remembered"
    return "cosigned" if proof[0] == before else "fork"


def hold_own(head: Head, own: Mapping[int, bytes], kept: int) -> str:
    """W-10: a co-signed head against the reader's own roots, by size, and the size of the one that is kept."""
    if own.get(head[0]) != head[1]:
        return "rewritten"
    return "kept" if head[0] >= kept else "older"


@dataclass
class Shown:
    """What a cover shows of the low side's log; a piece that breaks a rule counts as one that is not there (W-1)."""

    checkpoint: ledger.Checkpoint | None = None
    heads: dict[int, bytes] = field(default_factory=dict)
    entries: Entries | None = None
    broken: list[str] = field(default_factory=list)


def read_shown(pieces: Mapping[int, bytes], name: str, keys: Sequence[bytes]) -> Shown:
    shown = Shown()
    try:
        shown.checkpoint = read_checkpoint(pieces[2], name, keys) if 2 in pieces else None
    except RefusedError as error:
        shown.broken.append(error.rule)
    if shown.checkpoint is None:
        return shown
    size, root = shown.checkpoint.size, shown.checkpoint.root
    try:
        shown.entries = read_entries(pieces[3], keys, size, root) if 3 in pieces else None
    except RefusedError as error:
        shown.broken.append(error.rule)
    try:
        shown.heads |= read_proofs(pieces[4], size, root) if 4 in pieces else {}
    except RefusedError as error:
        shown.broken.append(error.rule)
    shown.heads |= shown.entries.heads if shown.entries else {}
    shown.heads[size] = root
    return shown


def answer(remembered: Mapping[int, bytes], shown: Shown) -> str:
    """The receiver as witness (W-6, W-7)."""
    if not remembered:
        return "first"
    if any(remembered.get(size, root) != root for size, root in shown.heads.items()):
        return "fork"
    reached = max(remembered) in shown.heads or (shown.checkpoint is not None and shown.checkpoint.size in remembered)
    return "linked" if reached else "unlinked"
