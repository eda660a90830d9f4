"""Fetch a small file over HTTP, through the transport that registries use: its retries, limits, proxies and errors."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from tidegate.errors import CollectError, RegistryError
from tidegate.registry.transport import PassingError, Transport, final
from tidegate_sender.collect.kinds import Surroundings

T = TypeVar("T")
_OK = frozenset({200})
_OK_OR_MISSING = frozenset({200, 404, 403, 410})
_CREDENTIALS_HINT = "credentials belong into the login of the host, not into a list: they would stand in the bundle"


def check_url(url: str, what: str) -> str:
    """An http or https address without credentials. Raises CollectError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise CollectError(f"{what}: {url[:200]!r} is no address") from None
    del port
    if parts.username is not None or parts.password is not None:
        raise CollectError(f"{what}: the address of {parts.hostname} holds credentials", hint=_CREDENTIALS_HINT)
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(c <= " " or c == "\x7f" for c in url):
        raise CollectError(f"{what}: {url[:200]!r} is no http or https address")
    return url


def download(url: str, around: Surroundings, *, max_bytes: int, what: str) -> bytes:
    """The bytes at `url`. Raises RegistryError (its children say what is wrong), CollectError."""
    data = _get(url, around, max_bytes, what, missing_is_fine=False)
    assert data is not None
    return data


def download_if_there(url: str, around: Surroundings, *, max_bytes: int, what: str) -> bytes | None:
    """The bytes at `url`, or None where the server has no such file (404, or 403 and 410 as stores of objects say)."""
    return _get(url, around, max_bytes, what, missing_is_fine=True)


def download_to(url: str, path: Path, around: Surroundings, *, max_bytes: int, what: str) -> int:
    """Write the bytes at `url` into the new file `path`; gives the server's time of it in seconds, 0 where unknown."""
    transport, target = _reach(url, around, what)
    return _again(transport, lambda: _write(transport, target, path, around, max_bytes, what))


def _write(transport: Transport, target: str, path: Path, around: Surroundings, max_bytes: int, what: str) -> int:
    response = transport.send("GET", target, what=what, expect=_OK)
    length = response.headers.get("Content-Length", "")
    done = 0
    with open(path, "wb") as file:
        for piece in transport.pieces(response, what):
            done += len(piece)
            if done > max_bytes:
                raise RegistryError(f"{transport.host}: {what}: more than {max_bytes} bytes")
            file.write(piece)
            around.progress(len(piece), int(length) if length.isdecimal() else 0)
    if length.isdecimal() and int(length) != done:
        raise PassingError(f"{transport.host}: {what}: ended after {done} of {length} bytes")
    return _seconds(response.headers.get("Last-Modified", ""))


def _again(transport: Transport, action: Callable[[], T]) -> T:
    """`action`, from its beginning again while its failures may pass: what breaks inside of an answer, too."""
    failures = 0
    while True:
        try:
            return action()
        except PassingError as error:
            failures += 1
            if not transport.may_retry(error, failures):
                raise final(error) from None
            transport.pause(error, failures)


def _seconds(text: str) -> int:
    try:
        return max(int(parsedate_to_datetime(text).timestamp()), 0)
    except (ValueError, TypeError, OverflowError):
        return 0


def _reach(url: str, around: Surroundings, what: str) -> tuple[Transport, str]:
    """Connections to the address's host, and what to ask it for."""
    parts = urlsplit(check_url(url, what))
    transport = Transport(parts.netloc, scheme=parts.scheme, access=around.client(parts.netloc).access)
    return transport, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _get(url: str, around: Surroundings, max_bytes: int, what: str, *, missing_is_fine: bool) -> bytes | None:
    transport, path = _reach(url, around, what)
    expect = _OK_OR_MISSING if missing_is_fine else _OK
    return _again(transport, lambda: _read(transport, path, max_bytes, what, expect))


def _read(transport: Transport, path: str, max_bytes: int, what: str, expect: frozenset[int]) -> bytes | None:
    response = transport.send("GET", path, what=what, expect=expect)
    if response.status != 200:
        response.close()
        return None
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > max_bytes:
        response.close()
        raise RegistryError(f"{transport.host}: {what}: {length} bytes, the limit is {max_bytes}")
    data = transport.read_all(response, what, max_bytes)
    if length.isdecimal() and int(length) != len(data):
        raise PassingError(f"{transport.host}: {what}: ended after {len(data)} of {length} bytes")
    return data
