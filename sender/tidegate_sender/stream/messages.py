"""Datagrams as the kernel takes them: arrays of messages that point at headers and symbols where they lie.

A message is a run of datagrams of one size that the kernel cuts (UDP_SEGMENT), or one datagram. Each datagram is two
pieces, its header (a row of one array) and its symbol (where it was read, or computed), so nothing is laid out anew.
Everything here is numpy arrays that have the layout of the C structures ``iovec``, ``msghdr`` and ``mmsghdr`` of 64-bit
Linux; the system call is in link.py.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.stream.header import HEADER_BYTES, RawHeaders

IOVEC = np.dtype([("base", "<u8"), ("length", "<u8")])
#: struct mmsghdr: a msghdr of 56 bytes, and how many bytes of it were sent
MMSGHDR = np.dtype(
    [
        ("name", "<u8"),
        ("namelen", "<u4"),
        ("_1", "<u4"),
        ("iov", "<u8"),
        ("iovlen", "<u8"),
        ("control", "<u8"),
        ("controllen", "<u8"),
        ("flags", "<i4"),
        ("_2", "<u4"),
        ("sent", "<u4"),
        ("_3", "<u4"),
    ]
)
#: a control message: SOL_UDP, UDP_SEGMENT, the size of the datagrams
_CMSG = np.dtype([("length", "<u8"), ("level", "<i4"), ("type", "<i4"), ("value", "<u2"), ("_", "V6")])
_CMSG_LENGTH = 18
SOL_UDP = 17
UDP_SEGMENT = 103

PIECES = 2  # of a datagram: header and symbol
SEGMENTS_MAX = 64  # datagrams a message: what kernels before 6.9 take
MESSAGE_MAX_BYTES = 65487  # 65535 - IPv6 header 40 - UDP 8, also where IPv4 would take 20 more


@dataclass(frozen=True, slots=True)
class Control:
    """Datagrams that go, one by one, before datagram `position` of a group."""

    position: int
    datagrams: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MessageArray:
    """Messages in the order of sending. `bytes_of` and `datagrams_of` count each; `keep` is what they point into."""

    messages: NDArray[np.void]
    bytes_of: NDArray[np.int64]
    datagrams_of: NDArray[np.int64]
    keep: tuple[object, ...]

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def total_bytes(self) -> int:
        return int(self.bytes_of.sum())

    @property
    def total_datagrams(self) -> int:
        return int(self.datagrams_of.sum())


def segments_per_message(datagram_bytes: int, *, segmentation: bool, most_bytes: int) -> int:
    """How many datagrams one message may hold; `most_bytes` keeps a message short where the rate is low."""
    if not segmentation:
        return 1
    return max(1, min(SEGMENTS_MAX, MESSAGE_MAX_BYTES // datagram_bytes, most_bytes // datagram_bytes))


def group_messages(
    headers: RawHeaders,
    addresses: NDArray[np.uint64],
    lengths: NDArray[np.int64],
    controls: tuple[Control, ...],
    per_message: int,
) -> MessageArray:
    """The messages of datagrams with `headers`, whose symbols lie at `addresses`, with `controls` among them.

    All of `lengths` are equal, but that any may be shorter: such a one ends its message. The caller keeps alive what
    `addresses` point at.
    """
    vectors = _datagram_vectors(headers, addresses, lengths)
    extra, extra_data = _control_vectors(controls)
    starts, counts = _cut(lengths, controls, per_message)
    # messages of the group, with those of the controls put between them by position
    before = np.repeat([control.position for control in controls], [len(control.datagrams) for control in controls])
    places = np.searchsorted(starts, before.astype(np.int64), side="left")
    total = len(starts) + len(extra)
    is_extra = np.zeros(total, np.bool_)
    is_extra[places + np.arange(len(extra))] = True

    messages = np.zeros(total, MMSGHDR)
    own = ~is_extra
    messages["iov"][own] = vectors.ctypes.data + starts * PIECES * IOVEC.itemsize
    messages["iovlen"][own] = counts * PIECES
    messages["iov"][is_extra] = extra.ctypes.data + np.arange(len(extra)) * IOVEC.itemsize
    messages["iovlen"][is_extra] = 1
    control = _segment_control(HEADER_BYTES + int(lengths.max()) if len(lengths) else HEADER_BYTES)
    cut_by_kernel = own.copy()
    cut_by_kernel[own] = counts > 1
    messages["control"][cut_by_kernel] = control.ctypes.data
    messages["controllen"][cut_by_kernel] = control.nbytes

    datagrams_of = np.ones(total, np.int64)
    datagrams_of[own] = counts
    bytes_of = np.zeros(total, np.int64)
    sums = np.concatenate(([0], np.cumsum(lengths + HEADER_BYTES)))
    bytes_of[own] = sums[starts + counts] - sums[starts]
    bytes_of[is_extra] = extra["length"]
    return MessageArray(messages, bytes_of, datagrams_of, (headers, vectors, extra, extra_data, control))


def control_messages(datagrams: tuple[bytes, ...]) -> MessageArray:
    """Messages of single datagrams."""
    empty = np.zeros((0, HEADER_BYTES), np.uint8)
    nothing = np.zeros(0, np.int64)
    return group_messages(empty, nothing.astype(np.uint64), nothing, (Control(0, datagrams),), 1)


def _datagram_vectors(
    headers: RawHeaders, addresses: NDArray[np.uint64], lengths: NDArray[np.int64]
) -> NDArray[np.void]:
    vectors = np.zeros((len(headers), PIECES), IOVEC)
    vectors["base"][:, 0] = headers.ctypes.data + np.arange(len(headers)) * HEADER_BYTES
    vectors["length"][:, 0] = HEADER_BYTES
    vectors["base"][:, 1] = addresses
    vectors["length"][:, 1] = lengths
    return vectors


def _control_vectors(controls: tuple[Control, ...]) -> tuple[NDArray[np.void], NDArray[np.uint8]]:
    datagrams = [datagram for control in controls for datagram in control.datagrams]
    data = np.frombuffer(b"".join(datagrams) or b"\0", np.uint8)
    sizes = np.array([len(datagram) for datagram in datagrams], np.int64)
    vectors = np.zeros(len(datagrams), IOVEC)
    vectors["base"] = data.ctypes.data + np.cumsum(sizes) - sizes
    vectors["length"] = sizes
    return vectors, data


def _cut(
    lengths: NDArray[np.int64], controls: tuple[Control, ...], per_message: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(first datagram, number of datagrams) of each message: full ones between the places where one must begin."""
    if not len(lengths):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # The kernel takes only the last datagram of a message shorter than the others.
    after_short = np.flatnonzero(lengths < lengths.max()) + 1
    edges = np.unique(np.concatenate(([0], after_short, [control.position for control in controls], [len(lengths)])))
    edges = edges.astype(np.int64)
    pieces = [np.arange(first, end, per_message) for first, end in itertools.pairwise(edges.tolist())]
    starts = np.concatenate(pieces)
    return starts, np.diff(np.concatenate((starts, [len(lengths)])))


def _segment_control(datagram_bytes: int) -> NDArray[np.void]:
    control = np.zeros(1, _CMSG)
    control["length"] = _CMSG_LENGTH
    control["level"] = SOL_UDP
    control["type"] = UDP_SEGMENT
    control["value"] = datagram_bytes
    return control
