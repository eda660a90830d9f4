"""A group made ready to be sent: its sources mapped or read, its repairs computed, its headers and messages laid out.

Sources of the chunks are not read at all: the group's range of the bundle file is mapped, the erasure code and the
kernel read it where it is, and the mapping goes with the group. The range is populated first (MADV_POPULATE_READ), so
that a disk that fails is an error by name and no signal. Cover, head, the group with the short last symbol, and kernels
before 5.14 take the way through memory.
"""

import contextlib
import errno
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.container import CHUNKS, BundleFile
from tidegate.carrier.announcement import Announcement
from tidegate.carrier.stream.header import Kind, build_headers
from tidegate.carrier.stream.session import sending_order, symbol_lengths
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate.erasure.engine import Rows, load_engine
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.matrices import parity_matrix
from tidegate.errors import MediaError
from tidegate.files import host_error
from tidegate_sender.stream.messages import Control, MessageArray, group_messages, segments_per_message

_MADV_POPULATE_READ = 22
_NOT_KNOWN = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
BUFFERS = 2  # one group is sent while the next one is made ready


@dataclass(frozen=True, slots=True)
class GroupTask:
    """What to make ready. `first_running` is the running number of the first datagram, controls counted too."""

    part: int
    group: int
    first_symbol: int
    first_running: int
    controls: tuple[Control, ...]
    #: for each control, how many of its datagrams have the session's tag, and so a running number
    control_counts: tuple[int, ...]
    most_message_bytes: int
    segmentation: bool


class ReadyGroup:
    """A group that can be sent; `release` gives its memory back."""

    def __init__(
        self, messages: MessageArray, buffer: GroupBuffer, window: "_Window | None", owner: "GroupMaker"
    ) -> None:
        self.messages = messages
        self._buffer = buffer
        self._window = window
        self._owner = owner

    def release(self) -> None:
        if self._window is not None:
            self._window.close()
        self._owner.give_back(self._buffer)


class GroupMaker:
    """Makes the groups of one session ready, in any order, one at a time. Not to be used by two threads at once."""

    def __init__(self, bundle: BundleFile, announcement: Announcement, tag: bytes, *, map_files: bool = True) -> None:
        self._bundle = bundle
        self._announcement = announcement
        self._tag = tag
        self._map_files = map_files
        self._engine = load_engine()
        self._free: dict[PartGeometry, list[GroupBuffer]] = {}
        self._plans: dict[tuple[int, int], Any] = {}

    def make(self, task: GroupTask) -> ReadyGroup:
        """Raises HostError where the bundle file cannot be read."""
        geometry = self._announcement.geometry(task.part)
        buffer = self._take(geometry)
        try:
            buffer.bind(task.group)
            window = self._open_window(geometry, task)
            sources = self._fill(buffer, task) if window is None else self._encode_window(buffer, window)
            messages = self._lay_out(buffer, sources, task)
        except BaseException:
            self.give_back(buffer)
            raise
        return ReadyGroup(messages, buffer, window, self)

    def give_back(self, buffer: GroupBuffer) -> None:
        self._free.setdefault(buffer.geometry, []).append(buffer)

    def _take(self, geometry: PartGeometry) -> GroupBuffer:
        waiting = self._free.get(geometry)
        if waiting:
            return waiting.pop()
        self._free = {geometry: []}  # of another part: that one is done, or there is little of it
        return GroupBuffer(geometry)

    def _fill(self, buffer: GroupBuffer, task: GroupTask) -> int:
        """Read the sources into the buffer and encode there; the address of the first source."""
        offset, _ = buffer.geometry.group_extent(task.group)
        self._bundle.read_into(task.part, offset, buffer.source_view())
        GroupCodec(buffer.geometry, self._engine, threads=1).encode(buffer)
        return int(buffer.memory.ctypes.data)

    def _open_window(self, geometry: PartGeometry, task: GroupTask) -> "_Window | None":
        offset, length = geometry.group_extent(task.group)
        whole_symbols = length == sum(geometry.group_source_counts(task.group)) * geometry.symbol_size
        if not self._map_files or task.part != CHUNKS or not whole_symbols:
            return None
        window = _Window.open(self._bundle, self._bundle.header.parts[CHUNKS].offset + offset, length)
        self._map_files = window is not None
        return window

    def _encode_window(self, buffer: GroupBuffer, window: "_Window") -> int:
        """Encode from the mapped file into the repairs of the buffer, whose own sources are never touched."""
        size, repairs = buffer.geometry.symbol_size, buffer.geometry.repair_count
        first = 0
        for position, count in enumerate(buffer.source_counts):
            if repairs:
                sources = Rows(window.memory, np.arange(first, first + count, dtype=np.int64) * size)
                targets = Rows(buffer.memory, buffer.repair_offsets(position))
                self._engine.multiply(self._plan(count, repairs), sources, targets, size)
            first += count
        return window.address

    def _plan(self, sources: int, repairs: int) -> Any:
        if (sources, repairs) not in self._plans:
            self._plans[sources, repairs] = self._engine.plan(parity_matrix(sources, repairs))
        return self._plans[sources, repairs]

    def _lay_out(self, buffer: GroupBuffer, sources: int, task: GroupTask) -> MessageArray:
        geometry = buffer.geometry
        order = sending_order(geometry, task.group, task.first_symbol)
        lengths = symbol_lengths(geometry, task.group, order)
        headers = build_headers(
            Kind.DATA,
            self._tag,
            len(order),
            first_running=task.first_running + _before_each(len(order), task),
            lengths=lengths,
            part=task.part,
            symbols=order[:, 1],
            blocks=order[:, 0] + geometry.group_blocks(task.group)[0],
        )
        per_message = segments_per_message(
            headers.shape[1] + geometry.symbol_size, segmentation=task.segmentation, most_bytes=task.most_message_bytes
        )
        addresses = _addresses(buffer, order, sources)
        return group_messages(headers, addresses, lengths, task.controls, per_message)


def _before_each(count: int, task: GroupTask) -> NDArray[np.int64]:
    """How many control datagrams of the session's tag go before each datagram of the group."""
    before = np.zeros(count, np.int64)
    for control, numbered in zip(task.controls, task.control_counts, strict=True):
        before[control.position :] += numbered
    return before


def _addresses(buffer: GroupBuffer, order: NDArray[np.int64], sources: int) -> NDArray[np.uint64]:
    """Where each symbol of `order` lies; `sources` is the address of the group's first source."""
    size = buffer.geometry.symbol_size
    positions, symbols = order[:, 0], order[:, 1]
    counts = np.array(buffer.source_counts, np.int64)
    first_sources = np.concatenate(([0], np.cumsum(counts)[:-1])) * size + sources
    first_repairs = np.array(
        [buffer.repair_offsets(at)[0] if buffer.geometry.repair_count else 0 for at in range(len(counts))]
    )
    first_repairs += buffer.memory.ctypes.data
    is_source = symbols < counts[positions]
    found = np.where(
        is_source,
        first_sources[positions] + symbols * size,
        first_repairs[positions] + (symbols - counts[positions]) * size,
    )
    return found.astype(np.uint64)


class _Window:
    """A range of the bundle file in memory, read-only, all of it there."""

    def __init__(self, mapping: mmap.mmap, start: int, length: int) -> None:
        self._mapping = mapping
        self.memory: NDArray[np.uint8] = np.frombuffer(mapping, np.uint8, length, start)
        self.address = int(self.memory.ctypes.data)

    @classmethod
    def open(cls, bundle: BundleFile, offset: int, length: int) -> "_Window | None":
        """None where this kernel cannot populate a mapping. Raises HostError where the file cannot be read."""
        start = offset % mmap.ALLOCATIONGRANULARITY
        try:
            fd = os.open(bundle.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise host_error(error, "reading a bundle") from None
        try:
            if os.fstat(fd).st_size < offset + length:
                raise MediaError(f"{bundle.path}: became shorter while it was sent")
            mapping = mmap.mmap(fd, start + length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset - start)
        except OSError as error:
            raise host_error(error, "reading a bundle") from None
        finally:
            os.close(fd)
        try:
            mapping.madvise(_MADV_POPULATE_READ)
        except OSError as error:
            mapping.close()
            if error.errno in _NOT_KNOWN:
                return None
            raise host_error(error, f"reading {bundle.path}") from None
        return cls(mapping, start, length)

    def close(self) -> None:
        del self.memory
        with contextlib.suppress(BufferError):
            self._mapping.close()


def released(groups: Sequence[ReadyGroup | None]) -> None:
    """Release those of `groups` that are there."""
    for group in groups:
        if group is not None:
            group.release()
