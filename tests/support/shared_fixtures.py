"""Fixtures of more than one folder of tests: two installed sides, a receiver with what its low side made, a depot."""

from pathlib import Path

import pytest
from receiver_world import HighSide, LowSide
from two_sides import Sides

from tidegate.depot.store import Depot


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Two paired roots, made once by the installed command."""
    return Sides.make(tmp_path_factory.mktemp("first-day"))


@pytest.fixture
def sides(first_day: Sides, tmp_path: Path) -> Sides:
    """The two roots of the first day, copied for this test."""
    return first_day.copy(tmp_path)


@pytest.fixture
def low() -> LowSide:
    return LowSide()


@pytest.fixture
def high(tmp_path: Path, low: LowSide) -> HighSide:
    return HighSide.make(tmp_path / "high", low)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    return tmp_path / "stick"


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    """An empty depot."""
    return Depot(tmp_path / "depot")
