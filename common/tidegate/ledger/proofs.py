"""Proofs of RFC 6962: that an entry is in a tree, and that one tree goes on from another.

A *node* is a perfect subtree, named by (level, index): the root over ``1 << level`` entries from ``index << level`` on.
Whoever makes a proof asks for nodes; whoever checks one needs hashes only. `Range` is the left part of a tree as its
perfect subtrees, which is all that is needed to append to it. No file is opened here.
"""

from collections.abc import Callable, Iterable, Sequence

from tidegate.errors import FormatError
from tidegate.ledger.merkle import EMPTY_ROOT, HASH_BYTES, node_hash

#: hashes; a tree of 2^53 entries needs no longer proof
PATH_MAX = 106
NodeReader = Callable[[int, int], bytes]


def perfect_nodes(start: int, end: int) -> list[tuple[int, int]]:
    """The nodes that make up the entries from `start` to `end`, left to right; `start` is a multiple of a power of two
    that is not below their number."""
    found = []
    for level in reversed(range((end - start).bit_length())):
        if (end - start) >> level & 1:
            done = (end - start) >> (level + 1) << (level + 1)
            found.append((level, (start + done) >> level))
    return found


class Range:
    """The entries before `size` as the roots of their perfect subtrees, the largest first."""

    __slots__ = ("_nodes", "size")

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        """Raises FormatError where there are not as many nodes as `size` has one bits."""
        self.size = size
        self._nodes = list(nodes)
        if len(self._nodes) != size.bit_count() or any(len(node) != HASH_BYTES for node in self._nodes):
            raise FormatError(f"{len(self._nodes)} nodes, a tree of {size} entries has {size.bit_count()}")

    @property
    def nodes(self) -> tuple[bytes, ...]:
        return tuple(self._nodes)

    def copy(self) -> "Range":
        return Range(self.size, self._nodes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        node, rest = leaf, self.size
        while rest & 1:
            node = node_hash(self._nodes.pop(), node)
            rest >>= 1
        self._nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        return _fold(self._nodes)


def _fold(nodes: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees that get smaller to the right."""
    if not nodes:
        return EMPTY_ROOT
    root = nodes[-1]
    for node in reversed(nodes[:-1]):
        root = node_hash(node, root)
    return root


def read_range(size: int, read: NodeReader) -> Range:
    return Range(size, (read(level, index) for level, index in perfect_nodes(0, size)))


def subtree_hash(start: int, end: int, read: NodeReader) -> bytes:
    """The root over the entries from `start` to `end`, as a proof has it."""
    return _fold([read(level, index) for level, index in perfect_nodes(start, end)])


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


# --- making -----------------------------------------------------------------------------------


def inclusion_path(number: int, size: int, read: NodeReader) -> tuple[bytes, ...]:
    """RFC 6962, 2.1.1: from the leaf's sibling to the root's child."""
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if number < middle:
            path.append(subtree_hash(middle, end, read))
            end = middle
        else:
            path.append(subtree_hash(start, middle, read))
            start = middle
    return tuple(reversed(path))


def consistency_path(old: int, size: int, read: NodeReader) -> tuple[bytes, ...]:
    """RFC 6962, 2.1.2: that the tree of `size` goes on from the one of `old`, 1 … size."""
    start, end, is_whole, path = 0, size, True, []
    while old != end - start:
        middle = start + _split(end - start)
        if old <= middle - start:
            path.append(subtree_hash(middle, end, read))
            end = middle
        else:
            path.append(subtree_hash(start, middle, read))
            old -= middle - start
            start, is_whole = middle, False
    if not is_whole:
        path.append(subtree_hash(start, end, read))
    return tuple(reversed(path))


# --- checking ---------------------------------------------------------------------------------


def is_included(leaf: bytes, number: int, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` leads from `leaf` to `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= number < size or len(path) > PATH_MAX:
        return False
    place, last, found = number, size - 1, leaf
    for node in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(node, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, node)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that (`size`, `root`) goes on from (`old`, `old_root`) (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= size or len(path) > PATH_MAX:
        return False
    if old == size:
        return not path and old_root == root
    nodes = list(path) if old & (old - 1) else [old_root, *path]
    if not nodes:
        return False
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, node)
        place, last = place >> 1, last >> 1
    return last == 0 and before == old_root and after == root
