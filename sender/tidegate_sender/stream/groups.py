"""A group made ready to be sent: its sources read, its repairs computed, its headers and messages laid out.

Symbols stay where they were read and computed: messages point at them. (To map the bundle file and not read it at all
was tried: filling page tables costs what the copy does. Decision 0021.)
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.announcement import Announcement
from tidegate.carrier.stream.header import Kind, build_headers
from tidegate.carrier.stream.session import sending_order, symbol_lengths
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.choice import load_engine
from tidegate.erasure.codec import GroupCodec
from tidegate.erasure.geometry import PartGeometry
from tidegate_sender.stream.messages import Control, MessageArray, group_messages, segments_per_message


class BundleParts(Protocol):
    """What is asked of a bundle."""

    def read_into(self, part: int, offset: int, view: memoryview) -> None: ...


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

    def __init__(self, messages: MessageArray, buffer: GroupBuffer, owner: "GroupMaker") -> None:
        self.messages = messages
        self._buffer = buffer
        self._owner = owner

    def release(self) -> None:
        self._owner.give_back(self._buffer)


class GroupMaker:
    """Makes the groups of one session ready, in any order, one at a time. Not to be used by two threads at once."""

    def __init__(self, bundle: BundleParts, announcement: Announcement, tag: bytes) -> None:
        self._bundle = bundle
        self._announcement = announcement
        self._tag = tag
        self._engine = load_engine()
        self._codecs: dict[PartGeometry, GroupCodec] = {}
        self._free: dict[PartGeometry, list[GroupBuffer]] = {}

    def make(self, task: GroupTask) -> ReadyGroup:
        """Raises HostError where the bundle file cannot be read, FormatError where it became shorter."""
        geometry = self._announcement.geometry(task.part)
        buffer = self._take(geometry)
        try:
            buffer.bind(task.group)
            offset, _ = geometry.group_extent(task.group)
            self._bundle.read_into(task.part, offset, buffer.source_view())
            self._codec(geometry).encode(buffer)
            messages = self._lay_out(buffer, task)
        except BaseException:
            self.give_back(buffer)
            raise
        return ReadyGroup(messages, buffer, self)

    def give_back(self, buffer: GroupBuffer) -> None:
        self._free.setdefault(buffer.geometry, []).append(buffer)

    def _take(self, geometry: PartGeometry) -> GroupBuffer:
        waiting = self._free.get(geometry)
        if waiting:
            return waiting.pop()
        for other in list(self._free):  # of another part: that one is done, or there is little of it
            if other != geometry:
                del self._free[other]
        return GroupBuffer(geometry)

    def _codec(self, geometry: PartGeometry) -> GroupCodec:
        if geometry not in self._codecs:
            # One thread: the other core sends, or receives.
            self._codecs[geometry] = GroupCodec(geometry, self._engine, threads=1)
        return self._codecs[geometry]

    def _lay_out(self, buffer: GroupBuffer, task: GroupTask) -> MessageArray:
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
        addresses = _addresses(buffer, order)
        return group_messages(headers, addresses, lengths, task.controls, per_message)


def _before_each(count: int, task: GroupTask) -> NDArray[np.int64]:
    """How many control datagrams of the session's tag go before each datagram of the group."""
    before = np.zeros(count, np.int64)
    for control, numbered in zip(task.controls, task.control_counts, strict=True):
        before[control.position :] += numbered
    return before


def _addresses(buffer: GroupBuffer, order: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Where each symbol of `order` lies in memory."""
    positions, symbols = order[:, 0], order[:, 1]
    blocks = range(len(buffer.source_counts))
    table = np.zeros((len(blocks), max(buffer.source_counts) + buffer.geometry.repair_count), np.int64)
    for block in blocks:
        offsets = np.concatenate((buffer.source_offsets(block), buffer.repair_offsets(block)))
        table[block, : len(offsets)] = offsets
    return (table[positions, symbols] + buffer.memory.ctypes.data).astype(np.uint64)
