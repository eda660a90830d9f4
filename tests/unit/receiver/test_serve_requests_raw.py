"""Bytes on the wire that two readers of HTTP could take apart differently: at most one answer, and the end."""

import socket
from pathlib import Path

import pytest
from content import add_image

from tidegate.depot.store import Depot
from tidegate_receiver.serving.server import StageServer

SECOND = b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def answers(folder: Path, request: bytes) -> bytes:
    """Everything that the server says until it ends the connection."""
    with StageServer(folder, "127.0.0.1", 0) as server:
        host, _, port = server.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as wire:
            wire.sendall(request)
            return b"".join(iter(lambda: wire.recv(65536), b""))


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    depot = Depot(tmp_path / "stage")
    depot.set_reference("app:1", add_image(depot, [b"layer"]))
    return depot.folder


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 5\r\nContent-Length: 0\r\n", b""),
        (b"Content-Length: -5\r\n", b""),
        (b"Content-Length: +5\r\n", b"AAAAA"),
        (b"Content-Length : 5\r\n", b"AAAAA"),
        (b"Content-Length: 5\r\n 0\r\n", b""),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    ],
)
def test_nothing_behind_a_body_is_taken_for_a_request(stage: Path, headers: bytes, body: bytes) -> None:
    said = answers(stage, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body + SECOND)
    assert said.count(b"HTTP/1.1") == 1
    assert said.startswith(b"HTTP/1.1 400") or b"chunked" in headers
    assert b"repositories" not in said


def test_requests_without_a_body_share_a_connection(stage: Path) -> None:
    said = answers(stage, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" + SECOND)
    assert said.count(b"HTTP/1.1 200") == 2
    assert b"repositories" in said
