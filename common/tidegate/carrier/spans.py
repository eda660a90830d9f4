"""Which groups of a bundle's parts a volume or a session carries, and in which order: cover and head first and last.

A span is (part, first group, end): groups [first, end) of one part. Formats: docs/format/media.md, stream.md.
"""

from collections.abc import Iterable

from tidegate.carrier.announcement import CHUNKS, COVER, HEAD
from tidegate.erasure.geometry import PartGeometry

Parts = tuple[PartGeometry, PartGeometry, PartGeometry]
Span = tuple[int, int, int]


def full_spans(parts: Parts) -> tuple[Span, ...]:
    """Cover and head first and last, the chunks between them; a part of no bytes has no span."""
    return partial_spans(parts, ((0, parts[CHUNKS].group_count),))


def partial_spans(parts: Parts, ranges: Iterable[tuple[int, int]], *, with_head: bool = True) -> tuple[Span, ...]:
    """As `full_spans`, of the chunks only the group `ranges` [from, to), and the head only `with_head`."""
    frame = (COVER, HEAD) if with_head else (COVER,)
    ends = [(part, 0, parts[part].group_count) for part in frame if parts[part].group_count]
    chunks = [(CHUNKS, first, end) for first, end in ranges if first < end]
    return (*ends, *chunks, *reversed(ends))


def span_groups(spans: Iterable[Span]) -> tuple[tuple[int, int], ...]:
    """(part, group) of every group of `spans`, in their order."""
    return tuple((part, group) for part, first, end in spans for group in range(first, end))


def remaining_spans(spans: Iterable[Span], done: int) -> tuple[Span, ...]:
    """`spans` without their first `done` groups, whatever the parts are; empty when nothing remains."""
    left = []
    for part, first, end in spans:
        skipped = min(done, end - first)
        done -= skipped
        if first + skipped < end:
            left.append((part, first + skipped, end))
    return tuple(left)
