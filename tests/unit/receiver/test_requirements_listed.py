"""Required blobs are found the same way one by one and by the list of a large depot."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from tidegate.bundle.tables import REQUIRED, Records
from tidegate_receiver.intake import requirements
from tidegate_receiver.intake.requirements import lacking_records, missing_sequences

KEYS = sorted(sha256(bytes([number])).digest() for number in range(6))


@pytest.fixture(params=["one by one", "listed"])
def required(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Records:
    if request.param == "listed":
        monkeypatch.setattr(requirements, "ONE_BY_ONE_MAX", 0)
    table = np.zeros(len(KEYS), REQUIRED)
    table["sha256"], table["size"] = np.frombuffer(b"".join(KEYS), "V32"), 1
    table["sequence"] = [0, 1, 1, 2, 2, 3]
    return table


def layout(folder: Path, *numbers: int) -> Path:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for number in numbers:
        (blobs / KEYS[number].hex()).write_bytes(b"x")
    return folder


def test_the_numbers_of_what_is_nowhere_are_said(tmp_path: Path, required: Records) -> None:
    depot = layout(tmp_path / "depot", 0, 1, 3)
    assert missing_sequences(required, depot, {2: layout(tmp_path / "two", 4)}) == (1, 3)


def test_a_blob_counts_in_the_quarantine_of_its_own_number_alone(tmp_path: Path, required: Records) -> None:
    depot = layout(tmp_path / "depot", 0, 1, 2, 3, 4)
    assert missing_sequences(required, depot, {2: layout(tmp_path / "two", 5)}) == (3,)


def test_nothing_is_here_where_the_depot_cannot_be_read(tmp_path: Path, required: Records) -> None:
    assert len(lacking_records(required, tmp_path / "none")) == len(KEYS)


def test_names_that_are_no_digests_count_for_nothing(tmp_path: Path, required: Records) -> None:
    depot = layout(tmp_path / "depot", 0, 1, 2, 3, 4)
    for name in (KEYS[5].hex().upper(), "x" * 64, KEYS[5].hex() + "0", " " * 64):
        (depot / "blobs" / "sha256" / name).write_bytes(b"x")
    assert missing_sequences(required, depot, {}) == (3,)
