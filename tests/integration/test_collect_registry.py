"""A real registry as source and target: Debian's docker-registry, filled and read by skopeo."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import LAYER, Layout, pull_by_skopeo, push_by_skopeo
from registry import running_registry

from tidegate.depot.descriptors import parse_manifest
from tidegate.depot.graph import carried, parse_platforms, reduce_index, walk
from tidegate.depot.store import Depot
from tidegate.errors import RegistryError
from tidegate.oci import PLATFORMS
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import parse_reference
from tidegate.registry.upload import Upload
from tidegate_sender.collect.items import CollectedArtifact, ImageItem
from tidegate_sender.collect.pipeline import collect


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def pulled(depot: Depot, reference: str, *platforms: str) -> CollectedArtifact:
    report = collect([ImageItem(reference=parse_reference(reference), platforms=platforms)], depot)
    assert report.failures == ()
    return report.artifacts[0]


def image_with_three_platforms(layout: Layout, host: str, name: str) -> str:
    children = {
        "linux/amd64": layout.image([{"a": b"amd"}, {"shared": b"s"}]),
        "linux/arm64/v8": layout.image([{"a": b"arm"}, {"shared": b"s"}], architecture="arm64", variant="v8"),
        "linux/s390x": layout.image([{"a": b"s390x"}], architecture="s390x"),
    }
    index = layout.tag(layout.index(children), "multi")
    push_by_skopeo(layout.folder, "multi", f"{host}/{name}", every_platform=True)
    return index.digest


def push(client: RegistryClient, repository: str, depot: Depot, artifact: CollectedArtifact, tag: str) -> None:
    """Everything an artifact reaches: leaves, then manifests, the root last."""
    blobs = walk(depot, artifact.descriptor)
    leaves = [blob for blob in blobs if not (blob.is_manifest or blob.is_index)]
    for blob in (*leaves, *(blob for blob in reversed(blobs) if blob not in leaves)):
        if blob.is_manifest or blob.is_index:
            reference = tag if blob.digest == artifact.descriptor.digest else blob.digest
            data = depot.read_blob(blob.digest, max_bytes=blob.size)
            client.put_manifest(repository, reference, blob.media_type, data)
        elif not client.has_blob(repository, blob.digest, blob.size):
            client.push_blob(repository, blob.digest, blob.size, lambda blob=blob: depot.open_blob(blob.digest))


def test_an_image_arrives_whole_with_its_digest(layout: Layout, depot: Depot, host: str) -> None:
    image = layout.tag(layout.image([{"bin/sh": os.urandom(200_000)}, {"etc/x": b"x"}]), "v1")
    push_by_skopeo(layout.folder, "v1", f"{host}/whole/app:1")
    artifact = pulled(depot, f"{host}/whole/app:1")
    assert (artifact.name, artifact.descriptor.digest) == (f"{host}/whole/app:1", image.digest)
    for blob in walk(depot, artifact.descriptor):
        assert depot.read_blob(blob.digest, max_bytes=10**6) == layout.read(blob.digest)


def test_an_image_by_digest_is_the_same_image(layout: Layout, depot: Depot, host: str) -> None:
    image = layout.tag(layout.image([{"a": b"1"}]), "v1")
    push_by_skopeo(layout.folder, "v1", f"{host}/digest:1")
    artifact = pulled(depot, f"{host}/digest@{image.digest}")
    assert artifact.name == f"{host}/digest@{image.digest}"
    assert artifact.descriptor.digest == image.digest


def test_every_platform_comes_where_none_is_named(layout: Layout, depot: Depot, host: str) -> None:
    digest = image_with_three_platforms(layout, host, "every:1")
    artifact = pulled(depot, f"{host}/every:1")
    assert artifact.descriptor.digest == digest
    assert len(walk(depot, artifact.descriptor)) == 1 + 3 * 2 + 4


def test_what_was_collected_reaches_another_repository_and_an_independent_client(
    layout: Layout, depot: Depot, host: str, tmp_path: Path
) -> None:
    digest = image_with_three_platforms(layout, host, "from:1")
    push(RegistryClient(host), "target/app", depot, pulled(depot, f"{host}/from:1"), "2")
    pull_by_skopeo(f"{host}/target/app:2", tmp_path / "pulled", every_platform=True)
    for path in (layout.folder / "blobs" / "sha256").iterdir():
        assert (tmp_path / "pulled" / "blobs" / "sha256" / path.name).read_bytes() == path.read_bytes()
    assert digest in (tmp_path / "pulled" / "index.json").read_text()


def test_skopeo_opens_the_depot(layout: Layout, depot: Depot, host: str, tmp_path: Path) -> None:
    layout.tag(layout.image([{"a": b"1"}]), "v1")
    push_by_skopeo(layout.folder, "v1", f"{host}/open:1")
    artifact = pulled(depot, f"{host}/open:1")
    push_by_skopeo(depot.folder, artifact.name, f"{host}/reopened:1")
    assert RegistryClient(host).manifest_digest("reopened", "1") == artifact.descriptor.digest


def test_one_platform_is_accepted_by_every_registry(layout: Layout, depot: Depot, host: str, tmp_path: Path) -> None:
    image_with_three_platforms(layout, host, "one:1")
    artifact = pulled(depot, f"{host}/one:1", "linux/arm64")
    push(RegistryClient(host), "one-arm", depot, artifact, "1")
    pull_by_skopeo(f"{host}/one-arm:1", tmp_path / "pulled")
    assert artifact.descriptor.digest in (tmp_path / "pulled" / "index.json").read_text()


def test_this_registry_refuses_a_sparse_index_and_takes_the_reduced_one(
    layout: Layout, depot: Depot, host: str, tmp_path: Path
) -> None:
    digest = image_with_three_platforms(layout, host, "sparse:1")
    artifact = pulled(depot, f"{host}/sparse:1", "linux/amd64", "linux/arm64")
    root, client = artifact.descriptor, RegistryClient(host)
    assert root.digest == digest
    assert root.annotations == {PLATFORMS: "linux/amd64,linux/arm64"}
    with pytest.raises(RegistryError) as caught:
        push(client, "sparse-target", depot, artifact, "1")
    assert caught.value.code == "MANIFEST_BLOB_UNKNOWN"
    data = depot.read_blob(digest, max_bytes=root.size)
    chosen = parse_platforms(root.annotations[PLATFORMS])
    reduced = reduce_index(data, parse_manifest(data, root.media_type), chosen)
    assert client.put_manifest("sparse-target", "1", root.media_type, reduced) != digest
    pull_by_skopeo(f"{host}/sparse-target:1", tmp_path / "pulled", every_platform=True)
    assert len(carried(parse_manifest(reduced, root.media_type), ())) == 2


def test_a_blob_is_mounted_from_another_repository(host: str) -> None:
    client, data = RegistryClient(host), os.urandom(1000)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    client.push_blob("mount/from", digest, len(data), lambda: io.BytesIO(data))
    assert client.mount_blob("mount/to", digest, "mount/from")
    assert client.has_blob("mount/to", digest, len(data))
    assert not client.mount_blob("mount/to", "sha256:" + "0" * 64, "mount/from")


def test_a_large_blob_goes_in_pieces(host: str) -> None:
    client, data, reported = RegistryClient(host), os.urandom(2_500_000), []
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    source = lambda: io.BytesIO(data)  # noqa: E731
    Upload(client._transport, "pieces", digest, len(data), source, reported.append, piece_bytes=2**20).run()
    assert reported == [2**20, 2**20, len(data) - 2**21]
    back: list[bytes] = []
    client.fetch_blob("pieces", digest, len(data), back.append)
    assert b"".join(back) == data


def test_an_empty_blob_goes_and_comes(host: str, layout: Layout, depot: Depot) -> None:
    empty = layout.blob(b"", LAYER)
    config = layout.json_blob({"os": "linux", "architecture": "amd64"}, "application/vnd.oci.image.config.v1+json")
    client = RegistryClient(host)
    for blob in (empty, config):
        client.push_blob("empty", blob.digest, blob.size, lambda blob=blob: io.BytesIO(layout.read(blob.digest)))
    manifest = layout.manifest(config, [empty])
    client.put_manifest("empty", "1", manifest.media_type, layout.read(manifest.digest))
    assert depot.missing(walk(depot, pulled(depot, f"{host}/empty:1").descriptor)) == ()


def test_tags_are_listed(layout: Layout, host: str) -> None:
    layout.tag(layout.image([{"a": b"1"}]), "v1")
    for tag in ("a", "b"):
        push_by_skopeo(layout.folder, "v1", f"{host}/tags:{tag}")
    assert sorted(RegistryClient(host).tags("tags")) == ["a", "b"]
    assert RegistryClient(host).tags("no/such") == ()


def test_a_registry_answers_a_ping(host: str) -> None:
    RegistryClient(host).ping()


def test_a_collection_that_is_killed_goes_on_and_leaves_no_garbage(layout: Layout, depot: Depot, host: str) -> None:
    layout.tag(layout.image([{"a": os.urandom(3_000_000)}, {"b": os.urandom(100)}]), "v1")
    push_by_skopeo(layout.folder, "v1", f"{host}/killed:1")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tidegate.depot.store import Depot\n"
        "from tidegate_sender.collect.lists.arguments import items_from_arguments\n"
        "from tidegate_sender.collect.pipeline import collect\n"
        "def kill(done, total, phase):\n"
        "    if done > 1_000_000: os.kill(os.getpid(), signal.SIGKILL)\n"
        "collect(items_from_arguments([sys.argv[2]]), Depot(Path(sys.argv[1])), progress=kill)\n"
    )
    command = [sys.executable, "-c", code, str(depot.folder), f"{host}/killed:1"]
    assert subprocess.run(command, timeout=60, check=False).returncode == -9
    assert depot.references() == {}
    artifact = pulled(depot, f"{host}/killed:1")
    assert depot.missing(walk(depot, artifact.descriptor)) == ()
    assert depot.garbage().temporaries == depot.garbage().blobs == ()
