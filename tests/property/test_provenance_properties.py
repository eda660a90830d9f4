"""What comes from outside about what belongs to an image: expectations, manifests under cosign's tags, subjects."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegate.depot.descriptors import Descriptor
from tidegate.errors import FormatError
from tidegate.provenance.attachments import attached_tag, subject_of, tagged_subject
from tidegate.provenance.expectation import Expectation, ExpectedKey, parse_expectation
from tidegate_receiver.loaders.signature_merge import LAYERS_MAX, merge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ADDED = (Descriptor("x/y", "sha256:" + "c" * 64, 3),)


@given(st.text(max_size=200) | JSON.map(json.dumps))
def test_any_text_is_an_expectation_or_one_of_our_errors(text: str) -> None:
    try:
        parse_expectation(text, what="app").public_keys("app")
    except FormatError as error:
        assert "app" in str(error)


@given(st.lists(st.text("abc", min_size=1, max_size=5), max_size=4), st.booleans())
def test_an_expectation_reads_back_as_it_was_written(texts: list[str], sbom: bool) -> None:
    keys = tuple(ExpectedKey(text, text) for text in texts)
    expectation = Expectation(keys=keys, predicates=tuple(texts), types=tuple(texts), sbom=sbom)
    assert parse_expectation(expectation.to_text(), what="app") == expectation


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()), JSON)
def test_any_manifest_is_merged_or_left_alone(data: bytes, config: Any) -> None:
    for manifest in (data, json.dumps({"layers": config, "config": config}).encode()):
        merge(manifest, json.dumps(config).encode(), ADDED)


def test_a_tag_with_more_signatures_than_the_limit_is_left_alone() -> None:
    manifest = {"layers": [{}] * LAYERS_MAX, "config": {}}
    assert merge(json.dumps(manifest).encode(), b"{}", ADDED) is None


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps({"subject": value}).encode()))
def test_the_subject_of_any_bytes_is_a_digest_or_nothing(data: bytes) -> None:
    assert subject_of(data) == "" or subject_of(data).startswith("sha256:")


@given(st.text(max_size=90))
def test_only_a_tag_made_of_a_digest_attaches_something(tag: str) -> None:
    subject, suffix = tagged_subject(tag)
    assert not subject or attached_tag(subject, suffix) == tag
