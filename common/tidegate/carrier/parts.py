"""How a sender protects the parts of a bundle, and how a small part is read back into memory.

The choice of a code is the sender's alone: a reader takes what the announcement says. It is a function of the parts'
lengths, so that two copies of a bundle hold the same symbols. Reasons: docs/format/media.md, "How a sender chooses".
"""

import math
from bisect import bisect_left
from typing import Protocol

from tidegate.carrier.announcement import CHUNKS, PART_NAMES, Announcement
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import BlockReport, BlockState, GroupCodec
from tidegate.erasure.geometry import CODEWORD_MAX_SYMBOLS, PartGeometry
from tidegate.errors import FormatError, UsageError, VolumeMissingError
from tidegate.units import KIB, MIB

DEFAULT_REDUNDANCY = 0.1
REDUNDANCY_MAX = 4.0
SOURCE_COUNT = 200
INTERLEAVE = 8
#: (least length of a part, symbol size): the largest symbol that still gives 64 of them
SYMBOL_SIZES = ((4 * MIB, 64 * KIB), (1 * MIB, 16 * KIB), (0, 4 * KIB))
#: repairs that a small part has at least, as far as it has as many sources
SMALL_REPAIRS = 16
FEWEST_REPAIRS = 4
#: how large the last of several groups should be beside the others
LAST_GROUP_SHARE = 0.85


class SymbolSource(Protocol):
    """Something that symbols of one bundle come from: a volume, several of them, a session."""

    @property
    def announcement(self) -> Announcement: ...

    def groups(self, part: int) -> tuple[int, ...]:
        """The groups of `part` that may be there, each once, rising."""

    def read_group(self, part: int, group: int, buffer: GroupBuffer) -> None:
        """Fill slots of the bound `buffer` that are not present, and mark them; damage raises nothing."""


# --- the sender's choice ----------------------------------------------------------------------


def plan_parts(
    lengths: tuple[int, int, int], *, redundancy: float = DEFAULT_REDUNDANCY
) -> tuple[PartGeometry, PartGeometry, PartGeometry]:
    """The code of each part. `redundancy` is repair symbols a source symbol; cover and head get a tenth at least.

    Raises UsageError for a redundancy outside 0 … 4.
    """
    if not 0 <= redundancy <= REDUNDANCY_MAX:
        raise UsageError(f"redundancy is {redundancy:g}, not within 0 … {REDUNDANCY_MAX:g}")
    body = max(redundancy, DEFAULT_REDUNDANCY)
    cover, head, chunks = lengths
    return _plan_part(cover, body), _plan_part(head, body), _plan_part(chunks, redundancy)


def _plan_part(length: int, redundancy: float) -> PartGeometry:
    symbol_size = next(size for least, size in SYMBOL_SIZES if length >= least)
    symbols = max(1, -(-length // symbol_size))
    source_count = min(SOURCE_COUNT, int(CODEWORD_MAX_SYMBOLS / (1 + redundancy)))
    interleave = INTERLEAVE
    if symbols > source_count * INTERLEAVE:
        source_count, interleave = _balance(symbols, source_count)
    # No more sources than the blocks have when they are cut near-equal: repairs are in proportion to what is there.
    blocks = -(-symbols // source_count)
    source_count = -(-symbols // blocks)
    repair_count = _repair_count(source_count, redundancy)
    return PartGeometry(length, source_count, repair_count, symbol_size, min(interleave, blocks))


def _repair_count(source_count: int, redundancy: float) -> int:
    if not redundancy:
        return 0
    share = math.ceil(source_count * redundancy - 1e-9)  # 0.1 · 200 is 20, whatever floating point makes of it
    least = min(SMALL_REPAIRS, max(FEWEST_REPAIRS, source_count))
    return min(max(share, least), CODEWORD_MAX_SYMBOLS - source_count)


def _balance(symbols: int, source_count: int) -> tuple[int, int]:
    """(source_count, interleave) for a part of several groups, so that the last group is not a lone block.

    A burst is borne by the repairs of one group together: a last group of one block would bear an eighth of what the
    others do. A few sources fewer in each block, or a block fewer in each group, make it nearly as large as them.
    """
    enough = source_count * INTERLEAVE * LAST_GROUP_SHARE

    def worth(choice: tuple[int, int]) -> tuple[float, int, int]:
        count, interleave = choice
        blocks = -(-symbols // count)
        last = blocks - (-(-blocks // interleave) - 1) * interleave
        return min(last * count, enough), count, interleave

    counts = range(source_count * 4 // 5, source_count + 1)
    return max(((count, blocks) for count in counts for blocks in range(4, INTERLEAVE + 1)), key=worth)


# --- reading a small part ---------------------------------------------------------------------


def read_part(source: SymbolSource, part: int, limit: int) -> bytes:
    """The whole of a part of at most `limit` bytes, mended, in memory.

    Raises FormatError where it is longer, VolumeMissingError naming the blocks that cannot be repaired.
    """
    announcement = source.announcement
    geometry = announcement.geometry(part)
    if geometry.length > limit:
        raise FormatError(f"{PART_NAMES[part]} of {geometry.length} bytes, the limit is {limit}")
    absent = set(range(geometry.group_count)) - set(source.groups(part))
    if absent:
        raise VolumeMissingError(f"bundle {announcement.name}: {PART_NAMES[part]}: groups {_list(absent)} are not here")
    buffer, codec = GroupBuffer(geometry), GroupCodec(geometry)
    pieces, lost = [], []
    for group in range(geometry.group_count):
        buffer.bind(group)
        source.read_group(part, group, buffer)
        report = codec.mend(buffer)
        lost += [block for block in report.blocks if block.state is BlockState.LOST]
        if not lost:  # what cannot be whole any more takes no memory
            pieces.append(bytes(buffer.source_view()))
    if lost:
        raise lost_blocks_error(announcement, part, lost)
    return b"".join(pieces)


def lost_blocks_error(announcement: Announcement, part: int, lost: list[BlockReport]) -> VolumeMissingError:
    """The error for blocks that cannot be repaired, naming them with both counts."""
    geometry = announcement.geometry(part)
    first = lost[0]
    total = geometry.block_source_count(first.number) + geometry.repair_count
    more = f", and {len(lost) - 1} more blocks" if len(lost) > 1 else ""
    return VolumeMissingError(
        f"bundle {announcement.name}: {PART_NAMES[part]}: block {first.number} has {len(first.erasures)} of {total}"
        f" pieces damaged or missing, {geometry.repair_count} can be repaired{more}"
    )


def is_among(groups: tuple[int, ...], group: int) -> bool:
    """Whether `group` is one of `groups`, which rise: a large stick has a hundred thousand, asked for one by one."""
    place = bisect_left(groups, group)
    return place < len(groups) and groups[place] == group


def is_mendable(buffer: GroupBuffer) -> bool:
    """Whether every block of the bound group has as many symbols as it needs."""
    present = buffer.present.sum(axis=1)
    return all(have >= need for have, need in zip(present.tolist(), buffer.source_counts, strict=True))


def _list(numbers: set[int]) -> str:
    shown = sorted(numbers)[:8]
    return ", ".join(map(str, shown)) + (", …" if len(numbers) > len(shown) else "")


class JoinedSource:
    """Several copies of one bundle as one source for its body: a copy is read only where those before do not suffice.

    The cover differs from copy to copy, so it is taken from the first. Copies with another code are left out.
    """

    def __init__(self, sources: tuple[SymbolSource, ...]) -> None:
        self.sources = sources
        self.announcement = sources[0].announcement

    def _copies(self, part: int) -> tuple[SymbolSource, ...]:
        mine = self.announcement
        return tuple(
            source
            for source in self.sources
            if source is self.sources[0]
            or (
                0 < part <= CHUNKS
                and source.announcement.bundle_id == mine.bundle_id
                and source.announcement.parts[part] == mine.parts[part]
            )
        )

    def groups(self, part: int) -> tuple[int, ...]:
        return tuple(sorted(set().union(*(source.groups(part) for source in self._copies(part)))))

    def read_group(self, part: int, group: int, buffer: GroupBuffer) -> None:
        for source in self._copies(part):
            if is_among(source.groups(part), group):
                source.read_group(part, group, buffer)
                if is_mendable(buffer):
                    return
