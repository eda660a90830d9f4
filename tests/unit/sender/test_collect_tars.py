"""Tars of images: what comes of each kind, and what a hostile one is refused for."""

import gzip
import json
import os
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard
from content import add_image, add_index, tar_of
from image_tars import config_of, digest_of, docker_tar, images_lock, imgpkg_tar, plain_tar, pushed
from images import INDEX, MANIFEST, Blob, Layout

from tidegate.depot.descriptors import Descriptor, Manifest, parse_manifest
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import CollectError
from tidegate.oci import OCI_LAYER_TAR, PLATFORMS
from tidegate_sender.collect.archive_file import ArchiveError
from tidegate_sender.collect.archives.tars import TarItem
from tidegate_sender.collect.charts import ChartItem
from tidegate_sender.collect.items import CollectReport, Item
from tidegate_sender.collect.lists.locking import Renewal, lock_items
from tidegate_sender.collect.pipeline import collect
from tidegate_sender.collect.survey import survey

LAYERS = [tar_of({"a": b"0123456789" * 300_000}), tar_of({"b": b"second"})]


def brought(depot: Depot, tmp_path: Path, data: bytes, name: str = "images.tar", **fields: str) -> CollectReport:
    path = tmp_path / name
    path.write_bytes(data)
    report = collect([TarItem(path=path, given=name, **fields)], depot)  # type: ignore[arg-type]
    for artifact in report.artifacts:
        assert not depot.missing(walk(depot, artifact.descriptor))
    return report


def manifest_of(depot: Depot, root: Descriptor) -> Manifest:
    return parse_manifest(depot.read_blob(root.digest, max_bytes=1 << 20), root.media_type)


def refused(depot: Depot, tmp_path: Path, data: bytes) -> str:
    report = brought(depot, tmp_path, data)
    assert report.artifacts == ()
    assert isinstance(report.failures[0].error, CollectError)
    return report.failures[0].error.message


def test_a_saved_image_keeps_its_config_and_its_plain_layers(depot: Depot, tmp_path: Path) -> None:
    (artifact,) = brought(depot, tmp_path, docker_tar(LAYERS)).artifacts
    manifest = parse_manifest(
        depot.read_blob(artifact.descriptor.digest, max_bytes=1 << 20), artifact.descriptor.media_type
    )
    assert artifact.name == "docker.io/library/app:1"
    assert manifest.config is not None
    assert manifest.config.digest == digest_of(config_of(LAYERS))
    assert [(layer.digest, layer.media_type) for layer in manifest.layers] == [
        (digest_of(layer), OCI_LAYER_TAR) for layer in LAYERS
    ]


def test_a_layer_that_lies_there_compressed_stays_as_it_is(depot: Depot, tmp_path: Path) -> None:
    packed = [gzip.compress(LAYERS[0], mtime=0), zstandard.compress(LAYERS[1])]
    (artifact,) = brought(depot, tmp_path, docker_tar(packed, config=config_of(LAYERS))).artifacts
    manifest = parse_manifest(
        depot.read_blob(artifact.descriptor.digest, max_bytes=1 << 20), artifact.descriptor.media_type
    )
    assert [layer.digest for layer in manifest.layers] == [digest_of(layer) for layer in packed]
    assert [layer.media_type for layer in manifest.layers] == [f"{OCI_LAYER_TAR}+gzip", f"{OCI_LAYER_TAR}+zstd"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_compressed_tar_gives_the_same_artifact(depot: Depot, tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    data = docker_tar(LAYERS)
    plain = brought(depot, tmp_path, data).artifacts[0]
    packed = brought(depot, tmp_path, pack(data), "images.tar.x").artifacts[0]
    assert plain.descriptor == packed.descriptor


def test_several_tars_in_one_each_give_their_images(depot: Depot, tmp_path: Path) -> None:
    inner = {
        "one.tar": docker_tar([LAYERS[0]], ["one:1", "one:2"]),
        "dir/two.tar.gz": gzip.compress(docker_tar([LAYERS[1]], None)),
    }
    report = brought(depot, tmp_path, gzip.compress(plain_tar(inner)), "several.tar.gz")
    names = {artifact.name for artifact in report.artifacts}
    assert names == {"docker.io/library/one:1", "docker.io/library/one:2", "localhost/two:latest"}


def test_an_image_without_a_name_is_called_as_the_list_says(depot: Depot, tmp_path: Path) -> None:
    report = brought(depot, tmp_path, docker_tar(LAYERS, None), name="a.tar")
    assert report.artifacts[0].name == "localhost/a:latest"
    item = TarItem(path=tmp_path / "a.tar", name="registry.example/app:7")
    assert collect([item], depot).artifacts[0].name == "registry.example/app:7"


def test_a_link_to_another_layer_of_the_tar_is_followed(depot: Depot, tmp_path: Path) -> None:
    config = config_of([LAYERS[1], LAYERS[1]])
    entry = [{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["x/layer.tar", "y/layer.tar"]}]
    members = {"x/layer.tar": LAYERS[1], "c.json": config, "manifest.json": json.dumps(entry).encode()}
    report = brought(depot, tmp_path, plain_tar(members, {"y/layer.tar": "../x/layer.tar"}))
    assert len(report.artifacts) == 1


def test_an_oci_layout_in_a_tar_keeps_its_manifests(depot: Depot, tmp_path: Path) -> None:
    layout = Depot(tmp_path / "layout")
    image, arm = add_image(layout, LAYERS), add_image(layout, [LAYERS[1]], architecture="arm64")
    index = add_index(layout, {"amd64": image, "arm64": arm})
    layout.set_references({"registry.example/multi:1": index, "tool:2": image})
    report = brought(depot, tmp_path, tar_of_layout(layout))
    assert {artifact.name: artifact.descriptor.digest for artifact in report.artifacts} == {
        "registry.example/multi:1": index.digest,
        "localhost/tool:2": image.digest,
    }


def test_an_index_of_which_one_platform_is_there_is_carried_as_that(depot: Depot, tmp_path: Path) -> None:
    layout = Depot(tmp_path / "layout")
    image, arm = add_image(layout, LAYERS), add_image(layout, [LAYERS[1]], architecture="arm64")
    s390 = add_image(layout, [LAYERS[1], LAYERS[1]], architecture="s390x")
    layout.set_references({"a/one:1": add_index(layout, {"amd64": image, "arm64": arm})})
    layout.set_references({"a/two:1": add_index(layout, {"amd64": image, "arm64": arm, "s390x": s390})})
    layout.blob_path(arm.digest).unlink()
    found = {item.name: item.descriptor for item in brought(depot, tmp_path, tar_of_layout(layout)).artifacts}
    assert found["docker.io/a/one:1"].digest == image.digest
    assert found["docker.io/a/two:1"].annotations == {PLATFORMS: "linux/amd64,linux/s390x"}


def test_a_bundle_of_imgpkg_comes_with_all_that_it_locks(depot: Depot, tmp_path: Path) -> None:
    plain = pushed(tar_of({"a": b"app"}))
    inner = pushed(images_lock([f"other.example/x/app@{digest_of(plain[0])}"]), {"dev.carvel.imgpkg.bundle": "true"})
    root = pushed(
        images_lock([f"other.example/x/app@{digest_of(plain[0])}", f"other.example/inner@{digest_of(inner[0])}"]),
        {"dev.carvel.imgpkg.bundle": "true"},
    )
    tar = imgpkg_tar(
        [
            ("registry.example/pkg", "1.0", root, True),
            ("other.example/x/app", "", plain, False),
            ("other.example/inner", "", inner, False),
        ]
    )
    report = brought(depot, tmp_path, tar)
    base, tag = "registry.example/pkg", "{}.image-locations.imgpkg"
    assert {item.name for item in report.artifacts} == {
        f"{base}:1.0",
        f"{base}@{digest_of(plain[0])}",
        f"{base}@{digest_of(inner[0])}",
        f"{base}:{tag.format(digest_of(root[0]).replace(':', '-'))}",
        f"{base}:{tag.format(digest_of(inner[0]).replace(':', '-'))}",
    }
    assert report.artifacts[0].kind == "imgpkg"
    assert report.artifacts[0].descriptor.digest == digest_of(root[0])
    locations = next(item for item in report.artifacts if digest_of(root[0])[7:] in item.name and "loc" in item.name)
    layer = walk(depot, locations.descriptor)[-1]
    text = gzip.decompress(depot.read_blob(layer.digest, max_bytes=1 << 20))
    assert f"- image: other.example/inner@{digest_of(inner[0])}\n  isBundle: true\n".encode() in text
    assert f"- image: other.example/x/app@{digest_of(plain[0])}\n  isBundle: false\n".encode() in text


def test_a_bundle_whose_image_is_not_in_the_tar_is_refused(depot: Depot, tmp_path: Path) -> None:
    root = pushed(images_lock([f"other.example/x@sha256:{'0' * 64}"]), {"dev.carvel.imgpkg.bundle": "true"})
    assert "is locked, and is not in it" in refused(depot, tmp_path, imgpkg_tar([("a.example/p", "1", root, True)]))


def test_planning_and_locking_bring_nothing_and_say_the_same(depot: Depot, tmp_path: Path) -> None:
    data = docker_tar(LAYERS)
    (tmp_path / "a.tar").write_bytes(data)
    item = TarItem(path=tmp_path / "a.tar", given="a.tar")
    surveyed = survey([item], None).artifacts[0]
    locked = lock_items([item], (), Renewal())[0]
    artifact = collect([item], depot).artifacts[0]
    assert surveyed.root is not None
    assert surveyed.root.digest == artifact.descriptor.digest == locked.digest
    assert surveyed.size_bytes == artifact.size_bytes == locked.size


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"no tar at all" * 100, "no tar"),
        (gzip.compress(b"x" * 5000, mtime=0)[:-9], "ends early"),
        (b"\x1f\x8b" + b"\0" * 600, "no gzip"),
        (plain_tar({"readme": b"x"}), "no images"),
        (plain_tar({"inner.tar": plain_tar({"inner.tar": docker_tar(LAYERS)})}), "no images"),
        (plain_tar({"manifest.json": b"[{]"}), "manifest.json"),
        (plain_tar({"manifest.json": b"[" * 10_000}), "manifest.json"),
        (plain_tar({"../manifest.json": b"[]"}), "outside"),
        (plain_tar({"manifest.json": b"[]"}), "holds no image"),
        (docker_tar(LAYERS, config=config_of(LAYERS[:1])), "1 layers, manifest.json has 2"),
        (docker_tar(LAYERS, config=config_of(LAYERS[::-1])), "blob"),
        (docker_tar([gzip.compress(LAYERS[0], mtime=0)], config=config_of([LAYERS[1]])), "unpacked it has the digest"),
        (docker_tar(LAYERS, Config="../../etc/passwd"), "is not in it"),
        (docker_tar(LAYERS, Layers=["/etc/passwd", "x"]), "is not in it"),
        (docker_tar(LAYERS, ["UPPER CASE"]), "no image reference"),
        (docker_tar([], config=b"{}"), "rootfs"),
        (plain_tar({"manifest.json": b"[]"}, {"a": "b", "b": "a"}), "holds no image"),
    ],
)
def test_what_is_no_honest_tar_of_images_is_refused(depot: Depot, tmp_path: Path, data: bytes, message: str) -> None:
    assert message in refused(depot, tmp_path, data)


def test_what_is_no_file_is_refused_and_hangs_nobody(depot: Depot, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    items: list[Item] = [TarItem(path=tmp_path / name) for name in ("fifo", "folder", "gone")]
    items += [ChartItem(path=tmp_path / name) for name in ("fifo", "folder", "gone")]
    report = collect(items, depot)
    assert sum("gone: no such file" in failure.error.message for failure in report.failures) == 2
    assert len(report.failures) == 6


def test_links_that_go_in_a_circle_end(depot: Depot, tmp_path: Path) -> None:
    entry = [{"Config": "a", "RepoTags": ["app:1"], "Layers": []}]
    tar = plain_tar({"manifest.json": json.dumps(entry).encode()}, {"a": "b", "b": "a"})
    assert "a link to a link" in refused(depot, tmp_path, tar)


def test_a_tar_that_unpacks_beyond_its_limit_is_given_up(
    depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate_sender.collect.archive_file.UNPACKED_FREE_BYTES", 1000)
    assert "unpacks to more than" in refused(depot, tmp_path, gzip.compress(bytes(1 << 20)))


def test_a_layout_whose_blob_lies_is_refused(depot: Depot, tmp_path: Path) -> None:
    layout = Depot(tmp_path / "layout")
    image = add_image(layout, LAYERS)
    layout.set_references({"a/b:1": image})
    path = layout.blob_path(digest_of(LAYERS[0]))
    path.chmod(0o600)
    path.write_bytes(b"x" * len(LAYERS[0]))
    assert "digest" in refused(depot, tmp_path, tar_of_layout(layout))
    assert not depot.has(f"sha256:{sha256(b'x' * len(LAYERS[0])).hexdigest()}")


def test_two_images_cannot_have_the_one_name_that_was_given(depot: Depot, tmp_path: Path) -> None:
    inner = {"one.tar": docker_tar([LAYERS[0]]), "two.tar": docker_tar([LAYERS[1]])}
    path = tmp_path / "a.tar"
    path.write_bytes(plain_tar(inner))
    report = collect([TarItem(path=path, name="x.example/app:1")], depot)
    assert isinstance(report.failures[0].error, ArchiveError)


def tar_of_layout(layout: Depot) -> bytes:
    members = {name: (layout.folder / name).read_bytes() for name in ("oci-layout", "index.json")}
    blobs = sorted(layout.blobs_folder.iterdir())
    return plain_tar(members | {f"blobs/sha256/{path.name}": path.read_bytes() for path in blobs})


def artifact_of(layout: Layout, text: str, subject: Blob) -> Blob:
    config = layout.blob(b"{}", "application/vnd.oci.empty.v1+json")
    content = layout.blob(text.encode(), "text/plain")
    return layout.manifest(config, [content], artifactType="text/x-report", subject=subject.descriptor)


def unnamed(layout: Layout, blob: Blob) -> Blob:
    """Into the index without a name."""
    layout.entries.append(blob.descriptor)
    (layout.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": layout.entries}))
    return blob


def tar_of_folder(folder: Path) -> bytes:
    return plain_tar({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()})


def test_what_belongs_to_the_images_of_a_layout_in_a_tar_comes_with_them(depot: Depot, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    one = layout.tag(layout.image([{"a": b"1"}]), "r.example/one:1")
    two = layout.tag(layout.image([{"b": b"2"}]), "r.example/two:1")
    sbom = unnamed(layout, artifact_of(layout, "sbom", one))
    report = unnamed(layout, artifact_of(layout, "report", sbom))
    signature = layout.tag(artifact_of(layout, "signature", two), f"sha256-{two.digest[7:]}.sig")
    listed = artifact_of(layout, "listed", two)
    index = layout.json_blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed.descriptor]}, INDEX)
    layout.tag(index, f"sha256-{two.digest[7:]}")
    found = brought(depot, tmp_path, tar_of_folder(layout.folder))
    assert [(item.name, item.kind, item.descriptor.digest) for item in found.artifacts] == [
        ("r.example/one:1", "image", one.digest),
        (f"r.example/one@{sbom.digest}", "attachment", sbom.digest),
        (f"r.example/one@{report.digest}", "attachment", report.digest),
        ("r.example/two:1", "image", two.digest),
        (f"r.example/two:sha256-{two.digest[7:]}.sig", "attachment", signature.digest),
        (f"r.example/two@{listed.digest}", "attachment", listed.digest),
    ]
    assert not any(item.notes for item in found.artifacts)
    planned = survey([TarItem(path=tmp_path / "images.tar", given="images.tar")], None)
    assert [(item.name, item.kind) for item in planned.artifacts] == [(a.name, a.kind) for a in found.artifacts]


def test_what_belongs_to_an_image_that_is_not_in_the_tar_is_said_and_left_out(depot: Depot, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image = layout.tag(layout.image([{"a": b"1"}]), "app")
    sbom = unnamed(layout, artifact_of(layout, "sbom", image))
    unnamed(layout, artifact_of(layout, "stray", Blob(MANIFEST, f"sha256:{'0' * 64}", 100)))
    found = brought(depot, tmp_path, tar_of_folder(layout.folder), name="app.tar")
    assert [item.name for item in found.artifacts] == ["localhost/app:latest", f"localhost/app@{sbom.digest}"]
    assert "1 of what is in" in found.artifacts[0].notes[0]


def test_a_signature_in_a_tar_that_is_not_whole_is_refused(depot: Depot, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image = layout.tag(layout.image([{"a": b"1"}]), "r.example/app:1")
    unnamed(layout, artifact_of(layout, "sbom", image))
    (layout.folder / "blobs" / "sha256" / sha256(b"sbom").hexdigest()).unlink()
    assert "is not there whole" in refused(depot, tmp_path, tar_of_folder(layout.folder))


def test_one_name_may_be_given_to_an_image_with_what_belongs_to_it(depot: Depot, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image = layout.tag(layout.image([{"a": b"1"}]), "app")
    sbom = unnamed(layout, artifact_of(layout, "sbom", image))
    path = tmp_path / "app.tar"
    path.write_bytes(tar_of_folder(layout.folder))
    report = collect([TarItem(path=path, given="app.tar", name="r.example/x:1")], depot)
    assert [item.name for item in report.artifacts] == ["r.example/x:1", f"r.example/x@{sbom.digest}"]
