"""Reports of names: what went in comes out of an independent parser, whatever the names are."""

import csv
import io
import json
import os
import tomllib
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from report_schemas import OWN, definitions

from tidegate.provenance.keys import PublicKey
from tidegate.registry.reference import parse_reference
from tidegate_receiver.naming.carvel import object_name
from tidegate_receiver.naming.formats import ReportFormat, render
from tidegate_receiver.naming.rows import NameRow
from tidegate_receiver.naming.writing import toml_text, yaml_text

PART = st.from_regex(r"[a-z0-9]{1,5}(?:[._-][a-z0-9]{1,4})?", fullmatch=True)
PATH = st.lists(PART, min_size=1, max_size=3).map("/".join)
HOST = st.sampled_from(["docker.io", "quay.io", "reg.example:5000", "null.true"])
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
KEY = st.binary(min_size=32, max_size=120).map(lambda der: PublicKey("prod", der))
DIGEST = st.binary(min_size=1, max_size=4).map(lambda data: f"sha256:{sha256(data).hexdigest()}")


@st.composite
def row(draw: st.DrawFn) -> NameRow:
    host = draw(HOST)
    digest, by_tag, prefix = draw(DIGEST), draw(st.booleans()), draw(st.sampled_from(["", "proj/", "a/b/"]))
    path = draw(PATH)
    if host == "docker.io":
        path = f"library/{path}"
    end = f":{draw(TAG)}" if by_tag else f"@{digest}"
    kind = draw(st.sampled_from(["image", "imgpkg", "chart", "files", "attachment"]))
    keys = tuple(draw(st.lists(KEY, max_size=2)))
    return NameRow(f"{host}/{path}{end}", f"new.example/{prefix}{path}{end}", digest, digest, kind, keys)


ROWS = st.lists(row(), max_size=6, unique_by=lambda item: item.old).map(
    lambda rows: tuple(sorted(rows, key=lambda item: item.old))
)


@settings(max_examples=40)
@given(ROWS, st.sampled_from(list(ReportFormat)))
def test_the_same_rows_give_the_same_bytes(rows: tuple[NameRow, ...], kind: ReportFormat) -> None:
    assert render(rows, kind, secret="s").files == render(rows, kind, secret="s").files


@settings(max_examples=40)
@given(ROWS)
def test_every_image_is_in_every_mirror_of_its_repository(rows: tuple[NameRow, ...]) -> None:
    images = [item for item in rows if item.is_image]
    for kind, field in ((ReportFormat.IDMS, "imageDigestMirrors"), (ReportFormat.ITMS, "imageTagMirrors")):
        document = yaml.safe_load(render(rows, kind).files[""])
        found = {item["source"]: item["mirrors"] for item in document["spec"][field]}
        for item in images:
            assert item.repository in found[item.old.partition("@")[0].rpartition("/")[0] + "/" + _last(item.old)]
        assert set(found) == {_repository(item.old) for item in images}
    tables = tomllib.loads(render(rows, ReportFormat.REGISTRIES).files[""]).get("registry", [])
    assert {table["prefix"] for table in tables} == {_repository(item.old) for item in images}
    mirrored = {(table["prefix"], mirror["location"]) for table in tables for mirror in table["mirror"]}
    assert mirrored == {(_repository(item.old), item.repository) for item in images}


def _last(old: str) -> str:
    return old.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _repository(old: str) -> str:
    head, _, _ = old.partition("@")
    return f"{head.rpartition('/')[0]}/{_last(old)}"


@settings(max_examples=40)
@given(ROWS)
def test_containerd_finds_what_kept_its_name_below_a_prefix(rows: tuple[NameRow, ...]) -> None:
    made = render(rows, ReportFormat.HOSTS)
    servers = {name.partition("/")[0]: tomllib.loads(text) for name, text in made.files.items()}
    for item in rows:
        if item.is_image:
            host, _, repository = _repository(item.old).partition("/")
            urls = servers[host]["host"]
            as_asked = {
                url.removeprefix("https://") + f"/{repository}" if "/v2/" in url else url[8:] + f"/v2/{repository}"
                for url in urls
            }
            assert item.repository.replace("/", "/v2/", 1) in as_asked
            assert all(table["capabilities"] == ["pull", "resolve"] for table in urls.values())
    assert made.notes == ()


@settings(max_examples=40)
@given(ROWS)
def test_lists_hold_every_row(rows: tuple[NameRow, ...]) -> None:
    wanted = [(item.old, item.new, item.digest, item.root, item.kind) for item in rows]
    read = list(csv.reader(io.StringIO(render(rows, ReportFormat.CSV).files[""])))[1:]
    assert [tuple(line) for line in read] == wanted
    assert [tuple(line.values()) for line in json.loads(render(rows, ReportFormat.JSON).files[""])] == wanted
    variables = yaml.safe_load(render(rows, ReportFormat.ANSIBLE).files[""])
    assert variables["tidegate_images"] == {item.old: item.pinned for item in rows if item.is_image}


@settings(max_examples=40)
@given(ROWS)
def test_carvel_gets_digests_and_old_names(rows: tuple[NameRow, ...]) -> None:
    images = [item for item in rows if item.is_image]
    overrides = yaml.safe_load(render(rows, ReportFormat.KBLD).files[""])["overrides"]
    written = [(item["image"], item["newImage"]) for item in overrides]
    assert {(item.old, item.pinned) for item in images} <= set(written)
    assert {str(parse_reference(old)) for old, _ in written} == {item.old for item in images}
    assert len(set(written)) == len(written)
    lock = yaml.safe_load(render(rows, ReportFormat.IMAGES_LOCK).files[""])
    assert [(item["annotations"]["kbld.carvel.dev/id"], item["image"]) for item in lock["images"]] == written
    repositories = list(yaml.safe_load_all(render(rows, ReportFormat.PACKAGE_REPOSITORY, secret="login").files[""]))
    for document in repositories:
        bundle = document["spec"]["fetch"]["imgpkgBundle"]
        assert bundle["secretRef"] == {"name": "login"}
        assert "@sha256:" in bundle["image"]


@settings(max_examples=40)
@given(ROWS)
def test_policies_ask_for_every_key_of_an_image(rows: tuple[NameRow, ...]) -> None:
    signed = [item for item in rows if item.is_image and item.keys]
    made = render(rows, ReportFormat.KYVERNO)
    if not signed:
        assert made.files == {"": ""}
        assert made.notes
        return
    rules = yaml.safe_load(made.files[""])["spec"]["rules"]
    for item in signed:
        asked = [
            tuple(attestor["entries"][0]["keys"]["publicKeys"] for attestor in verify["attestors"])
            for rule in rules
            for verify in rule["verifyImages"]
            if any(fnmatchcase(item.pinned, pattern) for pattern in verify["imageReferences"])
        ]
        assert any(len(keys) >= len({key.key_id for key in item.keys}) for keys in asked)
        assert all(key.startswith("-----BEGIN PUBLIC KEY-----\n") for keys in asked for key in keys)
    policies = list(yaml.safe_load_all(render(rows, ReportFormat.POLICY_CONTROLLER).files[""]))
    globs = {image["glob"] for policy in policies for image in policy["spec"]["images"]}
    assert all(any(fnmatchcase(item.pinned, glob) for glob in globs) for item in signed)
    assert len({policy["metadata"]["name"] for policy in policies}) == len(policies)


CRDS = Path(os.environ.get("TIDEGATE_CRDS", "/nowhere"))  # taken before the environment is cleaned
SIGNED = PublicKey("prod", b"k" * 91), PublicKey("Second key", b"l" * 91)
EVERY = (
    NameRow("docker.io/library/app:latest", "new.example:5000/mirror/library/app:latest", *["sha256:" + "a" * 64] * 2,
            "image", SIGNED),
    NameRow("quay.io/x/y@sha256:" + "b" * 64, "new.example:5000/x/y@sha256:" + "b" * 64, *["sha256:" + "b" * 64] * 2,
            "image", SIGNED[:1]),
    NameRow("quay.io/x/y:2", "new.example:5000/x/y:2", *["sha256:" + "c" * 64] * 2, "image"),
    NameRow("quay.io/pkg:1.0", "new.example:5000/pkg:1.0", *["sha256:" + "d" * 64] * 2, "imgpkg"),
)  # fmt: skip


def documents(rows: tuple[NameRow, ...], kind: str) -> list[Any]:
    made = render(rows, ReportFormat(kind), secret="login")
    return [document for document in yaml.safe_load_all(made.files[""]) if document is not None]


@settings(max_examples=40)
@given(ROWS, st.sampled_from(sorted(OWN)))
def test_no_report_has_a_field_that_its_reader_does_not_know(rows: tuple[NameRow, ...], kind: str) -> None:
    for document in documents(rows, kind):
        Draft202012Validator(OWN[kind]).validate(document)


@pytest.mark.skipif(not CRDS.is_dir(), reason="name a folder with the programs' definitions in TIDEGATE_CRDS")
@pytest.mark.parametrize("kind", sorted(set(OWN) - {"kbld", "imageslock"}))
def test_the_definitions_of_the_programs_take_every_report(kind: str) -> None:
    known = definitions(CRDS)
    found = documents(EVERY, kind)
    assert found
    for document in found:
        Draft202012Validator(known[document["apiVersion"], document["kind"]]).validate(document)


def test_a_rule_covers_the_repository_only_where_all_of_it_expects_the_same_keys() -> None:
    (policy,) = documents(EVERY, "kyverno")
    patterns = [rule["verifyImages"][0]["imageReferences"] for rule in policy["spec"]["rules"]]
    whole = [f"new.example:5000/mirror/library/app{end}" for end in (":*", "@*")]
    assert sorted(patterns) == sorted([whole, ["new.example:5000/x/y@sha256:" + "b" * 64]])


def test_the_format_of_the_signatures_decides_what_policies_say() -> None:
    signed = NameRow("q.io/a:1", "n.example/a:1", *["sha256:" + "a" * 64] * 2, "image", SIGNED[:1])
    tag = NameRow("q.io/a:s", f"n.example/a:sha256-{'a' * 64}.sig", *["sha256:" + "e" * 64] * 2, "attachment")
    bundle = NameRow("q.io/a@b", "n.example/a@sha256:" + "f" * 64, *["sha256:" + "f" * 64] * 2, "attachment")
    for rows, kind in (((signed, tag, bundle), "Cosign"), ((signed, bundle), "SigstoreBundle"), ((signed,), "Cosign")):
        (policy,) = documents(rows, "kyverno")
        assert policy["spec"]["rules"][0]["verifyImages"][0]["type"] == kind
        notes = render(rows, ReportFormat.POLICY_CONTROLLER).notes
        assert bool(notes) == (kind == "SigstoreBundle")


def test_kbld_finds_the_names_as_manifests_write_them() -> None:
    (config,) = documents(EVERY, "kbld")
    written = {item["image"] for item in config["overrides"]}
    assert {
        "app",
        "app:latest",
        "docker.io/app",
        "docker.io/library/app:latest",
        "index.docker.io/library/app",
    } <= written
    assert {"quay.io/x/y:2", "quay.io/pkg:1.0"} <= written


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_text_survives_yaml(value: object) -> None:
    try:
        text = yaml_text({"value": value})
    except UnicodeEncodeError:
        return  # a lone surrogate is in no name
    assert yaml.safe_load(text) == {"value": value}


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_survives_toml(value: str) -> None:
    assert tomllib.loads(f"a = {toml_text(value)}") == {"a": value}


@given(st.lists(st.text(max_size=80), unique=True, max_size=8))
def test_names_of_objects_are_names_and_apart(texts: list[str]) -> None:
    names = [object_name(text) for text in texts]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 and name.strip("-.") == name and name == name.lower() for name in names)
