"""The announcement of a volume, and the layout that follows from it (media.md)."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from second_reader import ground
from second_reader.bundle import LARGEST_COVER, LARGEST_HEAD, LARGEST_MANIFEST
from second_reader.erasure import Geometry
from second_reader.ground import RefusedError, field, is_hex, is_int, is_list, is_name, need

PAGE = 4096
_FIELDS = ("length", "source_count", "repair_count", "symbol_size", "interleave")


class Frame(NamedTuple):
    key_id: str
    signature: bytes
    payload: bytes


def read_frame(data: bytes, magic: bytes = b"TGA1", rule: str = "M-2") -> Frame:
    """Section Announcement, the bytes around the payload; a heartbeat has the same around its own."""
    need(105 <= len(data) <= 1400, rule, "a signed frame has 105 to 1400 bytes")
    begins, length, zero, key, signature = struct.unpack_from("<4sHH32s64s", data)
    need(begins == magic and zero == 0, rule, "magic or zero")
    need(length == len(data) - 104, rule, "length is not exactly what follows")
    return Frame(key.hex(), signature, data[104:])


@dataclass(frozen=True)
class Announcement:
    frame: bytes
    body: dict[str, Any]
    parts: tuple[Geometry, ...]
    spans: tuple[tuple[int, int, int], ...]

    @property
    def tag(self) -> bytes:
        return ground.blake(self.frame)[:8]

    def records(self, part: int, group: int) -> list[tuple[int, int]]:
        """(block, symbol) of the records of a group that lie on this volume, in their order; section Sets."""
        order = self.parts[part].record_order(group)
        if part != 2 or "stripes" not in self.body["critical"]:
            return order
        volumes, own = self.body["volumes"], self.body["volume"] - 1
        return [(block, symbol) for block, symbol in order if (block + symbol) % volumes == own]

    def count_records(self, part: int, group: int) -> int:
        striped = part == 2 and "stripes" in self.body["critical"]
        return len(self.records(part, group)) if striped else self.parts[part].records_in(group)


def parse_announcement(data: bytes) -> Announcement:
    """The payload; its signature was verified before."""
    body = ground.parse_object(read_frame(data).payload, "M-13", "announcement")
    form = field(body, "format", is_int(-ground.LARGEST_INTEGER), "M-13")
    need(form == 1, "M-14", f"format {form}", "feature-unknown")
    critical = field(body, "critical", is_list(is_name, 0, 16), "M-13")
    need(set(critical) <= {"stripes"}, "M-14", f"unknown features {critical}", "feature-unknown")
    forms: dict[str, Callable[[Any], bool]] = {
        "carrier": lambda value: value in ("media", "stream"),
        "channel": is_hex(32),
        "epoch": is_int(1, 2**31 - 1),
        "sequence": is_int(1),
        "bundle_id": is_hex(32),
        "set": is_hex(8),
        "volume": is_int(1, 999),
        "parts": is_list(lambda item: isinstance(item, dict), 3, 3),
        "spans": is_list(lambda item: is_list(is_int(0), 3, 3)(item) and item[0] <= 2, 1, 24),
    }
    for name, is_right in forms.items():
        field(body, name, is_right, "M-13")
    field(body, "volumes", is_int(1, 999), "M-13", optional=True)
    media = body["carrier"] == "media"
    need(not media or "file_bytes" in body, "M-6", "no file_bytes")
    size = field(body, "file_bytes", is_int(262144, 4294901760), "M-13", optional=True)
    need(size is None or size % PAGE == 0, "M-13", "file_bytes")
    parts = tuple(_geometry(part, media) for part in body["parts"])
    need(parts[0].length <= LARGEST_COVER and parts[1].length <= LARGEST_HEAD, "M-5", "cover or head too long")
    length = field(body, "manifest_length", is_int(1), "M-13")
    need(length <= min(LARGEST_MANIFEST, parts[1].length), "M-5", "manifest_length")
    for part, start, stop in body["spans"]:
        need(start < stop <= parts[part].group_count, "M-7", "a span")
    if "stripes" in critical:
        _check_stripes(body, parts[2])
    return Announcement(data, body, parts, tuple((part, start, stop) for part, start, stop in body["spans"]))


def _check_stripes(body: dict[str, Any], chunks: Geometry) -> None:
    """Section Sets, M-15."""
    volumes = body.get("volumes", 0)
    need(body["carrier"] == "media" and volumes >= 2, "M-15", "stripes without two volumes of media")
    need(body["volume"] <= volumes, "M-15", "volume")
    smallest = min((chunks.sources_of(block) for block in range(chunks.block_count)), default=None)
    need(smallest is None or smallest + chunks.repair_count >= volumes, "M-15", "a block has no symbol on some volume")


def _geometry(part: dict[str, Any], media: bool) -> Geometry:
    made = Geometry(*(field(part, name, is_int(0), "M-13") for name in _FIELDS))
    try:
        made.check()
    except RefusedError as error:
        raise RefusedError("M-13", str(error)) from None
    need(not media or made.symbol_size % PAGE == 0, "M-6", "symbol_size on media")
    return made


class Run(NamedTuple):
    """Up to 64 records of one group, and where they lie."""

    number: int
    file: int
    at: int  # of the index block before it
    part: int
    group: int
    first: int  # which record of the group
    records: int


def lay_out(announcement: Announcement, preamble_length: int) -> list[Run]:
    """Section Records, runs, files: every run's place, within the limits M-10 and M-11."""
    need(sum(stop - start for _, start, stop in announcement.spans) <= 2**20, "M-10", "too many groups")
    sizes = [
        (part, group, announcement.count_records(part, group))
        for part, start, stop in announcement.spans
        for group in range(start, stop)
    ]
    need(sum(-(-records // 64) for _, _, records in sizes) <= 2**20, "M-10", "too many runs")
    ahead = PAGE + -(-preamble_length // PAGE) * PAGE
    largest = announcement.body["file_bytes"] - ahead - PAGE  # opening and closing; the closing index block beside
    file, at = 1, ahead
    runs: list[Run] = []
    for part, group, records in sizes:
        for first in range(0, records, 64):
            count = min(64, records - first)
            length = PAGE + count * announcement.parts[part].symbol_size
            need(ahead + length <= largest, "M-11", "a run fits into no file")
            if at + length > largest:
                file, at = file + 1, ahead
                need(file <= 999, "M-11", "too many files")
            runs.append(Run(len(runs), file, at, part, group, first, count))
            at += length
    return runs
