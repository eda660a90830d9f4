"""Where a stream goes: ``udp://10.9.0.2:5300``, ``udp://[fd00::2]:5300``, a multicast group, and what a datagram holds.

Only numbers are addresses here: a name would be asked of a resolver, and a gateway host should need none. No socket is
opened here.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass

from tidegate.carrier.stream.header import HEADER_BYTES, SYMBOL_MAX_BYTES
from tidegate.errors import UsageError

SCHEME = "udp://"
DEFAULT_PORT = 5300
UDP_HEADER_BYTES = 8
IP_HEADER_BYTES = {socket.AF_INET: 20, socket.AF_INET6: 40}
SYMBOL_ALIGNMENT = 8
MTU_MIN = 576  # bytes; RFC 791: what every host takes
#: on the wire of Ethernet, beside the IP packet: preamble 8, header 14, checksum 4, gap 12
ETHERNET_FRAME_BYTES = 38

_ADDRESS = re.compile(r"udp://(?:\[([^\]]{1,64})\]|([^\[\]:/]{1,64}))(?::([0-9]{1,5}))?/?")


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """One end of a stream. `scope` names the interface of an IPv6 link-local address, else it is empty."""

    host: str
    port: int
    family: socket.AddressFamily
    is_multicast: bool
    scope: str = ""

    def __str__(self) -> str:
        host = f"{self.host}%{self.scope}" if self.scope else self.host
        host = f"[{host}]" if self.family == socket.AF_INET6 else host
        return f"{SCHEME}{host}:{self.port}"

    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """What `socket.bind` and `connect` take. Raises UsageError where the scope is no interface of this host."""
        if self.family == socket.AF_INET:
            return self.host, self.port
        try:
            scope = socket.if_nametoindex(self.scope) if self.scope else 0
        except OSError:
            raise UsageError(f"{self}: this host has no interface {self.scope!r}") from None
        return self.host, self.port, 0, scope


def is_stream_address(text: str) -> bool:
    """Whether `text` is meant as the address of a stream, right or wrong."""
    return text.startswith(SCHEME)


def parse_address(text: str) -> StreamAddress:
    """The address that `text` names; without a port it is 5300. Raises UsageError."""
    match = _ADDRESS.fullmatch(text)
    hint = "write it like udp://10.9.0.2:5300 or udp://[fd00::2]:5300"
    if match is None:
        raise UsageError(f"{text!r} is no address of a stream", hint=hint)
    in_brackets, plain, port_text = match.groups()
    host, _, scope = (in_brackets or plain).partition("%")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(f"{text!r}: {host!r} is no IP address; names are not looked up", hint=hint) from None
    if (address.version == 6) != (in_brackets is not None):
        raise UsageError(f"{text!r}: IPv6 addresses, and only they, stand in brackets", hint=hint)
    port = int(port_text) if port_text else DEFAULT_PORT
    if not 1 <= port <= 65535:
        raise UsageError(f"{text!r}: port {port} is not within 1 … 65535", hint=hint)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return StreamAddress(str(address), port, family, address.is_multicast, scope)


def symbol_bytes(mtu: int, family: socket.AddressFamily) -> int:
    """The largest symbol that crosses in one unfragmented packet. Raises UsageError for an MTU below 576."""
    if mtu < MTU_MIN:
        raise UsageError(f"an MTU of {mtu} bytes is below {MTU_MIN}, which every host takes")
    room = mtu - IP_HEADER_BYTES[family] - UDP_HEADER_BYTES - HEADER_BYTES
    return min(room // SYMBOL_ALIGNMENT * SYMBOL_ALIGNMENT, SYMBOL_MAX_BYTES)


def packet_bytes(symbol_size: int, family: socket.AddressFamily) -> int:
    """Bytes of the IP packet that carries a symbol: what a rate counts."""
    return symbol_size + HEADER_BYTES + UDP_HEADER_BYTES + IP_HEADER_BYTES[family]
