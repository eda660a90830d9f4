"""Lists of other tools, taken as they are."""

from pathlib import Path

import pytest

from tidegate.errors import UsageError
from tidegate_sender.collect.archives.tars import TarItem
from tidegate_sender.collect.charts import ChartItem
from tidegate_sender.collect.downloads import DownloadItem
from tidegate_sender.collect.imgpkg_bundle import ImgpkgItem
from tidegate_sender.collect.items import FilesItem, ImageItem, Item
from tidegate_sender.collect.lists.arguments import ArgumentKind, classify_argument, items_from_arguments
from tidegate_sender.collect.lists.foreign_lists import ListContext, parse_foreign_list
from tidegate_sender.collect.lists.transfer_list import parse_transfer_list

HAULER = """\
apiVersion: content.hauler.cattle.io/v1
kind: Images
metadata:
  name: app
  annotations: {hauler.dev/platform: linux/amd64, hauler.dev/registry: registry.example}
spec:
  images:
    - name: busybox:1
    - name: quay.io/a/b:2
      platform: linux/arm64
---
apiVersion: content.hauler.cattle.io/v1
kind: Charts
spec:
  charts:
    - name: rancher
      repoURL: https://releases.example/stable
      version: 2.8.4
    - {name: app, repoURL: 'oci://registry.example/charts', add-images: true}
    - {name: ./local-1.0.0.tgz}
---
apiVersion: content.hauler.cattle.io/v1
kind: Files
spec:
  files:
    - path: https://get.example/install.sh
    - {path: ./notes.md, name: readme}
"""
SKOPEO = """\
registry.example:
  tls-verify: true
  images:
    busybox: []
    team/app: ["1.0", "sha256:%s"]
  images-by-tag-regex:
    nginx: ^1\\.13\\.[12]-alpine$
  images-by-semver:
    alpine: "3.12 - 3.13"
localhost:5000:
  images: {app: ["2"]}
""" % ("a" * 64)


def items(text: str, name: str = "list.yaml", **fields: object) -> tuple[Item, ...]:
    return parse_foreign_list(text.encode(), ListContext(name, Path("dir"), **fields))  # type: ignore[arg-type]


def references(found: tuple[Item, ...]) -> list[str]:
    return [str(item.reference) for item in found if isinstance(item, ImageItem)]


def test_plain_text_has_an_image_a_line() -> None:
    text = "# images\n\nquay.io/a/b:1\n  alpine:3  # small\ndocker://registry.example/c@sha256:" + "b" * 64 + "\r\n"
    found = items(text, "images.txt", platforms=("linux/amd64",), common=(("ticket", "OPS-1"),))
    assert references(found) == [
        "quay.io/a/b:1", "docker.io/library/alpine:3", f"registry.example/c@sha256:{'b' * 64}"
    ]  # fmt: skip
    assert found[0].origin == "images.txt:3"
    assert found[0].ticket == "OPS-1"
    assert all(isinstance(item, ImageItem) and item.platforms == ("linux/amd64",) for item in found)


@pytest.mark.parametrize("text", ["alpine:3\nNOT AN IMAGE\n", "alpine:3\n../etc\n"])
def test_a_line_that_is_no_image_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"images\.txt:2: "):
        items(text, "images.txt")


def test_a_hauler_manifest_is_taken_whole() -> None:
    images = items(HAULER)
    assert references(images) == ["registry.example/busybox:1", "quay.io/a/b:2"]
    assert [item.platforms for item in images if isinstance(item, ImageItem)] == [("linux/amd64",), ("linux/arm64",)]
    charts = [item for item in images if isinstance(item, ChartItem)]
    assert [(item.chart, item.repository, item.version, item.images) for item in charts] == [
        ("rancher", "https://releases.example/stable", "2.8.4", False),
        ("app", "oci://registry.example/charts", "", True),
        ("", "", "", False),
    ]
    assert charts[2].path == Path("dir/local-1.0.0.tgz")
    download, file = images[-2:]
    assert isinstance(download, DownloadItem)
    assert download.file_title == "install.sh"
    assert isinstance(file, FilesItem)
    assert (file.path, file.title) == (Path("dir/notes.md"), "readme")


def test_a_file_for_skopeo_sync_is_taken_whole() -> None:
    found = items(SKOPEO)
    assert references(found) == [
        "registry.example/busybox:latest",
        "registry.example/team/app:1.0",
        f"registry.example/team/app@sha256:{'a' * 64}",
        "registry.example/nginx:latest",
        "registry.example/alpine:latest",
        "localhost:5000/app:2",
    ]
    tags = [item.tags for item in found if isinstance(item, ImageItem) and item.tags]
    assert tags == [("*",), (r"/^1\.13\.[12]-alpine$/",), (">=3.12 <=3.13",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n", "neither a hauler manifest"),
        ("[]\n", "no list that is known"),
        ("apiVersion: content.hauler.cattle.io/v1\nkind: Secrets\n", "'Secrets' of hauler is not read"),
        (HAULER.replace("name: busybox:1", "name: BAD IMAGE"), "no image reference"),
        (HAULER.replace("name: busybox:1", "nmae: x"), "'nmae' is not known"),
        (HAULER.replace("platform: linux/arm64", "certificate-identity: x"), "not known"),
        (HAULER.replace("https://releases", "ftp://releases"), "neither http"),
        (SKOPEO + "  credentials: {username: u, password: geheim}\n", "credentials in a list"),
        (SKOPEO.replace("tls-verify", "signed-by"), "'signed-by' is not known"),
        (SKOPEO.replace("[12]-alpine", "(12-alpine"), "no regular expression"),
        (SKOPEO.replace("3.12 - 3.13", "what ever"), "no range"),
        ("x.example: {images: {a: [", "is no YAML"),
        ("x.example: " + "[" * 100 + "]" * 100, "deeper"),
        ("x.example: {images: {a: 1}}", "no list"),
    ],
)
def test_what_cannot_be_taken_whole_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        items(text)
    assert "geheim" not in caught.value.message


def test_a_transfer_list_takes_other_lists_with_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text("alpine:3\n")
    text = "tidegate: 1\nlists:\n  - {path: images.txt, ticket: OPS-9, required: true, load: harbor}\n"
    (item,) = parse_transfer_list(text.encode(), "list.yaml", tmp_path)
    assert (item.label, item.ticket, item.required, item.load) == (
        "docker.io/library/alpine:3", "OPS-9", True, ("harbor",)
    )  # fmt: skip


def test_arguments_say_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.txt").write_text("alpine:3\n")
    (tmp_path / "hauler.yaml").write_text(HAULER)
    (tmp_path / "sync.yaml").write_text(SKOPEO)
    assert classify_argument("images.txt").kind is ArgumentKind.LIST
    assert classify_argument("./images.txt").kind is ArgumentKind.PATH
    assert classify_argument("hauler.yaml").kind is ArgumentKind.LIST
    assert classify_argument("list:sync.yaml").kind is ArgumentKind.LIST
    assert classify_argument("gone.txt").kind is ArgumentKind.IMAGE
    assert classify_argument("tar:2").kind is ArgumentKind.IMAGE
    found = items_from_arguments(
        [
            "tar:./a.tar",
            "chart:./b-1.tgz",
            "oci://registry.example/charts/c",
            "imgpkg:registry.example/d:1",
            "list:sync.yaml",
        ]
    )
    assert [type(item) for item in found[:4]] == [TarItem, ChartItem, ChartItem, ImgpkgItem]
    assert len(found) == 10
