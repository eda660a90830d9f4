"""The low end of a link: a connected UDP socket, what it can do, and what it means when sending fails.

Messages go out with ``sendmmsg`` through ctypes, since Python's own ``sendmsg`` would need an object for every piece;
the call releases the GIL, so the next group is encoded meanwhile. Without UDP_SEGMENT (an old kernel, a device without
checksums) every datagram is a message of its own: slower, and `segmentation` says so.
"""

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tidegate.carrier.stream.address import MTU_MIN, StreamAddress, packet_bytes, symbol_bytes
from tidegate.carrier.stream.header import HEADER_BYTES
from tidegate.errors import LinkDownError, LinkError
from tidegate.routes import route_interface
from tidegate_sender.stream.messages import MMSGHDR, SOL_UDP, UDP_SEGMENT, MessageArray, control_messages

SEND_BUFFER_BYTES = 8 << 20
FULL_WAIT_SECONDS = 0.001  # after ENOBUFS: the queue of a device empties in less
BATCH_MAX = 64  # messages a call
NO_SEGMENT_VARIABLE = "TIDEGATE_NO_SEGMENTATION"

_SO_SNDBUFFORCE, _SO_MAX_PACING_RATE = 32, 47
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO, _IP_MTU = 10, 2, 14
_IPV6_MTU_DISCOVER, _IPV6_MTU = 23, 24

_FULL = {errno.ENOBUFS, errno.EAGAIN, errno.ENOMEM, errno.EINTR}
#: a port that nobody has open answered, on a link with a way back; nothing of the message was sent
_ANSWERED = {errno.ECONNREFUSED, errno.EPROTO, errno.ENOPROTOOPT}
_DOWN = {
    errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENODEV, errno.ENXIO,
    errno.EADDRNOTAVAIL, errno.ENONET,
}  # fmt: skip
#: what says that the device cannot cut: EIO without checksums, EINVAL on old kernels
_CANNOT_CUT = {errno.EIO, errno.EINVAL, errno.EOPNOTSUPP, errno.EMSGSIZE}


class Link:
    """An open link. Use as a context manager. Raises LinkError, or LinkDownError where waiting may help."""

    def __init__(self, address: StreamAddress, *, mtu: int | None = None) -> None:
        self.address = address
        self._wanted_mtu = mtu
        self._rate = 0
        self._socket: socket.socket | None = None
        self._sendmmsg = _load_sendmmsg()
        self.segmentation = False
        self.why_no_segmentation = ""
        self.mtu = 0
        self.interface: str | None = None
        #: of IP packets
        self.sent_bytes = 0
        self.sent_datagrams = 0
        self._packet_overhead = packet_bytes(0, address.family) - HEADER_BYTES
        self.reopen()

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def reopen(self) -> None:
        """Open the socket, again after the interface was restarted."""
        self.close()
        made = socket.socket(self.address.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._prepare(made)
            made.connect(self.address.sockaddr())
            self.mtu = self._find_mtu(made)
        except OSError as error:
            made.close()
            raise self._named(error.errno or 0) from None
        except BaseException:
            made.close()
            raise
        self._socket = made
        self.interface = route_interface(self.address)

    def _prepare(self, made: socket.socket) -> None:
        for option in (_SO_SNDBUFFORCE, socket.SO_SNDBUF):
            with contextlib.suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, option, SEND_BUFFER_BYTES)
                break
        self._set_pacing(made)
        # A datagram in fragments dies with any of them.
        if self.address.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IP_PMTUDISC_DO)
        else:
            made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        self._try_segmentation(made)

    def pace(self, rate: int) -> None:
        """Let an fq queue spread datagrams at `rate` bytes a second. Others do not look at it."""
        self._rate = rate
        if self._socket is not None:
            self._set_pacing(self._socket)

    def _set_pacing(self, made: socket.socket) -> None:
        if self._rate:
            with contextlib.suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=Q", self._rate))

    def _try_segmentation(self, made: socket.socket) -> None:
        if self.why_no_segmentation:
            return
        if os.environ.get(NO_SEGMENT_VARIABLE):
            self.why_no_segmentation = f"{NO_SEGMENT_VARIABLE} is set"
            return
        try:
            made.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
        except OSError:
            self.why_no_segmentation = "the kernel has no UDP_SEGMENT (Linux 4.18)"
            return
        self.segmentation = True

    def _find_mtu(self, made: socket.socket) -> int:
        if self.address.family == socket.AF_INET6:
            found = made.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU)
        else:
            found = made.getsockopt(socket.IPPROTO_IP, _IP_MTU)
        if self._wanted_mtu and self._wanted_mtu > found:
            raise LinkError(
                f"{self.address}: an MTU of {self._wanted_mtu} was asked for, the way there has {found}",
                hint=f'"ip link set dev {self.interface or "DEVICE"} mtu {self._wanted_mtu}", on both hosts',
            )
        return max(MTU_MIN, self._wanted_mtu or found)

    @property
    def symbol_bytes(self) -> int:
        """The largest symbol that fits into a datagram on this link."""
        return symbol_bytes(self.mtu, self.address.family)

    # --- sending ------------------------------------------------------------------------------

    def send(self, array: MessageArray, pay: Callable[[int], None], batch_bytes: int) -> None:
        """Send all messages, `pay`ing for about `batch_bytes` at a time before they go.

        Raises SegmentationLostError where the device turns out not to cut: the caller makes the messages anew.
        """
        if self._socket is None:  # there was no way when it was last opened
            self.reopen()
        first, count = 0, len(array)
        sizes = (array.bytes_of + array.datagrams_of * self._packet_overhead).cumsum()
        while first < count:
            done = int(sizes[first - 1]) if first else 0
            last = int(sizes.searchsorted(done + batch_bytes, side="right"))
            last = min(max(last, first + 1), first + BATCH_MAX)
            pay(int(sizes[last - 1]) - done)
            self._send_range(array, first, last)
            first = last
        self.sent_bytes += int(sizes[-1]) if count else 0
        self.sent_datagrams += array.total_datagrams

    def send_datagrams(self, datagrams: tuple[bytes, ...], pay: Callable[[int], None]) -> None:
        self.send(control_messages(datagrams), pay, 1)

    def _send_range(self, array: MessageArray, first: int, last: int) -> None:
        assert self._socket is not None, "the link is open"
        fd, start = self._socket.fileno(), array.messages.ctypes.data
        while first < last:
            sent = self._sendmmsg(fd, start + first * MMSGHDR.itemsize, last - first, 0)
            if sent > 0:
                first += sent
                continue
            self._judge(ctypes.get_errno(), is_cut=int(array.datagrams_of[first]) > 1)

    def _judge(self, number: int, *, is_cut: bool) -> None:
        """Return where trying again is right; raise where it is not."""
        if number in _FULL:
            time.sleep(FULL_WAIT_SECONDS)
        elif number in _ANSWERED:
            return
        elif is_cut and number in _CANNOT_CUT:
            self.segmentation = False
            self.why_no_segmentation = f"{self.interface or 'the device'} cannot cut datagrams ({os.strerror(number)})"
            raise SegmentationLostError(self.why_no_segmentation)
        else:
            raise self._named(number)

    def check_up(self) -> None:
        """Raise LinkDownError where the interface has no carrier: what is sent then vanishes without an error."""
        if self.interface is None or self.interface == "lo":
            return
        folder = Path("/sys/class/net") / self.interface
        try:
            state = (folder / "operstate").read_text().strip()
        except OSError:
            if Path("/sys/class/net/lo").exists():
                raise LinkDownError(f"{self.address}: interface {self.interface} is gone") from None
            return
        if state in {"down", "lowerlayerdown", "notpresent", "dormant"}:
            raise LinkDownError(f"{self.address}: interface {self.interface} is down")

    def _named(self, number: int) -> LinkError:
        """The failure as an error that a person can do something about."""
        text = os.strerror(number)
        if number in _DOWN:
            return LinkDownError(f"{self.address}: {text[:1].lower()}{text[1:]}")
        if number in {errno.EPERM, errno.EACCES}:
            return LinkError(
                f"{self.address}: this host does not let it out ({text})",
                hint='a packet filter drops it on its way out: look at "nft list ruleset"',
            )
        if number == errno.EMSGSIZE:
            return LinkError(
                f"{self.address}: a datagram is larger than the MTU of {self.mtu}",
                hint="the interface's MTU has changed; run it again, or name it with --mtu",
            )
        return LinkError(f"{self.address}: {text[:1].lower()}{text[1:]}")


class SegmentationLostError(LinkError):
    """The device refused the first message that it should have cut; what is sent from now on is cut here."""


def _load_sendmmsg() -> Callable[[int, int, int, int], int]:
    if sys.platform != "linux" or sys.maxsize < 2**32 or sys.byteorder != "little":
        raise LinkError("streams are sent from 64-bit Linux only")
    function = ctypes.CDLL(None, use_errno=True).sendmmsg
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    function.restype = ctypes.c_int
    return function
