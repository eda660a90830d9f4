"""Slots of a listener's ring as the kernel leaves them, for tests without a socket."""

import struct

from tidegate_receiver.listener.ring import CONTROL_BYTES, MMSGHDR, MMSGHDR_BYTES, SLOT_BYTES, Ring

SLOTS = 8


def lay(ring: Ring, slot: int, data: bytes, segment: int, *, flags: int = 0, drops: int | None = None) -> None:
    """What the kernel leaves in a slot for `data` in datagrams of `segment` bytes, 0 for a single one."""
    notes = b""
    if segment:
        notes += struct.pack("<QiiII", 20, 17, 104, segment, 0)
    if drops is not None:
        notes += struct.pack("<QiiII", 20, 1, 40, drops, 0)
    header = ring.headers_offset + slot * MMSGHDR_BYTES
    ring.memory[header : header + MMSGHDR_BYTES] = MMSGHDR.pack(0, 0, 0, 1, 0, len(notes), flags, len(data))
    control = ring.control_offset + slot * CONTROL_BYTES
    ring.memory[control : control + CONTROL_BYTES] = notes.ljust(CONTROL_BYTES, b"\xee")
    start = ring.slots_offset + slot * SLOT_BYTES
    ring.memory[start : start + len(data)] = data
