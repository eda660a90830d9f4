"""One list with every kind, by `sync` over a stream, loaded by itself into two registries; clients judge."""

import gzip
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from charts import make_chart
from content import tar_of
from image_tars import docker_tar
from images import Layout, push_by_skopeo, skopeo
from listening import free_port
from programs import run
from registry import running_registry
from signing import Cosign
from two_sides import Sides

from tidegate.registry.client import RegistryClient
from tidegate_receiver.serving.server import StageServer

HELM = shutil.which("helm") or shutil.which("helm", path=str(Path("~/go/bin").expanduser()))


@pytest.mark.skipif(HELM is None, reason="helm is not installed: tests/system-packages.sh builds it")
def test_every_kind_crosses_a_stream_into_two_registries_and_the_stage(sides: Sides, tmp_path: Path) -> None:
    release = Cosign.make(tmp_path / "release")
    port = free_port()
    with (
        running_registry(tmp_path / "up", v3=True) as up,
        running_registry(tmp_path / "one", v3=True) as one,
        running_registry(tmp_path / "two") as two,
    ):
        listed = make_list(sides, tmp_path, up, release)
        settings = sides.high.root / "tidegate.toml"
        targets = f'[targets.one]\nto = "{one}/in"\n[targets.two]\nto = "{two}"\n'
        automatic = '[channels.plant]\nrelease = "automatic"\n'
        settings.write_text(f"load_asked = true\n{settings.read_text()}{automatic}{targets}")
        receiver = sides.high.start("receive", f"udp://127.0.0.1:{port}")
        try:
            time.sleep(3)
            link = ("--to", f"udp://127.0.0.1:{port}", "--rate", "200mbit", "--mtu", "1500")
            sides.low.good("sync", listed, *link)
            client = RegistryClient(two)
            until = time.monotonic() + 90
            while client.manifest_digest("charts/vendor", "0.9.0") is None and time.monotonic() < until:
                time.sleep(0.2)
            wait_for_load(sides, until)
        finally:
            receiver.terminate()
            receiver.wait(30)
        for where in (f"{one}/in", two):
            judge(where, release, tmp_path)
        with StageServer(sides.high.root / "stages" / "default", port=0) as server:
            judge(server.address, release, tmp_path)
        again = sides.low.good("sync", listed, *link, "--json").objects[-1]
        assert (again["packed"], again["outcome"]) == (False, "nothing")
    assert "files/docs:latest" in sides.high.stage()
    sides.high.check()


def wait_for_load(sides: Sides, until: float) -> None:
    """Until both targets are whole: their last entries are written when all of them is there."""
    while time.monotonic() < until:
        done = [item for item in sides.high.entries() if item["event"] == "load" and item["outcome"] == "done"]
        if sum(str(item["event_id"]).find("/load 127.0.0.1:") >= 0 for item in done) >= 2:
            return
        time.sleep(0.3)
    pytest.fail("the targets were not loaded in time")


def make_list(sides: Sides, folder: Path, up: str, release: Cosign) -> Path:
    layout = Layout(folder / "layout")
    image = layout.tag(layout.image([{"web": b"w" * 5000}]), "1")
    push_by_skopeo(layout.folder, "1", f"{up}/team/web:1")
    release.sign(f"{up}/team/web@{image.digest}")
    release.attest(f"{up}/team/web@{image.digest}")
    (folder / "saved.tar.gz").write_bytes(gzip.compress(docker_tar([tar_of({"s": b"saved"})], ["saved:1"])))
    (folder / "vendor-0.9.0.tgz").write_bytes(make_chart("vendor", "0.9.0"))
    load = "load: [one, two]"
    path = folder / "transfer.yaml"
    path.write_text(
        f"""tidegate: 1
keys: [{{path: {release.public}, name: release.pub, {load}}}]
images:
  - {{ref: "{up}/team/web:1", {load}, expect: {{signed-by: {release.public}, predicates: [spdxjson]}}}}
tars: [{{path: saved.tar.gz, {load}}}]
charts: [{{path: vendor-0.9.0.tgz, {load}}}]
files: [{{path: {sides.make_files(count=2, size=1000)}, {load}}}]
"""
    )
    return path


def judge(where: str, release: Cosign, folder: Path) -> None:
    """crane, skopeo, helm and cosign take what is there."""
    assert HELM is not None
    digest = run("crane", "digest", "--insecure", f"{where}/team/web:1").strip()
    release.accepts(f"{where}/team/web@{digest}")
    release.accepts_attestation(f"{where}/team/web@{digest}")
    skopeo("inspect", "--tls-verify=false", "--no-tags", f"docker://{where}/library/saved:1")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    got = folder / "got"
    got.mkdir(exist_ok=True)
    pull = [HELM, "pull", f"oci://{where}/charts/vendor", "--version", "0.9.0", "--plain-http", "-d", str(got)]
    subprocess.run(pull, env=environment, capture_output=True, timeout=60, check=True)
    assert (got / "vendor-0.9.0.tgz").read_bytes() == (folder / "vendor-0.9.0.tgz").read_bytes()
