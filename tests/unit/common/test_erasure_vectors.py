"""The vectors under tests/vectors/erasure, which reedsolo made (make.py there)."""

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate.erasure.engine import Engine
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.isal import IsalEngine
from tidegate.erasure.numpy_engine import NumpyEngine
from tidegate.errors import FormatError

FOLDER = Path(__file__).parents[2] / "vectors" / "erasure"
VECTORS = sorted(path for path in FOLDER.glob("e*.json"))
REFUSED = json.loads((FOLDER / "refused.json").read_text(encoding="utf-8"))


def content(length: int) -> bytes:
    return bytes((i * i + 3 * i + i // 251) % 256 for i in range(length))


def load(path: Path) -> tuple[PartGeometry, dict[str, Any]]:
    vector = json.loads(path.read_text(encoding="utf-8"))
    return PartGeometry(**vector["geometry"]), vector


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
@pytest.mark.parametrize("engine", [IsalEngine.load(), NumpyEngine()], ids=lambda engine: engine.name)
def test_the_repairs_are_those_of_the_vector(path: Path, engine: Engine) -> None:
    geometry, vector = load(path)
    buffer, codec = GroupBuffer(geometry), GroupCodec(geometry, engine)
    for group in range(geometry.group_count):
        buffer.bind(group)
        offset, length = geometry.group_extent(group)
        buffer.source_view()[:] = content(geometry.length)[offset : offset + length]
        codec.encode(buffer)
        for position, block in enumerate(geometry.group_blocks(group)):
            expected = vector["blocks"][block]
            repairs = range(expected["source_count"], expected["source_count"] + geometry.repair_count)
            assert [buffer.slot(position, symbol).hex() for symbol in repairs] == expected["repairs"]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_blocks_and_record_order_are_those_of_the_vector(path: Path) -> None:
    geometry, vector = load(path)
    assert geometry.block_count == len(vector["blocks"])
    for block, expected in enumerate(vector["blocks"]):
        assert geometry.block_first_symbol(block) == expected["first_symbol"]
        assert geometry.block_source_count(block) == expected["source_count"]
    for group, expected_order in enumerate(vector["record_order"]):
        first = geometry.group_blocks(group)[0]
        assert [[first + place, index] for place, index in geometry.record_order(group).tolist()] == expected_order


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["name"])
def test_a_lying_geometry_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        PartGeometry(**case["geometry"])
