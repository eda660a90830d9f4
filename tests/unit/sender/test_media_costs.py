"""What docs/format/media.md says that a bundle costs on a medium is what it costs, and bears."""

import re
import shutil
from pathlib import Path

import pytest
from made_volumes import SIGNER, MemoryBundle, open_one, random_bytes, runs_of, zero

from tidegate.carrier.announcement import CHUNKS
from tidegate.carrier.parts import plan_parts
from tidegate.carrier.volume import VolumeLayout
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate_sender.media.plan import plan_announcement
from tidegate_sender.media.writing import write_volume

DOCUMENT = Path(__file__).parents[3] / "docs" / "format" / "media.md"
_ROW = re.compile(r"^\| (\d+) \| (\w+) \| (\d+ \+ \d+|none) \| (\d+) in (\d+) \| (\d+) \| (\d+|none) \|$", re.MULTILINE)
ROWS = {int(row[0]): row for row in _ROW.findall(DOCUMENT.read_text(encoding="utf-8"))}
PREAMBLE = bytes(2000)


class _Lengths(MemoryBundle):
    """A bundle of which only the lengths matter."""

    @property
    def part_lengths(self) -> tuple[int, int, int]:
        return (1000, 2000, int.from_bytes(self.parts[2], "big"))


def test_the_document_lists_the_sizes_that_were_asked_for() -> None:
    assert {0, 1000, 100_000, 64_000_000} <= set(ROWS)


@pytest.mark.parametrize("length", sorted(ROWS))
def test_the_table_is_what_the_plan_gives(length: int) -> None:
    _, symbol_size, code, blocks, groups, size, burst = ROWS[length]
    geometry = plan_parts((1000, 2000, length))[2]
    bundle = _Lengths((b"", b"x" * 2000, length.to_bytes(8, "big")))
    assert VolumeLayout(plan_announcement(bundle), len(PREAMBLE)).total_bytes == int(size)
    assert (geometry.block_count, geometry.group_count) == (int(blocks), int(groups))
    if length:
        last_group = geometry.group_blocks(geometry.group_count - 1)
        assert geometry.symbol_size == int(symbol_size)
        assert f"{geometry.source_count} + {geometry.repair_count}" == code
        assert (len(last_group) * geometry.repair_count - 1) * geometry.symbol_size + 1 == int(burst)


@pytest.mark.parametrize("length", [0, 1000, 100_000, 64_000_000])
def test_a_written_volume_has_the_size_of_the_table_and_bears_its_burst(tmp_path: Path, length: int) -> None:
    piece = random_bytes(min(length, 1_000_003))
    chunks = (piece * (length // max(1, len(piece)) + 1))[:length]
    bundle = MemoryBundle((bytes(1000), random_bytes(2000), chunks))
    report = write_volume(bundle, tmp_path, signer=SIGNER, preamble=PREAMBLE, sync=False, read_back=False)
    assert report.volume_bytes == report.files[0].stat().st_size == int(ROWS[length][5])
    if length:
        mends_a_hole(tmp_path, chunks, int(ROWS[length][6]))
    shutil.rmtree(tmp_path / "TIDEGATE")  # pytest keeps what tests leave


def mends_a_hole(medium: Path, chunks: bytes, hole: int) -> None:
    runs = list(runs_of(open_one(medium), CHUNKS))
    path = open_one(medium).found.files[1].path
    start = (runs[0].offset + runs[-1].end - hole) // 2 | 1
    zero(path, start, start + hole)
    reader = open_one(medium)
    geometry = reader.announcement.geometry(CHUNKS)
    buffer, codec = GroupBuffer(geometry), GroupCodec(geometry)
    for group in reader.groups(CHUNKS):
        buffer.bind(group)
        reader.read_group(CHUNKS, group, buffer)
        assert codec.mend(buffer).is_whole
        offset, length = geometry.group_extent(group)
        assert buffer.source_view() == memoryview(chunks)[offset : offset + length]
