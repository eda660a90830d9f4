"""Proofs of RFC 6962, held against the definition computed the slow way."""

from itertools import pairwise

import pytest
from ledgers import ORIGIN, SIGNER, slow_root

from tidegate.ledger.checkpoint import NoteKey
from tidegate.ledger.log import Log
from tidegate.ledger.merkle import leaf_hash, subtree_root
from tidegate.ledger.proofs import (
    Range,
    consistency_path,
    inclusion_path,
    is_consistent,
    is_included,
    read_range,
)
from tidegate.ledger.writer import Head, append

ENTRIES = [f"entry {number}".encode() for number in range(70)]
LEAVES = [leaf_hash(data) for data in ENTRIES]


def read(level: int, index: int) -> bytes:
    return subtree_root(LEAVES[index << level : (index + 1) << level])


def test_a_range_grows_to_the_root_of_every_size() -> None:
    growing = Range()
    for size in range(len(ENTRIES) + 1):
        assert growing.root() == slow_root(ENTRIES[:size])
        assert growing.nodes == read_range(size, read).nodes
        if size < len(ENTRIES):
            growing.append(LEAVES[size])


@pytest.mark.parametrize("size", range(1, 70))
def test_every_entry_is_included_and_no_other_one_in_its_place(size: int) -> None:
    root = slow_root(ENTRIES[:size])
    for number in range(size):
        path = inclusion_path(number, size, read)
        assert is_included(LEAVES[number], number, size, root, path)
        assert not is_included(LEAVES[number + 1], number, size, root, path)
        assert not is_included(LEAVES[number], number, size, root, (*path, root))
        if size > 1:
            assert not is_included(LEAVES[number], number ^ 1, size, root, path)


@pytest.mark.parametrize("size", range(1, 70))
def test_every_tree_goes_on_from_each_smaller_one_and_from_no_other(size: int) -> None:
    root = slow_root(ENTRIES[:size])
    for old in range(1, size + 1):
        path, old_root = consistency_path(old, size, read), slow_root(ENTRIES[:old])
        assert is_consistent(old, old_root, size, root, path)
        assert not is_consistent(old, leaf_hash(b"other"), size, root, path)
        assert not is_consistent(old, old_root, size, leaf_hash(b"other"), path)
        assert not is_consistent(old, old_root, size, root, (*path, root))
        if old < size:
            assert not is_consistent(old, old_root, size, root, path[:-1])


def test_nothing_goes_on_from_an_empty_or_a_larger_tree() -> None:
    assert not is_consistent(0, slow_root([]), 5, slow_root(ENTRIES[:5]), ())
    assert not is_consistent(6, slow_root(ENTRIES[:6]), 5, slow_root(ENTRIES[:5]), ())


def test_nodes_come_from_the_tiles_of_a_log(tmp_path) -> None:  # type: ignore[no-untyped-def]
    log = Log(tmp_path, NoteKey(ORIGIN, SIGNER.public))
    entries = [f"entry {number}".encode() for number in range(600)]
    from tidegate.ledger.merkle import Edge

    append(log, Head(None, Edge(), ()), entries, SIGNER)
    reader = log.node_reader(600)
    roots = {size: read_range(size, reader).root() for size in (1, 255, 256, 257, 300, 512, 600)}
    assert roots == {size: slow_root(entries[:size]) for size in roots}
    for old, new in pairwise(roots):
        path = consistency_path(old, new, reader)
        assert is_consistent(old, roots[old], new, roots[new], path)
