"""Volumes on a medium: labels, index blocks, records, and a part out of them (media.md)."""

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from second_reader import ground
from second_reader.announcement import PAGE, Announcement, Run, lay_out
from second_reader.erasure import mend
from second_reader.ground import RefusedError, need

_MOST_NAMES = 100_000
_LABEL = "<4sB3s8sHHIII32sH6s"
_INDEX = "<4sI8sHBBH2sI4s"
_ENTRY = "<IBBH8s"


class Label(NamedTuple):
    place: int
    file_number: int
    file_count: int
    preamble_length: int
    preamble_digest: bytes
    announcement: bytes


class Entry(NamedTuple):
    block: int
    part: int
    symbol: int
    digest: bytes


class Index(NamedTuple):
    run: int
    file_number: int
    preamble_length: int
    announcement: bytes
    before: list[Entry]
    after: list[Entry]


def _open_block(page: bytes, magic: bytes) -> None:
    need(len(page) == PAGE and ground.blake(page[:4064]) == page[4064:], "M-4", "the block's own digest")
    need(page[:4] == magic, "M-4", "magic")


def _announcement(page: bytes, at: int, length: int, tag: bytes, rule: str) -> bytes:
    need(length <= 1400, "M-2", "the announcement is too long")
    need(not page[at + length : 4064].strip(b"\0"), rule, "no zeros behind the announcement")
    data = page[at : at + length]
    need(ground.blake(data)[:8] == tag, "M-4", "tag")
    return data


def read_label(page: bytes) -> Label:
    _open_block(page, b"TGL1")
    _, place, zero, tag, number, count, _first, _runs, preamble, digest, length, zero2 = struct.unpack_from(
        _LABEL, page
    )
    need(place <= 1 and not (zero + zero2).strip(b"\0"), "M-8", "place or zeros")
    need(1 <= number <= count <= 999, "M-8", "file number")
    need(preamble <= 65536, "M-12", "the preamble is too long")
    return Label(place, number, count, preamble, digest, _announcement(page, 72, length, tag, "M-8"))


def _entries(page: bytes, at: int, count: int) -> list[Entry]:
    need(count <= 64, "M-9", "more than 64 entries")
    need(not page[at + 16 * count : at + 1024].strip(b"\0"), "M-9", "an entry that does not count")
    found = []
    for block, part, symbol, zero, digest in struct.iter_unpack(_ENTRY, page[at : at + 16 * count]):
        need(zero == 0, "M-9", "zero of an entry")
        found.append(Entry(block, part, symbol, digest))
    return found


def read_index(page: bytes) -> Index:
    _open_block(page, b"TGI1")
    _, run, tag, number, before, after, length, zero, preamble, zero2 = struct.unpack_from(_INDEX, page)
    need(1 <= number <= 999 and not (zero + zero2).strip(b"\0"), "M-9", "file number or zeros")
    need(preamble <= 65536, "M-12", "the preamble is too long")
    announcement = _announcement(page, 2080, length, tag, "M-9")
    return Index(run, number, preamble, announcement, _entries(page, 32, before), _entries(page, 1056, after))


def _page(path: Path, at: int, size: int = PAGE) -> bytes:
    """Damage never stops a reader: what cannot be read is short."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(size)
    except (OSError, ValueError):
        return b""


Places = dict[tuple[int, int], list[list[Run]]]


@dataclass
class Volume:
    """Files with one announcement and one preamble_length (Reading, 1)."""

    announcement: bytes
    preamble_length: int
    files: dict[int, list[Path]] = field(default_factory=dict)
    digests: set[bytes] = field(default_factory=set)
    lost: int = 0

    def preambles(self) -> Iterator[bytes]:
        """Copies of the preamble: those that have a label's digest, or all where no label is left."""
        padded = -(-self.preamble_length // PAGE) * PAGE
        for path in (path for paths in self.files.values() for path in paths):
            for at in (PAGE, path.stat().st_size - PAGE - padded):
                data = _page(path, max(0, at), self.preamble_length)
                if len(data) == self.preamble_length and (not self.digests or ground.blake(data) in self.digests):
                    yield data

    def places(self, announcement: Announcement) -> Places:
        """The runs of each group, once for each time that it lies here."""
        places: Places = {}
        for run in lay_out(announcement, self.preamble_length):
            found = places.setdefault((run.part, run.group), [])
            if run.first == 0:
                found.append([])
            found[-1].append(run)
        return places

    def group(
        self, announcement: Announcement, number: int, group: int, places: list[list[Run]]
    ) -> dict[int, dict[int, bytes]]:
        """The symbols of a group that are here, by block."""
        geometry = announcement.parts[number]
        blocks: dict[int, dict[int, bytes]] = {block: {} for block in geometry.blocks_of(group)}
        order = announcement.records(number, group)
        for runs in places:
            for run in runs:
                wanted = order[run.first : run.first + run.records]
                for path in self.files.get(run.file, []):
                    for (block, symbol), data in self._records(path, run, wanted, geometry.symbol_size):
                        blocks[block][symbol] = data
            if all(len(present) >= geometry.sources_of(block) for block, present in blocks.items()):
                break
        self.lost += len(order) - sum(len(present) for present in blocks.values())
        return blocks

    def _records(
        self, path: Path, run: Run, wanted: list[tuple[int, int]], size: int
    ) -> Iterator[tuple[tuple[int, int], bytes]]:
        """Records of one run that match an entry of their place (M-3)."""
        ahead = self._index(path, run.at, run.file, run.number)
        behind = self._index(path, run.at + PAGE + run.records * size, run.file, run.number + 1)
        lists = [ahead.after if ahead else [], behind.before if behind else []]
        for i, (block, symbol) in enumerate(wanted):
            data = _page(path, run.at + PAGE + i * size, size)
            entry = Entry(block, run.part, symbol, ground.blake(data)[:8])
            if len(data) == size and any(i < len(one) and one[i] == entry for one in lists):
                yield (block, symbol), data

    def _index(self, path: Path, at: int, file: int, run: int) -> Index | None:
        """The index block of this place, or None where it is to be ignored (M-4)."""
        try:
            index = read_index(_page(path, at))
        except RefusedError:
            return None
        own = (index.run, index.file_number, index.preamble_length, index.announcement)
        return index if own == (run, file, self.preamble_length, self.announcement) else None


def read_parts(volumes: list[tuple[Volume, Announcement]]) -> list[bytes]:
    """Parts 0, 1, 2 of a bundle out of one volume or several of a set; announcements were verified (section Sets)."""
    laid = [(volume, announcement, volume.places(announcement)) for volume, announcement in volumes]
    parts = []
    for number, geometry in enumerate(volumes[0][1].parts):
        sources: list[bytes] = []
        for group in range(geometry.group_count):
            blocks: dict[int, dict[int, bytes]] = {block: {} for block in geometry.blocks_of(group)}
            for volume, announcement, places in laid if number else laid[:1]:  # the cover is one volume's own
                if (number, group) in places:
                    found = volume.group(announcement, number, group, places[number, group])
                    for block, symbols in found.items():
                        blocks[block] |= symbols
            for block, present in blocks.items():
                try:
                    sources += mend(present, geometry.sources_of(block), geometry.repair_count)
                except RefusedError as error:
                    raise RefusedError(error.rule, f"part {number}, block {block}: too few symbols") from None
        parts.append(b"".join(sources)[: geometry.length])
    return parts


def find_volumes(folder: Path) -> list[Volume]:
    """Reading, 1: regular files only, names do not count (M-1)."""
    volumes: dict[tuple[bytes, int], Volume] = {}
    seen = 0
    for base, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            seen += 1
            path = Path(base, name)
            if seen > _MOST_NAMES or not stat.S_ISREG(path.lstat().st_mode):
                continue
            found = _identify(path)
            if found is not None:
                key = (found.announcement, found.preamble_length)
                volume = volumes.setdefault(key, Volume(*key))
                volume.files.setdefault(found.file_number, []).append(path)
                if isinstance(found, Label):
                    volume.digests.add(found.preamble_digest)
    return list(volumes.values())


def _identify(path: Path) -> Label | Index | None:
    size = path.stat().st_size
    for at, place in ((0, 0), (max(0, size - PAGE), 1)):
        try:
            label = read_label(_page(path, at))
        except RefusedError:
            continue
        if label.place == place:
            return label
    for at in range(0, size, PAGE):
        try:
            return read_index(_page(path, at))
        except RefusedError:
            continue
    return None
