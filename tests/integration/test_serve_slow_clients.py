"""Clients that are slow, or say nothing, beside one that is quick: there are more of them than threads."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from content import add_image

from tidegate.depot.store import Depot
from tidegate_receiver.serving import patience as serve_patience
from tidegate_receiver.serving.server import StageServer, TlsFiles

MANY = 40
MIB = 1 << 20


@pytest.fixture
def stage(tmp_path: Path) -> Depot:
    stage = Depot(tmp_path / "stage")
    stage.set_references({"app:1": add_image(stage, [bytes(24 * MIB)])})
    return stage


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_patience, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(serve_patience, "ANSWER_SECONDS", 0.5)


@contextlib.contextmanager
def clients(server: StageServer, said: bytes) -> Iterator[list[socket.socket]]:
    """Many connections on which `said` was said, and nothing is read."""
    host, _, port = server.address.rpartition(":")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(MANY)]
        for wire in wires:
            wire.sendall(said)
        yield wires


def quick_status(server: StageServer, context: ssl.SSLContext | None = None) -> int:
    """What a quick client is answered; it waits for less long than an idle connection is kept."""
    host, _, port = server.address.rpartition(":")
    connection = (
        http.client.HTTPConnection(host, int(port), timeout=40)
        if context is None
        else http.client.HTTPSConnection(host, int(port), timeout=40, context=context)
    )
    with contextlib.closing(connection):
        connection.request("GET", "/v2/")
        return connection.getresponse().status


def test_clients_that_say_nothing_hold_no_thread(stage: Depot) -> None:
    with StageServer(stage.folder, port=0) as server, clients(server, b""):
        assert quick_status(server) == 200


@pytest.mark.usefixtures("hasty")
def test_clients_that_never_end_their_request_are_cut_off(stage: Depot) -> None:
    with StageServer(stage.folder, port=0) as server, clients(server, b"GET /v2/ HTTP/1.1\r\nX-Slow: ") as wires:
        assert quick_status(server) == 200
        assert b"200 OK" not in wires[0].recv(65536)


@pytest.mark.usefixtures("hasty")
def test_clients_that_take_no_bytes_of_their_answer_are_cut_off(stage: Depot) -> None:
    root = stage.reference("app:1")
    assert root is not None
    layer = json.loads(stage.read_blob(root.digest, max_bytes=MIB))["layers"][0]["digest"]
    asked = f"GET /v2/app/blobs/{layer} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with StageServer(stage.folder, port=0) as server, clients(server, asked) as wires:
        assert quick_status(server) == 200
        with contextlib.suppress(ConnectionResetError):
            taken = sum(map(len, iter(lambda: wires[0].recv(MIB), b"")))
            assert 0 < taken < 24 * MIB


def test_where_too_many_wait_the_oldest_goes(stage: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_patience, "WAITING_MAX", MANY - 1)
    with StageServer(stage.folder, port=0) as server, clients(server, b"") as wires:
        assert quick_status(server) == 200
        assert wires[0].recv(1) == b""


def test_who_never_shakes_hands_keeps_nobody_waiting(stage: Depot, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(cafile=certificate)
    with StageServer(stage.folder, port=0, tls=TlsFiles(certificate, key)) as server, clients(server, b""):
        assert quick_status(server, context) == 200
    with StageServer(stage.folder, port=0, tls=TlsFiles(certificate, key)) as server:
        with clients(server, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n") as wires, contextlib.suppress(ConnectionError):
            assert b"200" not in wires[0].recv(65536)
        assert quick_status(server, context) == 200
