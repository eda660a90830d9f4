"""Whatever bytes come as manifests, indexes or references, the answer is a value or one of our errors."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegate.depot.descriptors import Descriptor, detect_media_type, parse_index_entries, parse_manifest
from tidegate.depot.graph import LIMITS, parse_platforms, reduce_index, walk
from tidegate.errors import TidegateError
from tidegate.oci import OCI_INDEX, OCI_MANIFEST, PLATFORMS
from tidegate.registry.reference import files_name, parse_reference, place_of, slug, split_place

TYPES = st.sampled_from([OCI_INDEX, OCI_MANIFEST])
DIGESTS = st.integers(0, 3).map(lambda n: f"sha256:{n:064x}")
DESCRIPTORS = st.fixed_dictionaries(
    {"mediaType": TYPES | st.text(max_size=5), "digest": DIGESTS | st.text(max_size=9), "size": st.integers(-1, 99)},
    optional={
        "annotations": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2) | st.none(),
        "platform": st.fixed_dictionaries({"os": st.text(max_size=3), "architecture": st.text(max_size=3)}),
        "urls": st.lists(st.text(max_size=3), max_size=2),
    },
)
MANIFESTS = st.fixed_dictionaries(
    {"schemaVersion": st.sampled_from([2, 2, 2, 1, "2"])},
    optional={
        "mediaType": TYPES | st.text(max_size=5) | st.none(),
        "manifests": st.lists(DESCRIPTORS, max_size=3) | st.none(),
        "config": DESCRIPTORS,
        "layers": st.lists(DESCRIPTORS, max_size=3) | st.none(),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
)
BYTES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | MANIFESTS.map(lambda value: json.dumps(value).encode())
)


@given(BYTES, TYPES)
def test_any_bytes_are_a_manifest_or_one_of_our_errors(data: bytes, media_type: str) -> None:
    detect_media_type(data)
    try:
        manifest = parse_manifest(data, media_type)
        assert len(manifest.children) <= len(data)
        if manifest.is_index:
            reduce_index(data, manifest, parse_platforms("a/b"))
    except TidegateError:
        pass


@given(BYTES)
def test_any_bytes_are_the_index_of_a_layout_or_one_of_our_errors(data: bytes) -> None:
    with contextlib.suppress(TidegateError):
        parse_index_entries(data, what="index.json", max_bytes=10_000)


class _Reader:
    """Answers each digest of the strategy with some manifest, whatever its true digest."""

    def __init__(self, manifests: list[dict[str, Any]]) -> None:
        self.data = [json.dumps(value).encode() for value in manifests]

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        return self.data[int(digest[-1], 16) % len(self.data)]


@given(st.lists(MANIFESTS, min_size=1, max_size=4), TYPES, st.sampled_from(["", "a/b", "x"]))
def test_a_walk_over_any_graph_ends(manifests: list[dict[str, Any]], media_type: str, platforms: str) -> None:
    reader = _Reader(manifests)
    annotations = {PLATFORMS: platforms} if platforms else {}
    root = Descriptor(media_type, f"sha256:{0:064x}", len(reader.data[0]), annotations=annotations)
    try:
        found = walk(reader, root)
        assert len({item.digest for item in found}) == len(found) <= LIMITS.blobs
    except TidegateError:
        pass


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9.:/@_-]{1,40}", fullmatch=True))
def test_any_text_is_a_reference_with_a_place_or_one_of_our_errors(text: str) -> None:
    try:
        reference = parse_reference(text)
    except TidegateError:
        return
    assert parse_reference(str(reference)) == reference
    assert place_of(reference.name) == reference.place
    assert split_place(reference.place) == (reference.repository, reference.tag or reference.digest)


@given(st.text(max_size=40))
def test_c12_any_title_has_a_name_that_registries_take_or_none(title: str) -> None:
    try:
        name = files_name(title)
    except TidegateError:
        return
    assert parse_reference(f"localhost/{name}").place == place_of(name) == f"{name}:latest"
    assert slug(slug(title)) == slug(title)


@given(st.text(max_size=60))
def test_any_text_has_a_place_or_is_refused(text: str) -> None:
    try:
        place = place_of(text)
    except TidegateError:
        return
    assert all(split_place(place))
