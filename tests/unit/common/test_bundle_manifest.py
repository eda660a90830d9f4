"""The manifest: canonical both ways, limits before allocation, features before fields."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tidegate import canonical
from tidegate.bundle.header import MANIFEST_MAX_BYTES
from tidegate.bundle.manifest import (
    Artifact,
    BundleReference,
    Compressor,
    Manifest,
    TableEntries,
    TableEntry,
    build_manifest,
    bundle_id,
    parse_manifest,
)
from tidegate.errors import FeatureUnknownError, FormatError

EMPTY = TableEntry(0, "e3" * 32)
MANIFEST = Manifest(
    format=1,
    critical=(),
    channel="7f3a" * 16,
    channel_name="plant",
    epoch=1,
    sequence=3,
    created="2026-01-31T08:00:00Z",
    audience=("plant-7",),
    base=("11" * 32,),
    compressor=Compressor("zstd", "1.5.7", 3),
    chunk_digest="blake3-256",
    chunks_length=0,
    content_size=0,
    tables=TableEntries(EMPTY, EMPTY, EMPTY, EMPTY),
    artifacts=(Artifact("docker.io/library/alpine:3", "image", "a/b", "sha256:" + "22" * 32, 7, ticket="CHG-1"),),
    removed=("files/old",),
    previous=BundleReference("33" * 32, 2),
    expires="2026-03-01T00:00:00Z",
    classification="für intern",
)


def changed(**values: Any) -> bytes:
    plain = canonical.to_builtins(MANIFEST) | values
    return canonical.dumps({key: value for key, value in plain.items() if value != "absent"})


def test_a_manifest_reads_back_as_it_was_built() -> None:
    data = build_manifest(MANIFEST)
    assert parse_manifest(data) == MANIFEST
    assert len(bundle_id(data)) == 64
    assert b"null" not in data


def test_optional_fields_are_absent_where_they_do_not_apply() -> None:
    first = replace(MANIFEST, sequence=1, previous=None, expires=None, classification=None)
    assert not {"previous", "expires", "classification"} & set(json.loads(build_manifest(first)))
    assert parse_manifest(build_manifest(first)) == first


@pytest.mark.parametrize(
    "name",
    [
        "critical", "channel", "channel_name", "epoch", "sequence", "created", "audience", "base", "compressor",
        "chunk_digest", "chunks_length", "content_size", "tables", "artifacts", "removed",
    ],
)  # fmt: skip
def test_every_other_field_is_required(name: str) -> None:
    with pytest.raises(FormatError):
        parse_manifest(changed(**{name: "absent"}))


def test_unknown_fields_are_ignored() -> None:
    assert parse_manifest(changed(later={"nested": [1, 2]})) == MANIFEST


def test_a_later_format_is_named_before_its_fields_are_looked_at() -> None:
    with pytest.raises(FeatureUnknownError, match="format 2"):
        parse_manifest(canonical.dumps({"format": 2, "something": "else"}))


def test_an_unknown_critical_feature_is_named_before_the_fields_are_looked_at() -> None:
    with pytest.raises(FeatureUnknownError, match="'sealed'"):
        parse_manifest(canonical.dumps({"format": 1, "critical": ["sealed"], "chunks_length": "later"}))


@pytest.mark.parametrize("value", [True, "1", None, [1]])
def test_a_format_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(FormatError):
        parse_manifest(canonical.dumps({"format": value, "critical": []}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channel", "7F3A" * 16),
        ("channel", "7f3a" * 16 + "\n"),
        ("channel_name", "Plant"),
        ("sequence", 0),
        ("epoch", 0),
        ("created", "2026-02-30T08:00:00Z"),
        ("created", "2026-01-31T08:00:00+00:00"),
        ("expires", "2026-01-31T08:00:00Z"),
        ("audience", []),
        ("audience", ["plant 7"]),
        ("base", ["11"]),
        ("chunk_digest", "sha256"),
        ("chunks_length", -1),
        ("content_size", 2**42 + 1),
        ("classification", "x" * 257),
        ("classification", "two\nlines"),
        ("previous", {"bundle_id": "33" * 32, "sequence": 3}),
        ("removed", ["\x1b[2J"]),
    ],
)
def test_values_outside_of_their_limits_are_refused(name: str, value: Any) -> None:
    with pytest.raises(FormatError):
        parse_manifest(changed(**{name: value}))


def test_a_manifest_above_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(FormatError, match="limit"):
        parse_manifest(b"{" + b" " * MANIFEST_MAX_BYTES)


@pytest.mark.parametrize(
    ("table", "limit"), [("blobs", 2**22), ("segments", 2**23), ("chunks", 2**24), ("required", 2**22)]
)
def test_counts_are_held_to_their_limits(table: str, limit: int) -> None:
    tables = canonical.to_builtins(MANIFEST.tables)
    tables[table]["count"] = limit
    parse_manifest(changed(tables=tables))
    tables[table]["count"] = limit + 1
    with pytest.raises(FormatError, match="B-10"):
        parse_manifest(changed(tables=tables))


def test_building_refuses_what_a_reader_would_refuse() -> None:
    with pytest.raises(FormatError):
        build_manifest(replace(MANIFEST, classification="two\nlines"))
