"""Volumes for tests: bundles in memory, written to a folder that stands for a medium, and damaged on purpose."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from tidegate.carrier.announcement import Announcement, build_announcement, parse_announcement
from tidegate.carrier.found import FoundVolume
from tidegate.carrier.frames import tag_of
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.reader import VolumeReader
from tidegate.carrier.volume import Run
from tidegate.erasure.geometry import PartGeometry
from tidegate.trust.keys import FileSigner
from tidegate_sender.media.plan import plan_announcement
from tidegate_sender.media.volume_writer import VolumeWriter

SIGNER = FileSigner(bytes(range(32)), "test-holder")
PREAMBLE = b'{"a chain of roots stands here":true}\n' * 20
CHANNEL = "7f3a" + "0c" * 30


def random_bytes(length: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(length)


@dataclass(frozen=True)
class _Manifest:
    channel: str = CHANNEL
    epoch: int = 1
    sequence: int = 192


@dataclass(frozen=True)
class MemoryBundle:
    """What a carrier needs of a bundle file; the parts are just bytes."""

    parts: tuple[bytes, bytes, bytes]
    preamble: bytes = PREAMBLE

    @property
    def bundle_id(self) -> str:
        return sha256(self.parts[1]).hexdigest()

    @property
    def part_lengths(self) -> tuple[int, int, int]:
        return (len(self.parts[0]), len(self.parts[1]), len(self.parts[2]))

    @property
    def manifest_length(self) -> int:
        return len(self.parts[1])

    def manifest(self) -> _Manifest:
        return _Manifest()

    def read_into(self, part: int, offset: int, view: memoryview) -> None:
        view[:] = self.parts[part][offset : offset + len(view)]


def make_bundle(chunks: int = 50_000, *, seed: int = 1, cover: int = 700, head: int = 3_000) -> MemoryBundle:
    return MemoryBundle((random_bytes(cover, seed + 1), random_bytes(head, seed + 2), random_bytes(chunks, seed + 3)))


def small_plan(bundle: MemoryBundle, **changes: object) -> Announcement:
    """Blocks of 8+2 symbols of 4 KiB, two of them a group: many groups in few bytes."""
    parts = tuple(PartGeometry(length, 8, 2, 4096, 2) for length in bundle.part_lengths)
    planned = replace(plan_announcement(bundle), parts=parts)  # type: ignore[arg-type]
    spans = tuple((part, 0, parts[part].group_count) for part in (0, 1, 2, 1, 0) if parts[part].group_count)
    return replace(planned, spans=spans, **changes)  # type: ignore[arg-type]


def write_planned(bundle: MemoryBundle, medium: Path, announcement: Announcement, folder: str = "") -> Path:
    """Write a volume by a plan of one's own; the folder with its files."""
    target = medium / "TIDEGATE" / (folder or bundle.bundle_id[:8])
    target.mkdir(parents=True)
    data = build_announcement(announcement, SIGNER)
    writer = VolumeWriter(target, announcement, data, tag_of(data), bundle.preamble, sync=False)
    writer.write(bundle, lambda _done: None)
    return target


def find_one(medium: Path) -> FoundVolume:
    (volume,) = find_volumes(medium).volumes
    return volume


def open_one(medium: Path) -> VolumeReader:
    volume = find_one(medium)
    return VolumeReader(volume, parse_announcement(volume.frame))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def zero(path: Path, start: int, end: int) -> None:
    overwrite(path, start, bytes(end - start))


def flip(path: Path, offset: int, mask: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def runs_of(reader: VolumeReader, part: int, copy: int = 0) -> Iterable[Run]:
    """The runs of all groups of `part`, at its first or second place on the volume."""
    for group in reader.groups(part):
        yield from reader.layout.section_runs(reader.layout.sections(part, group)[copy])


def record_place(reader: VolumeReader, part: int, block: int, symbol: int, copy: int = 0) -> tuple[Path, int]:
    """(file, offset) of one record."""
    geometry = reader.announcement.geometry(part)
    group = block // geometry.interleave
    order = geometry.record_order(group).tolist()
    at = order.index([block - group * geometry.interleave, symbol])
    for run in reader.layout.section_runs(reader.layout.sections(part, group)[copy]):
        if run.first_record <= at < run.first_record + run.record_count:
            offset = run.records_offset + (at - run.first_record) * run.symbol_size
            return reader.found.files[run.file_number].path, offset
    raise LookupError((part, block, symbol))


def destroy_records(reader: VolumeReader, part: int, block: int, symbols: Iterable[int], copy: int = 0) -> None:
    for symbol in symbols:
        path, offset = record_place(reader, part, block, symbol, copy)
        overwrite(path, offset + 100, os.urandom(64))
