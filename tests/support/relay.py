"""A mail relay as far as `smtplib` needs one: it takes mail on a free port and keeps it."""

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from serving import serving


@dataclass
class Relay:
    """Its address, the mails that came, and whom it refuses."""

    address: str = ""
    mails: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    refuses: bool = False


class _Handler(socketserver.StreamRequestHandler):
    relay: Relay

    def handle(self) -> None:
        self._say("220 relay")
        for line in iter(self.rfile.readline, b""):
            verb = line.decode("ascii", "replace").strip().upper()
            if verb.startswith("EHLO"):
                self._say("250-relay\r\n250 AUTH PLAIN")
            elif verb.startswith("AUTH"):
                self.relay.logins.append(line.decode().strip())
                self._say("535 no" if self.relay.refuses else "235 yes")
            elif verb == "DATA":
                self._say("354 go on")
                self._take()
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("550 nobody" if self.relay.refuses and verb.startswith("RCPT") else "250 yes")

    def _take(self) -> None:
        lines = []
        for line in iter(self.rfile.readline, b".\r\n"):
            lines.append(line.decode())
        self.relay.mails.append("".join(lines))

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def running_relay() -> Iterator[Relay]:
    """A relay on this machine."""
    relay = Relay()
    with serving(_Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"relay": relay}))) as relay.address:
        yield relay
