"""Wrong symbols are found where they can be, and a named error says so where they cannot."""

import numpy as np
import pytest

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate.erasure.engine import Engine
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.isal import IsalEngine
from tidegate.erasure.locate import LocationBudget, locate_wrong_symbols
from tidegate.erasure.numpy_engine import NumpyEngine
from tidegate.errors import TamperedError

GEOMETRY = PartGeometry(512 * 40, 20, 8, 512, 2)


@pytest.fixture(params=["isal", "numpy"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return IsalEngine.load() if request.param == "isal" else NumpyEngine()


def received() -> tuple[GroupBuffer, bytes]:
    buffer = GroupBuffer(GEOMETRY)
    buffer.bind(0)
    buffer.source_view()[:] = np.random.default_rng(5).bytes(buffer.extent_length)
    GroupCodec(GEOMETRY).encode(buffer)
    return buffer, bytes(buffer.source_view())


def overwrite(buffer: GroupBuffer, symbol: int, start: int = 0, end: int = 512) -> None:
    slot = buffer.slot(1, symbol)
    slot[start:end] = bytes(byte ^ 0x5A for byte in slot[start:end])


def locate(
    buffer: GroupBuffer, engine: Engine, erasures: tuple[int, ...] = (), seconds: float = 3600.0
) -> tuple[int, ...]:
    return locate_wrong_symbols(buffer, 1, erasures, engine, LocationBudget(seconds))


def mended_sources(buffer: GroupBuffer, symbols: tuple[int, ...]) -> bytes:
    buffer.present[1, list(symbols)] = False
    assert GroupCodec(GEOMETRY).mend(buffer).is_whole
    return bytes(buffer.source_view())


def test_a_consistent_block_has_no_wrong_symbols(engine: Engine) -> None:
    buffer, _ = received()
    assert locate(buffer, engine) == ()


@pytest.mark.parametrize("wrong", [(0,), (27,), (3, 19, 20, 26), (0, 1, 2, 3)])
def test_half_as_many_overwritten_symbols_as_repairs_are_found(engine: Engine, wrong: tuple[int, ...]) -> None:
    buffer, sources = received()
    for symbol in wrong:
        overwrite(buffer, symbol)
    assert locate(buffer, engine) == wrong
    assert mended_sources(buffer, wrong) == sources


def test_a_single_flipped_bit_is_found(engine: Engine) -> None:
    buffer, sources = received()
    buffer.slot(1, 7)[300] ^= 0x10
    assert locate(buffer, engine) == (7,)
    assert mended_sources(buffer, (7,)) == sources


def test_symbols_wrong_in_different_columns_are_found_up_to_the_repair_count(engine: Engine) -> None:
    buffer, sources = received()
    wrong = (1, 4, 6, 9, 13, 18, 22)
    for number, symbol in enumerate(wrong):
        overwrite(buffer, symbol, 70 * number, 70 * number + 60)
    assert locate(buffer, engine) == wrong
    assert mended_sources(buffer, wrong) == sources


def test_wrong_symbols_are_found_beside_erasures_that_were_mended_with_them(engine: Engine) -> None:
    buffer, sources = received()
    erasures = (2, 5, 21)
    overwrite(buffer, 11)
    overwrite(buffer, 24)
    buffer.present[1, list(erasures)] = False
    for symbol in erasures:
        buffer.slot(1, symbol)[:] = bytes(512)
    GroupCodec(GEOMETRY).mend(buffer)  # from wrong symbols: what it writes is wrong too
    assert locate(buffer, engine, erasures) == (11, 24)
    assert mended_sources(buffer, (*erasures, 11, 24)) == sources


def test_too_many_wrong_symbols_are_a_named_error(engine: Engine) -> None:
    buffer, _ = received()
    for symbol in range(14):
        overwrite(buffer, symbol)
    with pytest.raises(TamperedError, match="block 1"):
        locate(buffer, engine)


def test_one_spare_repair_shows_an_error_but_cannot_place_it(engine: Engine) -> None:
    buffer, _ = received()
    overwrite(buffer, 3)
    with pytest.raises(TamperedError):
        locate(buffer, engine, tuple(range(10, 17)))


def test_no_spare_repair_cannot_say_anything(engine: Engine) -> None:
    buffer, _ = received()
    with pytest.raises(TamperedError, match="no repair symbol is left"):
        locate(buffer, engine, tuple(range(8)))


def test_a_spent_budget_ends_the_search(engine: Engine) -> None:
    buffer, _ = received()
    overwrite(buffer, 3)
    with pytest.raises(TamperedError, match="time"):
        locate(buffer, engine, seconds=0.0)


def test_the_budget_is_shared_by_all_blocks_of_a_bundle() -> None:
    buffer, _ = received()
    overwrite(buffer, 3)
    budget = LocationBudget(3600.0)
    locate_wrong_symbols(buffer, 1, (), IsalEngine.load(), budget)
    assert budget.remaining_seconds < 3600.0
