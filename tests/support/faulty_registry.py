"""A registry in memory that misbehaves on demand: what real ones do on a bad day, and what a hostile one would."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving import serving

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Handler(BaseHTTPRequestHandler):
    """Answers from the registry's `manifests` and `blobs`; a fault may take over a request."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        registry = self.server.registry
        self.body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with registry.lock:
            registry.requests.append((self.command, self.path, self.headers.get("Range", "")))
        for fault in list(registry.faults):
            if fault(self):
                return
        parts = self.path.split("/")
        if self.path == "/v2/":
            self.answer(200, b"{}")
        elif "manifests" in parts:
            self._manifest(parts[-1])
        elif "blobs" in parts and "uploads" not in parts:
            self._blob(parts[-1])
        else:
            self.error(404, "UNSUPPORTED")

    def _manifest(self, reference: str) -> None:
        found = self.server.registry.manifests.get(reference)
        if found is None:
            return self.error(404, "MANIFEST_UNKNOWN")
        media_type, data = found
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return self.answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _blob(self, digest: str) -> None:
        data = self.server.registry.blobs.get(digest)
        if data is None:
            return self.error(404, "BLOB_UNKNOWN")
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if start:
            content_range = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self.answer(206, data[start:], {"Content-Range": content_range})
        return self.answer(200, data)

    def answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """A whole answer; HEAD leaves the body out."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        self.answer(status, body, {"Content-Type": "application/json", **(headers or {})})

    def drop(self, data: bytes, *, announce: int) -> None:
        """Announce `announce` bytes, send `data`, and break the connection."""
        self.send_response(206 if self.headers.get("Range") else 200)
        self.send_header("Content-Length", str(announce))
        if self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_header("Content-Range", f"bytes {start}-{start + announce - 1}/{start + announce}")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    def hang(self) -> None:
        """Say nothing until the test ends."""
        self.server.registry.release.wait(30)
        self.close_connection = True


#: looks at a request; True when it has answered it
Fault = Callable[[Handler], bool]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: "FaultyRegistry"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away is what the tests want


@dataclass
class FaultyRegistry:
    """What the registry holds, which faults it has, and what it was asked."""

    host: str = ""
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    release: threading.Event = field(default_factory=threading.Event)

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def manifest(self, value: dict[str, Any], *tags: str, media_type: str = MANIFEST) -> dict[str, Any]:
        data = json.dumps(value).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        for reference in (digest, *tags):
            self.manifests[reference] = (media_type, data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def image(self, tag: str, *layers: bytes, **more: Any) -> dict[str, Any]:
        """An image of these layers under a tag."""
        config = self.blob(b'{"os":"linux","architecture":"amd64"}', CONFIG)
        parts = {"config": config, "layers": [self.blob(layer, LAYER) for layer in layers]}
        return self.manifest({"schemaVersion": 2, "mediaType": MANIFEST, **parts, **more}, tag)

    def fetched(self, digest: str) -> int:
        """How often a blob was asked for."""
        return sum(command == "GET" and digest in path for command, path, _range in self.requests)


@contextlib.contextmanager
def faulty_registry() -> Iterator[FaultyRegistry]:
    """Run one on a free port of this machine."""
    server = Server(("127.0.0.1", 0), Handler)
    registry = FaultyRegistry(f"127.0.0.1:{server.server_address[1]}")
    server.registry = registry
    with serving(server):
        try:
            yield registry
        finally:
            registry.release.set()
