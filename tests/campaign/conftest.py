"""Two paired roots for long tests, made once by the installed command and copied for every test that asks for them."""

from pathlib import Path

import pytest
from two_sides import Sides


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    return Sides.make(tmp_path_factory.mktemp("first-day"))


@pytest.fixture
def sides(first_day: Sides, tmp_path: Path) -> Sides:
    return first_day.copy(tmp_path)
