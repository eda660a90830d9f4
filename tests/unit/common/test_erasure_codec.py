"""Encoding and mending of groups, with both engines."""

import threading
from typing import Any

import numpy as np
import pytest

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import BlockState, GroupCodec
from tidegate.erasure.engine import Engine, Rows
from tidegate.erasure.field import Matrix
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.isal import IsalEngine
from tidegate.erasure.numpy_engine import NumpyEngine

GEOMETRY = PartGeometry(64 * 29 - 7, 10, 4, 64, 2)  # blocks of 10, 10 and 9 symbols; groups of two and one


@pytest.fixture(params=["isal", "numpy"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return IsalEngine.load() if request.param == "isal" else NumpyEngine()


def encoded(geometry: PartGeometry, codec: GroupCodec, group: int = 0) -> tuple[GroupBuffer, bytes]:
    """A buffer of random bytes with its repairs, and a copy of its sources."""
    buffer = GroupBuffer(geometry)
    buffer.bind(group)
    buffer.source_view()[:] = np.random.default_rng(group).bytes(buffer.extent_length)
    codec.encode(buffer)
    return buffer, bytes(buffer.source_view())


def destroy(buffer: GroupBuffer, position: int, symbols: list[int]) -> None:
    for symbol in symbols:
        buffer.present[position, symbol] = False
        buffer.slot(position, symbol)[:] = b"\xee" * buffer.geometry.symbol_size


def test_encode_marks_every_symbol_that_exists_as_present(engine: Engine) -> None:
    buffer, _ = encoded(GEOMETRY, GroupCodec(GEOMETRY, engine))
    assert np.array_equal(buffer.present, buffer.exists)


def test_mend_restores_a_block_with_as_many_losses_as_repair_symbols(engine: Engine) -> None:
    codec = GroupCodec(GEOMETRY, engine)
    for group in range(GEOMETRY.group_count):
        buffer, sources = encoded(GEOMETRY, codec, group)
        destroy(buffer, 0, [0, 3, 8, 11])
        report = codec.mend(buffer)
        assert report.blocks[0].state is BlockState.MENDED
        assert report.blocks[0].erasures == (0, 3, 8, 11)
        assert report.is_whole
        assert bytes(buffer.source_view()) == sources


def test_mend_reports_one_loss_too_many_and_mends_the_other_blocks(engine: Engine) -> None:
    codec = GroupCodec(GEOMETRY, engine)
    buffer, sources = encoded(GEOMETRY, codec)
    destroy(buffer, 0, [0, 1, 2, 3, 4])
    destroy(buffer, 1, [9])
    report = codec.mend(buffer)
    assert [block.state for block in report.blocks] == [BlockState.LOST, BlockState.MENDED]
    assert report.lost_blocks == (0,)
    assert (report.erasure_count, report.mended_count, report.is_whole) == (6, 1, False)
    assert bytes(buffer.source_view())[640:] == sources[640:]
    assert buffer.missing_extents() == ((0, 320),)


def test_mend_fills_the_last_symbol_and_its_zeros(engine: Engine) -> None:
    codec = GroupCodec(GEOMETRY, engine)
    buffer, sources = encoded(GEOMETRY, codec, group=1)
    destroy(buffer, 0, [8])
    codec.mend(buffer)
    assert bytes(buffer.source_view()) == sources
    assert bytes(buffer.slot(0, 8))[-7:] == bytes(7)


def test_a_block_whose_repairs_alone_are_missing_is_intact(engine: Engine) -> None:
    codec = GroupCodec(GEOMETRY, engine)
    buffer, _ = encoded(GEOMETRY, codec)
    destroy(buffer, 0, [10, 11, 12, 13])
    report = codec.mend(buffer)
    assert report.blocks[0].state is BlockState.INTACT
    assert report.blocks[0].erasures == (10, 11, 12, 13)
    assert not buffer.present[0, 10:].any()


def test_a_part_without_repair_symbols_is_intact_or_lost() -> None:
    geometry = PartGeometry(64 * 5, 5, 0, 64, 1)
    codec = GroupCodec(geometry)
    buffer, _ = encoded(geometry, codec)
    assert codec.mend(buffer).is_whole
    destroy(buffer, 0, [2])
    assert codec.mend(buffer).lost_blocks == (0,)


def test_a_block_with_nothing_left_but_repairs_is_mended() -> None:
    geometry = PartGeometry(64 * 3, 5, 6, 64, 1)
    codec = GroupCodec(geometry)
    buffer, sources = encoded(geometry, codec)
    destroy(buffer, 0, [0, 1, 2, 4, 6, 8])
    assert codec.mend(buffer).is_whole
    assert bytes(buffer.source_view()) == sources


def test_a_mended_group_can_be_mended_again() -> None:
    codec = GroupCodec(GEOMETRY)
    buffer, sources = encoded(GEOMETRY, codec)
    destroy(buffer, 0, [0, 1])
    codec.mend(buffer)
    destroy(buffer, 0, [2, 3, 4, 5])
    assert codec.mend(buffer).is_whole
    assert bytes(buffer.source_view()) == sources


class SilentEngine:
    """An engine that must not be asked for anything."""

    name = "silent"

    def plan(self, matrix: Matrix) -> Any:
        raise AssertionError("arithmetic was done")

    invert = plan

    def multiply(self, plan: Any, sources: Rows, targets: Rows, length: int) -> None:
        raise AssertionError("arithmetic was done")

    def product(self, left: Matrix, right: Matrix) -> Matrix:
        raise AssertionError("arithmetic was done")


def test_nothing_missing_needs_no_arithmetic() -> None:
    buffer, _ = encoded(GEOMETRY, GroupCodec(GEOMETRY))
    codec = GroupCodec(GEOMETRY, SilentEngine())
    assert codec.mend(buffer).is_whole
    destroy(buffer, 0, [10])
    assert codec.mend(buffer).is_whole


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same_bytes(threads: int) -> None:
    geometry = PartGeometry(1032 * 20 * 9, 20, 6, 1032, 9)
    expected, _ = encoded(geometry, GroupCodec(geometry, threads=1))
    codec = GroupCodec(geometry, threads=threads)
    buffer, _ = encoded(geometry, codec)
    assert np.array_equal(buffer.memory, expected.memory)
    for position in range(9):
        destroy(buffer, position, [position, 2 * position + 1, 19])
    assert codec.mend(buffer).mended_count == 9
    assert np.array_equal(buffer.memory[: len(buffer.source_view())], expected.memory[: len(buffer.source_view())])


class FailingEngine(IsalEngine):
    """Fails once, in whatever thread comes first."""

    failed = threading.Event()

    def multiply(self, plan: Any, sources: Rows, targets: Rows, length: int) -> None:
        if not self.failed.is_set():
            self.failed.set()
            raise MemoryError("no memory for this block")
        super().multiply(plan, sources, targets, length)


def test_a_failure_in_any_thread_reaches_the_caller() -> None:
    engine = FailingEngine(IsalEngine.load().path)
    with pytest.raises(MemoryError, match="this block"):
        encoded(GEOMETRY, GroupCodec(GEOMETRY, engine))
