"""The process that takes datagrams off the socket, and does nothing else.

Started as ``python -m tidegate_receiver.listener.reader SOCKET RING EVENT SLOTS PARENT`` with three inherited
descriptors. It looks at no byte of what comes. Where the ring is full it waits: then the kernel's buffer fills, and
what overflows there the kernel counts. It ends when it is told to, or when its parent is gone.
"""

import contextlib
import ctypes
import errno
import os
import signal
import sys
import time

from tidegate_receiver.listener.ring import (
    CONTROL_BYTES,
    ERRNO,
    FULL_WAITS,
    IOVEC_BYTES,
    MMSGHDR,
    MMSGHDR_BYTES,
    READS,
    READY,
    SLOT_BYTES,
    STOP,
    TAKEN,
    WRITTEN,
    Ring,
)

BATCH_SLOTS = 64
MSG_WAITFORONE = 0x10000  # recvmmsg(2): wait for the first, take what else is there
FULL_WAIT_SECONDS = 0.0005
#: errors of a UDP socket that say something of one datagram or of the interface, and pass
_PASSING = {errno.EAGAIN, errno.EINTR, errno.ENETDOWN, errno.ECONNREFUSED, errno.ENOBUFS, errno.ENOMEM}


class Reader:
    """The loop, over an open ring."""

    def __init__(self, socket_fd: int, ring: Ring, event_fd: int, parent: int) -> None:
        self.socket_fd = socket_fd
        self.ring = ring
        self.event_fd = event_fd
        self.parent = parent
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._receive = self._libc.recvmmsg
        self._receive.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(ring.memory))
        self._template = self._lay_out()

    def _lay_out(self) -> bytes:
        """Write the arrays that recvmmsg takes, by this process's addresses; the headers once more, as they begin."""
        ring, base = self.ring, self._base
        headers = bytearray()
        for slot in range(ring.slot_count):
            iovec = ring.iovecs_offset + slot * IOVEC_BYTES
            data = base + ring.slots_offset + slot * SLOT_BYTES
            ring.memory[iovec : iovec + IOVEC_BYTES] = data.to_bytes(8, "little") + SLOT_BYTES.to_bytes(8, "little")
            control = base + ring.control_offset + slot * CONTROL_BYTES
            headers += MMSGHDR.pack(0, 0, base + iovec, 1, control, CONTROL_BYTES, 0, 0)
        return bytes(headers)

    def run(self) -> None:
        ring = self.ring
        written = ring.get(WRITTEN)
        reads = 0
        ring.set(READY, 1)
        while not ring.get(STOP):
            free = ring.slot_count - (written - ring.get(TAKEN))
            if not free:
                ring.set(FULL_WAITS, ring.get(FULL_WAITS) + 1)
                self._wake()
                if not self._wait_for_room(written):
                    return
                continue
            count = self._take(written % ring.slot_count, free)
            reads += 1
            if count <= 0:
                if count < 0 or os.getppid() != self.parent:
                    return
                continue
            written += count
            ring.set(WRITTEN, written)
            ring.set(READS, reads)
            self._wake()

    def _take(self, slot: int, free: int) -> int:
        """Slots filled from `slot` on; 0 where nothing came for a while, below 0 where the socket is of no more use."""
        most = min(free, BATCH_SLOTS, self.ring.slot_count - slot)
        start = self.ring.headers_offset + slot * MMSGHDR_BYTES
        self.ring.memory[start : start + most * MMSGHDR_BYTES] = self._template[
            slot * MMSGHDR_BYTES : (slot + most) * MMSGHDR_BYTES
        ]
        count: int = self._receive(self.socket_fd, self._base + start, most, MSG_WAITFORONE, None)
        if count > 0:
            return count
        code = ctypes.get_errno()
        if code in _PASSING:
            if code not in {errno.EAGAIN, errno.EINTR}:
                time.sleep(0.01)
            return 0
        self.ring.set(ERRNO, code)
        self._wake()
        return -1

    def _wait_for_room(self, written: int) -> bool:
        while written - self.ring.get(TAKEN) >= self.ring.slot_count:
            if self.ring.get(STOP) or os.getppid() != self.parent:
                return False
            time.sleep(FULL_WAIT_SECONDS)
        return True

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self.event_fd, 1)


def main(arguments: list[str]) -> None:
    socket_fd, ring_fd, event_fd, slots, parent = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C goes to both; the worker says when it is over
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Reader(socket_fd, Ring(ring_fd, slots), event_fd, parent).run()


if __name__ == "__main__":
    main(sys.argv[1:])
