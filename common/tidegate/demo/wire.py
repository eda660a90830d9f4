"""The demonstration's data diode: a relay on loopback that hands datagrams on one way, and loses some of them."""

import contextlib
import random
import socket
import threading
from collections.abc import Iterator

LOOK_SECONDS = 0.2
BUFFER_BYTES = 4 << 20
DATAGRAM_MAX = 65536


class LossyRelay:
    """Takes datagrams at a port of its own and sends them on to another, but for a share of them. Nothing goes back."""

    def __init__(self, to_port: int, *, loss: float, seed: int) -> None:
        self._loss = loss
        self._generator = random.Random(seed)  # noqa: S311 - losses are to be repeatable, not secret
        self._inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._inside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._inside.settimeout(LOOK_SECONDS)
        self._inside.bind(("127.0.0.1", 0))
        self.port = int(self._inside.getsockname()[1])
        self._outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._outside.connect(("127.0.0.1", to_port))
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="relay")
        self.passed = self.lost = 0

    def _run(self) -> None:
        while not self._is_over:
            try:
                datagram = self._inside.recv(DATAGRAM_MAX)
            except TimeoutError:
                continue
            if self._generator.random() < self._loss:
                self.lost += 1
                continue
            self.passed += 1
            with contextlib.suppress(OSError):  # nobody listens yet, or any more: a diode does not know
                self._outside.send(datagram)

    @contextlib.contextmanager
    def running(self) -> Iterator["LossyRelay"]:
        """At work until the end of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._is_over = True
            self._thread.join()
            self._inside.close()
            self._outside.close()
