"""Symbols of groups that cannot be mended yet, kept until another medium brings what they lack.

    spool/<bundle_id>/symbols-K-R-S-D/
        data    every record of part 2 at the place of its number, with holes
        map     which of them are there: "TGSM", five numbers of the code, a bit a record, BLAKE3-256 of all before

Kept are the shares of a striped set, the symbols of blocks that are damaged beyond repair, and the pieces of chunks
that reach from one volume of a set into the next. Nothing of it is verified but by the index blocks of its medium: the
chunk digests decide when it is used, and where they differ everything kept is forgotten. The map is written after the
data was synced, so after a crash what it does not know is read from the medium again.
"""

import itertools
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import blake3
import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.geometry import PartGeometry
from tidegate.files import make_folders, write_all_at, write_durably
from tidegate_receiver.reassembly.spool import disk

_HEAD: Final = struct.Struct("<4s5Q")
_MAGIC: Final = b"TGSM"
_DIGEST_BYTES: Final = 32

#: of a part: a flag for each is in memory. Twice the records of 4 TiB in symbols of 64 KiB with a tenth of repairs
RECORDS_MAX: Final = 2**27

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SymbolRows:
    """Symbols of one group, copied out of its memory: their rising places in record order, and a row for each."""

    group: int
    numbers: NDArray[np.int64]
    rows: NDArray[np.uint8]


def numbers_and_slots(buffer: GroupBuffer, symbols: Flags) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The present ones of `symbols`, a mask like `present`: places in record order, and rows in `buffer`."""
    order = buffer.geometry.record_order(buffer.group)
    numbers = np.flatnonzero((buffer.present & symbols)[order[:, 0], order[:, 1]])
    return numbers, buffer.slot_numbers(order[numbers, 0], order[numbers, 1])


def _runs(numbers: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """[start, end) of stretches of `numbers` in which each is one more than the one before."""
    edges = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
    yield from itertools.pairwise(edges)


class SymbolStore:
    """The kept symbols of one bundle in one code. `may_keep` says whether so many bytes more may be taken."""

    def __init__(self, spool_folder: Path, geometry: PartGeometry, may_keep: Callable[[int], bool]) -> None:
        code = (geometry.source_count, geometry.repair_count, geometry.symbol_size, geometry.interleave)
        self.folder = spool_folder / "-".join(["symbols", *map(str, code)])
        self.geometry = geometry
        self._record_count = geometry.symbol_total + geometry.block_count * geometry.repair_count
        #: a carrier key may announce a code of many more repairs than content; nothing of such a one is kept
        self._fits = self._record_count <= RECORDS_MAX
        self.refused_bytes = 0
        self._head = _HEAD.pack(_MAGIC, geometry.length, *code)
        self._may_keep = may_keep
        self._flags: Flags | None = None
        self._is_saved = True

    # --- which are there ----------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        return self._fits and self.folder.is_dir()

    def groups(self) -> tuple[int, ...]:
        """The groups of which something is kept, rising."""
        if self._flags is None and not self.exists:
            return ()
        flags = self._loaded()
        starts = np.array([self._first_record(group) for group in range(self.geometry.group_count)], np.int64)
        return tuple(np.flatnonzero(np.add.reduceat(flags, starts, dtype=np.int64)).tolist())

    def _first_record(self, group: int) -> int:
        first = self.geometry.group_blocks(group)[0]
        return self.geometry.block_first_symbol(first) + first * self.geometry.repair_count

    def _flags_of(self, group: int) -> Flags:
        first = self._first_record(group)
        return self._loaded()[first : first + self.geometry.group_record_count(group)]

    def _loaded(self) -> Flags:
        if self._flags is None:
            self._flags = self._read_map(self._record_count)
        return self._flags

    def _read_map(self, count: int) -> Flags:
        """What the map says; nothing where it is missing, damaged or of another code."""
        with disk("reading what was kept"):
            try:
                data = (self.folder / "map").read_bytes()
            except FileNotFoundError:
                return np.zeros(count, np.bool_)
        body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        whole = len(body) == len(self._head) + -(-count // 8) and body.startswith(self._head)
        if not whole or blake3.blake3(body).digest() != digest:
            return np.zeros(count, np.bool_)
        bits = np.frombuffer(body, np.uint8, offset=len(self._head))
        return np.unpackbits(bits, count=count).astype(np.bool_)

    # --- in and out ---------------------------------------------------------------------------

    def read_group(self, group: int, buffer: GroupBuffer) -> None:
        """Fill the slots of the bound `buffer` that are kept and not present."""
        if self._flags is None and not self.exists:
            return
        order = self.geometry.record_order(group)
        wanted = np.flatnonzero(self._flags_of(group) & ~buffer.present[order[:, 0], order[:, 1]])
        if not len(wanted):
            return
        targets = buffer.slot_numbers(order[wanted, 0], order[wanted, 1])
        size, first = self.geometry.symbol_size, self._first_record(group)
        with disk("reading what was kept"):
            fd = os.open(self.folder / "data", os.O_RDONLY | os.O_CLOEXEC)
            try:
                # Neighbours in the file lie far apart in memory, and the other way round: by runs, then row by row.
                for start, end in _runs(wanted):
                    rows = np.zeros((end - start, size), np.uint8)
                    whole = os.preadv(fd, [rows.data.cast("B")], (first + int(wanted[start])) * size) // size
                    buffer.rows[targets[start : start + whole]] = rows[:whole]
                    filled = order[wanted[start : start + whole]]
                    buffer.present[filled[:, 0], filled[:, 1]] = True
            finally:
                os.close(fd)

    def keep(self, group: int, buffer: GroupBuffer, symbols: Flags) -> bool:
        """Keep the present ones of `symbols`, a mask like `present`, of the bound `buffer`.

        False, and nothing is kept, where there is no room.
        """
        numbers, slots = numbers_and_slots(buffer, symbols)
        if self._fits:
            is_new = ~self._flags_of(group)[numbers]
            numbers, slots = numbers[is_new], slots[is_new]
        return self.keep_rows(SymbolRows(group, numbers, buffer.rows[slots]))

    def keep_rows(self, cut: SymbolRows) -> bool:
        """As `keep`, for symbols that were copied out of their group before."""
        size = self.geometry.symbol_size
        needed = len(cut.numbers) * size
        if not needed:
            return True
        if not self._fits or not self._may_keep(needed):
            self.refused_bytes += needed
            return False
        first = self._first_record(cut.group)
        with disk("keeping what cannot be repaired yet"):
            make_folders(self.folder, mode=0o700)
            fd = os.open(self.folder / "data", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                for start, end in _runs(cut.numbers):
                    write_all_at(fd, cut.rows[start:end].data.cast("B"), (first + int(cut.numbers[start])) * size)
            finally:
                os.close(fd)
        self._flags_of(cut.group)[cut.numbers] = True
        self._is_saved = False
        return True

    def save(self) -> None:
        """Write the map. The caller has synced the file system since the last `keep`."""
        if self._is_saved:
            return
        body = self._head + np.packbits(self._loaded()).tobytes()
        with disk("saving what was kept"):
            write_durably(self.folder / "map", body + blake3.blake3(body).digest(), mode=0o600)
        self._is_saved = True

    def forget(self) -> None:
        """Remove everything kept: some of it is not what was signed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._flags, self._is_saved = None, True


def kept_bytes(spool_folder: Path) -> int:
    """What all stores of a bundle take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in spool_folder.glob("symbols-*/data"))
