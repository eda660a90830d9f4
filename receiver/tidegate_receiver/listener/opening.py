"""Open the socket that a stream comes in by, as good as this host allows, and say what it does not allow.

The kernel's buffer decides whether a burst is lost while a process is not on a core, so it is asked for beyond the
sysctl first (which needs CAP_NET_ADMIN), and what was granted is read back. Nothing is parsed here.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass

from tidegate.carrier.stream.address import StreamAddress
from tidegate.errors import HostError, UsageError
from tidegate.units import MIB, format_bytes

SO_RCVBUFFORCE = 33
SO_RXQ_OVFL = 40
UDP_GRO = 104
#: do without it, as on a kernel that has none (for measurements and tests)
NO_GRO_VARIABLE = "TIDEGATE_NO_GRO"
WANTED_BUFFER_BYTES = 256 * MIB
ENOUGH_BUFFER_BYTES = 16 * MIB
READ_WAIT_SECONDS = 0.5  # how soon the reader sees that it is to end


@dataclass(frozen=True, slots=True)
class OpenedSocket:
    """The bound socket and what the kernel granted."""

    socket: socket.socket
    address: StreamAddress
    buffer_bytes: int
    has_gro: bool
    warnings: tuple[tuple[str, str], ...]  # (what is so, what mends it)


def open_stream_socket(address: StreamAddress, interface: str = "") -> OpenedSocket:
    """Bind to `address`, or join it where it is a multicast group; `interface` says where, else the routes do.

    Raises UsageError where no interface has the address, HostError where the port is taken or may not be used.
    """
    made = socket.socket(address.family, socket.SOCK_DGRAM)
    try:
        if address.is_multicast:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        granted = _ask_for_buffer(made)
        made.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        has_gro = _ask_for_gro(made)
        _bind(made, address)
        if address.is_multicast:
            _join(made, address, interface)
        wait = struct.pack("ll", 0, int(READ_WAIT_SECONDS * 1_000_000))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
    except BaseException:
        made.close()
        raise
    return OpenedSocket(made, address, granted, has_gro, tuple(_warnings(granted, has_gro)))


def _ask_for_buffer(made: socket.socket) -> int:
    """The bytes granted. The kernel counts its own overhead in, so it doubles what it is asked for."""
    for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, option, WANTED_BUFFER_BYTES)
            break
    return made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def _ask_for_gro(made: socket.socket) -> bool:
    if os.environ.get(NO_GRO_VARIABLE):
        return False
    try:
        made.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True


def _bind(made: socket.socket, address: StreamAddress) -> None:
    try:
        made.bind(address.sockaddr())
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            hint = "name the address of this host that the stream is sent to"
            raise UsageError(f"{address}: no interface of this host has {address.host}", hint=hint) from None
        if error.errno == errno.EADDRINUSE:
            hint = f'see who has it: "ss -lunp sport = :{address.port}"'
            raise HostError(f"{address}: the port is taken", hint=hint) from None
        raise HostError(f"{address}: {error.strerror}") from None


def _join(made: socket.socket, address: StreamAddress, interface: str) -> None:
    group = ipaddress.ip_address(address.host).packed
    scope = interface or address.scope
    try:
        index = socket.if_nametoindex(scope) if scope else 0
        if address.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", index))
        else:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + bytes(4) + struct.pack("@i", index))
    except OSError as error:
        hint = "name the interface of the stream: --interface NAME"
        raise UsageError(f"{address}: cannot join the group: {error.strerror or error}", hint=hint) from None


def _warnings(granted: int, has_gro: bool) -> list[tuple[str, str]]:
    found = []
    if granted < ENOUGH_BUFFER_BYTES:
        found.append(
            (
                f"the kernel holds only {format_bytes(granted)} for the stream; bursts will be lost",
                f"sysctl -w net.core.rmem_max={WANTED_BUFFER_BYTES}",
            )
        )
    if not has_gro:
        why = f"{NO_GRO_VARIABLE} is set" if os.environ.get(NO_GRO_VARIABLE) else "this kernel has no UDP_GRO (5.0 has)"
        found.append((f"{why}: the stream works, slower", "use a newer kernel, without the variable"))
    return found
