"""Which engine is taken, and that a library which is absent, foreign or wrong is not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tidegate.erasure import choice, isal
from tidegate.erasure.choice import describe_engine, load_engine
from tidegate.erasure.engine import Rows
from tidegate.erasure.numpy_engine import NumpyEngine
from tidegate.errors import HostError, UsageError


@pytest.fixture(autouse=True)
def fresh_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TIDEGATE_ERASURE", raising=False)
    choice._load.cache_clear()
    yield
    choice._load.cache_clear()


def without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isal, "find_libraries", lambda: iter(["/nonexistent/libisal.so.2"]))


def test_isal_is_taken_where_it_is_found() -> None:
    assert load_engine().name == "isal"
    assert "libisal" in describe_engine().library
    assert describe_engine().why_not_isal == ""


def test_numpy_is_taken_where_isal_is_missing_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    without_isal(monkeypatch)
    assert load_engine().name == "numpy"
    assert "/nonexistent/libisal.so.2" in describe_engine().why_not_isal


def test_the_environment_forces_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_ERASURE", "numpy")
    assert load_engine().name == "numpy"


def test_isal_demanded_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    without_isal(monkeypatch)
    monkeypatch.setenv("TIDEGATE_ERASURE", "isal")
    with pytest.raises(HostError, match="nonexistent"):
        load_engine()


def test_an_unknown_engine_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_ERASURE", "fpga")
    with pytest.raises(UsageError, match="fpga"):
        load_engine()


def test_a_library_that_gives_a_wrong_product_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isal.IsalEngine, "product", lambda self, left, right: np.zeros((16, 333), np.uint8))
    assert load_engine().name == "numpy"
    assert "self test" in describe_engine().why_not_isal


def test_a_library_that_gives_a_wrong_inverse_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isal.IsalEngine, "invert", lambda self, matrix: matrix)
    assert load_engine().name == "numpy"


def test_a_file_that_is_no_library_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libisal.so.2").write_bytes(b"not a library")
    monkeypatch.setattr(isal, "find_libraries", lambda: iter([str(tmp_path / "libisal.so.2")]))
    assert load_engine().name == "numpy"


def test_only_major_version_two_is_searched_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("libisal.so.1", "libisal-ab12.so.2.0.32", "libisal.so.3", "libisal_crypto.txt", "libisal-x.so.2"):
        (tmp_path / name).touch()
    monkeypatch.setattr(isal, "_wheel_folders", lambda: iter([tmp_path, tmp_path / "absent"]))
    found = [Path(path).name for path in isal.find_libraries()]
    assert found == ["libisal-ab12.so.2.0.32", "libisal-x.so.2", "libisal.so.2", "libisal.2.dylib"]


def test_a_renamed_copy_of_the_library_is_found_in_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(describe_engine().library, tmp_path / "libisal-0123abcd.so.2")
    monkeypatch.setattr(isal, "_wheel_folders", lambda: iter([tmp_path]))
    assert isal.IsalEngine.load().path == str(tmp_path / "libisal-0123abcd.so.2")


def test_isal_refuses_rows_that_do_not_fit_its_matrix() -> None:
    engine = isal.IsalEngine.load()
    memory = np.zeros(1024, np.uint8)
    plan = engine.plan(np.ones((2, 3), np.uint8))
    with pytest.raises(ValueError, match="another matrix"):
        engine.multiply(plan, Rows(memory, np.arange(2) * 64), Rows(memory, np.arange(2) * 64 + 512), 64)


@pytest.mark.parametrize("rows", [1, 8, 9, 16, 17, 32, 33, 100])
@pytest.mark.parametrize("length", [1, 63, 64, 4096, 4097, 20_001])
def test_both_engines_give_the_same_bytes_for_any_shape(rows: int, length: int) -> None:
    random = np.random.default_rng(rows * length)
    matrix = random.integers(0, 256, (rows, 7), dtype=np.uint8)
    memory = random.integers(0, 256, 7 * length, dtype=np.uint8)
    results = []
    for engine in (isal.IsalEngine.load(), NumpyEngine()):
        result = np.full((rows + 1) * length, 0xEE, np.uint8)
        sources, targets = Rows(memory, np.arange(7) * length), Rows(result, np.arange(rows) * length)
        engine.multiply(engine.plan(matrix), sources, targets, length)
        assert (result[rows * length :] == 0xEE).all()
        results.append(result)
    assert np.array_equal(*results)
