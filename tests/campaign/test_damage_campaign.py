"""Media damaged at random, again and again, and signed lies at random: our words, nothing half, and the bundle arrives.

Another seed: ``TEST_SEED=7 make campaign``.
"""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_bundles import content, make_body
from two_sides import Sides

from tidegate.bundle.tables import Tables

SEED = int(os.environ.get("TEST_SEED", "20260304"))
ROUNDS = 5  # damaged copies before the honest one

pytestmark = pytest.mark.campaign


def truncate(chance: random.Random, file: Path) -> None:
    os.truncate(file, chance.randrange(file.stat().st_size))


def flip_bytes(chance: random.Random, file: Path) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(chance.choice([1, 10, 1000])):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    file.write_bytes(data)


def destroy_extent(chance: random.Random, file: Path) -> None:
    data = bytearray(file.read_bytes())
    start = chance.randrange(len(data))
    end = min(len(data), start + chance.randrange(1, 200_000))
    data[start:end] = bytes(end - start) if chance.random() < 0.5 else chance.randbytes(end - start)
    file.write_bytes(data)


def shift(chance: random.Random, file: Path) -> None:
    data = file.read_bytes()
    at, count = chance.randrange(len(data)), chance.randrange(1, 9000)
    file.write_bytes(data[:at] + chance.randbytes(count) + data[at:])


def duplicate(chance: random.Random, file: Path) -> None:
    shutil.copy(file, file.with_name(f"COPY{chance.randrange(10**6)}.TGV"))


def remove(chance: random.Random, file: Path) -> None:
    file.unlink()


def swap_pages(chance: random.Random, file: Path) -> None:
    data = bytearray(file.read_bytes())
    pages = len(data) // 4096
    for _ in range(chance.randrange(1, 20)):
        one, two = (chance.randrange(pages) * 4096 for _ in range(2))
        data[one : one + 4096], data[two : two + 4096] = data[two : two + 4096], data[one : one + 4096]
    file.write_bytes(data)


HARMS = (truncate, flip_bytes, destroy_extent, destroy_extent, shift, duplicate, remove, swap_pages)


@pytest.mark.parametrize("case", range(24))
def test_copies_damaged_at_random_never_end_in_anything_wrong(case: int, first_day: Sides, tmp_path: Path) -> None:
    chance = random.Random(f"{SEED} {case}")
    print(f"seed {SEED}, case {case}")
    sides = first_day.copy(tmp_path)
    bundle = sides.pack(size=chance.choice([1000, 60_000, 300_000, 1_000_000]), seed=case)
    for number in range(ROUNDS):
        stick = tmp_path / f"stick-{number}"
        files = list(sides.write(bundle, stick, file_bytes=chance.choice([1200 << 10, 16 << 20])))
        for _ in range(chance.randrange(1, 6)):
            harm, file = chance.choice(HARMS), chance.choice(files)
            if file.is_file() and file.stat().st_size > 4096:
                harm(chance, file)
        answer = sides.high.run("receive", stick)
        assert answer.code in {0, 21, 25}, answer
        assert answer.is_ours, answer
        sides.high.check()
    honest = tmp_path / "honest"
    honest.mkdir()
    sides.send(bundle, honest)
    sides.assert_arrives(bundle, stick=honest)


@pytest.mark.parametrize("case", range(8))
def test_signed_tables_changed_at_random_are_refused_or_harmless(case: int, first_day: Sides, tmp_path: Path) -> None:
    chance = random.Random(f"{SEED} signed {case}")
    print(f"seed {SEED}, case {case}")
    sides = first_day.copy(tmp_path)
    forger = sides.forger()
    blobs = [content(case, 90_000), content(case + 100, 40_000)]
    body = make_body(blobs, chunk_bytes=16_384)
    for number in range(20, 50):
        tables = {name: getattr(body.tables, name).copy() for name in ("blobs", "segments", "chunks", "required")}
        for _ in range(chance.randrange(1, 4)):
            raw = tables[chance.choice(["blobs", "segments", "chunks"])].view("u1").reshape(-1)
            raw[chance.randrange(len(raw))] ^= chance.randrange(1, 256)
        lie = replace(body, tables=Tables(*tables.values()))
        forger.write(forger.bundle(blobs, body=lie, sequence=number, content_size=130_000), sides.stick)
    honest = forger.bundle(blobs, sequence=12)
    forger.write(honest, sides.stick)
    answer = sides.high.run("receive", sides.stick, "--json")
    assert answer.is_ours, answer
    sides.high.check()
    assert honest.bundle_id in sides.high.quarantined()
    assert {item["outcome"] for item in answer.objects if "sequence" in item} <= {"received", "refused"}
