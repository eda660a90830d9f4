"""Collecting and surveying from folders and OCI layouts: what comes, what fails, what stays."""

import shutil
from pathlib import Path

import pytest
from images import CONFIG, INDEX, LAYER, Layout

from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import (
    BlobDamagedError,
    BlobMissingError,
    CollectError,
    DiskFullError,
    GraphError,
    NameTakenError,
    UsageError,
)
from tidegate.oci import PLATFORMS
from tidegate_sender.collect.items import CollectedArtifact, FilesItem, Item, LayoutItem
from tidegate_sender.collect.pipeline import collect
from tidegate_sender.collect.survey import survey


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def one(depot: Depot, item: Item) -> CollectedArtifact:
    report = collect([item], depot)
    assert report.failures == ()
    return report.artifacts[0]


def failure(depot: Depot, item: Item) -> Exception:
    report = collect([item], depot)
    assert report.artifacts == ()
    return report.failures[0].error


def multi(layout: Layout) -> str:
    children = {
        "linux/amd64": layout.image([{"a": b"amd"}]),
        "linux/arm64/v8": layout.image([{"a": b"arm"}], architecture="arm64", variant="v8"),
        "linux/s390x": layout.image([{"a": b"s390x"}], architecture="s390x"),
    }
    return layout.tag(layout.index(children), "multi").digest


def test_an_image_of_a_layout_comes_with_all_its_blobs(layout: Layout, depot: Depot) -> None:
    image = layout.tag(layout.image([{"a": b"1"}, {"b": b"2"}]), "v1")
    artifact = one(depot, LayoutItem(path=layout.folder, ticket="T-1", justification="why"))
    assert (artifact.name, artifact.kind, artifact.descriptor.digest) == ("localhost/layout:v1", "image", image.digest)
    assert (artifact.ticket, artifact.justification) == ("T-1", "why")
    blobs = walk(depot, artifact.descriptor)
    assert len(blobs) == 4
    assert depot.missing(blobs) == ()
    assert artifact.size_bytes == artifact.new_bytes == sum(blob.size for blob in blobs)
    assert depot.reference("localhost/layout:v1") == artifact.descriptor


def test_collecting_again_brings_nothing_new(layout: Layout, depot: Depot) -> None:
    layout.tag(layout.image([{"a": b"1"}]), "v1")
    one(depot, LayoutItem(path=layout.folder))
    assert one(depot, LayoutItem(path=layout.folder)).new_bytes == 0


@pytest.mark.parametrize(
    ("ref_name", "given", "name"),
    [
        ("quay.io/a/b:3", "", "quay.io/a/b:3"),
        ("v1", "registry.example/app:7", "registry.example/app:7"),
        ("v1", "", "localhost/layout:v1"),
    ],
)
def test_the_name_of_an_image_from_a_layout(layout: Layout, depot: Depot, ref_name: str, given: str, name: str) -> None:
    layout.tag(layout.image([{"a": b"1"}]), ref_name)
    assert one(depot, LayoutItem(path=layout.folder, name=given)).name == name


def test_a_layout_with_several_images_wants_a_name_and_tells_them(layout: Layout, depot: Depot) -> None:
    for tag in ("v1", "v2"):
        layout.tag(layout.image([{"a": tag.encode()}]), tag)
    error = failure(depot, LayoutItem(path=layout.folder))
    assert isinstance(error, UsageError)
    assert "v1, v2" in str(error)
    assert "there are v1, v2" in str(failure(depot, LayoutItem(path=layout.folder, tag="v3")))


def test_a_folder_that_is_no_layout_is_named(tmp_path: Path, depot: Depot) -> None:
    assert "no OCI layout" in str(failure(depot, LayoutItem(path=tmp_path)))


def test_a_layout_that_lacks_a_blob_is_refused_naming_it(layout: Layout, depot: Depot) -> None:
    config, layer = layout.json_blob({}, CONFIG), layout.blob(b"layer", LAYER)
    layout.tag(layout.manifest(config, [layer]), "v1")
    (layout.folder / "blobs" / "sha256" / layer.digest[7:]).unlink()
    error = failure(depot, LayoutItem(path=layout.folder))
    assert isinstance(error, BlobMissingError)
    assert layer.digest in str(error)
    assert depot.references() == {}


def test_a_layout_with_a_damaged_blob_is_refused_naming_it(layout: Layout, depot: Depot) -> None:
    config, layer = layout.json_blob({}, CONFIG), layout.blob(b"layer", LAYER)
    layout.tag(layout.manifest(config, [layer]), "v1")
    (layout.folder / "blobs" / "sha256" / layer.digest[7:]).write_bytes(b"LAYER")
    error = failure(depot, LayoutItem(path=layout.folder))
    assert isinstance(error, BlobDamagedError)
    assert layer.digest in str(error)
    assert not depot.has(layer.digest)


def test_blobs_that_came_whole_stay_for_the_next_attempt(layout: Layout, depot: Depot) -> None:
    config, layer = layout.json_blob({}, CONFIG), layout.blob(b"layer", LAYER)
    layout.tag(layout.manifest(config, [layer]), "v1")
    path = layout.folder / "blobs" / "sha256" / layer.digest[7:]
    path.rename(path.with_suffix(".away"))
    failure(depot, LayoutItem(path=layout.folder))
    assert depot.has(config.digest)
    path.with_suffix(".away").rename(path)
    assert one(depot, LayoutItem(path=layout.folder)).new_bytes == layer.size


def test_blobs_of_a_layout_are_copied_since_others_may_change_it(layout: Layout, depot: Depot) -> None:
    layout.tag(layout.image([{"a": b"1"}]), "v1")
    for blob in walk(depot, one(depot, LayoutItem(path=layout.folder)).descriptor):
        assert depot.blob_path(blob.digest).stat().st_nlink == 1


def test_one_platform_makes_its_manifest_the_artifact(layout: Layout, depot: Depot) -> None:
    multi(layout)
    artifact = one(depot, LayoutItem(path=layout.folder, platforms=("linux/arm64",)))
    assert artifact.descriptor.is_manifest
    assert artifact.descriptor.annotations == {}
    assert len(list(depot.digests())) == 3


def test_several_platforms_keep_the_index_with_its_digest_and_say_what_is_carried(layout: Layout, depot: Depot) -> None:
    digest = multi(layout)
    artifact = one(depot, LayoutItem(path=layout.folder, platforms=("linux/s390x", "linux/amd64")))
    assert artifact.descriptor.digest == digest
    assert artifact.descriptor.annotations == {PLATFORMS: "linux/amd64,linux/s390x"}
    assert len(walk(depot, artifact.descriptor)) == len(list(depot.digests())) == 7
    assert depot.garbage().blobs == ()


def test_all_platforms_named_are_the_whole_index(layout: Layout, depot: Depot) -> None:
    multi(layout)
    everything = ("linux/s390x", "linux/amd64", "linux/arm64/v8")
    assert one(depot, LayoutItem(path=layout.folder, platforms=everything)).descriptor.annotations == {}


def test_a_platform_that_is_not_there_is_named_with_those_that_are(layout: Layout, depot: Depot) -> None:
    multi(layout)
    error = failure(depot, LayoutItem(path=layout.folder, platforms=("linux/amd64", "linux/riscv64")))
    assert "no image for linux/riscv64; there are linux/amd64, linux/arm64/v8, linux/s390x" in str(error)


def test_a_single_image_for_another_platform_is_refused(layout: Layout, depot: Depot) -> None:
    layout.tag(layout.image([{"a": b"1"}]), "v1")
    assert one(depot, LayoutItem(path=layout.folder, platforms=("linux/amd64",))).name
    error = failure(depot, LayoutItem(path=layout.folder, platforms=("linux/arm64",)))
    assert isinstance(error, CollectError)
    assert "is for linux/amd64 only" in str(error)


def test_an_index_with_a_broken_child_is_refused(layout: Layout, depot: Depot) -> None:
    broken = layout.blob(b"{}", "application/vnd.oci.image.manifest.v1+json")
    layout.tag(layout.index({"linux/amd64": broken}), "v1")
    assert isinstance(failure(depot, LayoutItem(path=layout.folder)), GraphError)


def test_one_that_fails_does_not_stop_the_others(layout: Layout, depot: Depot, tmp_path: Path) -> None:
    layout.tag(layout.image([{"a": b"1"}]), "v1")
    (tmp_path / "docs").mkdir()
    items = [
        FilesItem(path=tmp_path / "gone", title="gone", origin="list.yaml:2:3"),
        FilesItem(path=tmp_path / "docs", title="docs"),
        LayoutItem(path=layout.folder),
    ]
    report = collect(items, depot)
    assert [artifact.name for artifact in report.artifacts] == ["files/docs", "localhost/layout:v1"]
    assert [(item.label, item.origin) for item in report.failures] == [(str(tmp_path / "gone"), "list.yaml:2:3")]


def test_a_required_one_that_fails_stops(depot: Depot, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    items = [
        FilesItem(path=tmp_path / "gone", title="gone", required=True),
        FilesItem(path=tmp_path / "docs", title="docs"),
    ]
    with pytest.raises(CollectError, match="gone"):
        collect(items, depot)
    assert depot.references() == {}


def test_trouble_of_this_host_stops_all(depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()

    def full(*_arguments: object, **_options: object) -> None:
        raise DiskFullError("no space left")

    monkeypatch.setattr("tidegate_sender.collect.pipeline.collect_files", full)
    with pytest.raises(DiskFullError):
        collect([FilesItem(path=tmp_path / "docs", title="docs")], depot)


def test_the_same_thing_asked_for_twice_is_one_artifact(depot: Depot, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    item = FilesItem(path=tmp_path / "docs", title="docs")
    assert len(collect([item, item], depot).artifacts) == 1


def test_c13_two_things_for_one_place_are_refused(depot: Depot, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "Docs").mkdir(parents=True)
        (tmp_path / name / "Docs" / "file").write_text(name)
    items = [FilesItem(path=tmp_path / name / "Docs", title="Docs") for name in ("a", "b")]
    with pytest.raises(NameTakenError, match="files/docs:latest"):
        collect(items, depot)


def test_what_a_crash_left_is_removed_before_collecting(depot: Depot, tmp_path: Path) -> None:
    left = depot.folder / ".incoming" / "0123456789abcdef"
    left.mkdir()
    (left / "00000000").write_bytes(b"left")
    (tmp_path / "docs").mkdir()
    collect([FilesItem(path=tmp_path / "docs", title="docs")], depot)
    assert not left.exists()


def test_progress_names_what_is_worked_on(depot: Depot, layout: Layout) -> None:
    layout.tag(layout.image([{"a": b"1"}]), "v1")
    seen: list[tuple[int, int, str]] = []
    report = collect([LayoutItem(path=layout.folder)], depot, progress=lambda *values: seen.append(values))
    new_bytes = report.artifacts[0].new_bytes
    assert seen[-1] == (new_bytes, new_bytes, f"collecting oci:{layout.folder}")


def test_a_survey_says_what_would_come_and_changes_nothing(layout: Layout, depot: Depot, tmp_path: Path) -> None:
    multi(layout)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "file").write_bytes(b"x" * 5000)
    items: list[Item] = [
        FilesItem(path=tmp_path / "docs", title="docs"),
        LayoutItem(path=layout.folder, platforms=("linux/amd64",)),
        FilesItem(path=tmp_path / "gone", title="gone"),
    ]
    seen = survey(items, depot)
    assert list(depot.digests()) == []
    report = collect(items, depot)
    assert [item.name for item in seen.artifacts] == [item.name for item in report.artifacts]
    assert seen.artifacts[1].new_bytes == report.artifacts[1].new_bytes
    assert seen.artifacts[1].root == report.artifacts[1].descriptor
    assert 0 < report.artifacts[0].size_bytes - seen.artifacts[0].size_bytes < 1000  # manifest and config
    assert [item.label for item in seen.failures] == [str(tmp_path / "gone")]
    assert survey(items, depot).artifacts[1].new_bytes == 0
    assert survey(items, None).artifacts[1].new_bytes == seen.artifacts[1].new_bytes


def test_a_layout_may_go_away_after_it_was_collected(layout: Layout, depot: Depot) -> None:
    layout.tag(layout.index({"linux/amd64": layout.image([{"a": b"1"}])}, annotations={"k": "v"}), "v1")
    artifact = one(depot, LayoutItem(path=layout.folder))
    shutil.rmtree(layout.folder)
    assert artifact.descriptor.media_type == INDEX
    for blob in walk(depot, artifact.descriptor):
        assert depot.check_blob(blob.digest) == blob.size


def test_an_image_of_a_stage_keeps_the_place_it_has_there(layout: Layout, depot: Depot) -> None:
    layout.tag(layout.image([{"a": b"1"}]), "app:1")
    assert one(depot, LayoutItem(path=layout.folder)).name == "localhost/app:1"
