"""Which interface leads to an address: asked of the kernel by netlink, as ``ip route get`` does."""

import contextlib
import socket
import struct

from tidegate.carrier.stream.address import StreamAddress

_NETLINK_ROUTE = 0
_RTM_GETROUTE, _RTM_NEWROUTE = 26, 24
_NLM_F_REQUEST = 1
_RTA_DST, _RTA_OIF = 1, 4
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")


def route_interface(address: StreamAddress) -> str | None:
    """The name of the interface that packets to `address` leave by; None where there is no route."""
    if address.scope:
        return address.scope
    with contextlib.suppress(OSError):
        answer = _ask(address)
        index = _find_attribute(answer, _RTA_OIF)
        if index is not None:
            return socket.if_indextoname(index)
    return None


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


def _find_attribute(answer: bytes, wanted: int) -> int | None:
    if len(answer) < _HEADER.size + _ROUTE.size or _HEADER.unpack_from(answer)[1] != _RTM_NEWROUTE:
        return None
    at = _HEADER.size + _ROUTE.size
    while at + _ATTRIBUTE.size <= len(answer):
        length, kind = _ATTRIBUTE.unpack_from(answer, at)
        if length < _ATTRIBUTE.size:
            return None
        if kind == wanted and length == _ATTRIBUTE.size + 4:
            return int.from_bytes(answer[at + 4 : at + 8], "little")
        at += -(-length // 4) * 4
    return None
