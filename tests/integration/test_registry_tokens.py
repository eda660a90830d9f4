"""Bearer tokens, with distribution v3 as the registry that wants them: fetched, shared, renewed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from images import Layout, skopeo
from registry import PASSWORD, USER, running_registry
from token_server import IDENTITY, TokenServer, token_server

from tidegate.config import RegistrySettings, Settings
from tidegate.depot.store import Depot
from tidegate.errors import RegistryAuthError
from tidegate.oci import OCI_MANIFEST
from tidegate.registry.reference import parse_reference
from tidegate.registry.registries import Registries
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader
from tidegate_sender.collect.items import ImageItem
from tidegate_sender.collect.pipeline import collect

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with token_server(Authority.make(tmp_path / "ca")) as running:
        yield running


@pytest.fixture
def host(tokens: TokenServer, tmp_path: Path) -> Iterator[str]:
    with running_registry(tmp_path / "registry", guard=tokens.guard(), v3=True) as running:
        layout = Layout(tmp_path / "layout")
        layout.tag(layout.image([{"a": b"one"}, {"b": b"two"}]), "1")
        where = f"docker://{running}/team/app:1"
        login = ("--dest-tls-verify=false", "--dest-creds", f"{USER}:{PASSWORD}")
        skopeo("copy", *login, f"oci:{layout.folder}:1", where)
        tokens.asked.clear()
        yield running


def as_ada(tmp_path: Path, host: str) -> Registries:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    return Registries.of(Settings(registries={host: RegistrySettings(user=USER, password_file=str(password))}))


def test_an_image_is_pulled_with_one_token(tokens: TokenServer, host: str, tmp_path: Path) -> None:
    items = [ImageItem(reference=parse_reference(f"{host}/team/app:1"))]
    report = collect(items, Depot(tmp_path / "depot"), client_factory=as_ada(tmp_path, host).client)
    assert report.failures == ()
    assert tokens.asked == [("GET", "repository:team/app:pull")]


def test_an_identity_token_of_a_docker_login_is_exchanged(
    tokens: TokenServer, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"identitytoken": IDENTITY}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    client = Registries.of(Settings()).client(host)
    assert client.manifest("team/app", "1").media_type == OCI_MANIFEST
    assert tokens.asked == [("POST", "repository:team/app:pull")]


def test_a_token_that_has_ended_is_renewed_and_nothing_is_noticed(
    tokens: TokenServer, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.lifetime_seconds = 60
    client = as_ada(tmp_path, host).client(host)
    client.manifest("team/app", "1")
    import time

    now = time.monotonic()
    monkeypatch.setattr("tidegate.registry.authorization.time.monotonic", lambda: now + 55)
    client.manifest("team/app", "1")
    assert len(tokens.asked) == 2


def test_a_token_that_the_registry_takes_back_is_renewed(tokens: TokenServer, host: str, tmp_path: Path) -> None:
    client = as_ada(tmp_path, host).client(host)
    client.manifest("team/app", "1")
    kept = client._transport._authorization._tokens
    for scopes, token in list(kept.items()):
        kept[scopes] = type(token)("revoked", token.until)
    client.manifest("team/app", "1")
    assert len(tokens.asked) == 2


def test_a_load_asks_for_a_token_that_may_write_and_one_that_may_mount(
    tokens: TokenServer, host: str, tmp_path: Path
) -> None:
    depot = Depot(tmp_path / "depot")
    registries = as_ada(tmp_path, host)
    items = [ImageItem(reference=parse_reference(f"{host}/team/app:1"))]
    root = collect(items, depot, client_factory=registries.client).artifacts[0].descriptor
    with RegistryLoader(depot, host, client=registries.target(host)) as loader:
        first = loader.load(LoadItem("x", "image", "other/app:1", root))
        second = loader.load(LoadItem("x", "image", "third/app:1", root))
    assert first.size_bytes > second.size_bytes > 0  # the second one mounts its layers
    scopes = [scope for _method, scope in tokens.asked]
    assert "repository:third/app:pull,push repository:other/app:pull" in scopes


def test_a_wrong_password_names_the_place_of_tokens_and_no_secret(
    tokens: TokenServer, host: str, tmp_path: Path
) -> None:
    password = tmp_path / "wrong"
    password.write_text("wrong-4712")
    settings = Settings(registries={host: RegistrySettings(user=USER, password_file=str(password))})
    with pytest.raises(RegistryAuthError, match="gives no token") as caught:
        Registries.of(settings).client(host).manifest("team/app", "1")
    assert tokens.url in str(caught.value)
    assert "wrong-4712" not in f"{caught.value} {caught.value.hint}"
    assert tokens.refused == 1
