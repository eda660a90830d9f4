"""A tiny registry in memory that answers as it is told to: 401, 500, nothing at all, or a lie about a digest."""

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from serving import serving

#: given method and path: None to answer well, a status to answer so, "hang" or "lie"
Fault = Callable[[str, str], int | str | None]


def no_fault(method: str, path: str) -> None:
    """A registry that behaves."""


class BadRegistry(ThreadingHTTPServer):
    """What was put into it can be looked at: `blobs` by digest, `manifests` by (repository, reference)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault: Fault = no_fault
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.ended = threading.Event()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def tags(self) -> set[str]:
        return {reference for _, reference in self.manifests if not reference.startswith("sha256:")}

    def count(self, method: str, part: str = "") -> int:
        """How many requests of that method had `part` in their path."""
        return sum(1 for asked, path in self.requests if asked == method and part in path)


@contextlib.contextmanager
def bad_registry() -> Iterator[BadRegistry]:
    server = BadRegistry()
    with serving(server):
        try:
            yield server
        finally:
            server.ended.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BadRegistry

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path))
        fault = self.server.fault(self.command, self.path)
        if fault == "hang":
            self.server.ended.wait(60)
            self.close_connection = True
        elif isinstance(fault, int):
            self._send(fault, b'{"errors":[{"code":"FAULT","message":"as told"}]}')
        else:
            self._serve(body, lie=fault == "lie")

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815  names of http.server

    def _serve(self, body: bytes, *, lie: bool) -> None:
        path, _, query = self.path.partition("?")
        manifest = re.fullmatch(r"/v2/(.+)/manifests/(.+)", path)
        if path == "/v2/":
            self._send(200, b"{}")
        elif manifest and self.command == "PUT":
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            self.server.manifests[manifest[1], manifest[2]] = self.server.manifests[manifest[1], digest] = body
            self._send(201, digest=digest)
        elif manifest:
            self._give(self.server.manifests.get((manifest[1], manifest[2])), lie=lie)
        elif path.endswith("/blobs/uploads/"):
            self._send(202, location=f"{path}one")
        elif "/blobs/uploads/" in path:
            digest = query.rpartition("digest=")[2].replace("%3A", ":")
            self.server.blobs[digest] = body
            self._send(201, digest="sha256:" + "1" * 64 if lie else digest)
        else:
            self._give(self.server.blobs.get(path.rpartition("/")[2]), lie=lie)

    def _give(self, data: bytes | None, *, lie: bool) -> None:
        if data is None:
            self._send(404)
            return
        digest = "1" * 64 if lie else hashlib.sha256(data).hexdigest()
        self._send(200, data, digest=f"sha256:{digest}")

    def _send(self, status: int, data: bytes = b"", *, digest: str = "", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
