"""Symbols that are there and wrong, or that nothing vouches for: taken for missing once they are located.

The slow path, within one budget of seconds a bundle (`tidegate.erasure.locate`): entered when a chunk's bytes were
whole and are not what was signed, and for symbols whose index blocks are gone, of which only the place is known.
"""

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupReport
from tidegate.erasure.engine import Engine
from tidegate.erasure.locate import LocationBudget, locate_wrong_symbols


def mark_wrong_symbols(
    buffer: GroupBuffer, report: GroupReport, extent: tuple[int, int], engine: Engine, budget: LocationBudget
) -> int:
    """Mark wrong symbols as not present, in the blocks of the mended `buffer` that have bytes of the part in `extent`.

    `report` is what mending said: what it filled in is no evidence, and is marked as missing again. The number of wrong
    ones. Raises TamperedError where they cannot be told from right ones in the budget.
    """
    geometry, size = buffer.geometry, buffer.geometry.symbol_size
    first, end = extent
    count = 0
    for position, block in enumerate(report.blocks):
        start = geometry.block_first_symbol(block.number) * size
        if start >= end or start + geometry.block_source_count(block.number) * size <= first:
            continue
        wrong = locate_wrong_symbols(buffer, position, block.erasures, engine, budget)
        count += len(wrong)
        buffer.present[position, [*block.erasures, *wrong]] = False
    return count
