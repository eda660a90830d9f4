"""What rides in a cover: what is written is read back, and any bytes end in a value or a fault, never in an error."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import ORIGIN, SIGNER, slow_root

from tidegate.bundle.cover import Piece, PieceType
from tidegate.errors import FormatError, SignatureError
from tidegate.ledger.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from tidegate.ledger.merkle import leaf_hash, subtree_root
from tidegate.ledger.proofs import consistency_path, read_range
from tidegate.ledger.riding import (
    ENTRIES_TYPE,
    Proof,
    RidingEntries,
    build_entries,
    build_proofs,
    parse_entries,
    parse_proofs,
    read_riding,
)
from tidegate.trust.envelope import pae
from tidegate.trust.keys import FileSigner

KEYS = (NoteKey(ORIGIN, SIGNER.public),)
ENTRIES = [f"entry {number}".encode() for number in range(40)]


def read(level: int, index: int) -> bytes:
    return subtree_root([leaf_hash(data) for data in ENTRIES][index << level : (index + 1) << level])


def checkpoint(size: int) -> Checkpoint:
    return sign_checkpoint(ORIGIN, size, slow_root(ENTRIES[:size]), SIGNER)


def entries(first: int, size: int) -> RidingEntries:
    return RidingEntries(first, read_range(first, read).nodes, tuple(ENTRIES[first:size]))


def proofs(sizes: list[int], size: int) -> list[Proof]:
    return [Proof(old, slow_root(ENTRIES[:old]), consistency_path(old, size, read)) for old in sizes]


def pieces(first: int, size: int, sizes: list[int]) -> list[Piece]:
    return [
        Piece(PieceType.LEDGER_CHECKPOINT, checkpoint(size).data),
        Piece(PieceType.LEDGER_ENTRIES, build_entries(entries(first, size), SIGNER)),
        Piece(PieceType.LEDGER_PROOFS, build_proofs(proofs(sizes, size))),
    ]


@given(st.data())
def test_what_is_written_is_read_back_and_gives_the_roots_of_every_size(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    first = data.draw(st.integers(0, size - 1))
    sizes = sorted(data.draw(st.sets(st.integers(1, size - 1)))) if size > 1 else []
    found = read_riding(pieces(first, size, sizes), KEYS)
    assert found.faults == ()
    assert found.checkpoint == checkpoint(size)
    assert found.entries == entries(first, size)
    assert list(found.proofs) == proofs(sizes, size)
    assert found.entries.roots(range(41)) == {n: slow_root(ENTRIES[:n]) for n in range(max(first, 1), size + 1)}


@given(st.integers(1, 40), st.data())
def test_a_changed_byte_anywhere_is_a_fault_and_nothing_false_is_believed(size: int, data: st.DataObject) -> None:
    whole = pieces(size // 2, size, list(range(1, size)))
    place = data.draw(st.integers(0, 2))
    at = data.draw(st.integers(0, len(whole[place].data) - 1))
    changed = bytearray(whole[place].data)
    changed[at] ^= data.draw(st.integers(1, 255))
    found = read_riding([*whole[:place], Piece(whole[place].type, bytes(changed)), *whole[place + 1 :]], KEYS)
    assert found.checkpoint in (None, checkpoint(size))
    assert found.entries in (None, entries(size // 2, size))
    for proof in found.proofs:
        assert proof.root == slow_root(ENTRIES[: proof.size])


@given(st.lists(st.tuples(st.integers(0, 8), st.binary(max_size=300)), max_size=6))
def test_any_pieces_end_in_a_value(raw: list[tuple[int, bytes]]) -> None:
    found = read_riding([Piece(kind, data) for kind, data in raw], KEYS)
    assert found.checkpoint is None
    assert found.entries is None
    assert found.proofs == ()


@given(st.binary(max_size=400))
def test_any_bytes_of_proofs_end_in_a_value_or_a_format_error(data: bytes) -> None:
    try:
        parse_proofs(data, 2**40)
    except FormatError:
        return


@given(st.binary(max_size=400))
def test_any_signed_bytes_of_entries_end_in_a_value_or_a_format_error(body: bytes) -> None:
    """A ledger key in wrong hands can sign anything; it still gets no further than our own error."""
    data = SIGNER.sign(pae(ENTRIES_TYPE, body)) + body
    with pytest.raises(FormatError):
        parse_entries(data, KEYS, checkpoint(40))


@pytest.mark.parametrize(("count", "raw"), [(2**32 - 1, 2**32 - 1), (65537, 2**22), (40, 2**22 + 1), (40, 100), (0, 0)])
def test_a_huge_count_or_length_is_refused_before_anything_is_decompressed(count: int, raw: int) -> None:
    body = struct.pack("<QII", 0, count, raw) + b"\x28\xb5\x2f\xfd"
    size = sign_checkpoint(ORIGIN, max(count, 1), bytes(32), SIGNER)
    with pytest.raises(FormatError, match="W-4"):
        parse_entries(SIGNER.sign(pae(ENTRIES_TYPE, body)) + body, KEYS, size)


def test_entries_of_another_key_are_not_decompressed() -> None:
    data = build_entries(entries(0, 40), FileSigner(bytes(32), "somebody"))
    with pytest.raises(SignatureError, match="W-3"):
        parse_entries(data, KEYS, checkpoint(40))


def test_entries_that_lead_to_another_root_are_not_believed() -> None:
    other = RidingEntries(0, (), (*ENTRIES[:39], b"something else"))
    with pytest.raises(FormatError, match="do not give the root"):
        parse_entries(build_entries(other, SIGNER), KEYS, checkpoint(40))


@pytest.mark.parametrize("head", [struct.pack("<HH", 2001, 1), struct.pack("<HH", 1, 65), struct.pack("<HH", 2000, 64)])
def test_counts_of_proofs_beyond_the_limit_or_the_piece_are_refused(head: bytes) -> None:
    with pytest.raises(FormatError, match="W-5"):
        parse_proofs(head + bytes(32), 2**40)


def test_a_proof_from_another_log_is_skipped_and_named() -> None:
    bad = Proof(7, leaf_hash(b"other"), consistency_path(7, 40, read))
    piece = build_proofs([*proofs([5], 40), bad])
    parts = [Piece(PieceType.LEDGER_CHECKPOINT, checkpoint(40).data), Piece(PieceType.LEDGER_PROOFS, piece)]
    found = read_riding(parts, KEYS)
    assert [proof.size for proof in found.proofs] == [5]
    assert found.faults == ("ledger proofs: the one from size 7 does not hold (W-5)",)


def test_two_checkpoints_are_none() -> None:
    twice = [Piece(PieceType.LEDGER_CHECKPOINT, checkpoint(40).data)] * 2
    found = read_riding(twice, KEYS)
    assert found.checkpoint is None
    assert "W-1" in found.faults[0]
