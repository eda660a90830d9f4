"""Find what is ours on a medium whose file system is broken: a walk over its bytes, by magic and digest alone.

    every 512 bytes: a magic? ─► label: a preamble, an announcement
                              └► index block: an announcement, and where a run lies

Only *where* index blocks lie is remembered, by volume; records are read, and their digests compared, when their group
is (`carved_reader`). An announcement is shown to the `Judge` before anything but a small, fixed store is spent on it.
Every byte is looked at, also between index blocks that follow each other as they should: an old volume was deleted, and
a small new one may lie in the midst of one of its runs. Format: docs/format/media.md, "Carving".
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tidegate.bundle.header import align
from tidegate.carrier.announcement import read_announcement_frame
from tidegate.carrier.blocks import (
    BLOCK_BYTES,
    INDEX_MAGIC,
    LABEL_MAGIC,
    IndexBlock,
    Label,
    Place,
    parse_index,
    parse_label,
    preamble_digest,
)
from tidegate.carrier.frames import Frame
from tidegate.carrier.positional import aligned_memory
from tidegate.carrier.raw_medium import RawMedium
from tidegate.errors import CarrierFormatError
from tidegate.units import MIB

#: clusters of file systems begin at multiples of it, whatever their size
SECTOR_BYTES = 512
PIECE_BYTES = 8 * MIB
#: believed volumes of one medium
VOLUMES_MAX = 4096
#: index blocks of all believed volumes: twice what the runs of a medium may be (2^20), 12 bytes each
BLOCKS_MAX = 2**21
#: announcements that nothing vouches for yet, and index blocks remembered for them: the root may stand behind them
WAITING_VOLUMES_MAX = 256
WAITING_BLOCKS_MAX = 65_536
#: signatures looked at; identical announcements count once
JUDGEMENTS_MAX = 20_000
#: roots' chains that lead on a pinned one, 64 KiB each, and how many are looked at
PREAMBLES_MAX = 64
PREAMBLES_TRIED_MAX = 1024
#: places at which one is looked for: each costs 64 KiB of reading, and any block may name one
PREAMBLE_PLACES_MAX = 20_000

Progress = Callable[[int, int], None]


class Judge(Protocol):
    """Who knows the pinned roots. Both answers may be wrong only towards less: everything is verified again."""

    def channel_of(self, frame: Frame) -> str:
        """The channel whose carrier key signed this announcement; empty where it is none that is known."""

    def learn(self, preamble: bytes) -> str:
        """Take in a chain of roots; the known channel that it belongs to, or nothing."""


@dataclass(slots=True)
class CarvedVolume:
    """One volume by what was found of it. `runs` and `offsets` are parallel: the index block of a run, and where."""

    frame: Frame
    preamble_length: int
    channel: str
    preamble: bytes | None = None
    runs: "array[int]" = field(default_factory=lambda: array("I"))
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))

    @property
    def is_believed(self) -> bool:
        return bool(self.channel)

    def note(self, run: int, offset: int) -> None:
        self.runs.append(run)
        self.offsets.append(offset)


@dataclass(slots=True)
class CarvingStats:
    """What the walk met. `unlisted` counts blocks beyond a limit."""

    bytes_read: int = 0
    index_blocks: int = 0
    blocks_damaged: int = 0
    unlisted: int = 0


class Carving:
    """One walk over a medium; `run` is called once, and `volumes` holds what it found."""

    def __init__(self, medium: RawMedium, judge: Judge, progress: Progress | None = None) -> None:
        self.medium = medium
        self.judge = judge
        self.stats = CarvingStats()
        self.phases: set[int] = set()
        self._progress = progress
        self._believed: dict[tuple[bytes, int], CarvedVolume] = {}
        self._waiting: dict[tuple[bytes, int], CarvedVolume] = {}
        self._preambles: list[tuple[str, bytes]] = []
        self._preambles_tried: set[bytes] = set()
        self._preamble_places = 0
        self._judgements = 0
        self._blocks = self._waiting_blocks = 0
        self._memory = aligned_memory(PIECE_BYTES)

    @property
    def volumes(self) -> tuple[CarvedVolume, ...]:
        """Believed volumes first, in the order in which they were found; then those that nothing vouches for."""
        return (*self._believed.values(), *self._waiting.values())

    def run(self) -> None:
        """Raises MediumLostError where the medium goes away; damage raises nothing."""
        for start in range(0, self.medium.size, PIECE_BYTES):
            self._walk_piece(start)
            if self._progress:
                self._progress(min(start + PIECE_BYTES, self.medium.size), self.medium.size)
        self._judge_again()
        for volume in self.volumes:
            volume.preamble = self._preamble_of(volume)

    # --- the walk -----------------------------------------------------------------------------

    def _walk_piece(self, start: int) -> None:
        length = min(PIECE_BYTES, self.medium.size - start)
        view = self._memory[:length]
        for good_start, good_end in self.medium.read_piece(view, start):
            self.stats.bytes_read += good_end - good_start
            for offset in _magic_offsets(view[good_start:good_end], start + good_start):
                block = self._block(view, start, good_end, offset)
                if block is not None:
                    self._take_block(block, offset)

    def _block(self, view: memoryview, start: int, good_end: int, offset: int) -> bytes | None:
        at = offset - start
        if at + BLOCK_BYTES <= good_end:
            return bytes(view[at : at + BLOCK_BYTES])
        return self.medium.read_block(offset)

    def _take_block(self, block: bytes, offset: int) -> None:
        """Take in what may be a label or an index block."""
        try:
            if block[:4] == LABEL_MAGIC:
                self._take_label(parse_label(block), offset)
            else:
                self._take_index(parse_index(block), offset)
        except CarrierFormatError:
            self.stats.blocks_damaged += 1

    # --- labels and index blocks --------------------------------------------------------------

    def _take_index(self, index: IndexBlock, offset: int) -> None:
        """Let the volume that an index block belongs to know of it."""
        self.stats.index_blocks += 1
        if not index.before.size:  # the first of its file: the preamble stands before it
            self._try_preamble(offset - align(index.preamble_length), index.preamble_length, None)
        volume = self._volume_of(index.announcement, index.tag, index.preamble_length)
        if volume is None:
            return
        if not volume.is_believed:
            if self._waiting_blocks < WAITING_BLOCKS_MAX:
                self._waiting_blocks += 1
                volume.note(index.run, offset)
        elif self._blocks < BLOCKS_MAX:
            self._blocks += 1
            self.phases.add(offset % BLOCK_BYTES)
            volume.note(index.run, offset)
        else:
            self.stats.unlisted += 1

    def _take_label(self, label: Label, offset: int) -> None:
        length = label.preamble_length
        place = offset + BLOCK_BYTES if label.place == Place.OPENING else offset - align(length)
        self._try_preamble(place, length, label.preamble_digest)
        self._volume_of(label.announcement, label.tag, length)

    def _try_preamble(self, offset: int, length: int, digest: bytes | None) -> None:
        """Show the judge a chain of roots once. Its length was limited where it was parsed (M-12)."""
        if not length or digest in self._preambles_tried or len(self._preambles) >= PREAMBLES_MAX:
            return
        if self._preamble_places >= PREAMBLE_PLACES_MAX:
            self.stats.unlisted += 1
            return
        self._preamble_places += 1
        data = self.medium.read_block(offset, length)
        if data is None:
            return
        found = preamble_digest(data)
        if found in self._preambles_tried or digest not in (None, found):
            return
        if len(self._preambles_tried) >= PREAMBLES_TRIED_MAX:
            self.stats.unlisted += 1
            return
        self._preambles_tried.add(found)
        channel = self.judge.learn(data)
        if channel:
            self._preambles.append((channel, data))
            self._judge_again()

    def _volume_of(self, announcement: bytes, tag: bytes, preamble_length: int) -> CarvedVolume | None:
        key = (tag, preamble_length)
        known = self._believed.get(key) or self._waiting.get(key)
        if known is not None:
            return known
        try:
            frame = read_announcement_frame(announcement)
        except CarrierFormatError:
            return None
        if frame.tag != tag:
            return None
        volume = CarvedVolume(frame, preamble_length, self._channel_of(frame))
        room = VOLUMES_MAX - len(self._believed) if volume.is_believed else WAITING_VOLUMES_MAX - len(self._waiting)
        if room <= 0:
            self.stats.unlisted += 1
            return None
        (self._believed if volume.is_believed else self._waiting)[key] = volume
        return volume

    def _channel_of(self, frame: Frame) -> str:
        self._judgements += 1
        return self.judge.channel_of(frame) if self._judgements <= JUDGEMENTS_MAX else ""

    def _judge_again(self) -> None:
        """A root that was just found may vouch for announcements that stood before it."""
        for key, volume in tuple(self._waiting.items()):
            volume.channel = self.judge.channel_of(volume.frame) if len(self._believed) < VOLUMES_MAX else ""
            if volume.is_believed:
                self._blocks += len(volume.runs)
                self._waiting_blocks -= len(volume.runs)
                self.phases |= {offset % BLOCK_BYTES for offset in volume.offsets}
                self._believed[key] = self._waiting.pop(key)

    def _preamble_of(self, volume: CarvedVolume) -> bytes | None:
        """The chain of the volume's channel and length; with none the stored roots count."""
        fits = (data for channel, data in self._preambles if channel == volume.channel)
        return next((data for data in fits if len(data) == volume.preamble_length), None)


def _magic_offsets(view: memoryview, start: int) -> Iterator[int]:
    """The offsets, on the medium, of sectors in `view` that begin with one of our magics. `start` is where it lies."""
    lead = -start % SECTOR_BYTES
    usable = (len(view) - lead) // SECTOR_BYTES * SECTOR_BYTES
    if usable <= 0:
        return
    firsts = np.frombuffer(view, "<u4", usable // 4, lead)[:: SECTOR_BYTES // 4]
    hits = np.flatnonzero((firsts == _LABEL_WORD) | (firsts == _INDEX_WORD))
    for hit in hits.tolist():
        yield start + lead + hit * SECTOR_BYTES


_LABEL_WORD = int.from_bytes(LABEL_MAGIC, "little")
_INDEX_WORD = int.from_bytes(INDEX_MAGIC, "little")
