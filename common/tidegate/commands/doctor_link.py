"""``tidegate doctor --link``: what this host's end of a link lacks, and the exact command that mends it.

The end that has the address is the receiving one, the other one sends. Nothing is sent, and nothing is changed.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from tidegate.carrier.stream.address import StreamAddress
from tidegate.commands.findings import Finding, State
from tidegate.config import Role
from tidegate.interfaces import (
    asks_for_neighbours,
    has_static_neighbour,
    interface_of,
    is_local,
    is_up,
    mtu_of,
    offload,
    queue_discipline,
    receive_ring,
)
from tidegate.routes import Route, route_to
from tidegate.units import MIB, format_bytes

_UDP_SEGMENT, _UDP_GRO = 103, 104
_WANTED_BUFFER_BYTES = 256 * MIB
_ENOUGH_BUFFER_BYTES = 16 * MIB
_WANTED_SEND_BYTES = 8 * MIB
#: the option that forces, the one that asks, and the bytes
_RECEIVE_BUFFER = 33, socket.SO_RCVBUF, _WANTED_BUFFER_BYTES
_SEND_BUFFER = 32, socket.SO_SNDBUF, _WANTED_SEND_BYTES
_BACKLOG_LEAST = 10_000
_JUMBO_MTU = 9000


def look_at_link(address: StreamAddress, role: Role | None = None) -> Iterator[Finding]:
    """Every finding about this end of the link; `role` is the side that this host is, None where it has no root."""
    is_here = is_local(address)
    receives = is_here or (address.is_multicast and role is Role.HIGH)
    if role is Role.HIGH and not receives:
        prefix = "64" if address.family == socket.AF_INET6 else "24"
        mend = f"ip addr add {address.host}/{prefix} dev DEVICE, or name the address that this host has"
        yield Finding("link", State.LACKS, f"{address}: this is a high side, and no interface of it has it", mend)
        return
    route = None if receives else route_to(address)
    interface = interface_of(address) if receives or route is None else route.interface
    if interface is None:
        mend = f"ip route add {address.host} dev DEVICE, and an address on it"
        yield Finding("link", State.LACKS, f"{address}: no interface has it, and no route leads to it", mend)
        return
    end = "receiving" if receives else "sending"
    yield Finding("link", State.OK, f"{address}: the {end} end, by {interface}")
    if is_here and role is Role.LOW and interface != "lo":
        mend = "name the high side's address, and give it to no interface of this host"
        yield Finding("address", State.LACKS, f"this is a low side, and {interface} has {address.host} itself", mend)
    yield from _look_at_interface(interface)
    yield from _look_at_receiving(interface) if receives else _look_at_sending(address, interface, route)


def _look_at_interface(interface: str) -> Iterator[Finding]:
    if not is_up(interface):
        yield Finding("interface", State.LACKS, f"{interface} is down", f"ip link set {interface} up")
    mtu = mtu_of(interface)
    if mtu is not None and mtu < _JUMBO_MTU:
        mend = f"ip link set {interface} mtu 9000, on both hosts, if the cards and the diode take it"
        yield Finding("mtu", State.NOTE, f"{mtu}; 9000 does the same with half the work", mend)
    elif mtu is not None:
        yield Finding("mtu", State.OK, str(mtu))


# --- the receiving end ------------------------------------------------------------------------


def _look_at_receiving(interface: str) -> Iterator[Finding]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        granted = _ask_for_buffer(probe, _RECEIVE_BUFFER)
        has_gro = _takes(probe, _UDP_GRO, 1)
    mend = f"sysctl -w net.core.rmem_max={_WANTED_BUFFER_BYTES}"
    is_enough = granted >= _ENOUGH_BUFFER_BYTES
    yield Finding("socket buffer", State.OK if is_enough else State.NOTE, f"{format_bytes(granted)} granted", mend)
    if not has_gro:
        mend = "use Linux 5.0 or newer"
        yield Finding("UDP_GRO", State.NOTE, "this kernel has none: datagrams come one by one, slower", mend)
    elif offload(interface, "gro") is False:
        yield Finding("UDP_GRO", State.NOTE, f"gro is off on {interface}: slower", f"ethtool -K {interface} gro on")
    else:
        yield Finding("UDP_GRO", State.OK, "datagrams come in bundles")
    if offload(interface, "rx") is False:
        mend = f"ethtool -K {interface} rx on"
        yield Finding("checksums", State.NOTE, f"{interface} leaves them to the processor", mend)
    backlog = _sysctl("net/core/netdev_max_backlog")
    if backlog is not None and backlog < _BACKLOG_LEAST:
        mend = "sysctl -w net.core.netdev_max_backlog=100000"
        yield Finding("backlog", State.NOTE, f"{backlog} packets before the socket", mend)
    ring = receive_ring(interface)
    if ring is not None and ring[0] < ring[1]:
        mend = f"ethtool -G {interface} rx {ring[1]}"
        yield Finding("receive ring", State.NOTE, f"{ring[0]} of {ring[1]} slots", mend)


def _ask_for_buffer(probe: socket.socket, options: tuple[int, int, int]) -> int:
    """What the kernel grants of what is wanted: (forced, asked for, bytes wanted)."""
    *ways, wanted = options
    for option in ways:
        with contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, option, wanted)
            break
    return probe.getsockopt(socket.SOL_SOCKET, ways[-1]) // 2  # the kernel counts its own part in


def _takes(probe: socket.socket, option: int, value: int) -> bool:
    try:
        probe.setsockopt(socket.IPPROTO_UDP, option, value)
    except OSError:
        return False
    return True


# --- the sending end --------------------------------------------------------------------------


def _look_at_sending(address: StreamAddress, interface: str, route: Route | None) -> Iterator[Finding]:
    if route is not None and route.gateway:
        text = f"over the gateway {route.gateway}, by {interface}: right only if it stands before the diode"
        mend = f"ip route replace {address.host} dev DEVICE, and an address on it, if it does not"
        yield Finding("route", State.NOTE, text, mend)
    else:
        yield from _look_at_neighbour(address, interface)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        granted = _ask_for_buffer(probe, _SEND_BUFFER)
        has_segment = _takes(probe, _UDP_SEGMENT, 0)
    state = State.OK if granted >= _WANTED_SEND_BYTES else State.NOTE
    mend = f"sysctl -w net.core.wmem_max={_WANTED_SEND_BYTES}, or send as root"
    yield Finding("socket buffer", state, f"{format_bytes(granted)} granted", mend)
    if not has_segment:
        mend = "use Linux 4.18 or newer"
        yield Finding("UDP_SEGMENT", State.NOTE, "this kernel has none: datagrams go one by one, slower", mend)
    elif offload(interface, "tx") is False:
        mend = f"ethtool -K {interface} tx on"
        yield Finding("UDP_SEGMENT", State.NOTE, f"checksums are off on {interface}: datagrams go one by one", mend)
    else:
        yield Finding("UDP_SEGMENT", State.OK, "datagrams go in bundles")
    kind = queue_discipline(interface)
    if kind == "fq":
        yield Finding("queue", State.OK, "fq spreads datagrams in time")
    else:
        mend = f"tc qdisc replace dev {interface} root fq"
        yield Finding("queue", State.OK, f"{kind or 'cannot be seen'}; fq would spread datagrams in time", mend)


def _look_at_neighbour(address: StreamAddress, interface: str) -> Iterator[Finding]:
    if address.is_multicast or interface == "lo":
        return
    mend = f"ip neigh replace {address.host} lladdr MAC-OF-THE-RECEIVER dev {interface} nud permanent"
    found = has_static_neighbour(address, interface)
    if found is None:
        yield Finding("neighbour", State.NOTE, "cannot be seen without iproute2", mend)
    elif found:
        yield Finding("neighbour", State.OK, f"{address.host} has a permanent entry")
    elif asks_for_neighbours(interface):
        text = f"{address.host} has no permanent entry: the kernel asks, and through a diode nobody answers"
        yield Finding("neighbour", State.LACKS, text, mend)
    else:
        yield Finding("neighbour", State.NOTE, f"{interface} asks for none, and {address.host} has no entry", mend)


def _sysctl(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/sys", name).read_text())
    return None
