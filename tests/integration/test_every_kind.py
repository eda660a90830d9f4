"""One list with every kind crosses by stick and by stream into two registries and a served stage; other clients judge.

The source is distribution v3 with signatures by the real cosign and a chart by the real helm. What is asked on the far
side is what a person there does: crane, skopeo, helm, cosign and regctl, each from the three places.
"""

import gzip
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from charts import make_chart, serving_folder, write_repository
from content import tar_of
from image_tars import docker_tar
from images import Layout, pull_by_skopeo, push_by_skopeo
from imgpkg_bundles import push_bundle
from listening import free_port as free_udp_port
from programs import program, run
from registry import free_port, running_registry
from signing import SPDX, Cosign
from two_sides import Sides, files_of

pytestmark = pytest.mark.system
TIME_LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Low:
    """The connected side: its registry and chart repository, and the list that names something of every kind."""

    folder: Path
    host: str
    charts: str
    release: Cosign
    app: str  # digest of team/app:2.1
    bundle: str  # digest of packages/web:1.0

    def write_list(self) -> Path:
        path = self.folder / "transfer.yaml"
        path.write_text(
            f"""tidegate: 1
keys: [{{path: {self.release.public}, name: release.pub}}]
images:
  - ref: {self.host}/team/app:2.1
    required: true
    expect:
      signed-by: {self.release.public}
      predicates: [slsaprovenance1, spdxjson]
      sbom: true
      identity: {self.host}/team/app
  - {{ref: {self.host}/team/base, tags: ["1.*", "!*-rc*"], newest: 2}}
  - {{ref: {self.host}/vendor/tool:7, sbom: tool.spdx.json}}
  - {self.host}/team/notes:v1
layouts: [{{path: layout, tag: amd, name: localhost/built:1}}]
charts:
  - vendor/app-1.2.3.tgz
  - oci://{self.host}/charts/db
  - {{chart: web, repository: {self.charts}, version: ^1, required: true}}
tars: [saved.tar.gz]
imgpkg: ["{self.host}/packages/web:1.0"]
lists: [images-to-mirror.txt]
files: [{{path: docs, name: manuals}}, single.txt]
"""
        )
        return path


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Low]:
    folder = tmp_path_factory.mktemp("connected")
    write_repository(folder / "repository", {"web-1.4.0.tgz": make_chart("web", "1.4.0")})
    with running_registry(folder / "registry", v3=True) as host, serving_folder(folder / "repository") as charts:
        release = Cosign.make(folder / "keys")
        app = push_images(folder, host, release)
        push_chart(folder, host)
        bundle, _image = push_bundle(host)
        write_files(folder, host)
        yield Low(folder, host, charts, release, app, bundle)


def push_images(folder: Path, host: str, release: Cosign) -> str:
    layout = Layout(folder / "layout")
    amd = layout.tag(layout.image([{"base": b"b" * 9000}, {"a": b"amd"}]), "amd")
    arm = layout.image([{"base": b"b" * 9000}], architecture="arm64")
    index = layout.tag(layout.index({"linux/amd64": amd, "linux/arm64": arm}), "app")
    push_by_skopeo(layout.folder, "app", f"{host}/team/app:2.1", every_platform=True)
    for name in ("team/base:1.1", "team/base:1.2", "team/base:1.3", "team/base:1.4-rc1", "vendor/tool:7"):
        push_by_skopeo(layout.folder, "amd", f"{host}/{name}")
    image = f"{host}/team/app@{index.digest}"
    release.sign(image)
    release.attest(image, kind="slsaprovenance1", predicate=b'{"buildDefinition":{},"runDetails":{}}')
    release.attest(image, bundle=True)
    (folder / "report.txt").write_text("reviewed")
    more = ("--artifact-type", "application/x-report", "--file", folder / "report.txt")
    run("regctl", "artifact", "put", *plain(host), *more, f"{host}/team/notes:v1")
    return index.digest


def push_chart(folder: Path, host: str) -> None:
    (folder / "vendor").mkdir()
    (folder / "vendor" / "app-1.2.3.tgz").write_bytes(make_chart("app", "1.2.3"))
    (folder / "vendor" / "app-1.2.3.tgz.prov").write_bytes(b"-----BEGIN PGP SIGNED MESSAGE-----\n")
    (folder / "db-0.3.0.tgz").write_bytes(make_chart("db", "0.3.0"))
    run("helm", "push", folder / "db-0.3.0.tgz", f"oci://{host}/charts", "--plain-http", HOME=str(folder))


def write_files(folder: Path, host: str) -> None:
    (folder / "docs").mkdir()
    (folder / "docs" / "manual.txt").write_text("manual")
    (folder / "single.txt").write_text("one")
    (folder / "tool.spdx.json").write_bytes(SPDX)
    (folder / "images-to-mirror.txt").write_text(f"# mirrored\n{host}/team/base:1.1\n")
    (folder / "saved.tar.gz").write_bytes(gzip.compress(docker_tar([tar_of({"s": b"saved"})], ["saved:1"])))


def plain(host: str) -> tuple[str, str]:
    return ("--host", f"reg={host},tls=disabled")


def by_stick(sides: Sides, bundle: str) -> None:
    sides.high.good("receive", sides.send(bundle))


def by_stream(sides: Sides, bundle: str) -> None:
    """Sent until it is received: nothing tells a sender whether somebody listens yet."""
    link = f"udp://127.0.0.1:{free_udp_port()}"
    listener = sides.high.start("receive", link, "--bundles", "1")
    try:
        until = time.monotonic() + TIME_LIMIT_SECONDS
        while listener.poll() is None and time.monotonic() < until:
            sides.low.good("send", bundle, link)
            time.sleep(0.5)
        out, err = listener.communicate(timeout=TIME_LIMIT_SECONDS)
        assert listener.returncode == 0, out + err
    finally:
        listener.kill()
        listener.wait()


@contextmanager
def serving(sides: Sides) -> Iterator[str]:
    """The installed command, until SIGTERM."""
    host = f"127.0.0.1:{free_port()}"
    process = sides.high.start("serve", "--listen", host)
    try:
        until = time.monotonic() + TIME_LIMIT_SECONDS
        while subprocess.run([program("crane"), "catalog", host], capture_output=True, check=False).returncode:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        yield host
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIME_LIMIT_SECONDS)


@pytest.mark.parametrize("way", [by_stick, by_stream])
def test_one_list_with_every_kind_is_accepted_by_the_clients_of_the_far_side(
    sides: Sides, low: Low, tmp_path: Path, way: Callable[[Sides, str], None]
) -> None:
    bundle = str(sides.low.good("pack", low.write_list(), "--json").objects[-1]["bundle"])
    way(sides, bundle)
    with ExitStack() as stack:
        debian = stack.enter_context(running_registry(tmp_path / "debian"))
        newer = stack.enter_context(running_registry(tmp_path / "newer", v3=True))
        targets = [debian, f"{newer}/plant"]
        sides.high.good("load", bundle, "--to", targets[0], "--to", targets[1])
        served = stack.enter_context(serving(sides))
        for number, target in enumerate([*targets, served]):
            folder = tmp_path / f"judged-{number}"
            folder.mkdir()
            judge_images(low, target, folder)
            judge_signatures(low, target)
            judge_charts(low, target, folder)
        judge_repository(low, served, tmp_path)
    judge_folder(sides, low, bundle, tmp_path / "in")
    sides.high.check()
    sides.high.good("ledger", "verify")


def judge_images(low: Low, target: str, folder: Path) -> None:
    """crane finds each name by its digest, and skopeo copies all platforms."""
    same = ["team/app:2.1", "team/base:1.1", "team/base:1.2", "team/base:1.3", "vendor/tool:7", "team/notes:v1"]
    for name in (*same, "packages/web:1.0", "charts/db:0.3.0"):
        assert run("crane", "digest", f"{target}/{name}") == run("crane", "digest", f"{low.host}/{name}"), name
    for name in ("built:1", "library/saved:1", "keys/release.pub:latest", "files/manuals:latest"):
        run("crane", "manifest", f"{target}/{name}")
    assert "1.4-rc1" not in run("crane", "ls", f"{target}/team/base")
    run("crane", "manifest", f"{target}/packages/web:{low.bundle.replace(':', '-')}.image-locations.imgpkg")
    run("crane", "pull", f"{target}/library/saved:1", folder / "saved.tar")
    pull_by_skopeo(f"{target}/team/app:2.1", folder / "oci", every_platform=True)
    pulled = json.loads((folder / "oci" / "index.json").read_bytes())["manifests"][0]["digest"]
    assert pulled == low.app


def judge_signatures(low: Low, target: str) -> None:
    """cosign accepts signature and both attestations, and regctl finds what was attached, by the list too."""
    image = f"{target}/team/app@{low.app}"
    low.release.accepts(image)
    low.release.accepts_attestation(image, "spdxjson")
    # Where there is a bundle, cosign 3 looks at tags only when it is told to.
    run("cosign", "verify-attestation", "--insecure-ignore-tlog=true", "--allow-insecure-registry",
        "--new-bundle-format=false", "--type", "slsaprovenance1", "--key", low.release.public, image)  # fmt: skip
    assert referrers(image) == referrers(f"{low.host}/team/app@{low.app}") != set()
    assert {kind for _digest, kind in referrers(f"{target}/vendor/tool:7")} == {"application/spdx+json"}
    run("regctl", "artifact", "get", *plain(target.partition("/")[0]), f"{target}/team/notes:v1")


def referrers(image: str) -> set[tuple[str, str]]:
    said = run("regctl", "artifact", "tree", *plain(image.partition("/")[0]), image)
    return set(re.findall(r"(sha256:[0-9a-f]{64}): (\S+)", said))


def judge_charts(low: Low, target: str, folder: Path) -> None:
    home = {"HOME": str(folder)}
    for chart in ("app", "db", "web"):
        run("helm", "pull", f"oci://{target}/charts/{chart}", "--plain-http", "-d", folder, **home)
    run("helm", "pull", f"oci://{target}/charts/app", "--plain-http", "--prov", "-d", folder, **home)
    for name in ("app-1.2.3.tgz", "app-1.2.3.tgz.prov"):
        assert (folder / name).read_bytes() == (low.folder / "vendor" / name).read_bytes()
    assert (folder / "web-1.4.0.tgz").read_bytes() == make_chart("web", "1.4.0")


def judge_repository(low: Low, served: str, folder: Path) -> None:
    home = {"HOME": str(folder)}
    run("helm", "repo", "add", "site", f"http://{served}", **home)
    run("helm", "pull", "site/app", "--version", "1.2.3", "-d", folder, **home)
    assert (folder / "app-1.2.3.tgz").read_bytes() == (low.folder / "vendor" / "app-1.2.3.tgz").read_bytes()


def judge_folder(sides: Sides, low: Low, bundle: str, folder: Path) -> None:
    sides.high.good("load", bundle, "--to", folder)
    assert (folder / "single.txt").read_text() == "one"
    assert files_of(folder / "manuals") == files_of(low.folder / "docs")
    assert (folder / "release.pub").read_bytes() == low.release.public.read_bytes()
