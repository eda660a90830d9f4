"""A stage behind the real server, pulled by independent clients."""

import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from content import add_files, add_image, add_index, tar_of

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import HostError
from tidegate.names import hex_of
from tidegate_receiver.serving.server import StageServer

SKOPEO = shutil.which("skopeo")
CRANE = shutil.which("crane") or shutil.which("crane", path=str(Path("~/go/bin").expanduser()))
MIB = 1 << 20


@pytest.fixture
def stage(tmp_path: Path) -> Depot:
    stage = Depot(tmp_path / "stage")
    image = add_image(stage, [tar_of({"a": b"0123456789" * 1000}), tar_of({"b": b"second"})])
    arm = add_image(stage, [tar_of({"arm": b"x"})], architecture="arm64")
    stage.set_references(
        {
            "app:1": image,
            "library/multi:2": add_index(stage, {"amd64": image, "arm64": arm}),
            "files/docs:latest": add_files(stage, "docs", [tar_of({"docs/readme": b"read me"})]),
        }
    )
    return stage


@pytest.fixture
def server(stage: Depot) -> Iterator[StageServer]:
    with StageServer(stage.folder, port=0) as server:
        yield server


def connect(server: StageServer) -> http.client.HTTPConnection:
    host, _, port = server.address.rpartition(":")
    return http.client.HTTPConnection(host, int(port), timeout=30)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed: apt-get install skopeo")
@pytest.mark.parametrize("place", ["app:1", "library/multi:2", "files/docs:latest"])
def test_skopeo_pulls_what_the_stage_holds(server: StageServer, stage: Depot, tmp_path: Path, place: str) -> None:
    source = f"docker://{server.address}/{place}"
    run(
        "skopeo", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", source, f"oci:{tmp_path}/out:x"
    )
    (pulled,) = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    root = root_of(stage, place)
    assert pulled["digest"] == root.digest
    wanted = {path.name for path in (tmp_path / "out/blobs/sha256").iterdir()}
    assert wanted <= {digest.removeprefix("sha256:") for digest in stage.digests()}


@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed: apt-get install skopeo")
def test_skopeo_reads_the_stage_as_it_lies_on_the_disk(stage: Depot, tmp_path: Path) -> None:
    run("skopeo", "copy", "-q", "--preserve-digests", f"oci:{stage.folder}:app:1", f"dir:{tmp_path}/out")
    root = root_of(stage, "app:1")
    assert (tmp_path / "out/manifest.json").read_bytes() == stage.read_blob(root.digest, max_bytes=MIB)


@pytest.mark.skipif(CRANE is None, reason="crane is not installed: go install …/go-containerregistry/cmd/crane")
def test_crane_pulls_lists_and_reads_digests(server: StageServer, stage: Depot, tmp_path: Path) -> None:
    assert CRANE is not None
    for place in ("app:1", "library/multi:2", "files/docs:latest"):
        root = root_of(stage, place)
        assert run(CRANE, "digest", "--insecure", f"{server.address}/{place}").strip() == root.digest
    run(CRANE, "pull", "--insecure", "--format=oci", f"{server.address}/library/multi:2", str(tmp_path / "out"))
    assert run(CRANE, "ls", "--insecure", f"{server.address}/app").split() == ["1"]
    assert run(CRANE, "catalog", "--insecure", server.address).split() == ["app", "files/docs", "library/multi"]
    pulled = {path.name for path in (tmp_path / "out/blobs/sha256").iterdir()}
    assert pulled >= {hex_of(item.digest) for item in walk(stage, root_of(stage, "library/multi:2"))}


def root_of(stage: Depot, place: str) -> Descriptor:
    found = stage.reference(place)
    assert found is not None
    return found


def test_one_connection_carries_many_requests(server: StageServer, stage: Depot) -> None:
    connection = connect(server)
    for digest in stage.digests():
        connection.request("GET", f"/v2/library/multi/blobs/{digest}")
        answer = connection.getresponse()
        assert answer.read() == b"" or answer.status in {200, 404}
        assert not answer.will_close
    connection.close()


def test_a_large_blob_is_streamed_without_taking_memory(tmp_path: Path) -> None:
    stage = Depot(tmp_path / "stage")
    piece = os.urandom(MIB)
    root = add_image(stage, [piece * 64])
    stage.set_references({"big:1": root})
    layer = json.loads(stage.read_blob(root.digest, max_bytes=MIB))["layers"][0]["digest"]
    with StageServer(stage.folder, port=0) as server:
        connection = connect(server)
        connection.request("GET", f"/v2/big/blobs/{layer}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = connection.getresponse()
        for _ in range(64):
            assert answer.read(MIB) == piece
        assert answer.read() == b""
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024, "kilobytes"
        connection.request("GET", f"/v2/big/blobs/{layer}", headers={"Range": f"bytes={MIB}-{2 * MIB - 1}"})
        assert connection.getresponse().read() == piece


def test_many_clients_pull_at_once(server: StageServer, stage: Depot) -> None:
    root = root_of(stage, "app:1")
    failures: list[int] = []

    def pull() -> None:
        connection = connect(server)
        for _ in range(10):
            connection.request("GET", f"/v2/app/manifests/{root.digest}")
            answer = connection.getresponse()
            if len(answer.read()) != root.size:
                failures.append(answer.status)
        connection.close()

    threads = [threading.Thread(target=pull) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_refused_upload_gets_its_answer_and_the_connection_stays_usable(server: StageServer) -> None:
    connection = connect(server)
    connection.request("PUT", "/v2/app/manifests/9", body=b"{}" * 1000)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["errors"][0]["code"]) == (405, "UNSUPPORTED")
    # In one piece: the server answers and closes without waiting for the end of the body.
    head = f"PATCH /v2/app/blobs/uploads/x HTTP/1.1\r\nHost: {server.address}\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.sock.sendall(head.encode() + b"15\r\nGET /v2/ HTTP/1.1\r\n\r\n0\r\n\r\n")
    answer = http.client.HTTPResponse(connection.sock, method="PATCH")
    answer.begin()
    assert answer.status == 405
    assert answer.will_close, "what is left of a body must not be read as the next request"
    connection.close()


def test_a_client_that_goes_away_in_the_middle_disturbs_nobody(server: StageServer, stage: Depot) -> None:
    host, _, port = server.address.rpartition(":")
    digest = max(stage.digests(), key=stage.size)
    for _ in range(5):
        with socket.create_connection((host, int(port))) as rude:
            rude.sendall(f"GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    connection = connect(server)
    connection.request("GET", "/v2/")
    assert connection.getresponse().status == 200


def test_an_address_that_is_taken_is_a_named_error(server: StageServer, stage: Depot) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(HostError, match=str(port)):
        StageServer(stage.folder, port=port).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_on_a_signal(stage: Depot, number: signal.Signals) -> None:
    program = (
        "import sys; from pathlib import Path; from tidegate_receiver.serving.server import serve;"
        "serve(Path(sys.argv[1]), ('127.0.0.1', 0), ready=lambda address: print(address, flush=True)); print('ended')"
    )
    command = [sys.executable, "-c", program, str(stage.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("127.0.0.1:")
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "ended\n", "")
