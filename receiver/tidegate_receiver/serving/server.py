"""Serve a stage as a read-only registry and chart repository, for hosts that have none.

Parts: `catalog` knows what the stage's index reaches, `api` answers by the OCI distribution specification, `charts` as
Helm asks, `page` for people, and this module runs them in a cheroot server with a pool of threads, with TLS where it
is asked for; `patience` keeps slow clients from holding them. Blobs leave the kernel
by sendfile, so memory does not grow with their size.
Why these libraries: docs/decisions/0009.
"""

import contextlib
import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from cheroot import wsgi
from cheroot.server import HeaderReader, HTTPConnection, HTTPRequest

from tidegate.errors import HostError
from tidegate.units import KIB, MIB
from tidegate_receiver.serving import patience as serve_patience
from tidegate_receiver.serving.api import FileBody, RegistryApp
from tidegate_receiver.serving.catalog import StageCatalog
from tidegate_receiver.serving.patience import Deadlines, LateHandshakes, PatientServer

DEFAULT_ADDRESS = ("127.0.0.1", 5000)
_THREADS = 32  # one a transfer; podman and containerd open three to six each
_BACKLOG = 64
_HEADER_MAX_BYTES = 64 * KIB
_BODY_MAX_BYTES = 1 * MIB  # of a write that is refused anyway: read and dropped, so that the client sees the 405
_PIECE_BYTES = 1 * MIB  # of a file, to be taken within `serve_patience.ANSWER_SECONDS`
_TIMEOUT_SECONDS = 60.0  # of one socket operation; a client that does not read for so long is cut off


class _Headers(dict[bytes, bytes]):
    """The headers of one request, with one plain length at most: other readers before us must see the same end."""

    def __setitem__(self, name: bytes, value: bytes) -> None:
        if name == b"Content-Length" and (name in self or not value.isdigit()):
            raise ValueError("Malformed Content-Length Header.")
        super().__setitem__(name, value)


class _HeaderReader(HeaderReader):
    def __call__(self, rfile: Any, hdict: Any | None = None) -> Any:
        headers = super().__call__(rfile, _Headers())
        if hdict is not None:
            hdict.update(headers)
        return headers

    def _transform_key(self, key_name: bytes) -> bytes:
        if key_name != key_name.strip():
            raise ValueError("Blank beside a header's name.")
        return key_name.title()


class _Request(HTTPRequest):
    header_reader = _HeaderReader()

    def parse_request(self) -> None:
        with self.server.deadlines.within(serve_patience.HEAD_SECONDS, self.conn.socket):
            if self.conn.is_shaken():
                super().parse_request()


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request
    _shaken = False

    def is_shaken(self) -> bool:
        """Whether hands are shaken, where there is TLS: the first request of a connection begins with it."""
        shake = getattr(self.socket, "do_handshake", None)
        if shake is not None and not self._shaken:
            try:
                shake()
            except OSError:  # ssl.SSLError and a timeout are: it speaks no TLS, or none of ours
                return False
        self._shaken = True
        return True


class SendfileGateway(wsgi.Gateway_10):
    """WSGI, with a `FileBody` handed to the kernel instead of copied through Python."""

    def respond(self) -> None:
        request: HTTPRequest = self.req
        # What follows a chunked body that nobody reads would be taken for the next request.
        request.close_connection = request.close_connection or request.chunked_read
        with self._within():
            body = request.server.wsgi_app(self.env, self.start_response)
        try:
            if isinstance(body, FileBody):
                self._send_file(body)
            else:
                with self._within():
                    for piece in filter(None, body):
                        self.write(piece)
                    request.ensure_headers_sent()
        finally:
            with contextlib.suppress(AttributeError):
                body.close()

    def _within(self) -> contextlib.AbstractContextManager[None]:
        deadlines: Deadlines = self.req.server.deadlines
        return deadlines.within(serve_patience.ANSWER_SECONDS, self.req.conn.socket)

    def _send_file(self, body: FileBody) -> None:
        with self._within():
            self.req.ensure_headers_sent()
            self.req.conn.wfile.flush()
        end = body.offset + body.length
        for offset in range(body.offset, end, _PIECE_BYTES):
            with self._within():
                self.req.conn.socket.sendfile(body.file, offset, min(_PIECE_BYTES, end - offset))


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate with those that lead to its authority, and its private key."""

    certificate: Path
    key: Path


def _ssl_adapter(files: TlsFiles) -> Any:
    """Raises HostError for files that are no certificate and key that belong together."""
    import ssl

    try:
        adapter = LateHandshakes(str(files.certificate), str(files.key))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise HostError(
            f"serve: certificate {files.certificate} with key {files.key}: {reason}",
            hint="both are PEM files; the key has no passphrase, and belongs to the first certificate",
        ) from None
    adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2
    return adapter


class StageServer:
    """A running server over one stage folder; use it in a `with` block."""

    def __init__(
        self,
        folder: Path,
        host: str = DEFAULT_ADDRESS[0],
        port: int = DEFAULT_ADDRESS[1],
        *,
        tls: TlsFiles | None = None,
    ) -> None:
        app = RegistryApp(StageCatalog(folder))
        self._server = PatientServer(
            (host, port), app, numthreads=_THREADS, server_name="tidegate", request_queue_size=64
        )
        self._server.deadlines = self._deadlines = Deadlines()
        self._server.gateway = SendfileGateway
        self._server.ConnectionClass = _Connection
        self._server.timeout = _TIMEOUT_SECONDS
        self._server.max_request_header_size = _HEADER_MAX_BYTES
        self._server.max_request_body_size = _BODY_MAX_BYTES
        self._server.keep_alive_conn_limit = 4 * _THREADS
        self._server.shutdown_timeout = 2
        if tls is not None:
            self._server.ssl_adapter = _ssl_adapter(tls)
        self.scheme = "http" if tls is None else "https"
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """``127.0.0.1:5000``: what stands before a repository's name. Known once started."""
        host, port = self._server.bind_addr[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Listen, and answer from threads. Raises HostError where the address cannot be taken."""
        try:
            self._server.prepare()
        except OSError as error:
            raise HostError(f"serve: {self.address}: {_reason(error)}", hint="choose another address or port") from None
        self._deadlines.start()
        self._thread = threading.Thread(target=self._server.serve, name="serve", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; answers under way have two seconds to end."""
        self._server.stop()
        if self._thread is not None:
            self._thread.join()
        self._deadlines.stop()

    def __enter__(self) -> "StageServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(
    folder: Path,
    address: tuple[str, int] = DEFAULT_ADDRESS,
    *,
    ready: Callable[[str], Any] = print,
    tls: TlsFiles | None = None,
) -> None:
    """Serve the stage in `folder` until SIGTERM or ctrl-C; calls `ready` with the address once it listens.

    Raises StageUnknownError where `folder` is no stage, HostError where the address is taken. Main thread only.
    """
    ended = threading.Event()
    with _ending(ended), StageServer(folder, *address, tls=tls) as server:
        ready(server.address)
        ended.wait()


@contextlib.contextmanager
def _ending(ended: threading.Event) -> Iterator[None]:
    """Set `ended` on SIGTERM and SIGINT instead of dying in the middle of an answer."""

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reason(error: OSError) -> str:
    """What the system said; cheroot wraps it into a list of every address that it tried."""
    found = re.search(r"\[Errno \d+\] ([^)\]]+)", str(error))
    return found[1] if found else str(error)
