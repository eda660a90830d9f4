"""Artifacts go into a registry: into a real one, and into one that misbehaves."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_registry import BadRegistry, bad_registry
from content import add_files, add_image, add_index, tar_of
from images import pull_by_skopeo
from registry import running_registry

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import BlobMissingError, RegistryAuthError, RegistryError, RegistryLiesError
from tidegate.oci import PLATFORMS
from tidegate.registry.client import RegistryClient
from tidegate.registry.transport import Timeouts
from tidegate_receiver.loaders.items import LoadedItem, LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader

IMPATIENT = Timeouts(connect_seconds=2, read_seconds=0.5, stall_seconds=0.5, attempts=2, first_wait_seconds=0.01)


@pytest.fixture
def bad() -> Iterator[BadRegistry]:
    with bad_registry() as server:
        yield server


def item(root: Descriptor, place: str) -> LoadItem:
    return LoadItem(f"localhost:5000/{place}", "image", place, root)


def load(depot: Depot, host: str, *items: LoadItem) -> list[LoadedItem]:
    with RegistryLoader(depot, host, client=RegistryClient(host, timeouts=IMPATIENT)) as loader:
        loader.check(items)
        return [loader.load(item) for item in items]


# --- a real one -------------------------------------------------------------------------------


def test_load_puts_images_indexes_and_files_that_skopeo_pulls_back(depot: Depot, tmp_path: Path) -> None:
    image = add_image(depot, [tar_of({"a": b"1"}), tar_of({"b": b"2"})])
    arm = add_image(depot, [tar_of({"arm": b"3"})], architecture="arm64")
    multi = add_index(depot, {"amd64": image, "arm64": arm})
    files = add_files(depot, "docs", [tar_of({"docs/x": b"x"})])
    items = item(image, "app:1"), item(multi, "team/multi:2"), item(files, "files/docs:latest")
    with running_registry(tmp_path / "registry") as host:
        assert [done.changed for done in load(depot, host, *items)] == [True, True, True]
        assert [done.changed for done in load(depot, host, *items)] == [False, False, False]
        client = RegistryClient(host)
        for wanted in items:
            repository, _, tag = wanted.place.rpartition(":")
            assert client.manifest(repository, tag).digest == wanted.root.digest
            for blob in walk(depot, wanted.root):
                assert blob.is_manifest or blob.is_index or client.has_blob(repository, blob.digest, blob.size)
        pull_by_skopeo(f"{host}/team/multi:2", tmp_path / "pulled", every_platform=True)
    (pulled,) = json.loads((tmp_path / "pulled/index.json").read_bytes())["manifests"]
    assert pulled["digest"] == multi.digest


def test_load_puts_a_reduced_index_where_the_registry_refuses_a_sparse_one(depot: Depot, tmp_path: Path) -> None:
    elsewhere = Depot(tmp_path / "elsewhere")
    mine = add_image(depot, [b"arm"], architecture="arm64")
    other = add_image(elsewhere, [b"x86"])
    index = add_index(depot, {"amd64": other, "arm64": mine})
    sparse = Descriptor(index.media_type, index.digest, index.size, annotations={PLATFORMS: "linux/arm64"})
    with running_registry(tmp_path / "registry") as host:
        (first,) = load(depot, host, item(sparse, "multi:1"))
        (again,) = load(depot, host, item(sparse, "multi:1"))
        manifest = json.loads(RegistryClient(host).manifest("multi", "1").data)
    assert [child["digest"] for child in manifest["manifests"]] == [mine.digest]
    assert (first.changed, again.changed) == (True, False)
    for done in (first, again):
        assert done.digest != index.digest
        assert index.digest in done.notes[0]
        assert done.digest in done.notes[0]


def test_load_mounts_a_blob_that_another_repository_has(depot: Depot, tmp_path: Path) -> None:
    root = add_image(depot, [b"x" * 5000])
    with running_registry(tmp_path / "registry") as host:
        first, second = load(depot, host, item(root, "one:1"), item(root, "two:1"))
    assert first.size_bytes > 5000
    assert second.size_bytes < 5000


# --- one that misbehaves ----------------------------------------------------------------------


@pytest.mark.parametrize("step", ["GET /v2/", "HEAD blobs/", "POST uploads/", "PUT uploads/", "PUT manifests/"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [(401, RegistryAuthError), (403, RegistryAuthError), (500, RegistryError), ("hang", RegistryError)],
)
def test_load_leaves_no_tag_when_the_registry_fails(
    depot: Depot, bad: BadRegistry, step: str, fault: int | str, error: type[RegistryError]
) -> None:
    method, _, part = step.partition(" ")
    bad.fault = lambda asked, path: fault if asked == method and part in path else None
    root = add_image(depot, [b"layer"])
    with pytest.raises(error) as caught:
        load(depot, bad.host, item(root, "app:1"))
    assert bad.host in caught.value.message
    assert bad.tags == set()
    bad.fault = lambda asked, path: None
    (done,) = load(depot, bad.host, item(root, "app:1"))
    assert (done.changed, bad.tags) == (True, {"1"})


def test_load_finds_a_registry_that_lies_about_the_tag(depot: Depot, bad: BadRegistry) -> None:
    bad.fault = lambda asked, path: "lie" if asked in {"GET", "HEAD"} and "/manifests/1" in path else None
    with pytest.raises(RegistryLiesError, match="read back"):
        load(depot, bad.host, item(add_image(depot, [b"layer"]), "app:1"))


def test_load_finds_a_registry_that_keeps_a_blob_of_another_size(depot: Depot, bad: BadRegistry) -> None:
    root = add_image(depot, [b"layer"])
    layer = next(blob for blob in walk(depot, root) if blob.size == len(b"layer"))
    bad.blobs[layer.digest] = b"something else"
    with pytest.raises(RegistryLiesError):
        load(depot, bad.host, item(root, "app:1"))
    assert bad.tags == set()


def test_load_sends_nothing_that_is_there(depot: Depot, bad: BadRegistry) -> None:
    root = add_image(depot, [b"layer"])
    load(depot, bad.host, item(root, "app:1"))
    bad.requests.clear()
    (done,) = load(depot, bad.host, item(root, "app:2"))
    assert (bad.count("POST"), bad.count("PUT", "uploads"), bad.count("PUT", "manifests")) == (0, 0, 1)
    assert done.changed
    bad.requests.clear()
    load(depot, bad.host, item(root, "app:1"), item(root, "app:2"))
    assert bad.count("PUT") == bad.count("POST") == 0


def test_load_puts_children_before_parents_and_the_tag_last(depot: Depot, bad: BadRegistry) -> None:
    image = add_image(depot, [b"layer"])
    inner = add_index(depot, {"amd64": image})
    load(depot, bad.host, item(add_index(depot, {"amd64": image, "arm64": inner}), "multi:1"))
    put = [path.rpartition("/")[2] for method, path in bad.requests if method == "PUT" and "/manifests/" in path]
    assert put == [image.digest, inner.digest, "1"]
    last_blob = max(
        number for number, (method, path) in enumerate(bad.requests) if method == "PUT" and "uploads" in path
    )
    first_manifest = min(
        number for number, (method, path) in enumerate(bad.requests) if method == "PUT" and "/manifests/" in path
    )
    assert last_blob < first_manifest


def test_load_goes_on_with_what_a_broken_load_left(depot: Depot, bad: BadRegistry) -> None:
    root = add_image(depot, [b"one", b"two", b"three"])
    sent: list[str] = []

    def third_upload_fails(method: str, path: str) -> int | None:
        if method == "PUT" and "uploads" in path:
            sent.append(path)
        return 500 if len(sent) >= 3 and method == "PUT" else None

    bad.fault = third_upload_fails
    with pytest.raises(RegistryError):
        load(depot, bad.host, item(root, "app:1"))
    bad.fault = lambda asked, path: None
    bad.requests.clear()
    load(depot, bad.host, item(root, "app:1"))
    assert bad.count("PUT", "uploads") == 2, "of four blobs two were there"


def test_load_refuses_before_it_sends_when_a_blob_is_missing(depot: Depot, bad: BadRegistry) -> None:
    good, broken = add_image(depot, [b"good"]), add_image(depot, [b"broken"])
    layer = next(blob for blob in walk(depot, broken) if blob.size == len(b"broken"))
    depot.blob_path(layer.digest).unlink()
    with pytest.raises(BlobMissingError, match=layer.digest):
        load(depot, bad.host, item(good, "good:1"), item(broken, "broken:1"))
    assert bad.count("PUT") == 0


def test_load_puts_an_image_by_digest_without_a_tag(depot: Depot, bad: BadRegistry) -> None:
    root = add_image(depot, [b"layer"])
    load(depot, bad.host, item(root, f"plain@{root.digest}"))
    assert set(bad.manifests) == {("plain", root.digest)}
