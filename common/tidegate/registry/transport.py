"""HTTP to one registry: connections that are reused, limits of time, retries, and errors that say who did what.

Every failure leaves as RegistryError or one of its children. A registry that trickles or hangs is given up after
`Timeouts.stall_seconds`; what fails for a passing reason (connection lost, 429, 5xx) is tried again, ever later.
"""

import contextlib
import http.client
import ipaddress
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, NewConnectionError, ResponseError, SSLError, TimeoutError

from tidegate import __version__
from tidegate.errors import RegistryAuthError, RegistryError, UsageError
from tidegate.registry.reference import DOCKER_HUB
from tidegate.units import KIB, MIB

PIECE_BYTES = 1 * MIB
_ERROR_BODY_MAX = 64 * KIB
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_STALL_BYTES = 4 * KIB  # fewer than this in `stall_seconds` is a hang
_CONNECTIONS = 8
#: what urllib3 and http.client raise when the wire or the other end fails
WIRE_ERRORS = (HTTPError, http.client.HTTPException, OSError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a registry, and how often to ask again."""

    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    stall_seconds: float = 60.0
    attempts: int = 4
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    def wait_seconds(self, attempt: int) -> float:
        """How long to wait after attempt 1, 2, …"""
        return min(self.first_wait_seconds * 2.0 ** (attempt - 1), self.longest_wait_seconds)


class PassingError(RegistryError):
    """Inside this room: a failure that may pass, so that the same request is worth another attempt."""

    exit_code = RegistryError.exit_code
    wait_seconds: float = 0.0


class Transport:
    """Connections to the registry `host` (host or host:port); `scheme` by default http for this machine, else https."""

    def __init__(self, host: str, *, scheme: str | None = None, timeouts: Timeouts | None = None) -> None:
        self.host = host
        self.timeouts = timeouts or Timeouts()
        server = "registry-1.docker.io" if host == DOCKER_HUB else host
        self.base = f"{scheme or default_scheme(host)}://{server}"
        self._pool = self._make_pool()

    def _make_pool(self) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=self.timeouts.connect_seconds, read=self.timeouts.read_seconds)
        options: dict[str, Any] = {"maxsize": _CONNECTIONS, "timeout": timeout, "blocksize": 256 * KIB}
        proxy = None if is_loopback(self.host) else _proxy_for(self.base)
        try:
            return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        except LocationValueError:
            # Neither the address nor what urllib3 says of it: a proxy's address may hold a password.
            raise UsageError(
                f"{self.host}: the proxy that the environment names has no address that can be used",
                hint="look at https_proxy and http_proxy: http://HOST:PORT",
            ) from None

    def send(
        self,
        method: str,
        url: str,
        *,
        what: str,
        expect: frozenset[int],
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        finish: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """One request, tried again while its failures may pass; gives a response whose status is in `expect`.

        `url` is a path or a whole address; `what` names the object in errors. The caller reads or closes the response;
        with `finish` the body is thrown away here, so that the connection can be used again.
        """
        limit = self.timeouts.attempts
        for attempt in range(1, limit + 1):
            try:
                return self.send_once(method, url, what=what, expect=expect, headers=headers, body=body, finish=finish)
            except PassingError as error:
                if attempt == limit:
                    raise final(error) from None
                self.pause(error, attempt)
        raise AssertionError("unreachable")

    def pause(self, error: PassingError, attempt: int) -> None:
        """Wait before the next attempt, as long as the registry asks, within our own limit."""
        time.sleep(
            min(max(error.wait_seconds, self.timeouts.wait_seconds(attempt)), self.timeouts.longest_wait_seconds)
        )

    def send_once(
        self,
        method: str,
        url: str,
        *,
        what: str,
        expect: frozenset[int],
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        finish: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """One request without another attempt; raises PassingError where one may help."""
        try:
            response = self._pool.request(
                method,
                url if "://" in url else self.base + url,
                headers=self._headers(headers),
                body=body,
                preload_content=False,
                retries=urllib3.Retry(total=None, connect=0, read=0, redirect=5, status=0, other=0),
            )
        except WIRE_ERRORS as error:
            raise self.wire_error(error, what) from None
        if response.status in expect:
            self._refuse_downgrade(response, what)
            if finish:
                self._throw_away(response)
            return response
        raise self._status_error(response, what)

    def _headers(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        # Authentication (tokens, client certificates) has its place here.
        return {"User-Agent": f"tidegate/{__version__}", "Accept-Encoding": "identity", **(headers or {})}

    def _refuse_downgrade(self, response: urllib3.BaseHTTPResponse, what: str) -> None:
        final_url = response.geturl() or ""
        if self.base.startswith("https:") and final_url.startswith("http:"):
            response.close()
            raise RegistryError(
                f"{self.host}: {what}: redirected from https to plain http ({_without_query(final_url)[:200]})"
            )

    def _throw_away(self, response: urllib3.BaseHTTPResponse) -> None:
        """Read a body that nobody needs, which gives the connection back; close it where it is long or broken."""
        left = _ERROR_BODY_MAX
        with contextlib.suppress(*WIRE_ERRORS):
            while left > 0 and (piece := response.read1(left, decode_content=False)):
                left -= len(piece)
        response.close() if left <= 0 else response.release_conn()

    def pieces(self, response: urllib3.BaseHTTPResponse, what: str) -> Iterator[bytes]:
        """The body piece by piece, as it comes. Raises PassingError when the connection is lost or trickles."""
        window_start, window_bytes = time.monotonic(), 0
        while True:
            try:
                piece = response.read1(PIECE_BYTES, decode_content=False)
            except WIRE_ERRORS as error:
                raise self.wire_error(error, what) from None
            if not piece:
                return
            yield piece
            window_bytes += len(piece)
            if (now := time.monotonic()) - window_start > self.timeouts.stall_seconds:
                if window_bytes < _STALL_BYTES:
                    raise PassingError(
                        f"{self.host}: {what}: hangs: {window_bytes} bytes in {now - window_start:.0f} s"
                    )
                window_start, window_bytes = now, 0

    def read_all(self, response: urllib3.BaseHTTPResponse, what: str, max_bytes: int) -> bytes:
        """A small body whole. Raises RegistryError above `max_bytes`, before more than that is held."""
        data = bytearray()
        try:
            for piece in self.pieces(response, what):
                data += piece
                if len(data) > max_bytes:
                    raise RegistryError(f"{self.host}: {what}: an answer of more than {max_bytes} bytes")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return bytes(data)

    def wire_error(self, error: Exception, what: str) -> RegistryError:
        """A failure below HTTP, by what a person can do about it."""
        reason = getattr(error, "reason", None) or error
        where = f"{self.host}: {what}"
        if isinstance(reason, NewConnectionError):
            return PassingError(
                f"{where}: cannot connect to {self.base}", hint="is the name right, and does it answer?"
            )
        if isinstance(reason, SSLError):
            return RegistryError(
                f"{where}: TLS fails: {reason}", hint="install the registry's CA certificate in this host's trust store"
            )
        if isinstance(reason, ResponseError):
            return RegistryError(f"{where}: {reason}")
        if isinstance(reason, TimeoutError):
            return PassingError(f"{where}: no answer within {self.timeouts.read_seconds:.0f} s")
        return PassingError(f"{where}: connection lost: {reason}")

    def _status_error(self, response: urllib3.BaseHTTPResponse, what: str) -> RegistryError:
        status = response.status
        code, text = self._error_body(response, what)
        where = f"{self.host}: {what}: HTTP {status}" + (f" ({text})" if text else "")
        if status in {401, 403}:
            error: RegistryError = RegistryAuthError(
                f"{where}: the registry wants credentials",
                hint="this version pulls and pushes without credentials only",
            )
        elif status == 404:
            error = RegistryError(f"{where}: not found in this registry", hint="check repository and tag")
        elif status in _RETRIED:
            error = PassingError(where)
            error.wait_seconds = _seconds(response.headers.get("Retry-After"))
        else:
            error = RegistryError(where)
        error.status, error.code = status, code
        return error

    def _error_body(self, response: urllib3.BaseHTTPResponse, what: str) -> tuple[str, str]:
        """(the registry's error code, a short text) of an error's body; empty where it has none."""
        try:
            first = json.loads(self.read_all(response, what, _ERROR_BODY_MAX))["errors"][0]
            code, message = str(first.get("code", ""))[:64], str(first.get("message", ""))[:200]
        except (RegistryError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return "", ""
        return code, ": ".join(part for part in (code, message) if part)


def final(error: PassingError) -> RegistryError:
    """A passing failure that did not pass, as what callers see."""
    last = RegistryError(error.message, hint=error.hint)
    last.status, last.code = error.status, error.code
    return last


def _without_query(url: str) -> str:
    """An address as it may be logged: what stands behind ``?`` is often a signature that opens it to anybody."""
    return url.partition("?")[0]


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdecimal() and len(text) < 6 else 0.0


def is_loopback(host: str) -> bool:
    """Whether `host` (with or without port) is this machine."""
    name = host[1 : host.index("]")] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def default_scheme(host: str) -> str:
    """Plain http for this machine, https for every other."""
    return "http" if is_loopback(host) else "https"


def _proxy_for(base: str) -> str | None:
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(base)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
