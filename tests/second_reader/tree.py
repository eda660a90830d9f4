"""RFC 6962's trees, from their nodes alone: consistency, and roots that follow from entries."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def leads(old_size: int, old: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Is `path` a consistency proof (2.1.2) from the old head to this one?"""
    if not 0 < old_size < size:
        return False
    rest = list(path)

    def fold(low: int, high: int, whole: bool) -> tuple[bytes, bytes]:
        """Roots of the entries low … old_size and low … high; what comes first in the proof is deepest."""
        if old_size == high:
            found = old if whole else rest.pop(0)
            return found, found
        half = 1 << ((high - low - 1).bit_length() - 1)
        if old_size <= low + half:
            before, after = fold(low, low + half, whole)
            return before, node(after, rest.pop(0))
        before, after = fold(low + half, high, False)
        left = rest.pop(0)
        return node(left, before), node(left, after)

    try:
        found = fold(0, size, True)
    except IndexError:
        return False
    return found == (old, root) and not rest


def join(peaks: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees, the largest first."""
    if not peaks:
        return hashlib.sha256(b"").digest()
    *rest, root = peaks
    for peak in reversed(rest):
        root = node(peak, root)
    return root


def grow(first: int, peaks: Sequence[bytes], entries: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each size and root from `first` on, out of the subtrees before it and the entries after."""
    size, stack = first, list(peaks)
    if size:
        yield size, join(stack)
    for entry in entries:
        one, rest = leaf(entry), size
        while rest & 1:
            one, rest = node(stack.pop(), one), rest >> 1
        stack.append(one)
        size += 1
        yield size, join(stack)
