"""How long a client may take: nobody who is slow, or says nothing, keeps the others from being served.

A connection on which nothing is said yet costs no thread; it waits beside those that are kept alive, and where there
are too many the one that waited longest is closed. Whatever takes a thread has an end: the head of a request with what
TLS says before it, a short answer, each piece of a long one. A socket's own timeout does not do that: it begins anew
with each byte.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

HEAD_SECONDS = 20.0  # for the handshake of TLS and a request's head
ANSWER_SECONDS = 60.0  # for an answer from memory, and for each piece of a file
WAITING_MAX = 512  # connections on which nothing is asked; systems allow 1024 open files and sockets by default
_TICK_SECONDS = 0.25


class Deadlines:
    """Sockets that are shut down when their time is over; whoever reads or writes there finds the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, tuple[float, Any]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextlib.contextmanager
    def within(self, seconds: float, wire: Any) -> Iterator[None]:
        """Shut `wire` down where the block takes longer than `seconds`."""
        with self._lock:
            self._ends[id(wire)] = (time.monotonic() + seconds, wire)
        try:
            yield
        finally:
            with self._lock:
                del self._ends[id(wire)]

    def _watch(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            now = time.monotonic()
            with self._lock:  # held, so that no socket is shut down after its block has ended
                for end, wire in self._ends.values():
                    if end < now:
                        _shut_down(wire)


def _shut_down(wire: Any) -> None:
    with contextlib.suppress(OSError):
        # Not SSLSocket's own: that would take the session away under the thread that uses it.
        socket.socket.shutdown(wire, socket.SHUT_RDWR)


class PatientServer(wsgi.Server):  # type: ignore[misc, unused-ignore]
    """Hands a connection to a thread when something is said on it, not when it is made."""

    deadlines: Deadlines
    _connections: Any

    def process_conn(self, conn: Any) -> None:
        if conn.last_used is not None:
            super().process_conn(conn)
            return
        self._make_room()
        self._connections.put(conn)

    def _make_room(self) -> None:
        selector = self._connections._selector
        waiting = [(conn.last_used, fd, conn) for fd, conn in selector.connections if conn is not self]
        if len(waiting) >= WAITING_MAX:
            _, fd, oldest = min(waiting, key=lambda item: item[0])
            selector.unregister(fd)
            oldest.close()


class LateHandshakes(BuiltinSSLAdapter):  # type: ignore[misc, unused-ignore]
    """TLS whose handshake is made by the thread that answers: the one that accepts waits for nobody."""

    def wrap(self, sock: Any) -> tuple[Any, dict[str, str]]:
        wrapped = self.context.wrap_socket(sock, do_handshake_on_connect=False, server_side=True)
        return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}
