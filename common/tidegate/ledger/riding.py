"""What of a ledger rides in a bundle's cover: entries with what places them in the log, and consistency proofs.

Nothing is decompressed before a ledger key's signature over it holds, and nothing is believed before it leads to the
root of a signed checkpoint. Bytes in, values out. Format and rules W-1 to W-5: docs/format/witness.md.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tidegate.bundle.cover import Piece, PieceType
from tidegate.errors import FormatError, SignatureError
from tidegate.ledger.checkpoint import Checkpoint, NoteKey, open_checkpoint
from tidegate.ledger.merkle import HASH_BYTES, leaf_hash, split_tile
from tidegate.ledger.proofs import PATH_MAX, Range, is_consistent
from tidegate.ledger.tiles import build_bundle, parse_bundle
from tidegate.trust.envelope import pae
from tidegate.trust.keys import SIGNATURE_BYTES, Signer, verify
from tidegate.units import KIB, MIB

ENTRIES_TYPE = "application/vnd.tidegate.ledger-entries.v1"
CHECKPOINT_PIECE_MAX = 4 * KIB
ENTRIES_PIECE_MAX = 1 * MIB
PROOFS_PIECE_MAX = 64 * KIB
COSIGNATURE_PIECE_MAX = 4 * KIB
COSIGNATURES_MAX = 16
ENTRIES_MAX = 65536
RAW_MAX = 4 * MIB  # as a chunk has it
ENTRY_LEAST = 3  # bytes: a length and one byte
NODES_MAX = 2000
PROOFS_MAX = 64
LEVEL = 12  # of zstd: seven times smaller, and 4 MiB still take a moment only
_HEAD = struct.Struct("<QII")
_COUNTS = struct.Struct("<HH")
_PROOF = struct.Struct("<QBH")
_PLACE_BYTES = 2


@dataclass(frozen=True, slots=True)
class RidingEntries:
    """The entries from `first` to the end of a log, and its perfect subtrees before them."""

    first: int
    nodes: tuple[bytes, ...]
    entries: tuple[bytes, ...]

    @property
    def end(self) -> int:
        return self.first + len(self.entries)

    def range(self) -> Range:
        """The part of the tree before the first entry."""
        return Range(self.first, self.nodes)

    def roots(self, sizes: Iterable[int]) -> dict[int, bytes]:
        """The root of the log at each of `sizes` that these entries reach."""
        wanted = {size for size in sizes if max(1, self.first) <= size <= self.end}
        growing, found = self.range(), {}
        if growing.size in wanted:
            found[growing.size] = growing.root()
        for data in self.entries:
            growing.append(leaf_hash(data))
            if growing.size in wanted:
                found[growing.size] = growing.root()
        return found


@dataclass(frozen=True, slots=True)
class Proof:
    """That a log goes on from its tree of `size` entries with the root `root`."""

    size: int
    root: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Riding:
    """What of a cover's pieces holds; `faults` says of each other one why not."""

    checkpoint: Checkpoint | None = None
    entries: RidingEntries | None = None
    proofs: tuple[Proof, ...] = ()
    cosignatures: tuple[bytes, ...] = ()  # not verified here: they are about the reader's own ledger
    faults: tuple[str, ...] = ()


# --- writing ----------------------------------------------------------------------------------


def build_entries(riding: RidingEntries, signer: Signer) -> bytes:
    """The bytes of a piece of entries. The caller keeps to the limits."""
    import zstandard

    framed = build_bundle(riding.entries)
    frame = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False, write_content_size=True).compress(framed)
    body = _HEAD.pack(riding.first, len(riding.entries), len(framed)) + b"".join(riding.nodes) + frame
    return signer.sign(pae(ENTRIES_TYPE, body)) + body


def build_proofs(proofs: Sequence[Proof]) -> bytes:
    """The bytes of a piece of proofs, rising by size; each hash stands in it once."""
    places: dict[bytes, int] = {}
    records = bytearray()
    for proof in proofs:
        numbers = [places.setdefault(node, len(places)) for node in (proof.root, *proof.path)]
        records += _PROOF.pack(proof.size, len(proof.path), numbers[0])
        records += b"".join(number.to_bytes(_PLACE_BYTES, "little") for number in numbers[1:])
    return _COUNTS.pack(len(places), len(proofs)) + b"".join(places) + bytes(records)


# --- reading ----------------------------------------------------------------------------------


def read_riding(pieces: Iterable[Piece], keys: Sequence[NoteKey]) -> Riding:
    """What the ledger's pieces of a cover say. Raises nothing: a piece that does not hold is a fault."""
    by_type: dict[int, list[bytes]] = {}
    for piece in pieces:
        by_type.setdefault(piece.type, []).append(piece.data)
    faults: list[str] = []
    notes = _single(by_type, PieceType.LEDGER_CHECKPOINT, CHECKPOINT_PIECE_MAX, faults)
    try:
        checkpoint = _open_by_any(notes, keys) if notes is not None else None
    except (FormatError, SignatureError) as error:
        checkpoint = None
        faults.append(error.message)
    cosignatures = by_type.get(PieceType.COSIGNATURES, [])[:COSIGNATURES_MAX]
    kept = tuple(note for note in cosignatures if len(note) <= COSIGNATURE_PIECE_MAX)
    if checkpoint is None:
        return Riding(cosignatures=kept, faults=tuple(faults))
    entries = None
    proofs: tuple[Proof, ...] = ()
    data = _single(by_type, PieceType.LEDGER_ENTRIES, ENTRIES_PIECE_MAX, faults)
    if data is not None:
        try:
            entries = parse_entries(data, keys, checkpoint)
        except (FormatError, SignatureError) as error:
            faults.append(error.message)
    data = _single(by_type, PieceType.LEDGER_PROOFS, PROOFS_PIECE_MAX, faults)
    if data is not None:
        try:
            proofs = hold_proofs(parse_proofs(data, checkpoint.size), checkpoint, faults)
        except FormatError as error:
            faults.append(error.message)
    return Riding(checkpoint, entries, proofs, kept, tuple(faults))


def _single(by_type: dict[int, list[bytes]], kind: PieceType, limit: int, faults: list[str]) -> bytes | None:
    found = by_type.get(kind, [])
    if len(found) == 1 and len(found[0]) <= limit:
        return found[0]
    if found:
        sizes = " and ".join(str(len(data)) for data in found[:4])
        faults.append(f"cover: {len(found)} pieces of type {int(kind)} of {sizes} bytes (W-1)")
    return None


def _open_by_any(note: bytes, keys: Sequence[NoteKey]) -> Checkpoint:
    failure: FormatError | SignatureError = SignatureError("checkpoint: the channel's root names no ledger key (W-2)")
    for key in keys:
        try:
            return open_checkpoint(note, key, what="checkpoint in the cover")
        except (FormatError, SignatureError) as error:
            failure = error
    raise failure


def parse_entries(data: bytes, keys: Sequence[NoteKey], checkpoint: Checkpoint) -> RidingEntries:
    """The entries that a piece holds, shown to be the last ones of the checkpoint's log.

    Raises SignatureError before anything of them is read, FormatError (W-4) after.
    """
    if len(data) < SIGNATURE_BYTES + _HEAD.size or len(data) > ENTRIES_PIECE_MAX:
        raise FormatError(f"ledger entries: {len(data)} bytes (W-1)")
    signature, body = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    _verify_by_any(signature, pae(ENTRIES_TYPE, body), keys)
    first, count, raw = _HEAD.unpack_from(body)
    if not 1 <= count <= ENTRIES_MAX or first + count != checkpoint.size:
        raise FormatError(f"ledger entries: {count} from {first} on, the log has {checkpoint.size} (W-4)")
    if not count * ENTRY_LEAST <= raw <= RAW_MAX:
        raise FormatError(f"ledger entries: {count} in {raw} bytes (W-4)")
    start = _HEAD.size + first.bit_count() * HASH_BYTES
    if start > len(body):
        raise FormatError("ledger entries: end within their nodes (W-4)")
    framed = _decompress(body[start:], raw)
    entries, rest = parse_bundle(framed, count, what="ledger entries")
    if rest:
        raise FormatError(f"ledger entries: {rest} bytes follow the last one (W-4)")
    riding = RidingEntries(first, tuple(split_tile(body[_HEAD.size : start])), entries)
    if riding.roots((checkpoint.size,))[checkpoint.size] != checkpoint.root:
        raise FormatError("ledger entries: do not give the root of the checkpoint (W-4)")
    return riding


def _verify_by_any(signature: bytes, message: bytes, keys: Sequence[NoteKey]) -> None:
    for key in keys:
        try:
            verify(key.public, message, signature)
        except SignatureError:
            continue
        return
    raise SignatureError("ledger entries: are not signed by a ledger key of the channel (W-3)")


def _decompress(frame: bytes, raw: int) -> bytes:
    from tidegate.bundle.chunks import ChunkOpener
    from tidegate.bundle.tables import ZSTD

    try:
        return bytes(ChunkOpener().decode(0, frame, ZSTD, raw))
    except FormatError as error:
        raise FormatError(f"ledger entries: {error.message}") from None


def parse_proofs(data: bytes, log_size: int) -> tuple[Proof, ...]:
    """The proofs of a piece, of sizes below `log_size`; none is held to its root yet. Raises FormatError (W-5)."""
    if len(data) < _COUNTS.size or len(data) > PROOFS_PIECE_MAX:
        raise FormatError(f"ledger proofs: {len(data)} bytes (W-1)")
    node_count, proof_count = _COUNTS.unpack_from(data)
    at = _COUNTS.size + node_count * HASH_BYTES
    if node_count > NODES_MAX or proof_count > PROOFS_MAX or at > len(data):
        raise FormatError(f"ledger proofs: {proof_count} with {node_count} nodes in {len(data)} bytes (W-5)")
    nodes = split_tile(data[_COUNTS.size : at])
    if len(set(nodes)) != len(nodes):
        raise FormatError("ledger proofs: a node stands twice (W-5)")
    proofs: list[Proof] = []
    for _ in range(proof_count):
        proof, at = _parse_proof(data, at, nodes)
        before = proofs[-1].size if proofs else 0
        if not before < proof.size < log_size:
            raise FormatError(f"ledger proofs: size {proof.size} after {before}, the log has {log_size} (W-5)")
        proofs.append(proof)
    if at != len(data):
        raise FormatError(f"ledger proofs: {len(data) - at} bytes follow the last one (W-5)")
    return tuple(proofs)


def _parse_proof(data: bytes, at: int, nodes: list[bytes]) -> tuple[Proof, int]:
    if at + _PROOF.size > len(data):
        raise FormatError("ledger proofs: end within a proof (W-5)")
    size, length, root = _PROOF.unpack_from(data, at)
    at += _PROOF.size
    end = at + length * _PLACE_BYTES
    if length > PATH_MAX or end > len(data):
        raise FormatError("ledger proofs: end within a path (W-5)")
    places = [root, *(int.from_bytes(data[place : place + 2], "little") for place in range(at, end, _PLACE_BYTES))]
    if max(places) >= len(nodes):
        raise FormatError(f"ledger proofs: name node {max(places)} of {len(nodes)} (W-5)")
    return Proof(size, nodes[root], tuple(nodes[place] for place in places[1:])), end


def hold_proofs(proofs: Iterable[Proof], checkpoint: Checkpoint, faults: list[str]) -> tuple[Proof, ...]:
    """Those of `proofs` that lead to the checkpoint; of the others a fault is noted."""
    held = []
    for proof in proofs:
        if is_consistent(proof.size, proof.root, checkpoint.size, checkpoint.root, proof.path):
            held.append(proof)
        else:
            faults.append(f"ledger proofs: the one from size {proof.size} does not hold (W-5)")
    return tuple(held)
