"""Helm charts: from repositories, files and ranges; and what a hostile chart or repository is refused for."""

import base64
import json
import shutil
from pathlib import Path

import pytest
from charts import TEMPLATE, VALUES, chart_yaml, make_chart, serving_folder, tgz, write_repository

from tidegate.charts.archive import ChartError, read_chart
from tidegate.charts.artifact import CONFIG_TYPE, CONTENT_TYPE, PROVENANCE_TYPE
from tidegate.charts.needed import find_chart_images
from tidegate.charts.versions import VersionRange
from tidegate.config import Settings
from tidegate.depot.descriptors import parse_manifest
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import CollectError, LockDiffersError, RegistryAuthError, UsageError
from tidegate.registry.registries import Registries
from tidegate_sender.collect.charts import ChartItem
from tidegate_sender.collect.downloads import DownloadItem
from tidegate_sender.collect.items import CollectedArtifact, Item
from tidegate_sender.collect.lists.lock import asked_of
from tidegate_sender.collect.lists.locking import Renewal, lock_items
from tidegate_sender.collect.lists.transfer_list import parse_transfer_list
from tidegate_sender.collect.pipeline import collect

CHART = make_chart("app", "1.2.3")
HELM = shutil.which("helm") or shutil.which("helm", path=str(Path("~/go/bin").expanduser()))


def one(depot: Depot, item: Item) -> CollectedArtifact:
    report = collect([item], depot)
    assert report.failures == ()
    return report.artifacts[0]


def refused(depot: Depot, item: ChartItem) -> str:
    report = collect([item], depot)
    assert report.artifacts == ()
    return report.failures[0].error.message


def test_a_file_becomes_the_artifact_that_helm_pushes(depot: Depot, tmp_path: Path) -> None:
    (tmp_path / "app.tgz").write_bytes(CHART)
    (tmp_path / "app.tgz.prov").write_bytes(b"signed")
    artifact = one(depot, ChartItem(path=tmp_path / "app.tgz"))
    assert (artifact.name, artifact.kind) == ("charts/app:1.2.3", "chart")
    manifest = parse_manifest(
        depot.read_blob(artifact.descriptor.digest, max_bytes=1 << 20), artifact.descriptor.media_type
    )
    assert manifest.config is not None
    assert manifest.config.media_type == CONFIG_TYPE
    assert [layer.media_type for layer in manifest.layers] == [CONTENT_TYPE, PROVENANCE_TYPE]
    assert depot.read_blob(manifest.layers[0].digest, max_bytes=1 << 20) == CHART
    config = json.loads(depot.read_blob(manifest.config.digest, max_bytes=1 << 20))
    assert config == {"apiVersion": "v2", "name": "app", "version": "1.2.3", "appVersion": "1.0"}
    assert not depot.missing(walk(depot, artifact.descriptor))


def test_a_version_with_a_plus_has_an_underscore_in_its_tag(depot: Depot, tmp_path: Path) -> None:
    (tmp_path / "app.tgz").write_bytes(make_chart("app", "1.2.3+build.7"))
    assert one(depot, ChartItem(path=tmp_path / "app.tgz", folder="vendor")).name == "charts/vendor/app:1.2.3_build.7"


def test_the_newest_version_in_the_range_comes_from_the_repository(depot: Depot, tmp_path: Path) -> None:
    versions = ("1.0.0", "1.9.0", "1.10.0", "2.0.0", "2.1.0-rc.1")
    write_repository(tmp_path / "repo", {f"app-{version}.tgz": make_chart("app", version) for version in versions})
    with serving_folder(tmp_path / "repo") as url:
        item = ChartItem(chart="app", repository=url, version="^1.0")
        assert one(depot, item).name == "charts/app:1.10.0"
        assert one(depot, ChartItem(chart="app", repository=url)).name == "charts/app:2.0.0"
        assert "no version fits" in refused(depot, ChartItem(chart="app", repository=url, version=">3"))
        assert "no chart of that name" in refused(depot, ChartItem(chart="other", repository=url))


def test_provenance_beside_the_chart_is_kept(depot: Depot, tmp_path: Path) -> None:
    write_repository(tmp_path / "repo", {"app-1.2.3.tgz": CHART})
    (tmp_path / "repo/app-1.2.3.tgz.prov").write_bytes(b"signed by the vendor")
    with serving_folder(tmp_path / "repo") as url:
        artifact = one(depot, ChartItem(chart="app", repository=url))
    last = walk(depot, artifact.descriptor)[-1]
    assert depot.read_blob(last.digest, max_bytes=1 << 20) == b"signed by the vendor"


def test_a_repository_that_wants_a_password_gets_the_login_of_its_host_and_no_error_repeats_it(
    depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_repository(tmp_path / "repo", {"app-1.2.3.tgz": CHART})
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with serving_folder(tmp_path / "repo", guarded=True) as url:
        host = url.removeprefix("http://")
        for secret, expected in (("robot:geheimnis", 0), ("robot:verkehrt-2", 1)):
            auth = base64.b64encode(secret.encode()).decode()
            (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
            access = Registries.of(Settings())
            report = collect([ChartItem(chart="app", repository=url)], depot, client_factory=access.client)
            assert len(report.failures) == expected
    assert isinstance(report.failures[0].error, RegistryAuthError)
    assert "verkehrt" not in report.failures[0].error.message


def test_an_answer_that_breaks_off_is_asked_for_again(
    depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.registry.transport.time.sleep", lambda _seconds: None)
    write_repository(tmp_path / "repo", {"app-1.2.3.tgz": CHART})
    (tmp_path / "repo/notes.txt").write_bytes(b"a note " * 5000)
    with serving_folder(tmp_path / "repo", breaking=True) as url:
        assert one(depot, ChartItem(chart="app", repository=url)).name == "charts/app:1.2.3"
        (artifact,) = collect([DownloadItem(url=f"{url}/notes.txt")], depot).artifacts
    assert artifact.name == "files/notes.txt"
    assert artifact.size_bytes > 35_000


def test_a_lock_holds_a_range_to_the_version_it_found(depot: Depot, tmp_path: Path) -> None:
    write_repository(tmp_path / "repo", {"app-1.2.3.tgz": CHART})
    with serving_folder(tmp_path / "repo") as url:
        item = ChartItem(chart="app", repository=url, version="^1")
        locked = lock_items([item], (), Renewal())[0]
        assert (locked.name, locked.asked) == ("charts/app:1.2.3", asked_of(item))
        newer = make_chart("app", "1.3.0")
        write_repository(tmp_path / "repo", {"app-1.2.3.tgz": CHART, "app-1.3.0.tgz": newer})
        held = ChartItem(chart="app", repository=url, version="^1", locked=locked.digest, locked_name=locked.name)
        assert one(depot, held).name == "charts/app:1.2.3"
        assert one(depot, item).name == "charts/app:1.3.0"
        other = make_chart("app", "1.2.3", description="built again under the same version")
        write_repository(tmp_path / "repo", {"app-1.2.3.tgz": other})
        with pytest.raises(LockDiffersError):
            collect([held], depot)


def test_a_repository_that_lies_is_caught(depot: Depot, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    write_repository(folder, {"app-1.2.3.tgz": CHART})
    (folder / "app-1.2.3.tgz").write_bytes(make_chart("app", "1.2.3", description="another"))
    with serving_folder(folder) as url:
        assert "the index says" in refused(depot, ChartItem(chart="app", repository=url))
    write_repository(folder, {"app-1.2.3.tgz": make_chart("other", "9.9.9")})
    with serving_folder(folder) as url:
        assert "is other 9.9.9" in refused(depot, ChartItem(chart="app", repository=url))


@pytest.mark.parametrize(
    "index",
    [b"", b"no index", b"[]", b"entries: 1", b"entries: {app: 1}", b"entries: {app: [{version: 1.2.3}]}",
     b"entries: {app: [{version: 1.2.3, urls: [x], digest: zzz}]}", b"\xff\xfe", b"entries: {app: &a [*a]}",
     b"entries:\n" + b"- " * 5000, b"{" * 5000, b"x: " + b"[" * 70 + b"]" * 70 + b"\nentries: {}",
     b"entries: {app: [{version: 1.2.3, urls: ['file:///etc/passwd']}]}",
     b"entries: {app: [{version: 1.2.3, urls: []}]}"],
)  # fmt: skip
def test_an_index_that_is_none_ends_in_a_named_error(depot: Depot, tmp_path: Path, index: bytes) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/index.yaml").write_bytes(index)
    with serving_folder(tmp_path / "repo") as url:
        report = collect([ChartItem(chart="app", repository=url)], depot)
    assert isinstance(report.failures[0].error, CollectError)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no packaged chart"),
        (b"no gzip", "no packaged chart"),
        (CHART[:-20], "no packaged chart"),
        (tgz({"app/values.yaml": b""}), "holds no Chart.yaml"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "1"), "../evil": b""}), "outside"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "1"), "app/../../evil": b""}), "outside"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "1"), "/etc/evil": b""}), "outside"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "1"), "app/..\\..\\evil": b""}), "outside"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "1"), "C:\\evil": b""}), "outside"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "1"), "other/x": b""}), "not below"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "1")}, links={"app/l": "/etc/passwd"}), "neither file nor folder"),
        (tgz({"app/Chart.yaml": b"name: [a\n"}), "no YAML"),
        (tgz({"app/Chart.yaml": b"\xff"}), "UTF-8"),
        (tgz({"app/Chart.yaml": chart_yaml("../x", "1")}), "chart's name"),
        (tgz({"app/Chart.yaml": chart_yaml("App", "1")}), "chart's name"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "latest")}), "no version"),
        (tgz({"app/Chart.yaml": chart_yaml("app", "1"), "app/big": bytes(6 << 20)}), "limit"),
    ],
)  # fmt: skip
def test_what_is_no_honest_chart_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ChartError, match=message):
        read_chart(data, "app.tgz")


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", "2.1.0"), ("^1.2", "1.4.5"), ("~1.2", "v1.2.9"), ("1.2.x", "v1.2.9"), (">=1.0.0, <2.0.0", "1.4.5"),
        ("1.2 - 1.4", "1.4.5"), ("1.2.3 || 2.x", "2.1.0"), (">0.0.0-0", "3.0.0-alpha"), ("!=2.1.0", "1.4.5"),
        ("1.2.3", "1.2.3"), ("v1.2.9", "v1.2.9"), ("0.9.0+b.1", "0.9.0+b.1"), ("9", ""), ("~>1.2", "v1.2.9"),
    ],
)  # fmt: skip
def test_a_range_chooses_what_helm_would(text: str, chosen: str) -> None:
    versions = ["1.2.3", "v1.2.9", "1.2.10-rc.1", "1.4.5", "2.1.0", "2.2.0-beta.1", "0.9.0+b.1", "3.0.0-alpha", "junk"]
    assert VersionRange(text).choose(versions) == chosen


def test_images_are_rendered_where_helm_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if HELM is None:
        pytest.skip("helm is not installed: tests/system-packages.sh builds it")
    monkeypatch.setenv("PATH", f"{Path(HELM).parent}:/usr/bin:/bin")
    (tmp_path / "values.yaml").write_text("image: {tag: '7'}\n")
    found = find_chart_images(read_chart(CHART, "c"), CHART, (tmp_path / "values.yaml",))
    assert found.references == ("registry.example/side:3", "registry.example/web:7")
    assert found.unresolved == ()


def test_images_come_from_values_and_plain_fields_where_helm_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.charts.needed.shutil.which", lambda _name: None)
    found = find_chart_images(read_chart(CHART, "c"), CHART)
    assert found.references == ("registry.example/side:3", "registry.example/web:2")
    assert any("templates" in text for text in found.unresolved)


def test_an_annotation_with_images_is_believed_where_helm_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.charts.needed.shutil.which", lambda _name: None)
    listed = "- name: web\n  image: registry.example/web:2\n- {name: db, image: registry.example/db:5}\n"
    chart = make_chart("app", "1.0.0", annotations={"artifacthub.io/images": listed})
    found = find_chart_images(read_chart(chart, "c"), chart)
    assert found.references == ("registry.example/db:5", "registry.example/web:2")
    assert found.unresolved == ()


def test_an_image_that_stays_unresolved_fails_what_expects_images(
    depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.charts.needed.shutil.which", lambda _name: None)
    template = b'kind: Pod\nspec:\n  containers:\n    - image: {{ include "app.image" . }}\n'
    (tmp_path / "app.tgz").write_bytes(make_chart("app", "1.0.0", files={"templates/pod.yaml": template}))
    item = ChartItem(path=tmp_path / "app.tgz", images=True, expects_images=True)
    assert "templates/pod.yaml:4" in refused(depot, item)
    relaxed = one(depot, ChartItem(path=tmp_path / "app.tgz", images=True))
    assert any("templates/pod.yaml:4" in note for note in relaxed.notes)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("https://charts.example", "fields of their own"),
        ("{chart: app}", "either a path or a repository"),
        ("{path: a.tgz, repository: 'https://x.example'}", "either a path or a repository"),
        ("{path: a.tgz, version: '1'}", "says itself"),
        ("{repository: 'https://x.example'}", "which chart"),
        ("{repository: 'ftp://x.example', chart: app}", "no http or https"),
        ("{repository: 'https://u:secret@x.example', chart: app}", "holds credentials"),
        ("{repository: 'https://x.example', chart: app, version: 'what ever'}", "no range"),
        ("{path: a.tgz, expect: [images]}", "needs"),
        ("{path: a.tgz, folder: ../up}", "folder"),
        ("oci://bad host/x", "no image reference"),
    ],
)
def test_an_entry_that_says_nothing_that_can_be_done_is_named(entry: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_transfer_list(f"tidegate: 1\ncharts:\n  - {entry}\n".encode(), "list.yaml", Path())
    assert caught.value.message.startswith("list.yaml:3")
    assert "secret" not in caught.value.message


def test_values_and_templates_of_the_fixture_are_what_these_tests_think() -> None:
    chart = read_chart(CHART, "c")
    assert chart.values == VALUES
    assert chart.templates == {"templates/pod.yaml": TEMPLATE}
