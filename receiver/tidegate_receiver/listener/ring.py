"""The memory that the reader fills and the worker empties: slots for datagrams, and the kernel's notes on each.

The reader hands the kernel an array of ``struct mmsghdr`` that lies in the shared memory itself. So what the kernel
says of each slot (length, flags, segment size, its count of drops) is there for the worker, and no Python in between.

    counters 4096 │ mmsghdr 64 × n │ iovec 16 × n │ control 64 × n │ slots 65536 × n

One process writes `written`, the other `taken`; both only rise, and slot `number % n` is the reader's while
`number - taken >= n` does not hold. Layouts: recvmmsg(2), cmsg(3) on 64-bit Linux. No numpy here: the reader is to
stay small.
"""

import mmap
import os
import struct
from typing import Final

SLOT_BYTES: Final = 65536
SLOT_COUNT: Final = 512  # 32 MiB: 30 ms at a GB/s; what takes longer waits in the kernel's buffer
COUNTERS_BYTES: Final = 4096
MMSGHDR_BYTES: Final = 64
IOVEC_BYTES: Final = 16
CONTROL_BYTES: Final = 64
#: struct mmsghdr: name, namelen, iov, iovlen, control, controllen, flags; length of the datagrams
MMSGHDR: Final = struct.Struct("<QI4xQQQQi4xI4x")
CONTROLLEN_OFFSET: Final = 40
FLAGS_OFFSET: Final = 48
LENGTH_OFFSET: Final = 56

#: places among the counters
WRITTEN, TAKEN, STOP, FULL_WAITS, READS, ERRNO, READY = range(7)


class Ring:
    """The shared memory, by a file descriptor that both processes have."""

    def __init__(self, fd: int, slot_count: int = SLOT_COUNT) -> None:
        self.fd = fd
        self.slot_count = slot_count
        self.headers_offset = COUNTERS_BYTES
        self.iovecs_offset = self.headers_offset + slot_count * MMSGHDR_BYTES
        self.control_offset = self.iovecs_offset + slot_count * IOVEC_BYTES
        end = self.control_offset + slot_count * CONTROL_BYTES
        self.slots_offset = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        self.nbytes = self.slots_offset + slot_count * SLOT_BYTES
        # All of it now: the first round of a stream has no time for 8192 page faults, and a small kernel buffer
        # would overflow meanwhile.
        self.memory = mmap.mmap(fd, self.nbytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self._view = memoryview(self.memory)
        # Items of a cast view are stored by one aligned move; struct.pack_into fills with zeros first, which the
        # other process would see.
        self._counters = self._view[:COUNTERS_BYTES].cast("Q")

    @classmethod
    def create(cls, slot_count: int = SLOT_COUNT) -> "Ring":
        """Fresh memory, all zero, of no file."""
        fd = os.memfd_create("tidegate-ring", os.MFD_CLOEXEC)
        os.ftruncate(fd, cls._size(slot_count))
        return cls(fd, slot_count)

    @staticmethod
    def _size(slot_count: int) -> int:
        end = COUNTERS_BYTES + slot_count * (MMSGHDR_BYTES + IOVEC_BYTES + CONTROL_BYTES)
        return -(-end // mmap.PAGESIZE) * mmap.PAGESIZE + slot_count * SLOT_BYTES

    def get(self, counter: int) -> int:
        """One of the counters named above; aligned words, so neither process sees half of one."""
        return self._counters[counter]

    def set(self, counter: int, value: int) -> None:
        self._counters[counter] = value

    def close(self) -> None:
        self._counters.release()
        self._view.release()
        self.memory.close()
        os.close(self.fd)
