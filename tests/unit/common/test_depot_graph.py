"""Manifests, indexes, and the walk over them: docs/format/content.md, C-1 to C-7."""

import hashlib
import json
from typing import Any

import pytest

from tidegate.depot.descriptors import Descriptor, Platform, detect_media_type, parse_manifest
from tidegate.depot.graph import (
    GraphLimits,
    carried,
    format_platforms,
    matches,
    parse_platforms,
    reduce_index,
    walk,
)
from tidegate.errors import BlobMissingError, GraphError, UsageError
from tidegate.oci import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, PLATFORMS

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


class Blobs:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        if digest not in self.data:
            raise BlobMissingError(digest)
        return self.data[digest]

    def add(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.data[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def manifest(self, *layers: bytes, media_type: str = OCI_MANIFEST, **more: Any) -> dict[str, Any]:
        value = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.add(b"{}", CONFIG),
            "layers": [self.add(layer, LAYER) for layer in layers],
            **more,
        }
        return self.add(json.dumps(value).encode(), media_type)

    def index(self, *children: dict[str, Any], media_type: str = OCI_INDEX) -> dict[str, Any]:
        value = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(children)}
        return self.add(json.dumps(value).encode(), media_type)


def root(plain: dict[str, Any], **more: Any) -> Descriptor:
    return Descriptor(plain["mediaType"], plain["digest"], plain["size"], **more)


def on(child: dict[str, Any], platform: str, **more: Any) -> dict[str, Any]:
    names = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return {**child, "platform": names, **more}


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.mark.parametrize("types", [(OCI_INDEX, OCI_MANIFEST), (DOCKER_INDEX, DOCKER_MANIFEST)])
def test_walk_goes_depth_first_with_config_before_layers_and_each_blob_once(
    blobs: Blobs, types: tuple[str, str]
) -> None:
    first = blobs.manifest(b"a", b"shared", media_type=types[1])
    second = blobs.manifest(b"shared", b"b", media_type=types[1])
    top = blobs.index(first, second, media_type=types[0])
    found = [item.digest for item in walk(blobs, root(top))]
    contents = [blobs.data[digest] for digest in found]
    assert contents[0] == blobs.data[top["digest"]]
    assert contents[1:] == [
        blobs.data[first["digest"]], b"{}", b"a", b"shared", blobs.data[second["digest"]], b"b"
    ]  # fmt: skip


def test_walk_does_not_read_leaves_and_does_not_follow_subject(blobs: Blobs) -> None:
    top = blobs.manifest(b"a", subject={"mediaType": OCI_MANIFEST, "digest": "sha256:" + "1" * 64, "size": 5})
    for digest in [digest for digest in blobs.data if digest != top["digest"]]:
        del blobs.data[digest]
    assert len(walk(blobs, root(top))) == 3


def test_a_graph_with_a_cycle_ends(blobs: Blobs) -> None:
    """No digest can stand in its own bytes: only a reader that compares nothing can give such a graph."""
    names = [f"sha256:{number * 64}" for number in "12"]
    size = 0
    for _ in range(3):  # until the size that stands in it is its own
        for own, other in (names, names[::-1]):
            child = {"mediaType": OCI_INDEX, "digest": other, "size": size}
            value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}
            blobs.data[own] = json.dumps(value).encode()
        size = len(blobs.data[names[0]])
    assert [one.digest for one in walk(blobs, Descriptor(OCI_INDEX, names[0], size))] == names


def test_walk_shows_each_manifest_to_its_visitor(blobs: Blobs) -> None:
    child = blobs.manifest(b"a")
    top = blobs.index(child)
    seen: list[str] = []
    walk(blobs, root(top), visit=lambda descriptor, manifest, data: seen.append(descriptor.digest))
    assert seen == [top["digest"], child["digest"]]


def test_c01_another_digest_algorithm_is_refused_by_name(blobs: Blobs) -> None:
    layer = {"mediaType": LAYER, "digest": "sha512:" + "0" * 128, "size": 1}
    with pytest.raises(GraphError, match="sha512"):
        walk(blobs, root(blobs.manifest(layers=[layer])))


def test_c02_a_child_of_an_index_that_is_no_manifest_is_refused(blobs: Blobs) -> None:
    with pytest.raises(GraphError, match="neither a manifest nor an index"):
        walk(blobs, root(blobs.index(blobs.add(b"x", LAYER))))


@pytest.mark.parametrize("kind", ["json", "prettyjws"])
def test_c02_schema_1_is_refused_by_name(blobs: Blobs, kind: str) -> None:
    media_type = f"application/vnd.docker.distribution.manifest.v1+{kind}"
    with pytest.raises(GraphError, match="schema 1"):
        walk(blobs, root(blobs.add(b'{"schemaVersion":1}', media_type)))


def test_c03_a_manifest_above_the_limit_is_refused_before_it_is_read(blobs: Blobs) -> None:
    with pytest.raises(GraphError, match="limit is 4194304"):
        walk(blobs, Descriptor(OCI_MANIFEST, "sha256:" + "0" * 64, 4 * 2**20 + 1))


def test_c03_more_levels_than_the_limit_are_refused(blobs: Blobs) -> None:
    top = blobs.manifest(b"a")
    for _ in range(7):
        top = blobs.index(top)
    assert len(walk(blobs, root(top))) == 10
    with pytest.raises(GraphError, match="8 levels"):
        walk(blobs, root(blobs.index(top)))


def test_c03_more_blobs_than_the_limit_are_refused(blobs: Blobs) -> None:
    top = root(blobs.manifest(*(bytes([number]) for number in range(9))))
    assert len(walk(blobs, top, limits=GraphLimits(blobs=11))) == 11
    with pytest.raises(GraphError, match="more than 10 blobs"):
        walk(blobs, top, limits=GraphLimits(blobs=10))


def test_c03_more_bytes_of_manifests_than_the_limit_are_refused(blobs: Blobs) -> None:
    top = root(blobs.index(blobs.manifest(b"a"), blobs.manifest(b"b")))
    with pytest.raises(GraphError, match="500 bytes in all"):
        walk(blobs, top, limits=GraphLimits(total_manifest_bytes=500))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mediaType": DOCKER_MANIFEST}, "itself it says"),
        ({"manifests": []}, "both manifests and layers"),
        ({"schemaVersion": 1}, "only 2"),
        ({"config": None}, "no config"),
        ({"layers": None}, "without layers"),
        ({"layers": [{"mediaType": LAYER, "digest": "sha256:" + "0" * 64, "size": -1}]}, ">= 0"),
        ({"layers": [{"mediaType": LAYER, "digest": "sha256:" + "0" * 64, "size": 2**43}]}, "<= "),
        ({"layers": [{"mediaType": LAYER, "digest": "sha256:xx", "size": 1}]}, "no digest"),
    ],
)
def test_c04_a_manifest_that_contradicts_itself_is_refused(blobs: Blobs, change: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        walk(blobs, root(blobs.manifest(**change)))


def test_c04_a_manifest_of_another_size_than_its_descriptor_says_is_refused(blobs: Blobs) -> None:
    top = blobs.manifest(b"a")
    with pytest.raises(GraphError, match="descriptor says 7"):
        walk(blobs, Descriptor(top["mediaType"], top["digest"], 7))


def test_c05_one_blob_with_two_sizes_is_refused(blobs: Blobs) -> None:
    layer = blobs.add(b"abc", LAYER)
    with pytest.raises(GraphError, match="once with 3 bytes and once with 4"):
        walk(blobs, root(blobs.manifest(layers=[layer, {**layer, "size": 4}])))


def test_c05_one_blob_as_manifest_and_as_layer_is_refused(blobs: Blobs) -> None:
    inner = blobs.manifest(b"a")
    outer = blobs.manifest(layers=[{**inner, "mediaType": LAYER}])
    with pytest.raises(GraphError, match="something else"):
        walk(blobs, root(blobs.index(inner, outer)))


@pytest.mark.parametrize(
    "layer",
    [
        {"mediaType": LAYER, "urls": ["https://example.com/layer"]},
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar"},
    ],
)
def test_c06_foreign_layers_are_refused_by_name(blobs: Blobs, layer: dict[str, Any]) -> None:
    digest = "sha256:" + "3" * 64
    with pytest.raises(GraphError, match=f"{digest} is a foreign layer"):
        walk(blobs, root(blobs.manifest(layers=[{"digest": digest, "size": 9, **layer}])))


def three_platforms(blobs: Blobs) -> dict[str, Any]:
    amd, arm, v7 = (blobs.manifest(name) for name in (b"amd", b"arm", b"v7"))
    proof = blobs.manifest(b"proof")
    of_amd = {"annotations": {"vnd.docker.reference.digest": amd["digest"]}}
    return blobs.index(
        on(amd, "linux/amd64"),
        on(arm, "linux/arm64/v8"),
        on(v7, "linux/arm/v7"),
        on(proof, "unknown/unknown", **of_amd),
    )


@pytest.mark.parametrize(
    ("platforms", "layers"),
    [
        ("linux/amd64", {b"amd", b"proof"}),
        ("linux/arm64", {b"arm"}),
        ("linux/arm/v6", set()),
        ("linux/amd64,linux/arm/v7", {b"amd", b"proof", b"v7"}),
        ("", {b"amd", b"proof", b"arm", b"v7"}),
    ],
)
def test_c07_only_children_of_the_chosen_platforms_are_followed(
    blobs: Blobs, platforms: str, layers: set[bytes]
) -> None:
    top = root(three_platforms(blobs), annotations={PLATFORMS: platforms} if platforms else {})
    contents = {blobs.data[item.digest] for item in walk(blobs, top)}
    assert contents & {b"amd", b"arm", b"v7", b"proof"} == layers


def test_c07_children_without_a_platform_and_nested_indexes_are_followed(blobs: Blobs) -> None:
    nested = blobs.index(on(blobs.manifest(b"in"), "linux/amd64"), on(blobs.manifest(b"out"), "linux/s390x"))
    top = blobs.index(nested, blobs.manifest(b"plain"))
    found = walk(blobs, root(top, annotations={PLATFORMS: "linux/amd64"}))
    assert {blobs.data[item.digest] for item in found} >= {b"in", b"plain"}
    assert b"out" not in {blobs.data[item.digest] for item in found}


@pytest.mark.parametrize("text", ["linux", "b/c,a/b", "a/b,a/b", "a/b,", "A/b", "a/b/c/d", "a b/c"])
def test_c07_a_malformed_choice_is_refused(text: str) -> None:
    with pytest.raises(GraphError):
        parse_platforms(text)


def test_a_choice_typed_by_a_person_is_sorted_and_checked() -> None:
    assert format_platforms(("linux/arm64", "linux/amd64", "linux/arm64")) == "linux/amd64,linux/arm64"
    with pytest.raises(UsageError, match="linux/amd64"):
        format_platforms(("amd64",))


def test_a_platform_without_variant_matches_every_variant() -> None:
    assert matches(Platform("linux", "arm", "v7"), Platform("linux", "arm"))
    assert not matches(Platform("linux", "arm"), Platform("linux", "arm", "v7"))


def test_a_reduced_index_keeps_its_followed_children_as_they_were(blobs: Blobs) -> None:
    data = blobs.data[three_platforms(blobs)["digest"]]
    index = parse_manifest(data, OCI_INDEX)
    chosen = parse_platforms("linux/amd64")
    reduced = parse_manifest(reduce_index(data, index, chosen), OCI_INDEX)
    assert reduced.manifests == carried(index, chosen)
    assert len(reduced.manifests) == 2


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b'{"schemaVersion":2,"mediaType":"a/b"}', "a/b"),
        (b'{"schemaVersion":2,"manifests":[]}', OCI_INDEX),
        (b'{"schemaVersion":2,"layers":[]}', OCI_MANIFEST),
        (b'{"schemaVersion":2}', ""),
        (b"nonsense", ""),
    ],
)
def test_a_media_type_that_nobody_told_is_taken_from_the_bytes(data: bytes, media_type: str) -> None:
    assert detect_media_type(data) == media_type


def test_a_descriptor_survives_its_own_json(blobs: Blobs) -> None:
    plain = on(blobs.manifest(b"x"), "linux/arm/v7", annotations={"k": "v"}, artifactType="a/b", urls=["u:x"])
    top = parse_manifest(blobs.data[blobs.index(plain)["digest"]], OCI_INDEX)
    assert top.manifests[0].to_json() == plain
