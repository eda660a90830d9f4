"""Headers of datagrams, built and checked as whole arrays: at a million datagrams a second none can be looked at alone.

The checksum is CRC-32C, which is affine: the CRC of 28 bytes is a constant XOR one table entry for each byte that is
not zero. Bytes that are the same in all headers of an array (magic, tag, most of the numbers) are folded into that
constant once, so a header costs a table look-up for each of the few bytes in which the headers differ.

Layout: docs/format/stream.md, "Datagram". Bytes in, values out; no datagram of any content raises anything.
"""

import struct
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.announcement import STREAM_SYMBOL_MAX_BYTES
from tidegate.erasure.geometry import CODEWORD_MAX_SYMBOLS

HEADER_BYTES = 32
MAGIC = b"TGS1"
TAG_BYTES = 8
PARTS = 3
PIECES_MAX = 64
RUNNING_MODULUS = 2**32
#: a symbol of a datagram at most (S-7), and with its header (S-4): UDP carries 65507 bytes over IPv4
SYMBOL_MAX_BYTES = STREAM_SYMBOL_MAX_BYTES
DATAGRAM_MAX_BYTES = HEADER_BYTES + SYMBOL_MAX_BYTES

HEADER = np.dtype(
    [
        ("magic", "<u4"),
        ("kind", "u1"),
        ("part", "u1"),
        ("symbol", "u1"),
        ("zero", "u1"),
        ("tag", "<u8"),
        ("block", "<u4"),
        ("running", "<u4"),
        ("length", "<u2"),
        ("pieces", "<u2"),
        ("checksum", "<u4"),
    ]
)
_MAGIC_NUMBER = int.from_bytes(MAGIC, "little")
_CHECKED_BYTES = 28
_SCALAR = struct.Struct("<4s4B8sIIHH")  # HEADER without its checksum

RawHeaders = NDArray[np.uint8]  # [n, 32]
Mask = NDArray[np.bool_]


class Kind(IntEnum):
    """What a datagram carries."""

    TRUST = 1
    ANNOUNCEMENT = 2
    DATA = 3
    HEARTBEAT = 4
    END = 5


@dataclass(frozen=True, slots=True)
class HeaderFaults:
    """How many datagrams broke which rule, each counted once, by the first one that it broke."""

    magic: int = 0  # S-1, or shorter than a header: not ours
    checksum: int = 0  # S-5
    kind: int = 0  # S-2
    fields: int = 0  # S-3, S-6
    length: int = 0  # S-4

    @property
    def total(self) -> int:
        return sum(getattr(self, item.name) for item in fields(self))

    def __add__(self, other: "HeaderFaults") -> "HeaderFaults":
        return HeaderFaults(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


NO_FAULTS = HeaderFaults()


def tag_number(tag: bytes) -> int:
    """A tag of 8 bytes as the number that stands in the field ``tag``."""
    return int.from_bytes(tag, "little")


def tag_bytes(number: int) -> bytes:
    return int(number).to_bytes(TAG_BYTES, "little")


def view_headers(raw: RawHeaders) -> NDArray[Any]:
    """[n] structured view of `raw`, whose rows must be contiguous in themselves."""
    return raw[:, :HEADER_BYTES].view(HEADER)[:, 0]


def build_headers(
    kind: Kind,
    tag: bytes,
    count: int,
    *,
    first_running: NDArray[np.integer] | int = 0,
    lengths: NDArray[np.integer] | int = 0,
    part: int = 0,
    symbols: NDArray[np.integer] | int = 0,
    blocks: NDArray[np.integer] | int = 0,
    pieces: int = 0,
) -> RawHeaders:
    """uint8[count, 32]: the headers of `count` datagrams of one tag, in their order.

    `first_running` is the running number of the first one; as an array, what each one's is beyond its place.
    """
    headers = np.zeros(count, HEADER)
    headers["magic"] = _MAGIC_NUMBER
    headers["kind"] = kind
    headers["part"] = part
    headers["symbol"] = symbols
    headers["tag"] = tag_number(tag)
    headers["block"] = blocks
    headers["running"] = (first_running + np.arange(count)) % RUNNING_MODULUS
    headers["length"] = lengths
    headers["pieces"] = pieces
    raw = headers.view(np.uint8).reshape(count, HEADER_BYTES)
    headers["checksum"] = crc32c_headers(raw)
    return raw


def build_header(kind: Kind, tag: bytes, length: int, *, running: int = 0, block: int = 0) -> bytes:
    """The 32 bytes before one control datagram's payload of `length` bytes; as `build_headers`, which is for many."""
    checked = _SCALAR.pack(MAGIC, kind, 0, 0, 0, tag, block, running % RUNNING_MODULUS, length, 0)
    return checked + crc32c(checked).to_bytes(4, "little")


def check_headers(raw: RawHeaders, lengths: NDArray[np.integer]) -> tuple[Mask, HeaderFaults]:
    """Which of the datagrams that begin with `raw` and have `lengths` bytes are ours and whole (S-1 to S-6).

    Of a datagram shorter than a header the rest of its row may hold anything. Never raises.
    """
    if not len(raw):
        return np.zeros(0, np.bool_), NO_FAULTS
    header = view_headers(raw)
    lengths = np.asarray(lengths, dtype=np.int64)
    ours = (header["magic"] == _MAGIC_NUMBER) & (lengths >= HEADER_BYTES)
    if ours.all():
        whole = header["checksum"] == crc32c_headers(raw)
    else:  # junk would make every byte of an array differ from the others
        whole = ours.copy()
        whole[ours] = header["checksum"][ours] == crc32c_headers(raw[ours])
    kind = header["kind"]
    known = whole & (kind >= Kind.TRUST) & (kind <= Kind.END)
    right = known & _fields_fit(header)
    good = right & (lengths - HEADER_BYTES == header["length"])
    if good.all():
        return good, NO_FAULTS
    counts = [int(np.count_nonzero(mask)) for mask in (ours, whole, known, right, good)]
    return good, HeaderFaults(*(before - after for before, after in zip([len(raw), *counts], counts, strict=False)))


def _fields_fit(header: NDArray[Any]) -> Mask:
    """S-3 and S-6: fields that a kind does not have are zero, and those that it has are within their limits."""
    kind, part, symbol = header["kind"], header["part"], header["symbol"]
    block, pieces = header["block"], header["pieces"]
    fits: Mask = header["zero"] == 0
    data = kind == Kind.DATA
    if data.all():  # the usual case by far
        fits &= (part < PARTS) & (symbol < CODEWORD_MAX_SYMBOLS) & (pieces == 0)
        return fits
    trust = kind == Kind.TRUST
    fits &= np.where(data, (part < PARTS) & (symbol < CODEWORD_MAX_SYMBOLS), (part == 0) & (symbol == 0))
    fits &= np.where(trust, (pieces >= 1) & (pieces <= PIECES_MAX) & (block < pieces), pieces == 0)
    fits &= data | trust | (kind == Kind.END) | (block == 0)
    fits &= (kind != Kind.END) | (header["length"] == 0)
    return fits


def serial_after(first: NDArray[np.integer] | int, second: NDArray[np.integer] | int) -> NDArray[np.int64]:
    """How far running number `second` lies after `first` (RFC 1982): negative where it is the older one."""
    difference = (np.asarray(second, dtype=np.int64) - np.asarray(first, dtype=np.int64)) % RUNNING_MODULUS
    return np.where(difference >= RUNNING_MODULUS // 2, difference - RUNNING_MODULUS, difference)


# --- CRC-32C ------------------------------------------------------------------------------------

_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected


def crc32c(data: bytes) -> int:
    """CRC-32C of `data`, byte by byte: for a header, not for a stream of them."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _BYTES[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _byte_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


def _position_tables() -> NDArray[np.uint32]:
    """[28, 256]: what a byte at each position adds to the CRC of 28 bytes; a zero adds nothing."""
    tables = np.empty((_CHECKED_BYTES, 256), np.uint32)
    tables[-1] = _BYTE_TABLE
    for position in reversed(range(_CHECKED_BYTES - 1)):
        later = tables[position + 1]
        tables[position] = _BYTE_TABLE[later & 0xFF] ^ (later >> 8)
    return tables


_BYTE_TABLE = _byte_table()
_BYTES: tuple[int, ...] = tuple(_BYTE_TABLE.tolist())
_TABLES = _position_tables()
_ZEROS_CRC = crc32c(bytes(_CHECKED_BYTES))


def crc32c_headers(raw: RawHeaders) -> NDArray[np.uint32]:
    """uint32[n]: CRC-32C of the first 28 bytes of each row of `raw`, whose rows are contiguous in themselves."""
    if not len(raw):
        return np.zeros(0, np.uint32)
    words = raw[:, :HEADER_BYTES].view("<u8")  # four words; of the last one only the lower half counts
    first = raw[0, :_CHECKED_BYTES]
    varying: list[int] = []
    for number in range(HEADER_BYTES // 8):
        word = words[:, number]
        differing = int(np.bitwise_or.reduce(word ^ word[0]))
        bytes_of_word = range(number * 8, min(number * 8 + 8, _CHECKED_BYTES))
        varying += [position for position in bytes_of_word if differing >> (position % 8 * 8) & 0xFF]
    constant = np.uint32(_ZEROS_CRC)
    for position in range(_CHECKED_BYTES):
        if position not in varying:
            constant ^= _TABLES[position, first[position]]
    crc = np.full(len(raw), constant, np.uint32)
    for position in varying:
        crc ^= _TABLES[position].take(raw[:, position])
    return crc
