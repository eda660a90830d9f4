"""A double of Harbor before a real registry: its API for projects, and no push to a project that is not there.

It answers as Harbor's document of its API v2.0 says; everything under ``/v2/`` goes on to the registry behind it.
"""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from registry import PASSWORD, USER
from serving import serving

AUTHORIZATION = "Basic YWRhOmdlaGVpbS00NzEx"  # USER:PASSWORD
assert (USER, PASSWORD) == ("ada", "geheim-4711")


@dataclass
class Harbor:
    """What it has and what it was asked."""

    host: str = ""
    projects: dict[str, bool] = field(default_factory=dict)  # name to whether it is public
    asked: list[str] = field(default_factory=list)
    may_create: bool = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    harbor: Harbor
    behind: str

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if parts.path == "/api/v2.0/projects":
            self._projects(parse_qs(parts.query), body)
            return
        found = re.match(r"/v2/([^/]+)/", parts.path)
        if found and found[1] not in self.harbor.projects:
            self._answer(404 if self.command in {"GET", "HEAD"} else 403, b'{"errors":[{"code":"NOT_FOUND"}]}')
            return
        self._forward(body)

    def _projects(self, query: dict[str, list[str]], body: bytes) -> None:
        self.harbor.asked.append(f"{self.command} {query.get('project_name', [''])[0]}".strip())
        if self.headers.get("Authorization") != AUTHORIZATION:
            self._answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized"}]}')
        elif self.command == "HEAD":
            self._answer(200 if query["project_name"][0] in self.harbor.projects else 404)
        elif not self.harbor.may_create:
            self._answer(403, b'{"errors":[{"code":"FORBIDDEN","message":"forbidden"}]}')
        else:
            wanted = json.loads(body)
            is_there = wanted["project_name"] in self.harbor.projects
            self.harbor.projects.setdefault(wanted["project_name"], wanted["metadata"]["public"] == "true")
            self._answer(409 if is_there else 201)

    def _forward(self, body: bytes) -> None:
        behind = http.client.HTTPConnection(self.behind, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"connection"}}
        behind.request(self.command, self.path, body=body, headers=headers)
        answer = behind.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        behind.close()

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = _serve  # noqa: N815 - http.server's names
    do_HEAD = _serve  # noqa: N815
    do_POST = _serve  # noqa: N815
    do_PUT = _serve  # noqa: N815
    do_PATCH = _serve  # noqa: N815
    do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def running_harbor(behind: str) -> Iterator[Harbor]:
    """A Harbor on a free port before the registry at `behind`."""
    harbor = Harbor()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"harbor": harbor, "behind": behind}))
    with serving(server) as harbor.host:
        yield harbor
