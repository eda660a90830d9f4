"""A stage's charts, pulled by Helm itself in both of its ways, with and without TLS; and the page for people."""

import http.client
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from charts import make_chart
from content import add_image, tar_of

from tidegate.charts.archive import read_chart
from tidegate.charts.artifact import add_chart
from tidegate.depot.store import Depot
from tidegate.errors import HostError
from tidegate_receiver.serving.server import StageServer, TlsFiles

HELM = shutil.which("helm") or shutil.which("helm", path=str(Path("~/go/bin").expanduser()))
needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not installed: tests/system-packages.sh builds it")
CHART = make_chart("app", "1.2.3")
PLUS = make_chart("app", "1.3.0+build.7")


@pytest.fixture
def stage(tmp_path: Path) -> Depot:
    stage = Depot(tmp_path / "stage")
    with stage.commit() as commit:
        for place, content, provenance in (
            ("charts/app:1.2.3", CHART, b"signed"),
            ("charts/app:1.3.0_build.7", PLUS, None),
        ):
            commit.reference(place, add_chart(commit, read_chart(content, place).metadata, content, provenance))
    stage.set_references({"team/tool:v2": add_image(stage, [tar_of({"a": b"x"})])})
    return stage


@pytest.fixture
def server(stage: Depot) -> Iterator[StageServer]:
    with StageServer(stage.folder, port=0) as server:
        yield server


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return TlsFiles(certificate, key)


def helm(home: Path, *arguments: str | Path) -> str:
    assert HELM is not None
    home.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(
        [HELM, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_helm
def test_helm_adds_the_repository_and_pulls_the_same_bytes(server: StageServer, tmp_path: Path) -> None:
    home = tmp_path / "home"
    helm(home, "repo", "add", "site", f"http://{server.address}")
    helm(home, "pull", "site/app", "--version", "1.2.3", "--prov", "-d", tmp_path)
    helm(home, "pull", "site/app", "--version", ">=1.2", "-d", tmp_path)
    assert (tmp_path / "app-1.2.3.tgz").read_bytes() == CHART
    assert (tmp_path / "app-1.2.3.tgz.prov").read_bytes() == b"signed"
    assert (tmp_path / "app-1.3.0+build.7.tgz").read_bytes() == PLUS


@needs_helm
def test_helm_pulls_from_the_same_port_as_from_a_registry(server: StageServer, tmp_path: Path) -> None:
    reference = f"oci://{server.address}/charts/app"
    helm(tmp_path / "home", "pull", reference, "--version", "1.2.3", "--prov", "--plain-http", "-d", tmp_path)
    helm(tmp_path / "home", "pull", reference, "--version", "1.3.0+build.7", "--plain-http", "-d", tmp_path)
    assert (tmp_path / "app-1.2.3.tgz").read_bytes() == CHART
    assert (tmp_path / "app-1.2.3.tgz.prov").read_bytes() == b"signed"
    assert (tmp_path / "app-1.3.0+build.7.tgz").read_bytes() == PLUS


@needs_helm
def test_helm_pulls_both_ways_over_tls(stage: Depot, tls: TlsFiles, tmp_path: Path) -> None:
    with StageServer(stage.folder, port=0, tls=tls) as server:
        host = f"localhost:{server.address.rpartition(':')[2]}"
        home = tmp_path / "home"
        helm(home, "repo", "add", "site", f"https://{host}", "--ca-file", tls.certificate)
        helm(home, "pull", "site/app", "--version", "1.2.3", "--ca-file", tls.certificate, "-d", tmp_path)
        assert (tmp_path / "app-1.2.3.tgz").read_bytes() == CHART
        reference = f"oci://{host}/charts/app"
        helm(home, "pull", reference, "--version", "1.3.0+build.7", "--ca-file", tls.certificate, "-d", tmp_path)
        assert (tmp_path / "app-1.3.0+build.7.tgz").read_bytes() == PLUS


def test_a_large_blob_goes_whole_through_tls(tmp_path: Path, tls: TlsFiles) -> None:
    stage = Depot(tmp_path / "stage")
    layer = os.urandom(3 << 20)
    root = add_image(stage, [layer])
    stage.set_references({"app:1": root})
    with StageServer(stage.folder, port=0, tls=tls) as server:
        context = ssl.create_default_context(cafile=tls.certificate)
        connection = http.client.HTTPSConnection(server.address, context=context, timeout=30)
        from hashlib import sha256

        connection.request("GET", f"/v2/app/blobs/sha256:{sha256(layer).hexdigest()}")
        assert connection.getresponse().read() == layer
        connection.close()


def test_what_is_no_certificate_is_refused_before_anything_is_served(stage: Depot, tls: TlsFiles) -> None:
    with pytest.raises(HostError, match="certificate"):
        StageServer(stage.folder, port=0, tls=TlsFiles(tls.key, tls.key))
    with pytest.raises(HostError, match="No such file"):
        StageServer(stage.folder, port=0, tls=TlsFiles(tls.certificate.with_name("none"), tls.key))


def test_the_page_names_what_is_there_and_escapes_the_host(server: StageServer) -> None:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("GET", "/")
    response = connection.getresponse()
    text = response.read().decode()
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "charts/app:1.2.3" in text
    assert "team/tool:v2" in text
    assert f"helm repo add tidegate http://{server.address}" in text
    connection.request("GET", "/", headers={"Host": "<script>alert(1)</script>"})
    answer = connection.getresponse().read()
    assert b"<script>" not in answer
    connection.close()


@pytest.mark.parametrize(
    "path", ["/charts/charts/app/app-9.tgz", "/charts/app-1.2.3.tgz", "/charts/charts/app/app-1.3.0+build.7.tgz.prov"]
)
def test_a_chart_that_is_not_there_is_not_found(server: StageServer, path: str) -> None:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("GET", path)
    assert connection.getresponse().status == 404
    connection.close()
