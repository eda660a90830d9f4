"""Whatever happens to a medium: what comes off it is right, or named as lost, and nothing else is raised."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import blake3
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_volumes import MemoryBundle, destroy_records, make_bundle, open_one, small_plan, write_planned

from tidegate.carrier.announcement import parse_announcement
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.parts import is_mendable, read_part
from tidegate.carrier.reader import VolumeReader
from tidegate.erasure.buffer import GroupBuffer
from tidegate.errors import TidegateError, VolumeMissingError

BUNDLE = make_bundle(150_000, seed=3)
PLAN = small_plan(BUNDLE, file_bytes=262144)


@contextmanager
def written_medium(bundle: MemoryBundle = BUNDLE) -> Iterator[Path]:
    """A fresh medium an example; tmp_path would be shared by all of them."""
    folder = Path(tempfile.mkdtemp())
    try:
        write_planned(bundle, folder, small_plan(bundle, file_bytes=262144))
        yield folder
    finally:
        shutil.rmtree(folder)


def check_whatever_is_found(medium: Path, bundle: MemoryBundle = BUNDLE) -> None:
    """Every part is right, or its loss is reported; and symbols marked present are the right ones."""
    for found in find_volumes(medium).volumes:
        try:
            reader = VolumeReader(found, parse_announcement(found.frame))
        except TidegateError:
            continue
        for part in range(3):
            try:
                assert read_part(reader, part, 1 << 20) == bundle.parts[part]
            except VolumeMissingError:
                assert not all(is_group_mendable(reader, part, group) for group in reader.groups(part))


def is_group_mendable(reader: VolumeReader, part: int, group: int) -> bool:
    buffer = GroupBuffer(reader.announcement.geometry(part))
    buffer.bind(group)
    reader.read_group(part, group, buffer)
    return is_mendable(buffer)


damages = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["zero", "random", "flip", "cut", "swap", "repeat", "shift"]),
        st.floats(0, 1),
        st.integers(1, 60_000),
    ),
    max_size=8,
)


def damage(path: Path, kind: str, where: float, length: int, other: Path) -> None:
    data = bytearray(path.read_bytes())
    start = int(where * len(data))
    if kind == "zero":
        data[start : start + length] = bytes(len(data[start : start + length]))
    elif kind == "random":
        data[start : start + length] = os.urandom(len(data[start : start + length]))
    elif kind == "flip" and start < len(data):
        data[start] ^= 1 << (length % 8)
    elif kind == "cut":
        del data[start:]
    elif kind == "shift":
        del data[start : start + length]
    elif kind == "repeat":
        path.with_name(f"COPY{length}.TGV").write_bytes(data)
    elif kind == "swap":
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
        return
    path.write_bytes(data)


@settings(deadline=None, max_examples=60)
@given(damages)
def test_any_damage_is_mended_or_named(damaged: list[tuple[int, str, float, int]]) -> None:
    with written_medium() as medium:
        files = sorted(medium.rglob("*.TGV"))
        for number, kind, where, length in damaged:
            damage(files[number % len(files)], kind, where, length, files[(number + 1) % len(files)])
        check_whatever_is_found(medium)


@settings(deadline=None, max_examples=40)
@given(st.randoms(use_true_random=False))
def test_up_to_as_many_records_of_each_block_as_repairs_are_mended(random) -> None:  # type: ignore[no-untyped-def]
    with written_medium() as medium:
        reader = open_one(medium)
        for part in range(3):
            geometry = reader.announcement.geometry(part)
            for block in range(geometry.block_count):
                total = geometry.block_source_count(block) + geometry.repair_count
                symbols = random.sample(range(total), random.randint(0, geometry.repair_count))
                for copy in range(len(reader.layout.sections(part, 0))):
                    destroy_records(reader, part, block, symbols, copy)
        for part in range(3):
            assert read_part(open_one(medium), part, 1 << 20) == BUNDLE.parts[part]


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 200)), st.integers(0, 2**32))
def test_index_blocks_destroyed_at_random_cost_only_the_runs_between_two_of_them(chosen: set[int], seed: int) -> None:
    with written_medium() as medium:
        reader = open_one(medium)
        runs = [run for section in range(reader.layout.section_count) for run in reader.layout.section_runs(section)]
        gone = {run.number for run in runs if run.number in chosen}
        for run in runs:
            if run.number in gone:
                with reader.found.files[run.file_number].path.open("r+b") as file:
                    file.seek(run.offset)
                    file.write(np.random.default_rng(seed).bytes(4096))
        last_of_file = {file.first_run + file.run_count - 1 for file in reader.layout.files}
        lost = {
            run.number
            for run in runs
            if run.number in gone and run.number not in last_of_file and run.number + 1 in gone
        }
        stats = open_one(medium).check()
        assert stats.records_damaged == sum(run.record_count for run in runs if run.number in lost)
        check_whatever_is_found(medium)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1100), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_lying_index_blocks_and_labels_with_true_digests(lies: list[tuple[int, int, int]]) -> None:
    with written_medium() as medium:
        files = sorted(medium.rglob("*.TGV"))
        for path in files:
            data = bytearray(path.read_bytes())
            blocks = [at for at in range(0, len(data), 4096) if data[at : at + 3] in (b"TGI", b"TGL")]
            for block, offset, value in lies:
                at = blocks[block % len(blocks)]
                data[at + offset] = value
                data[at + 4064 : at + 4096] = blake3.blake3(data[at : at + 4064]).digest()
            path.write_bytes(data)
        check_whatever_is_found(medium)
