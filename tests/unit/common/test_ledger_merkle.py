"""Hashing and the edge of a growing tree, against RFC 6962 word for word."""

import pytest
from ledgers import slow_root

from tidegate.ledger.merkle import EMPTY_ROOT, TILE_WIDTH, Edge, leaf_hash, split_tile, subtree_root, tile_widths

SIZES = (1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 700)


def entries_of(count: int) -> list[bytes]:
    return [f"entry {i}".encode() for i in range(count)]


def grown(entries: list[bytes]) -> Edge:
    edge = Edge()
    for data in entries:
        edge.append(leaf_hash(data))
    return edge


def test_the_empty_tree_has_the_hash_of_nothing_as_root() -> None:
    assert Edge().root() == EMPTY_ROOT == slow_root([])


@pytest.mark.parametrize("size", SIZES)
def test_root_is_that_of_rfc_6962(size: int) -> None:
    entries = entries_of(size)
    assert grown(entries).root() == slow_root(entries)
    assert subtree_root([leaf_hash(data) for data in entries]) == slow_root(entries)


def test_append_hands_out_each_tile_once_when_it_is_full() -> None:
    entries = entries_of(600)
    edge = Edge()
    tiles = [tile for data in entries for tile in edge.append(leaf_hash(data))]
    assert [(tile.level, tile.number, tile.width) for tile in tiles] == [(0, 0, 256), (0, 1, 256)]
    assert split_tile(tiles[1].data) == [leaf_hash(data) for data in entries[256:512]]
    assert [(tile.level, tile.number, tile.width) for tile in edge.partial_tiles()] == [(0, 2, 88), (1, 0, 2)]
    assert split_tile(edge.partial_tiles()[1].data) == [slow_root(entries[:256]), slow_root(entries[256:512])]


def test_a_level_above_fills_with_65536_entries() -> None:
    edge = Edge()
    tiles = [tile for number in range(65536) for tile in edge.append(number.to_bytes(32, "big"))]
    assert [(tile.level, tile.number) for tile in tiles[-2:]] == [(0, 255), (1, 0)]
    assert [(tile.level, tile.width) for tile in edge.partial_tiles()] == [(2, 1)]
    assert edge.root() == subtree_root([number.to_bytes(32, "big") for number in range(65536)])


def test_an_edge_made_from_its_partial_tiles_goes_on_alike() -> None:
    entries = entries_of(600)
    edge = grown(entries[:300])
    levels = [split_tile(tile.data) for tile in edge.partial_tiles()]
    again = Edge(300, levels)
    for data in entries[300:]:
        assert again.append(leaf_hash(data)) == edge.append(leaf_hash(data))
    assert again.root() == edge.root() == slow_root(entries)


def test_a_copy_of_an_edge_grows_alone() -> None:
    edge = grown(entries_of(3))
    edge.copy().append(leaf_hash(b"more"))
    assert (edge.size, edge.root()) == (3, slow_root(entries_of(3)))


def test_tile_widths_are_those_of_the_specification_for_70000_entries() -> None:
    assert list(tile_widths(70_000)) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(tile_widths(TILE_WIDTH)) == [(0, 1, 0), (1, 0, 1)]
    assert list(tile_widths(0)) == []
