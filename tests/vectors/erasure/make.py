"""Make the vectors of this folder with reedsolo alone: `python tests/vectors/erasure/make.py`.

Nothing of Tidegate is imported: this is a second writer of docs/format/erasure.md.
"""

import itertools
import json
from pathlib import Path

import reedsolo

HERE = Path(__file__).parent


def content(length: int) -> bytes:
    """The bytes of a vector's part: byte i is (i·i + 3·i + i // 251) modulo 256."""
    return bytes((i * i + 3 * i + i // 251) % 256 for i in range(length))


def blocks_of(geometry: dict[str, int]) -> list[range]:
    """Source symbols of each block, by RFC 5052, section 9.1."""
    total = -(-geometry["length"] // geometry["symbol_size"])
    if total == 0:
        return []
    count = -(-total // geometry["source_count"])
    large, small = -(-total // count), total // count
    large_blocks = total - small * count
    starts = [0]
    for block in range(count):
        starts.append(starts[-1] + (large if block < large_blocks else small))
    return [range(first, last) for first, last in itertools.pairwise(starts)]


def repairs_of(symbols: list[bytes], repair_count: int) -> list[str]:
    """Repair symbols of one block in hex: each byte column is encoded alone."""
    codec = reedsolo.RSCodec(repair_count)
    columns = [codec.encode(bytes(column))[len(symbols) :] for column in zip(*symbols, strict=True)]
    return [bytes(row).hex() for row in zip(*columns, strict=True)]


def order_of(blocks: list[range], geometry: dict[str, int]) -> list[list[list[int]]]:
    """For each group its records in order, as [block, symbol]."""
    groups = []
    for first in range(0, len(blocks), geometry["interleave"]):
        members = range(first, min(first + geometry["interleave"], len(blocks)))
        totals = {block: len(blocks[block]) + geometry["repair_count"] for block in members}
        longest = max(totals.values())
        groups.append([[block, index] for index in range(longest) for block in members if index < totals[block]])
    return groups


def make(name: str, about: str, *numbers: int) -> None:
    geometry = dict(zip(("length", "source_count", "repair_count", "symbol_size", "interleave"), numbers, strict=True))
    size = geometry["symbol_size"]
    blocks = blocks_of(geometry)
    data = content(geometry["length"])
    data += bytes(-len(data) % size)
    parts = [[data[number * size : (number + 1) * size] for number in block] for block in blocks]
    vector = {
        "about": about,
        "geometry": geometry,
        "content": content.__doc__,
        "blocks": [
            {"first_symbol": block.start, "source_count": len(block), "repairs": repairs_of(part, numbers[2])}
            for block, part in zip(blocks, parts, strict=True)
        ],
        "record_order": order_of(blocks, geometry),
    }
    text = json.dumps(vector, indent=1)
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    make("e04_length_zero", "a part of length zero has no blocks", 0, 200, 20, 4096, 8)
    make(
        "e08_one_block_short_last_symbol",
        "one shortened block; the last symbol counts as zero-filled",
        250,
        8,
        2,
        64,
        1,
    )
    make(
        "e10_three_blocks_two_groups", "blocks of 5, 5 and 4 symbols; the last group has one", 64 * 13 + 1, 5, 3, 64, 2
    )
    make("e08_full_length_code", "K + R = 255", 64 * 223, 223, 32, 64, 1)


if __name__ == "__main__":
    main()
