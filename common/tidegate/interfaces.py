"""What the kernel says of this host's network interfaces: addresses, routes, neighbours, offloads. Reads only.

By /proc, /sys and the ethtool ioctl, so that no program has to be installed; what cannot be seen is None.
"""

import contextlib
import fcntl
import ipaddress
import json
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from tidegate.carrier.stream.address import StreamAddress

_SIOCETHTOOL = 0x8946
_SIOCGIFADDR = 0x8915
_IFNAME_BYTES = 16
_FLAG_NOARP = 0x80
_RTF_UP = 1
_ARP_PERMANENT = 0x4
#: ethtool.h: each asks for one number
OFFLOADS = {"rx": 0x14, "tx": 0x16, "gso": 0x23, "gro": 0x2B}
_GET_RINGS = 0x10
_RING_FIELDS = 9
_TOOL_SECONDS = 10


def is_local(address: StreamAddress) -> bool:
    """Whether an interface of this host has the address."""
    with socket.socket(address.family, socket.SOCK_DGRAM) as probe:
        try:
            sockaddr = address.sockaddr()
            probe.bind((sockaddr[0], 0, *sockaddr[2:]))
        except OSError:
            return False
    return not address.is_multicast


def interface_of(address: StreamAddress) -> str | None:
    """The interface that has the address, or that packets to it leave by; None where there is none."""
    if address.scope:
        return address.scope
    if address.family == socket.AF_INET6:
        return _interface_6(address)
    for _, name in socket.if_nameindex():
        if _address_of(name) == address.host:
            return name
    return route_4(Path("/proc/net/route").read_text(encoding="ascii"), address.host)


def _address_of(name: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("16s24x", name.encode()[:15]))
        return socket.inet_ntoa(answer[20:24])
    return None


def route_4(table: str, host: str) -> str | None:
    """The interface of the longest route in the text of /proc/net/route that holds `host`."""
    target = int(ipaddress.IPv4Address(host))
    found: tuple[int, str] | None = None
    for line in table.splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[place]), "little") for place in (1, 7))
        is_better = found is None or mask > found[0]
        if int(fields[3], 16) & _RTF_UP and target & mask == destination and is_better:
            found = mask, fields[0]
    return found[1] if found else None


def _interface_6(address: StreamAddress) -> str | None:
    target = int(ipaddress.IPv6Address(address.host))
    wanted = f"{target:032x}"
    for line in _lines("/proc/net/if_inet6"):
        fields = line.split()
        if fields[0] == wanted:
            return fields[5]
    found: tuple[int, str] | None = None
    for line in _lines("/proc/net/ipv6_route"):
        fields = line.split()
        length = int(fields[1], 16)
        is_inside = int(fields[0], 16) >> (128 - length) == target >> (128 - length)
        if is_inside and int(fields[8], 16) & _RTF_UP and (found is None or length > found[0]):
            found = length, fields[9]
    return found[1] if found else None


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="ascii").splitlines()
    return []


def mtu_of(interface: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/sys/class/net/{interface}/mtu").read_text())
    return None


def is_up(interface: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/sys/class/net/{interface}/operstate").read_text().strip() in {"up", "unknown"}
    return False


def asks_for_neighbours(interface: str) -> bool:
    """Whether the kernel would ask by ARP or neighbour discovery on it."""
    with contextlib.suppress(OSError, ValueError):
        return not int(Path(f"/sys/class/net/{interface}/flags").read_text(), 16) & _FLAG_NOARP
    return True


def has_static_neighbour(address: StreamAddress, interface: str) -> bool | None:
    """Whether a permanent entry says where the address is; None where that cannot be seen."""
    if address.family == socket.AF_INET:
        rows = [line.split() for line in _lines("/proc/net/arp")[1:]]
        return any(row[0] == address.host and row[5] == interface and int(row[2], 16) & _ARP_PERMANENT for row in rows)
    entries = _ask_tool("ip", "-j", "-6", "neigh", "show", "dev", interface)
    if entries is None:
        return None
    return any(item.get("dst") == address.host and "PERMANENT" in str(item.get("state")) for item in entries)


def queue_discipline(interface: str) -> str | None:
    """The root queue's kind; None where that cannot be seen."""
    entries = _ask_tool("tc", "-j", "qdisc", "show", "dev", interface)
    return next((str(item["kind"]) for item in entries or () if item.get("root") or "parent" not in item), None)


def _ask_tool(*command: str) -> list[dict[str, object]] | None:
    path = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/sbin")
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *command[1:]], capture_output=True, timeout=_TOOL_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
        found = json.loads(done.stdout or b"[]")
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else None


def offload(interface: str, name: str) -> bool | None:
    """Whether one of OFFLOADS is on; None where the device does not say."""
    answer = _ethtool(interface, struct.pack("=II", OFFLOADS[name], 0))
    return bool(struct.unpack("=II", answer)[1]) if answer is not None else None


def receive_ring(interface: str) -> tuple[int, int] | None:
    """(slots in use, most that there can be) of the card's receive ring."""
    answer = _ethtool(interface, struct.pack(f"={_RING_FIELDS}I", _GET_RINGS, *[0] * (_RING_FIELDS - 1)))
    if answer is None:
        return None
    fields = struct.unpack(f"={_RING_FIELDS}I", answer)
    return (fields[5], fields[1]) if fields[1] else None


def _ethtool(interface: str, question: bytes) -> bytes | None:
    import ctypes

    data = ctypes.create_string_buffer(question, len(question))
    request = struct.pack("16sQ16x", interface.encode()[: _IFNAME_BYTES - 1], ctypes.addressof(data))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            fcntl.ioctl(probe, _SIOCETHTOOL, request)
        except OSError:
            return None
    return data.raw
