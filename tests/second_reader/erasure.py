"""The erasure code (erasure.md): geometry, record order, repairs and mending, all of the field's work by reedsolo."""

from collections.abc import Mapping
from dataclasses import dataclass

import reedsolo

from second_reader.ground import RefusedError, need


@dataclass(frozen=True)
class Geometry:
    length: int
    source_count: int
    repair_count: int
    symbol_size: int
    interleave: int

    def check(self) -> None:
        """Section Fields, before anything is made by these numbers."""
        codeword = self.source_count + self.repair_count
        need(self.source_count >= 1 and self.repair_count >= 0 and codeword <= 255, "E-1", "source and repair count")
        size = self.symbol_size
        need(size % 8 == 0 and 64 <= size <= 1048576, "E-2", "symbol_size")
        need(1 <= self.interleave <= 255, "E-3", "interleave")
        need(0 <= self.length <= 2**42, "E-4", "length")
        need(self.block_count <= 2**32, "E-5", "blocks")
        first = self._symbols_of_first_group()
        need(first * size <= 268435456, "E-6", "memory of a group")

    @property
    def symbol_count(self) -> int:
        """T, the source symbols of the part."""
        return -(-self.length // self.symbol_size)

    @property
    def block_count(self) -> int:
        """Z."""
        return -(-self.symbol_count // self.source_count)

    @property
    def group_count(self) -> int:
        return -(-self.block_count // self.interleave)

    def sources_of(self, block: int) -> int:
        """K_b, by E-10."""
        small, large_blocks = divmod(self.symbol_count, self.block_count)
        return small + (block < large_blocks)

    def first_symbol(self, block: int) -> int:
        small, large_blocks = divmod(self.symbol_count, self.block_count)
        return block * small + min(block, large_blocks)

    def blocks_of(self, group: int) -> range:
        """E-12."""
        return range(group * self.interleave, min((group + 1) * self.interleave, self.block_count))

    def records_in(self, group: int) -> int:
        blocks = self.blocks_of(group)
        before = self.first_symbol(blocks[0])
        return self.first_symbol(blocks[-1]) + self.sources_of(blocks[-1]) - before + len(blocks) * self.repair_count

    def record_order(self, group: int) -> list[tuple[int, int]]:
        """(block, symbol), by E-12."""
        sizes = {block: self.sources_of(block) + self.repair_count for block in self.blocks_of(group)}
        return [(block, i) for i in range(max(sizes.values())) for block, size in sizes.items() if i < size]

    def _symbols_of_first_group(self) -> int:
        return self.records_in(0) if self.group_count else 0


def repairs(sources: list[bytes], repair_count: int) -> list[bytes]:
    """E-8, one byte column after the other."""
    coder = reedsolo.RSCodec(repair_count)
    columns = [coder.encode(bytes(column))[len(sources) :] for column in zip(*sources, strict=True)]
    return [bytes(column[i] for column in columns) for i in range(repair_count)]


def mend(present: Mapping[int, bytes], source_count: int, repair_count: int) -> list[bytes]:
    """All source symbols of one block from any source_count of its symbols (E-13).

    A missing symbol is a sum of multiples of those that are there. The factors are what reedsolo restores when one
    symbol is 1 and the others are 0, so it decodes once a symbol and not once a byte column.
    """
    missing = [i for i in range(source_count) if i not in present]
    if not missing:
        return [present[i] for i in range(source_count)]
    need(len(present) >= source_count, "E-13", "too few symbols")
    used = sorted(present)[:source_count]
    erased = [i for i in range(source_count + repair_count) if i not in used]
    coder = reedsolo.RSCodec(repair_count)
    sums = dict.fromkeys(missing, 0)
    for number in used:
        word = bytearray(source_count + repair_count)
        word[number] = 1
        try:
            factors = coder.decode(word, erase_pos=erased, only_erasures=True)[0]
        except reedsolo.ReedSolomonError as error:
            raise RefusedError("E-13", str(error)) from None
        for at in missing:
            if factors[at]:
                table = bytes(reedsolo.gf_mul(factors[at], value) for value in range(256))
                sums[at] ^= int.from_bytes(present[number].translate(table), "big")
    size = len(present[used[0]])
    return [present[i] if i in present else sums[i].to_bytes(size, "big") for i in range(source_count)]
