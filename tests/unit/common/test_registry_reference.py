"""Docker's rules for references, and names, places and titles of docs/format/content.md."""

import pytest

from tidegate.errors import UsageError
from tidegate.registry.reference import check_title, files_name, parse_reference, place_of, slug, split_place
from tidegate.registry.transport import default_scheme

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        ("alpine", "docker.io/library/alpine:latest", "library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3", "library/alpine:3"),
        ("grafana/grafana:9", "docker.io/grafana/grafana:9", "grafana/grafana:9"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest", "library/alpine:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "app:1"),
        ("localhost/app", "localhost/app:latest", "app:latest"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1", "app:1"),
        ("quay.io/a/b/c:v1.2_3", "quay.io/a/b/c:v1.2_3", "a/b/c:v1.2_3"),
        (f"quay.io/a@{DIGEST}", f"quay.io/a@{DIGEST}", f"a@{DIGEST}"),
        (f"quay.io/a:1@{DIGEST}", "quay.io/a:1", "a:1"),
        ("HOST/app", "HOST/app:latest", "app:latest"),
    ],
)
def test_a_reference_is_normalised_as_docker_does(text: str, name: str, place: str) -> None:
    reference = parse_reference(text)
    assert reference.name == name
    assert reference.place == place
    assert place_of(name) == place
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    ["", "App", "app:", "app:-1", "app@sha256:12", "a//b", "/a", "a/", "a:b:c", "a b", "a" * 300, "f" * 64, "ü", "a\n",
     "host.example/", "-a", "a..b", "a___b", "ho_st.x:5000/a", f"a@{DIGEST}\n"],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert "./" in caught.value.hint


def test_a_reference_with_a_digest_asks_for_the_digest() -> None:
    assert parse_reference(f"a:1@{DIGEST}").wanted == DIGEST
    assert parse_reference("a:1").wanted == "1"


@pytest.mark.parametrize(
    ("name", "parts"),
    [("files/docs", ("files/docs", "latest")), ("q.io/a:1", ("a", "1")), (f"q.io/a@{DIGEST}", ("a", DIGEST))],
)
def test_a_place_is_a_repository_and_a_tag_or_digest(name: str, parts: tuple[str, str]) -> None:
    assert split_place(place_of(name)) == parts


@pytest.mark.parametrize("name", ["", "files/../x", "files/", "a/b:c:d", "q.io/", "a@sha256:1", "files/Docs"])
def test_what_is_no_name_has_no_place(name: str) -> None:
    with pytest.raises(UsageError):
        place_of(name)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("docs", "files/docs"),
        ("My Docs (2).iso", "files/my-docs-2-iso"),
        ("a__b", "files/a-b"),
        ("a_b.C", "files/a_b.c"),
        (".config", "files/config"),
        ("straße", "files/stra-e"),
        ("x...y--", "files/x-y"),
    ],
)
def test_c12_a_title_becomes_a_name_that_registries_take(title: str, name: str) -> None:
    assert files_name(title) == name
    assert place_of(name) == f"{name}:latest"


def test_c12_a_title_without_a_letter_or_digit_is_refused() -> None:
    assert slug("文档") == ""
    with pytest.raises(UsageError, match="letter or digit"):
        files_name("文档")


@pytest.mark.parametrize("title", ["", ".", "..", "a/b", "a\nb", "\x7f", "x" * 129, "ü" * 65, "\udcff"])
def test_c08_what_cannot_be_a_title_is_refused(title: str) -> None:
    with pytest.raises(UsageError):
        check_title(title)


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        ("localhost:5000", "http"),
        ("127.0.0.1:5000", "http"),
        ("127.8.8.8", "http"),
        ("[::1]:5000", "http"),
        ("quay.io", "https"),
        ("10.0.0.1:5000", "https"),
        ("localhost.example", "https"),
    ],
)
def test_plain_http_is_for_this_machine_alone(host: str, scheme: str) -> None:
    assert default_scheme(host) == scheme
