"""What manifests and charts need: every image that any object names, and what cannot be understood."""

import json
from pathlib import Path

import pytest
from charts import make_chart

from tidegate.errors import TidegateError, UsageError
from tidegate.wanted import gather_wanted
from tidegate.workloads import find_images

PODS = {
    "kind": "List",
    "items": [
        {
            "kind": "Pod",
            "metadata": {"name": "a"},
            "spec": {
                "containers": [{"image": "alpine:3"}, {"image": "localhost:5000/app@sha256:" + "a" * 64}],
                "initContainers": [{"image": "quay.io/x/init:1"}],
                "volumes": [{"image": {"reference": "quay.io/x/volume:2"}}],
            },
            "status": {"containerStatuses": [{"image": "sha256:zzz", "imageID": "x"}]},
        },
        {
            "kind": "Deployment",
            "metadata": {"name": "operator"},
            "spec": {"template": {"spec": {"containers": [
                {"image": "quay.io/op:1", "env": [{"name": "RELATED_IMAGE_DB", "value": "quay.io/db:5"}]}]}}},
        },
        {"kind": "Prometheus", "metadata": {"name": "p"}, "spec": {"image": "quay.io/prometheus:3"}},
        {"kind": "Thing", "spec": {"image": {"repository": "x/y", "registry": "r.example", "tag": 1.10}}},
        {"kind": "Pod", "metadata": {"name": "bad"}, "spec": {"containers": [{"image": "${IMAGE}"}]}},
    ],
}  # fmt: skip


def test_every_image_of_a_cluster_is_found_and_what_runs_is_not_looked_at() -> None:
    found = find_images((PODS,), "pods")
    assert found.references == (
        "docker.io/library/alpine:3",
        "localhost:5000/app@sha256:" + "a" * 64,
        "quay.io/db:5",
        "quay.io/op:1",
        "quay.io/prometheus:3",
        "quay.io/x/init:1",
        "quay.io/x/volume:2",
        "r.example/x/y:1.1",
    )
    assert found.unresolved == ("pods: Pod/bad: '${IMAGE}' is no image reference",)


def test_files_folders_and_charts_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.charts.needed.shutil.which", lambda _name: None)
    (tmp_path / "m/deep").mkdir(parents=True)
    (tmp_path / "m/pods.json").write_text(json.dumps(PODS["items"][0]))  # type: ignore[index]
    (tmp_path / "m/deep/two.yml").write_text("kind: Pod\nspec: {containers: [{image: b:1}]}\n---\n---\nimage: c:2\n")
    (tmp_path / "m/readme.txt").write_text("image: no")
    (tmp_path / "app.tgz").write_bytes(make_chart("app", "1.0.0"))
    wanted = gather_wanted([str(tmp_path / "m"), str(tmp_path / "app.tgz")])
    assert {"docker.io/library/b:1", "docker.io/library/c:2", "registry.example/web:2"} <= set(wanted.images.references)
    assert [chart.metadata.file_name for chart in wanted.charts] == ["app-1.0.0.tgz"]


def test_an_anchor_of_yaml_is_followed_and_a_bomb_of_them_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: &c {image: a:1}\ny: *c\n")
    assert gather_wanted([str(tmp_path / "a.yaml")]).images.references == ("docker.io/library/a:1",)
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (tmp_path / "b.yaml").write_text("\n".join(lines))
    with pytest.raises(TidegateError, match="more than"):
        gather_wanted([str(tmp_path / "b.yaml")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b"a: [", "no YAML"),
        (b"x: " + b"[" * 100 + b"]" * 100, "deeper"),
        (b"&a [*a]", "itself|no YAML"),
    ],
)
def test_what_is_no_manifest_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(TidegateError, match=message):
        gather_wanted([str(tmp_path / "a.yaml")])


def test_json_that_is_too_deep_is_listed_as_not_understood(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"[" * 100 + b"]" * 100)
    (place,) = gather_wanted([str(tmp_path / "a.json")]).images.unresolved
    assert "deeper than 64 levels" in place


def test_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        gather_wanted([str(tmp_path / "gone")])
    with pytest.raises(UsageError, match=r"no \.yaml"):
        gather_wanted([str(tmp_path)])
