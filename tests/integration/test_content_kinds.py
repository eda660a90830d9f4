"""One list with every kind of content crosses by stick through the installed command, and its clients find it there."""

import gzip
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from charts import make_chart, serving_folder, write_repository
from content import add_image, tar_of
from image_tars import docker_tar
from imgpkg_bundles import push_bundle
from registry import free_port, running_registry
from two_sides import Sides

from tidegate.depot.store import Depot
from tidegate.registry.client import RegistryClient
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader

HELM = shutil.which("helm") or shutil.which("helm", path=str(Path("~/go/bin").expanduser()))


def write_list(folder: Path, host: str, url: str) -> Path:
    source = Depot(folder / "source")
    image = add_image(source, [tar_of({"a": b"x"})])
    RegistryLoader(source, host).load(LoadItem(f"{host}/tool:2", "image", "tool:2", image))
    (folder / "saved.tar.gz").write_bytes(gzip.compress(docker_tar([tar_of({"s": b"saved"})], ["saved:1"])))
    (folder / "images-to-mirror.txt").write_text(f"# mirrored\n{host}/tool:2\n")
    (folder / "vendor-0.9.0.tgz").write_bytes(make_chart("vendor", "0.9.0"))
    path = folder / "transfer.yaml"
    path.write_text(
        f"""tidegate: 1
lists: [images-to-mirror.txt]
tars: [{{path: saved.tar.gz, ticket: OPS-7, load: [harbor]}}]
charts:
  - ./vendor-0.9.0.tgz
  - {{chart: app, repository: {url}, version: ^1, required: true}}
imgpkg: ["{host}/packages/web:1.0"]
"""
    )
    return path


def test_one_list_with_every_kind_crosses_and_is_found(sides: Sides, tmp_path: Path) -> None:
    charts = {f"app-{version}.tgz": make_chart("app", version) for version in ("1.4.0", "2.0.0")}
    write_repository(tmp_path / "repo", charts)
    with running_registry(tmp_path / "registry") as host, serving_folder(tmp_path / "repo") as url:
        bundle_digest, image_digest = push_bundle(host)
        listed = write_list(tmp_path, host, url)
        sides.low.good("lock", listed)
        planned = sides.low.good("plan", listed, "--json").objects[-1]
        sides.low.good("pack", listed)
    name = str(planned["bundle"])
    stick = sides.send(name)
    sides.high.good("receive", stick)
    sides.high.good("load", name)
    assert set(sides.high.stage()) == {
        "tool:2",
        "library/saved:1",
        "charts/vendor:0.9.0",
        "charts/app:1.4.0",
        "packages/web:1.0",
        f"packages/web@{image_digest}",
        f"packages/web:{bundle_digest.replace(':', '-')}.image-locations.imgpkg",
    }
    with sides.high.workspace() as workspace:
        (row,) = sides.high.rows()
        manifest = (workspace.root / "quarantine" / row.bundle_id / "bundle" / "manifest.json").read_bytes()
    (saved,) = [item for item in json.loads(manifest)["artifacts"] if item["name"].endswith("saved:1")]
    assert (saved["ticket"], saved["annotations"]) == ("OPS-7", {"vnd.tidegate.load": "harbor"})
    with open(sides.high.root / "tidegate.toml", "a", encoding="utf-8") as settings:
        settings.write(f'\n[targets.harbor]\nto = "tar:{tmp_path}/images.tar"\n[targets.other]\nto = "./x"\n')
    asked = sides.high.good("load", name, "--to", "harbor", "--json").objects[-1]
    assert [item["name"] for item in asked["items"]] == ["docker.io/library/saved:1"]  # type: ignore[attr-defined]
    assert (tmp_path / "images.tar").is_file()
    sides.high.fails(50, "load", name, "--to", "other")
    with running_registry(tmp_path / "far") as far:
        sides.high.good("load", name, "--to", far)
        client = RegistryClient(far)
        assert client.manifest_digest("packages/web", bundle_digest) == bundle_digest
        assert client.manifest_digest("packages/web", image_digest) == image_digest
        if HELM is not None:
            subprocess.run(
                [HELM, "pull", f"oci://{far}/charts/app", "--version", "^1", "--plain-http", "-d", tmp_path],
                check=True, timeout=60, capture_output=True, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            )  # fmt: skip
            assert (tmp_path / "app-1.4.0.tgz").read_bytes() == make_chart("app", "1.4.0")


def test_a_chart_brings_what_it_needs_and_the_high_side_says_so(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "registry") as host:
        source = Depot(tmp_path / "source")
        for name in ("web:2", "side:3"):
            image = add_image(source, [tar_of({name[:3]: b"x"})])
            RegistryLoader(source, host).load(LoadItem(name, "image", name, image))
        values = f"image: {{repository: {host}/web, tag: '2'}}\n".encode()
        template = (
            b'kind: Pod\nspec:\n  containers:\n    - image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"\n'
            + f"    - image: {host}/side:3\n".encode()
        )
        files = {"values.yaml": values, "templates/pod.yaml": template}
        (tmp_path / "app-1.0.0.tgz").write_bytes(make_chart("app", "1.0.0", files=files))
        (tmp_path / "list.yaml").write_text("tidegate: 1\ncharts: [{path: app-1.0.0.tgz, images: true}]\n")
        packed = sides.low.good("pack", tmp_path / "list.yaml", "--json").objects[-1]
        assert packed["artifacts"] == 3
    name = str(packed["bundle"])
    sides.high.good("receive", sides.send(name))
    sides.high.good("load", name)
    extra = tmp_path / "pod.yaml"
    checked = sides.high.run("check", tmp_path / "app-1.0.0.tgz")
    assert checked.code in {0, 57}  # without helm one place of the chart is not understood
    assert "missing" not in checked.out
    extra.write_text("kind: Pod\nspec: {containers: [{image: other:1}, {image: web:9}]}\n")
    answer = sides.high.fails(57, "check", extra)
    assert "docker.io/library/other:1" in answer.err
    draft = sides.low.good("draft", extra, "-o", tmp_path / "draft.yaml")
    assert "2 images" in draft.out
    assert "docker.io/library/other:1" in (tmp_path / "draft.yaml").read_text()
    sides.low.fails(2, "draft", extra, "-o", tmp_path / "draft.yaml")


def test_a_chart_that_cannot_be_had_is_listed_and_the_rest_is_packed(sides: Sides, tmp_path: Path) -> None:
    (tmp_path / "app-1.0.0.tgz").write_bytes(make_chart("app", "1.0.0"))
    (tmp_path / "evil.tgz").write_bytes(b"no chart")
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 200)
    text = "tidegate: 1\ncharts: [app-1.0.0.tgz, evil.tgz]\ntars: [bad.tar]\n"
    (tmp_path / "list.yaml").write_text(text)
    answer = sides.low.fails(3, "pack", tmp_path / "list.yaml")
    assert "evil.tgz" in answer.err
    assert "bad.tar" in answer.err
    (tmp_path / "list.yaml").write_text(text.replace("evil.tgz]", "{path: evil.tgz, required: true}]"))
    sides.low.fails(10, "pack", tmp_path / "list.yaml")


@pytest.mark.skipif(HELM is None, reason="helm is not installed: tests/system-packages.sh builds it")
def test_serve_answers_helm_and_people_through_the_installed_command(sides: Sides, tmp_path: Path) -> None:
    assert HELM is not None
    (tmp_path / "app-1.0.0.tgz").write_bytes(make_chart("app", "1.0.0"))
    packed = sides.low.good("pack", f"chart:{tmp_path}/app-1.0.0.tgz", "--json").objects[-1]
    sides.high.good("receive", sides.send(str(packed["bundle"])))
    sides.high.good("load", str(packed["bundle"]))
    port = free_port()
    server = sides.high.start("serve", "--listen", f"127.0.0.1:{port}")
    try:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        add = [HELM, "repo", "add", "site", f"http://127.0.0.1:{port}"]
        for _ in range(100):
            if subprocess.run(add, env=environment, capture_output=True, timeout=60, check=False).returncode == 0:
                break
            time.sleep(0.1)
        search = [HELM, "search", "repo", "site/app", "-o", "json"]
        found = subprocess.run(search, env=environment, capture_output=True, timeout=60, check=True)
        assert json.loads(found.stdout)[0]["version"] == "1.0.0"
    finally:
        server.terminate()
        server.wait(10)
    sides.high.fails(2, "serve", "--tls-cert", tmp_path / "c.pem")
