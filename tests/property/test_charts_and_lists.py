"""Bytes of strangers end in a value or one of our errors: charts, indexes, manifests, tars of images, lists."""

import contextlib
import gzip
import tempfile
from pathlib import Path

from charts import make_chart, tgz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_tars import docker_tar, images_lock

from tidegate.charts.archive import read_chart
from tidegate.charts.index import find_versions
from tidegate.charts.metadata import parse_metadata
from tidegate.charts.needed import find_chart_images
from tidegate.charts.versions import VersionRange
from tidegate.depot.store import Depot
from tidegate.errors import TidegateError
from tidegate.workloads import find_images
from tidegate.yaml_reading import read_documents
from tidegate_sender.collect.archives.tars import TarItem
from tidegate_sender.collect.imgpkg_bundle import read_images_lock
from tidegate_sender.collect.lists.foreign_lists import ListContext, parse_foreign_list
from tidegate_sender.collect.pipeline import collect

CHART = make_chart("app", "1.2.3")
TAR = docker_tar([b"layer"])
LOCK = gzip.compress(images_lock([f"registry.example/a@sha256:{'a' * 64}"]), mtime=0)
YAML = b"entries: {app: [{version: 1.2.3, urls: [app.tgz], digest: " + b"a" * 64 + b"}]}"
words = st.sampled_from(
    [b"{", b"}", b"[", b"]", b": ", b", ", b"- ", b"\n", b"  ", b"&a ", b"*a ", b"!!", b"'", b'"', b"image", b"entries",
     b"app", b"version", b"urls", b"registry.example", b"images", b"kind: Images",
     b"apiVersion: content.hauler.cattle.io/v1", b"spec", b"name", b"1.2.3", b"\xff", b"\0", b"~", b"---\n"]
)  # fmt: skip
yamlish = st.lists(words, max_size=40).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with some bytes changed, cut, or repeated."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 2)):
            case 0 if data:
                data[place] = draw(st.integers(0, 255))
            case 1:
                del data[place : place + draw(st.integers(1, 600))]
            case _:
                data[place:place] = data[place : place + draw(st.integers(1, 600))]
    return bytes(data)


def ends_well(call: object, *arguments: object, **named: object) -> None:
    with contextlib.suppress(TidegateError):
        call(*arguments, **named)  # type: ignore[operator]


@given(st.binary(max_size=2000) | damaged(CHART) | damaged(gzip.decompress(CHART)).map(gzip.compress))
def test_any_bytes_are_a_chart_or_an_error(data: bytes) -> None:
    ends_well(read_chart, data, "chart")


@given(yamlish | st.binary(max_size=300) | damaged(YAML))
def test_any_bytes_are_an_index_or_an_error(data: bytes) -> None:
    ends_well(find_versions, data, "app", "index")
    ends_well(parse_metadata, data, "Chart.yaml")


@given(yamlish)
def test_any_yaml_names_images_or_is_an_error(data: bytes) -> None:
    try:
        documents = read_documents(data, "manifests")
    except TidegateError:
        return
    find_images(documents, "manifests")


@given(yamlish, yamlish)
@settings(max_examples=50)
def test_any_values_and_templates_give_images_or_an_error(values: bytes, template: bytes) -> None:
    data = tgz({"a/Chart.yaml": b"name: a\nversion: 1", "a/values.yaml": values, "a/templates/t.yaml": template})
    from unittest import mock

    with mock.patch("tidegate.charts.needed.shutil.which", return_value=None):
        find_chart_images(read_chart(data, "a"), data)


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from([">", "<", "=", "!", "~", "^", "1", ".", "x", "*", "-", "rc", " ", "||", ",", "v"]), max_size=12
    ).map("".join)
)
def test_any_text_is_a_range_or_an_error(text: str) -> None:
    ends_well(VersionRange(text).choose, ["1.2.3", "2.0.0-rc.1", "v3"])


@given(yamlish | st.binary(max_size=300), st.sampled_from(["a.txt", "a.yaml"]))
def test_any_bytes_are_a_list_or_an_error(data: bytes, name: str) -> None:
    ends_well(parse_foreign_list, data, ListContext(name, Path()))


@given(
    st.binary(max_size=600)
    | damaged(LOCK)
    | damaged(gzip.decompress(LOCK))
    | damaged(gzip.decompress(LOCK)).map(gzip.compress)
)
def test_any_layer_locks_images_or_is_an_error(data: bytes) -> None:
    ends_well(read_images_lock, data, "bundle")


@given(damaged(TAR) | damaged(gzip.compress(TAR, mtime=0)) | st.binary(max_size=2000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_tar_gives_images_or_an_error_and_leaves_no_half_image(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar"
        path.write_bytes(data)
        depot = Depot(Path(folder) / "depot")
        report = collect([TarItem(path=path)], depot)
        assert {artifact.name for artifact in report.artifacts} == depot.references().keys()
