"""Where credentials are found, in the forms that Docker, Podman and their helpers keep; and what a challenge says."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.config import RegistrySettings
from tidegate.errors import RegistryAuthError, TidegateError, UsageError
from tidegate.registry.authorization import scopes_of
from tidegate.registry.challenge import Challenge, parse_challenges
from tidegate.registry.credentials import Credential, CredentialKind, CredentialStore, Secrets
from tidegate.registry.registries import parse_rules


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def found(tmp_path: Path, config: Any, host: str, repository: str = "") -> Credential | None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    store = CredentialStore({}, {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})
    return store.find(host, repository)


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("registry.example:5000", "registry.example:5000"),
        ("https://registry.example/v2/", "registry.example"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_a_login_is_found_however_its_key_is_written(tmp_path: Path, key: str, host: str) -> None:
    credential = found(tmp_path, {"auths": {key: {"auth": auth("ada", "geheim")}}}, host)
    assert credential is not None
    assert (credential.user, credential.secret) == ("ada", "geheim")


def test_the_longest_prefix_of_a_repository_wins_as_podman_has_it(tmp_path: Path) -> None:
    config = {"auths": {"r.example": {"auth": auth("a", "1")}, "r.example/team": {"auth": auth("b", "2")}}}
    inside, outside = (found(tmp_path, config, "r.example", name) for name in ("team/app", "teams/app"))
    assert inside is not None
    assert inside.user == "b"
    assert outside is not None
    assert outside.user == "a"


def test_tokens_of_a_login_are_told_apart(tmp_path: Path) -> None:
    config = {"auths": {"a.example": {"identitytoken": "i"}, "b.example": {"registrytoken": "r"}}}
    one, two = found(tmp_path, config, "a.example"), found(tmp_path, config, "b.example")
    assert one is not None
    assert one.kind is CredentialKind.IDENTITY
    assert two is not None
    assert two.kind is CredentialKind.BEARER


def test_a_registry_that_nobody_logged_in_to_has_none(tmp_path: Path) -> None:
    assert found(tmp_path, {"auths": {}}, "r.example") is None


@pytest.mark.parametrize("helper", ["../evil", "a b", "x" * 65])
def test_a_helper_with_a_strange_name_is_not_run(tmp_path: Path, helper: str) -> None:
    with pytest.raises(UsageError, match="no name of a credential helper"):
        found(tmp_path, {"credsStore": helper}, "r.example")


def test_a_helper_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryAuthError, match="docker-credential-nowhere"):
        found(tmp_path, {"credsStore": "nowhere"}, "r.example")


def test_a_secret_shows_in_no_repr_and_is_taken_out_of_texts() -> None:
    credential = Credential(CredentialKind.PASSWORD, "ada", "geheim-4711", "test")
    secrets = Secrets()
    secrets.add(credential.secret, credential.basic)
    assert "geheim" not in repr(credential)
    assert secrets.redact(f"you sent {credential.basic}, {credential.secret}") == "you sent ***, ***"


@pytest.mark.parametrize("content", ["", "two\nlines", "\x00"])
def test_a_password_file_that_holds_no_single_line_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "password"
    path.write_text(content)
    given_settings = {"r.example": RegistrySettings(user="ada", password_file=str(path))}
    with pytest.raises(UsageError, match="no secret in a single line"):
        CredentialStore(given_settings, {"HOME": str(tmp_path)}).find("r.example")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.sampled_from([b'{"auths":[]}', b'{"auths":{"r":1}}', b"[]", b'{"credsStore":1}']))
def test_any_file_of_credentials_ends_in_one_of_our_errors_and_never_quotes_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.json").write_bytes(data)
    store = CredentialStore({}, {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})
    try:
        store.find("r.example", "app")
    except TidegateError as error:
        assert len(data) < 4 or data.decode("utf-8", "replace") not in str(error)


def test_a_challenge_is_read_with_its_quotes() -> None:
    header = 'Bearer realm="https://auth.example/token",service="registry, the",scope="repository:a:pull,push x"'
    assert parse_challenges([header, 'Basic realm="r"']) == (
        Challenge("bearer", "https://auth.example/token", "registry, the", ("repository:a:pull,push", "x")),
        Challenge("basic", "r"),
    )


def test_two_challenges_in_one_header_are_two() -> None:
    assert [item.scheme for item in parse_challenges(['Basic realm="a", Bearer realm="b",service="c"'])] == [
        "basic",
        "bearer",
    ]


@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_challenge_is_read_without_an_error(headers: list[str]) -> None:
    parse_challenges(headers)


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/v2/", ()),
        ("GET", "/v2/team/app/manifests/1", ("repository:team/app:pull",)),
        ("HEAD", "/v2/team/app/blobs/sha256:x", ("repository:team/app:pull",)),
        ("POST", "/v2/app/blobs/uploads/", ("repository:app:pull,push",)),
        ("GET", "/v2/app/blobs/uploads/7", ("repository:app:pull,push",)),
        ("PUT", "/v2/app/manifests/1", ("repository:app:pull,push",)),
        (
            "POST",
            "/v2/b/blobs/uploads/?mount=sha256%3Ax&from=team%2Fa",
            ("repository:b:pull,push", "repository:team/a:pull"),
        ),
    ],
)
def test_the_scope_of_a_request(method: str, path: str, scopes: tuple[str, ...]) -> None:
    assert scopes_of(method, f"https://r.example{path}") == scopes


def test_mirrors_of_a_registries_conf_come_before_the_location() -> None:
    text = b"""
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "docker.io/library"
location = "docker.io/library"
[[registry.mirror]]
location = "mirror.example:5000/hub"
insecure = true
[[registry.mirror]]
location = "other.example"
pull-from-mirror = "digest-only"
[[registry]]
location = "bad.example"
blocked = true
"""
    rule, blocked = parse_rules(text, "registries.conf")
    assert rule.places == ("mirror.example:5000/hub", "docker.io/library")
    assert rule.insecure == {"mirror.example:5000"}
    assert rule.fits("docker.io/library/alpine")
    assert not rule.fits("docker.io/libraries/alpine")
    assert blocked.blocked


@given(st.binary(max_size=200))
def test_any_registries_conf_ends_in_rules_or_one_of_our_errors(data: bytes) -> None:
    try:
        parse_rules(data, "registries.conf")
    except UsageError as error:
        assert "registries.conf" in str(error)


@pytest.mark.parametrize("text", ["registry = 1", "[[registry]]\nmirror = 1", "[[registry]]\nlocation = 7"])
def test_a_registries_conf_of_other_types_is_refused_by_name(text: str) -> None:
    try:
        parse_rules(text.encode(), "registries.conf")
    except UsageError as error:
        assert "registries.conf" in str(error)
