"""Charts into repositories over HTTP (doubles that answer as ChartMuseum and Artifactory do), images into tars that
skopeo reads; and charts from a real registry."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from charts import make_chart
from content import add_files, add_image, add_index, add_referrer, tar_of
from image_tars import digest_of, images_lock, imgpkg_tar, pushed
from registry import running_registry
from serving import serving

from tidegate.charts.archive import read_chart
from tidegate.charts.artifact import add_chart
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import LoadError, NameTakenError, RegistryAuthError, RegistryError, UsageError
from tidegate.registry.reference import place_of
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.targets import open_loader
from tidegate_sender.collect.archives.tars import TarItem
from tidegate_sender.collect.charts import ChartItem
from tidegate_sender.collect.pipeline import collect

SKOPEO = shutil.which("skopeo")
HELM = shutil.which("helm") or shutil.which("helm", path=str(Path("~/go/bin").expanduser()))
needs_skopeo = pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed: apt-get install skopeo")
CHART = make_chart("app", "1.2.3+b.7")


class Repository(BaseHTTPRequestHandler):
    """ChartMuseum's API under /api, and a store that takes PUT under /put; `answers` replaces what it would say."""

    files: dict[str, bytes]
    answers: dict[tuple[str, str], int]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        known = self.files.get(name)
        self._answer(200 if known is not None or name in {"", "health"} else 404, known or b"")

    def do_POST(self) -> None:
        data = self._body()
        kind = self.path.rpartition("/")[2]
        name = "app-1.2.3+b.7.tgz" + (".prov" if kind == "prov" else "")
        if self.path not in {"/api/charts", "/api/prov", "/api/org/charts"}:
            self._answer(404)
        elif name in self.files:
            self._answer(409)
        else:
            self.files[name] = data
            self._answer(201, b'{"saved":true}')

    def do_PUT(self) -> None:
        data = self._body()
        assert self.headers["X-Checksum-Sha256"] == digest_of(data)[7:]
        self.files[self.path.rpartition("/")[2]] = data
        self._answer(201)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, status: int, data: bytes = b"") -> None:
        status = self.answers.get((self.command, self.path.rpartition("/")[2]), status)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if status < 300 else 0))
        self.end_headers()
        self.wfile.write(data if status < 300 else b"")

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def repository(answers: dict[tuple[str, str], int] | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    files: dict[str, bytes] = {}
    handler = type("Handler", (Repository,), {"files": files, "answers": answers or {}})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as host:
        yield f"http://{host}", files


def chart_item(depot: Depot, content: bytes = CHART) -> LoadItem:
    with depot.commit() as commit:
        root = add_chart(commit, read_chart(content, "app").metadata, content, b"signed")
    return LoadItem("charts/app:1.2.3_b.7", "chart", "charts/app:1.2.3_b.7", root)


def item(name: str, root: Descriptor, kind: str = "image") -> LoadItem:
    return LoadItem(name, kind, place_of(name), root)


@pytest.mark.parametrize("beginning", ["chartmuseum+", "put+"])
def test_a_chart_is_sent_once_with_its_provenance(depot: Depot, beginning: str) -> None:
    with repository() as (url, files):
        chart = chart_item(depot)
        loader = open_loader(f"{beginning}{url}" + ("/put" if beginning == "put+" else ""), depot)
        loader.check((chart,))
        assert loader.load(chart).changed
        assert files == {"app-1.2.3+b.7.tgz": CHART, "app-1.2.3+b.7.tgz.prov": b"signed"}
        assert not loader.load(chart).changed


@pytest.mark.parametrize("beginning", ["chartmuseum+", "put+"])
def test_a_load_that_ended_before_the_provenance_sends_it_the_next_time(depot: Depot, beginning: str) -> None:
    with repository() as (url, files):
        chart = chart_item(depot)
        loader = open_loader(f"{beginning}{url}", depot)
        loader.load(chart)
        del files["app-1.2.3+b.7.tgz.prov"]
        found = loader.load(chart)
        assert (found.changed, found.size_bytes) == (True, len(b"signed"))
        assert files["app-1.2.3+b.7.tgz.prov"] == b"signed"
        files["app-1.2.3+b.7.tgz.prov"] = b"signed by another"
        found = loader.load(chart)
        assert not found.changed
        assert "another signature, which stays" in found.notes[0]
        assert files["app-1.2.3+b.7.tgz.prov"] == b"signed by another"


@pytest.mark.parametrize("beginning", ["chartmuseum+", "put+"])
def test_another_chart_of_the_same_version_is_never_replaced(depot: Depot, beginning: str) -> None:
    with repository() as (url, files):
        files["app-1.2.3+b.7.tgz"] = b"another"
        chart = chart_item(depot)
        loader = open_loader(f"{beginning}{url}", depot)
        with pytest.raises(NameTakenError, match="other bytes"):
            loader.load(chart)
        assert files == {"app-1.2.3+b.7.tgz": b"another"}


def test_a_tenant_of_chartmuseum_stands_between(depot: Depot) -> None:
    with repository() as (url, files):
        with_no_provenance = chart_item(depot)
        loader = open_loader(f"chartmuseum+{url}/org", depot)
        with pytest.raises(RegistryError):  # the double has no /api/org/prov
            loader.load(with_no_provenance)
        assert files == {"app-1.2.3+b.7.tgz": CHART}


@pytest.mark.parametrize(("status", "error"), [(401, RegistryAuthError), (500, RegistryError), (418, RegistryError)])
def test_a_repository_that_refuses_is_named(
    depot: Depot, status: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.registry.transport.time.sleep", lambda _seconds: None)
    with repository({("POST", "charts"): status}) as (url, _files):
        chart = chart_item(depot)
        with pytest.raises(error, match=r"127\.0\.0\.1"):
            open_loader(f"chartmuseum+{url}", depot).load(chart)


def test_a_repository_that_forgets_what_it_took_is_caught(depot: Depot) -> None:
    answers = {("PUT", "app-1.2.3+b.7.tgz"): 201, ("GET", "app-1.2.3+b.7.tgz"): 404}
    with repository(answers) as (url, _files), pytest.raises(LoadError, match="read back"):
        open_loader(f"put+{url}", depot).load(chart_item(depot))


def test_what_is_no_chart_is_left_out_and_named(depot: Depot) -> None:
    image = item("localhost/app:1", add_image(depot, [b"x"]))
    with repository() as (url, files):
        loader = open_loader(f"put+{url}", depot)
        with pytest.raises(LoadError, match="has none"):
            loader.check((image,))
        loader.check((image, chart_item(depot)))
        assert "left out" in loader.load(image).notes[0]
        assert files == {}


@pytest.mark.parametrize(
    "target", ["put+ftp://x.example", "put+https://u:geheim@x.example/", "chartmuseum+x.example", "put+https://x/?a=b"]
)
def test_an_address_that_is_none_is_refused_and_no_secret_repeated(depot: Depot, target: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_loader(target, depot)
    assert "geheim" not in caught.value.message


@needs_skopeo
def test_skopeo_reads_the_tar_in_both_of_its_forms(depot: Depot, tmp_path: Path) -> None:
    image = add_image(depot, [tar_of({"a": b"x" * 100_000}), tar_of({"b": b"y"})])
    arm = add_image(depot, [tar_of({"arm": b"x"})], architecture="arm64")
    index = add_index(depot, {"amd64": image, "arm64": arm})
    items = (
        item("registry.example/app:1", image),
        item("docker.io/library/multi:2", index),
        item("files/docs", add_files(depot, "docs", [tar_of({"docs/x": b"1"})]), "files"),
        item("registry.example/app:sha256-aa.sig", image, "attachment"),
        item("registry.example/notes:1", add_referrer(depot, image, "application/x-report")),
    )
    loader = open_loader(f"tar:{tmp_path}/out.tar", depot)
    loader.check(items)
    done = [loader.load(one) for one in items]
    assert [one.changed for one in done] == [True, True, False, False, False]
    # `docker load` gives up at the first signature or artifact, and takes nothing behind it.
    assert ["left out" in str(one.notes) for one in done] == [False, False, True, True, True]
    for source in ("docker-archive:{}:registry.example/app:1", "docker-archive:{}:docker.io/library/multi:2"):
        subprocess.run(
            ["skopeo", "copy", "-q", "--override-arch", "amd64", source.format(tmp_path / "out.tar"),
             f"dir:{tmp_path}/d"],
            check=True, timeout=120,
        )  # fmt: skip
        config = next(path for path in (tmp_path / "d").iterdir() if path.name in config_names(depot, image))
        assert config.is_file()
        shutil.rmtree(tmp_path / "d")
    subprocess.run(
        ["skopeo", "copy", "-q", "--all", "--preserve-digests", f"oci-archive:{tmp_path}/out.tar:2",
         f"oci:{tmp_path}/o:x"],
        check=True, timeout=120,
    )  # fmt: skip
    pulled = json.loads((tmp_path / "o/index.json").read_bytes())["manifests"][0]["digest"]
    assert pulled == index.digest
    again = open_loader(f"tar:{tmp_path}/out.tar", depot)
    again.check(items)
    assert not again.load(items[0]).changed
    # And our own reader takes it as it takes anybody's.
    report = collect([TarItem(path=tmp_path / "out.tar")], Depot(tmp_path / "other"))
    assert {one.name: one.descriptor.digest for one in report.artifacts} == {
        "registry.example/app:1": image.digest,
        "docker.io/library/multi:2": index.digest,
    }


def config_names(depot: Depot, image: Descriptor) -> set[str]:
    return {json.loads(depot.read_blob(image.digest, max_bytes=1 << 20))["config"]["digest"][7:]}


def test_a_bundle_of_imgpkg_leaves_as_the_tar_that_it_came_in(depot: Depot, tmp_path: Path) -> None:
    plain = pushed(tar_of({"a": b"app"}))
    root = pushed(images_lock([f"a.example/x@{digest_of(plain[0])}"]), {"dev.carvel.imgpkg.bundle": "true"})
    images = [("r.example/pkg", "1.0", root, True), ("a.example/x", "", plain, False)]
    (tmp_path / "in.tar").write_bytes(imgpkg_tar(images))
    report = collect([TarItem(path=tmp_path / "in.tar")], depot)
    items = tuple(item(one.name, one.descriptor, one.kind) for one in report.artifacts)
    loader = open_loader(f"imgpkg:{tmp_path}/out.tar", depot)
    loader.check(items)
    assert loader.load(items[0]).changed
    with tarfile.open(tmp_path / "out.tar") as tar:
        first = tar.next()
        assert first is not None
        assert first.name == "manifest.json"
        listed = json.loads(tar.extractfile(first).read())  # type: ignore[union-attr]
        layers = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    entries = {entry["Image"]["Manifest"]["Digest"]: entry["Image"] for entry in listed}
    assert entries.keys() == {digest_of(root[0]), digest_of(plain[0])}
    assert entries[digest_of(root[0])]["Labels"] == {"dev.carvel.imgpkg.copy.root-bundle": ""}
    assert entries[digest_of(root[0])]["Tag"] == "1.0"
    assert entries[digest_of(plain[0])]["Layers"][0]["DiffID"] == digest_of(tar_of({"a": b"app"}))
    for name, data in layers.items():
        if name != "manifest.json":
            assert name == f"sha256-{digest_of(data)[7:]}.tar.gz"
    again = collect([TarItem(path=tmp_path / "out.tar")], Depot(tmp_path / "other"))
    assert {one.name for one in again.artifacts} == {one.name for one in report.artifacts}


@pytest.mark.skipif(HELM is None, reason="helm is not installed: tests/system-packages.sh builds it")
def test_a_chart_that_helm_pushed_comes_by_its_range_byte_by_byte(depot: Depot, tmp_path: Path) -> None:
    assert HELM is not None
    with running_registry(tmp_path / "registry") as host:
        for version in ("1.2.3", "1.3.0+b.1", "2.0.0"):
            file = tmp_path / f"app-{version}.tgz"
            file.write_bytes(make_chart("app", version))
            subprocess.run(
                [HELM, "push", file, f"oci://{host}/team", "--plain-http"],
                check=True, timeout=120, capture_output=True, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            )  # fmt: skip
        report = collect([ChartItem(repository=f"oci://{host}/team/app", version="^1")], depot)
        assert report.failures == ()
        (artifact,) = report.artifacts
        assert (artifact.name, artifact.kind) == (f"{host}/team/app:1.3.0_b.1", "chart")


def test_a_tar_is_replaced_whole_or_not_at_all(depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out.tar").write_bytes(b"before")
    image = item("r.example/app:1", add_image(depot, [tar_of({"a": b"x"})]))
    loader = open_loader(f"tar:{tmp_path}/out.tar", depot)
    loader.check((image,))
    real = Depot.open_blob

    def failing(self: Depot, digest: str) -> io.BufferedReader:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Depot, "open_blob", failing)
    with pytest.raises(Exception, match=r"space|full"):
        loader.load(image)
    monkeypatch.setattr(Depot, "open_blob", real)
    assert (tmp_path / "out.tar").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["depot", "out.tar"]


def test_a_chart_in_a_folder_is_a_file_with_its_provenance(depot: Depot, tmp_path: Path) -> None:
    chart = chart_item(depot)
    loader = open_loader(f"{tmp_path}/out", depot)
    loader.check((chart,))
    with loader:
        assert loader.load(chart).changed
        assert not loader.load(chart).changed
    assert (tmp_path / "out/charts/app-1.2.3+b.7.tgz").read_bytes() == CHART
    assert (tmp_path / "out/charts/app-1.2.3+b.7.tgz.prov").read_bytes() == b"signed"
    folder = item("files/charts", add_files(depot, "charts", [tar_of({"charts/x": b"1"})]), "files")
    with pytest.raises(NameTakenError):
        open_loader(f"{tmp_path}/out", depot).check((chart, folder))
