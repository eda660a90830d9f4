"""Which interface, and which gateway, leads to an address: asked of the kernel by netlink, as ``ip route get`` does."""

import contextlib
import socket
import struct
from dataclasses import dataclass

from tidegate.carrier.stream.address import StreamAddress

_NETLINK_ROUTE = 0
_RTM_GETROUTE, _RTM_NEWROUTE = 26, 24
_NLM_F_REQUEST = 1
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Route:
    """How packets leave: by `interface`, and where `gateway` is not empty to that address first."""

    interface: str
    gateway: str = ""


def route_to(address: StreamAddress) -> Route | None:
    """The way that packets to `address` take; None where there is none."""
    with contextlib.suppress(OSError):
        answer = _ask(address)
        index = _find_attribute(answer, _RTA_OIF)
        if index is not None:
            gateway = _find_attribute(answer, _RTA_GATEWAY)
            shown = socket.inet_ntop(address.family, gateway) if gateway else ""
            return Route(socket.if_indextoname(int.from_bytes(index, "little")), shown)
    return None


def route_interface(address: StreamAddress) -> str | None:
    """The name of the interface that packets to `address` leave by; None where there is no route."""
    if address.scope:
        return address.scope
    route = route_to(address)
    return route.interface if route is not None else None


def _ask(address: StreamAddress) -> bytes:
    target = socket.inet_pton(address.family, address.host)
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(target), _RTA_DST) + target
    body = _ROUTE.pack(address.family, len(target) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute
    message = _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as asking:
        asking.settimeout(1)
        asking.bind((0, 0))
        asking.send(message)
        return asking.recv(8192)


def _find_attribute(answer: bytes, wanted: int) -> bytes | None:
    if len(answer) < _HEADER.size + _ROUTE.size or _HEADER.unpack_from(answer)[1] != _RTM_NEWROUTE:
        return None
    at = _HEADER.size + _ROUTE.size
    while at + _ATTRIBUTE.size <= len(answer):
        length, kind = _ATTRIBUTE.unpack_from(answer, at)
        if length < _ATTRIBUTE.size:
            return None
        if kind == wanted:
            return answer[at + _ATTRIBUTE.size : at + length]
        at += -(-length // 4) * 4
    return None
