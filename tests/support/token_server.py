"""A token server as registries name one (distribution's token specification): JWTs for whoever has the password."""

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from certificates import Authority
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from registry import PASSWORD, USER, Guard
from serving import serving

SERVICE = "test-registry"
IDENTITY = "identity-token-0815"
_BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass
class TokenServer:
    """What it was asked for, and how long its tokens live."""

    authority: Authority
    lifetime_seconds: int = 300
    asked: list[tuple[str, str]] = field(default_factory=list)  # method, scopes
    refused: int = 0
    url: str = ""

    def guard(self) -> Guard:
        self.certificate, self.key = self.authority.issue()
        lines = (
            f"auth: {{token: {{realm: '{self.url}', service: {SERVICE}, issuer: tests, "
            f"rootcertbundle: {self.authority.ca}, signingalgorithms: [ES256]}}}}"
        )
        return Guard(None, lines)

    def token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            **{"iss": "tests", "sub": USER, "aud": SERVICE, "jti": str(len(self.asked)), "access": access},
            **{"iat": now, "nbf": now - 60, "exp": now + max(60, self.lifetime_seconds)},
        }
        der = load_pem_x509_certificate(Path(self.certificate).read_bytes()).public_bytes(Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        message = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
        key = load_pem_private_key(Path(self.key).read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(message.encode(), ec.ECDSA(SHA256())))
        return f"{message}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self._answer(query.get("scope", []), allowed=self.headers.get("Authorization") == _BASIC)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        scopes = form.get("scope", [""])[0].split()
        self._answer(scopes, allowed=form.get("refresh_token") == [IDENTITY])

    def _answer(self, scopes: list[str], *, allowed: bool) -> None:
        tokens = self.server.tokens
        tokens.asked.append((self.command, " ".join(scopes)))
        tokens.refused += not allowed
        made = {"token": tokens.token(scopes), "expires_in": tokens.lifetime_seconds}
        body = json.dumps(made if allowed else {"error": "no"}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tokens: TokenServer


@contextlib.contextmanager
def token_server(authority: Authority) -> Iterator[TokenServer]:
    """Run one on a free port of this machine."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.tokens = TokenServer(authority, url=f"http://127.0.0.1:{server.server_address[1]}/token")
    with serving(server):
        yield server.tokens
