"""A registry on a bad day: TLS or a token that ends in the middle, patience that is asked for without end."""

import contextlib
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

from tidegate.config import RegistrySettings
from tidegate.errors import RegistryError
from tidegate.registry.access import RegistryAccess
from tidegate.registry.client import RegistryClient
from tidegate.registry.transport import Timeouts, Transport
from tidegate.registry.upload import Upload

QUICK = Timeouts(first_wait_seconds=0.01, longest_wait_seconds=0.05, longest_throttle_seconds=0.2)
DATA = bytes(range(256)) * 16384  # 4 MiB: more than the buffers of a connection take
DIGEST = f"sha256:{sha256(DATA).hexdigest()}"
#: given the handler before a body is read: True where it has answered, or cut the connection
Fault = Callable[["Handler"], bool]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def _any(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        if self.server.fault(self):
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        if path == "/token":
            self.server.tokens += 1
            self.say(200, json.dumps({"token": f"t{self.server.tokens}", "expires_in": 300}).encode())
        elif path.endswith("/blobs/uploads/"):
            self.server.got = bytearray()
            self.say(202, Location=f"{path}one")
        elif "/uploads/" in path:
            start = int(self.headers.get("Content-Range", f"{len(self.server.got)}-").partition("-")[0])
            assert start == len(self.server.got) or self.command == "GET"
            self.server.got += body
            held = {"Location": path, "Range": f"0-{max(len(self.server.got) - 1, 0)}"}
            status = 201 if "digest=" in query else 204 if self.command == "GET" else 202
            self.say(status, **held)
        elif "/blobs/" in path:
            first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            more = {"Content-Range": f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"} if first else {}
            self.say(206 if first else 200, DATA[first:], **more)
        else:
            self.say(404)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = _any  # noqa: N815  names of http.server

    def say(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def cut(self) -> bool:
        """The wire is gone, and TLS was not ended."""
        self.wfile.flush()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)
        return True

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    fault: Fault = staticmethod(lambda _handler: False)
    tokens = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.got = bytearray()
        self.host = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """A client or a test that went away."""


@contextlib.contextmanager
def running(authority: Authority | None = None) -> Iterator[Server]:
    with Server() as server:
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.issue())
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


def upload(transport: Transport, piece_bytes: int) -> None:
    Upload(transport, "app", DIGEST, len(DATA), lambda: io.BytesIO(DATA), piece_bytes=piece_bytes).run()


def times(count: int, fault: Fault, *, only: str) -> Fault:
    """`fault` for the first requests that have `only` in them."""
    left = [count]

    def maybe(handler: Handler) -> bool:
        if only not in f"{handler.command} {handler.path}" or not left[0]:
            return False
        left[0] -= 1
        return fault(handler)

    return maybe


@pytest.mark.parametrize("piece_bytes", [1 << 20, 1 << 30])
@pytest.mark.parametrize("read_bytes", [0, 100_000])
def test_tls_that_ends_in_the_middle_of_an_upload_is_a_lost_connection(
    tmp_path: Path, piece_bytes: int, read_bytes: int
) -> None:
    authority = Authority.make(tmp_path)

    def cut(handler: Handler) -> bool:
        handler.rfile.read(read_bytes)
        return handler.cut()

    with running(authority) as server:
        access = RegistryAccess({server.host: RegistrySettings(ca=str(authority.ca))})
        server.fault = times(2, cut, only="PATCH" if piece_bytes < len(DATA) else "PUT")
        upload(Transport(server.host, timeouts=QUICK, access=access), piece_bytes)
        assert bytes(server.got) == DATA


def test_tls_that_ends_in_the_middle_of_a_blob_is_gone_on_with(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)

    def cut(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA[:1_000_000])
        return handler.cut()

    with running(authority) as server:
        access = RegistryAccess({server.host: RegistrySettings(ca=str(authority.ca))})
        server.fault = times(1, cut, only="/blobs/")
        came = io.BytesIO()
        RegistryClient(server.host, timeouts=QUICK, access=access).fetch_blob("app", DIGEST, len(DATA), came.write)
        assert came.getvalue() == DATA
        assert len(server.asked) == 2


def test_tls_that_always_ends_early_is_given_up_and_no_certificate_is_blamed(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with running(authority) as server:
        access = RegistryAccess({server.host: RegistrySettings(ca=str(authority.ca))})
        server.fault = Handler.cut
        with pytest.raises(RegistryError, match="connection lost") as caught:
            upload(Transport(server.host, timeouts=QUICK, access=access), 1 << 20)
        assert "CA" not in caught.value.hint


@pytest.mark.parametrize("piece_bytes", [1 << 18, 1 << 30])
@pytest.mark.parametrize("reads", [True, False])
def test_a_token_that_ends_in_the_middle_of_an_upload_is_renewed(piece_bytes: int, reads: bool) -> None:
    """Each token is good for three requests; the registry answers before it has the body, and may never read it."""
    with running() as server:
        used: dict[str, int] = {}

        def guard(handler: Handler) -> bool:
            if handler.path.startswith("/token"):
                return False
            token = handler.headers.get("Authorization", "")
            used[token] = used.get(token, 0) + 1
            if token == f"Bearer t{server.tokens}" and used[token] <= 3:
                return False
            challenge = f'Bearer realm="http://{server.host}/token",service="tests"'
            if reads:
                handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
            handler.say(401, WWW_Authenticate=challenge, Connection="close")
            return True

        server.fault = guard
        upload(Transport(server.host, timeouts=QUICK), piece_bytes)
        assert bytes(server.got) == DATA
        assert server.tokens >= (5 if piece_bytes < len(DATA) else 1)


@pytest.mark.parametrize("text", ["99999", "Fri, 31 Dec 2099 23:59:59 GMT", "٣", "-1", "soon", "1e9"])
def test_patience_is_limited_and_asked_for_once(text: str) -> None:
    with running() as server:
        said = str(text.encode("utf-8"), "latin-1")
        server.fault = times(1, lambda handler: handler.say(429, Retry_After=said) is None, only="PUT")
        transport = Transport(server.host, timeouts=QUICK)
        started = time.monotonic()
        upload(transport, 1 << 30)
        for _ in range(5):  # and no other request waits for it any more
            transport.send("GET", "/v2/x/blobs/uploads/one", what="x", expect=frozenset({204}), finish=True)
        assert bytes(server.got) == DATA
        assert time.monotonic() - started < 5 * QUICK.longest_throttle_seconds + 5
        assert transport._not_before - time.monotonic() <= QUICK.longest_throttle_seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "repo has reached storage limit"}', "repo has reached storage limit"),
        (b'{"errors": [{"code": "DENIED", "message": "quota"}]}', "DENIED: quota"),
        (b'{"errors": []}', "HTTP 507"),
        (b'["errors"]', "HTTP 507"),
        (b"\xff", "HTTP 507"),
    ],
)
def test_why_it_refuses_is_told_in_either_form(body: bytes, said: str) -> None:
    with running() as server:
        server.fault = lambda handler: handler.say(507, body) is None
        with pytest.raises(RegistryError, match=said):
            Transport(server.host, timeouts=QUICK).send("GET", "/v2/", what="x", expect=frozenset({200}))
