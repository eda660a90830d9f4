"""HTTP to one registry: connections that are reused, limits of time, retries, and errors that say who did what.

Every failure leaves as RegistryError or one of its children. A registry that trickles or hangs is given up after
`Timeouts.stall_seconds`; what fails for a passing reason (connection lost, 429, 5xx) is tried again, ever later.
"""

import contextlib
import email.utils
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProxyError,
    ResponseError,
    SSLError,
    TimeoutError,
)

from tidegate import __version__
from tidegate.errors import RegistryAuthError, RegistryError, UsageError
from tidegate.registry.access import RegistryAccess, is_loopback, proxy_for
from tidegate.registry.authorization import TOKEN_MAX_BYTES, Authorization, scopes_of
from tidegate.registry.reference import DOCKER_HUB
from tidegate.units import KIB, MIB

PIECE_BYTES = 1 * MIB
_ERROR_BODY_MAX = 64 * KIB
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_STALL_BYTES = 4 * KIB  # fewer than this in `stall_seconds` is a hang
_CONNECTIONS = 16
_REDIRECTS_MAX = 5
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
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
    #: a registry that names a time to wait (429, Retry-After) is believed up to this
    longest_throttle_seconds: float = 120.0

    def wait_seconds(self, attempt: int) -> float:
        """How long to wait after attempt 1, 2, …"""
        return min(self.first_wait_seconds * 2.0 ** (attempt - 1), self.longest_wait_seconds)


class PassingError(RegistryError):
    """Inside this room: a failure that may pass, so that the same request is worth another attempt."""

    exit_code = RegistryError.exit_code
    wait_seconds: float = 0.0
    is_throttle: bool = False  # the registry asked for patience; that is no failure yet


class Transport:
    """Connections to the registry `host` (host or host:port); `scheme` by default http for this machine, else https.

    `access` says what this host knows about registries; by default nothing, and we are nobody.
    """

    def __init__(
        self,
        host: str,
        *,
        scheme: str | None = None,
        timeouts: Timeouts | None = None,
        access: RegistryAccess | None = None,
    ) -> None:
        self.host = host
        self.timeouts = timeouts or Timeouts()
        self._access = access or RegistryAccess()
        server = "registry-1.docker.io" if host == DOCKER_HUB else host
        self.base = f"{scheme or self._access.scheme(host)}://{server}"
        self._lock = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._pool(self.base)
        self._not_before = 0.0
        secrets = self._access.secrets
        self._authorization = Authorization(host, self.base, self._access.credentials, secrets, self._exchange)

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Connections to where `url` leads: the registry, or a place that it redirects to, by that place's own name."""
        origin = _origin(url)
        with self._lock:
            if origin not in self._pools:
                self._pools[origin] = self._make_pool(origin)
            return self._pools[origin]

    def _make_pool(self, origin: str) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=self.timeouts.connect_seconds, read=self.timeouts.read_seconds)
        options: dict[str, Any] = {"maxsize": _CONNECTIONS, "timeout": timeout, "blocksize": 256 * KIB}
        if origin.startswith("https:"):
            context = self._access.tls_context(self.host if origin == _origin(self.base) else urlsplit(origin).netloc)
            options["ssl_context"] = context
            if context.verify_mode == ssl.CERT_NONE:
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # a person asked for it by name
        proxy = proxy_for(origin)
        try:
            if proxy is None:
                return urllib3.PoolManager(**options)
            return urllib3.ProxyManager(proxy, proxy_headers=self._proxy_headers(proxy), **options)
        except (LocationValueError, ValueError):
            # Neither the address nor what urllib3 says of it: a proxy's address may hold a password.
            raise UsageError(
                f"{self.host}: the proxy that the environment names has no address that can be used",
                hint="look at https_proxy and http_proxy: http://HOST:PORT",
            ) from None

    def _proxy_headers(self, proxy: str) -> dict[str, str]:
        parts = urlsplit(proxy)
        if parts.username is None:
            return {}
        user, password = unquote(parts.username), unquote(parts.password or "")
        headers: dict[str, str] = dict(urllib3.make_headers(proxy_basic_auth=f"{user}:{password}"))
        self._access.secrets.add(password, parts.password or "", *(text.partition(" ")[2] for text in headers.values()))
        return headers

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
        attempt = 0
        while True:
            attempt += 1
            try:
                return self.send_once(method, url, what=what, expect=expect, headers=headers, body=body, finish=finish)
            except PassingError as error:
                if not self.may_retry(error, attempt):
                    raise final(error) from None
                self.pause(error, attempt)

    def may_retry(self, error: PassingError, failures: int) -> bool:
        """Whether another attempt is worth it after so many failures in a row."""
        return failures < self.timeouts.attempts * (2 if error.is_throttle else 1)

    def pause(self, error: PassingError, attempt: int) -> None:
        """Wait before the next attempt, as long as the registry asks, within our own limit."""
        asked = min(error.wait_seconds, self.timeouts.longest_throttle_seconds)
        time.sleep(max(asked, self.timeouts.wait_seconds(attempt)))

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
        """One request without another attempt; raises PassingError where one may help.

        A registry that wants to know who asks is told, once; then the same request goes again.
        """
        target = url if "://" in url else self.base + url
        scopes = scopes_of(method, target)
        sent = self._credentials_for(target, scopes)
        response = self._follow(method, target, what, headers, sent, body)
        challenges = response.headers.getlist("WWW-Authenticate") if response.status == 401 else []
        if challenges and _origin(target) == _origin(self.base):
            code, text = self._error_body(response, what)
            if not self._authorization.answer(challenges, scopes, sent):
                raise self._auth_error(what, 401, text, scopes, code)
            if hasattr(body, "seek"):
                body.seek(0)
            response = self._follow(method, target, what, headers, self._credentials_for(target, scopes), body)
        if response.status in expect:
            if finish:
                self.throw_away(response)
            return response
        raise self._status_error(response, what, scopes)

    def _credentials_for(self, target: str, scopes: tuple[str, ...]) -> str | None:
        return self._authorization.header(scopes) if _origin(target) == _origin(self.base) else None

    def _follow(
        self, method: str, url: str, what: str, headers: Mapping[str, str] | None, credentials: str | None, body: Any
    ) -> urllib3.BaseHTTPResponse:
        """One request and the redirects that it leads to. Whoever is not the registry gets no credentials."""
        for _ in range(_REDIRECTS_MAX + 1):
            plain = {"User-Agent": f"tidegate/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
            if credentials is not None and _origin(url) == _origin(self.base):
                plain["Authorization"] = credentials
            elif _origin(url) != _origin(self.base):
                plain.pop("Authorization", None)
            response = self._request(method, url, what, plain, body)
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTED or not location:
                return response
            if response.status in {301, 302, 303} and method not in {"GET", "HEAD"}:
                return response  # nobody else gets what was meant for the registry
            self.throw_away(response)
            url = self._next_url(url, location, what)
            if hasattr(body, "seek"):
                body.seek(0)
        raise RegistryError(f"{self.host}: {what}: redirects more than {_REDIRECTS_MAX} times")

    def _request(
        self, method: str, url: str, what: str, headers: dict[str, str], body: Any
    ) -> urllib3.BaseHTTPResponse:
        wait = self._not_before - time.monotonic()
        if wait > 0:
            time.sleep(min(wait, self.timeouts.longest_throttle_seconds))
        try:
            return self._pool(url).request(
                method, url, headers=headers, body=body, preload_content=False, redirect=False, retries=False
            )
        except WIRE_ERRORS as error:
            raise self.wire_error(error, what) from None
        except ValueError:  # an address that no connection can be made to
            raise RegistryError(f"{self.host}: {what}: leads to an address that is none") from None

    def _next_url(self, url: str, location: str, what: str) -> str:
        try:
            following = urljoin(url, location)
            parts = urlsplit(following)
            is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None
        except ValueError:
            is_address, following = False, ""
        if not is_address:
            raise RegistryError(f"{self.host}: {what}: redirects to an address that is none")
        if self.base.startswith("https:") and following.startswith("http:"):
            raise RegistryError(
                f"{self.host}: {what}: redirected from https to plain http ({_without_query(following)[:200]})"
            )
        return following

    def _exchange(self, url: str, headers: dict[str, str], form: bytes | None) -> tuple[int, bytes]:
        """Ask for a token (`Authorization`). A redirect is not followed: it would carry a password elsewhere."""
        more = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
        plain = {"User-Agent": f"tidegate/{__version__}", "Accept-Encoding": "identity", **headers, **more}
        response = self._request("GET" if form is None else "POST", url, "token", plain, form)
        if response.status in _RETRIED:
            raise self._status_error(response, "token", ())
        return response.status, self.read_all(response, "token", TOKEN_MAX_BYTES)

    def throw_away(self, response: urllib3.BaseHTTPResponse) -> None:
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
        reason = error
        where = f"{self.host}: {what}"
        if isinstance(reason, ProxyError):
            inner = reason.original_error
            if not isinstance(inner, SSLError | NewConnectionError):
                return RegistryError(
                    f"{where}: the proxy refuses: {self._access.secrets.redact(str(inner))[:200]}",
                    hint="look at https_proxy, http_proxy and no_proxy",
                )
            reason = inner
        if isinstance(reason, NewConnectionError):
            return PassingError(
                f"{where}: cannot connect to {self.base}", hint="is the name right, and does it answer?"
            )
        if isinstance(reason, SSLError) and _is_cut(reason):
            return PassingError(f"{where}: connection lost: TLS ended in the middle")
        if isinstance(reason, SSLError):
            return RegistryError(
                f"{where}: TLS fails: {reason}",
                hint="name its CA as `ca` in the settings of this registry; a proxy that opens TLS has a CA of its own",
            )
        if isinstance(reason, ResponseError):
            return RegistryError(f"{where}: {reason}")
        if isinstance(reason, TimeoutError):
            return PassingError(f"{where}: no answer within {self.timeouts.read_seconds:.0f} s")
        return PassingError(f"{where}: connection lost: {reason}")

    def _status_error(self, response: urllib3.BaseHTTPResponse, what: str, scopes: tuple[str, ...]) -> RegistryError:
        status = response.status
        code, text = self._error_body(response, what)
        where = f"{self.host}: {what}: HTTP {status}" + (f" ({text})" if text else "")
        if status in {401, 403}:
            return self._auth_error(what, status, text, scopes, code)
        if status == 404:
            error = RegistryError(f"{where}: not found in this registry", hint="check repository and tag")
        elif status in _RETRIED:
            error = PassingError(where)
            error.wait_seconds = _seconds(response.headers.get("Retry-After"))
            error.is_throttle = status == 429 or error.wait_seconds > 0
            if error.wait_seconds:  # the other threads of this registry wait too
                asked = min(error.wait_seconds, self.timeouts.longest_throttle_seconds)
                self._not_before = time.monotonic() + asked
        else:
            error = RegistryError(where)
        error.status, error.code = status, code
        return error

    def _auth_error(
        self, what: str, status: int, text: str, scopes: tuple[str, ...], code: str = ""
    ) -> RegistryAuthError:
        said = f" ({text})" if text else ""
        wants = "wants credentials" if status == 401 else "does not allow it"
        error = RegistryAuthError(
            f"{self.host}: {what}: HTTP {status}{said}: the registry {wants}; {self._authorization.describe(scopes)}",
            hint=f'log in with "docker login {self.host}", or name user and password_file in the settings',
        )
        error.status, error.code = status, code
        return error

    def _error_body(self, response: urllib3.BaseHTTPResponse, what: str) -> tuple[str, str]:
        """(the registry's error code, a short text) of an error's body; empty where it has none."""
        try:
            said = json.loads(self.read_all(response, what, _ERROR_BODY_MAX))
            # ChartMuseum's form is {"error": "repo has reached storage limit"}
            first = {"message": said["error"]} if isinstance(said.get("error"), str) else said["errors"][0]
            code, message = str(first.get("code", ""))[:64], str(first.get("message", ""))[:200]
        except (RegistryError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return "", ""
        # A registry may repeat what it was sent.
        redact = self._access.secrets.redact
        return redact(code), redact(": ".join(part for part in (code, message) if part))


def final(error: PassingError) -> RegistryError:
    """A passing failure that did not pass, as what callers see."""
    last = RegistryError(error.message, hint=error.hint)
    last.status, last.code = error.status, error.code
    return last


def _without_query(url: str) -> str:
    """An address as it may be logged: what stands behind ``?`` is often a signature that opens it to anybody."""
    return url.partition("?")[0]


def _origin(url: str) -> str:
    """Scheme, host and port: who is asked. Two ways to write one place are two, which only costs a connection."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}".lower()


def _is_cut(error: SSLError) -> bool:
    """Whether the other end went away in the middle, rather than that one of the two does not believe the other."""
    return any(isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) for cause in error.args)


def _seconds(text: str | None) -> float:
    """``Retry-After``: seconds, or a time (RFC 9110, 10.2.3)."""
    if text and text.isdecimal() and len(text) < 6:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text or "").timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def default_scheme(host: str) -> str:
    """Plain http for this machine, https for every other."""
    return "http" if is_loopback(host) else "https"
