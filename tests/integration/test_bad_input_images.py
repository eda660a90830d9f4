"""Images whose registry lies, throttles, breaks off or sends elsewhere; graphs without end; proxies that open TLS."""

import base64
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from faulty_registry import CONFIG, INDEX, LAYER, MANIFEST, FaultyRegistry, Handler, faulty_registry

from tidegate.config import RegistrySettings, Settings
from tidegate.depot.store import Depot
from tidegate.errors import GraphError, RegistryAuthError, RegistryError, RegistryLiesError, TidegateError
from tidegate.provenance.attachments import fallback_tag
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import parse_reference
from tidegate.registry.registries import Registries
from tidegate.registry.transport import Timeouts
from tidegate_sender.collect.items import CollectReport, ImageItem
from tidegate_sender.collect.pipeline import collect

QUICK = Timeouts(2.0, 2.0, 2.0, 3, 0.01, 0.05, 0.2)
SECRET = "geheim-4711"
BASIC = base64.b64encode(f"ada:{SECRET}".encode()).decode()


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with faulty_registry() as made:
        yield made


def pull(registry: FaultyRegistry, depot: Depot, name: str = "app:1", **more: object) -> CollectReport:
    item = ImageItem(reference=parse_reference(f"{registry.host}/{name}"), **more)  # type: ignore[arg-type]
    return collect([item], depot, client_factory=lambda host: RegistryClient(host, timeouts=QUICK))


def failure(registry: FaultyRegistry, depot: Depot, name: str = "app:1", **more: object) -> TidegateError:
    (failed,) = pull(registry, depot, name, **more).failures
    return failed.error


def logged_in(registry: FaultyRegistry, tmp_path: Path) -> RegistryClient:
    """A client that has a password for the registry and for nobody else."""
    path = tmp_path / "password"
    path.write_text(SECRET)
    settings = Settings(registries={registry.host: RegistrySettings(user="ada", password_file=str(path))})
    access = Registries.of(settings, {"HOME": str(tmp_path)}).access
    return RegistryClient(registry.host, timeouts=QUICK, access=access)


def wanting(answer: str, *, good: str = f"Basic {BASIC}") -> object:
    """A fault: 401 with the challenge `answer` for whoever does not send `good`."""

    def fault(handler: Handler) -> bool:
        if handler.headers.get("Authorization") == good:
            return False
        handler.answer(401, b"{}", {"WWW-Authenticate": answer})
        return True

    return fault


# --- manifests and graphs ---------------------------------------------------------------------


def test_an_index_of_a_million_entries_is_refused_before_it_is_held(registry: FaultyRegistry, depot: Depot) -> None:
    entry = {"mediaType": MANIFEST, "digest": "sha256:" + "a" * 64, "size": 7}
    registry.manifest({"schemaVersion": 2, "manifests": [entry] * 60_000}, "1", media_type=INDEX)
    error = failure(registry, depot)
    assert isinstance(error, RegistryError)
    assert "an answer of more than 4194304 bytes" in str(error)


@pytest.mark.parametrize("lie", ["size", "mediaType"])
def test_a_manifest_that_is_not_as_its_index_says_is_refused(registry: FaultyRegistry, depot: Depot, lie: str) -> None:
    child = registry.image("child", b"layer")
    wrong = {**child, "size": child["size"] + 1} if lie == "size" else {**child, "mediaType": INDEX}
    registry.manifest({"schemaVersion": 2, "manifests": [wrong]}, "1", media_type=INDEX)
    assert isinstance(failure(registry, depot), GraphError | RegistryLiesError)


def test_a_foreign_layer_is_refused_by_name(registry: FaultyRegistry, depot: Depot) -> None:
    layer = {**registry.blob(b"x", LAYER), "urls": ["https://elsewhere.example/x"]}
    config = registry.blob(b"{}", CONFIG)
    registry.manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}, "1")
    assert "foreign layer" in str(failure(registry, depot))


def test_a_tag_that_moves_while_it_is_copied_gives_the_image_it_first_named(
    registry: FaultyRegistry, depot: Depot
) -> None:
    first = registry.image("1", b"first layer")

    def move(handler: Handler) -> bool:
        if "/blobs/" in handler.path:
            registry.image("1", b"second layer")
        return False

    registry.faults.append(move)
    report = pull(registry, depot)
    assert [item.descriptor.digest for item in report.artifacts] == [first["digest"]]


def test_a_list_of_referrers_that_leads_back_to_the_image_ends(registry: FaultyRegistry, depot: Depot) -> None:
    image = registry.image("1", b"layer")
    loop = {"schemaVersion": 2, "manifests": [image]}
    registry.manifest(loop, fallback_tag(image["digest"]), media_type=INDEX)
    assert len(pull(registry, depot).artifacts) == 1


def test_what_belongs_to_an_image_without_end_is_refused(registry: FaultyRegistry, depot: Depot) -> None:
    subject = registry.image("1", b"layer")
    for number in range(12):
        referrer = registry.image(f"r{number}", f"{number}".encode(), subject=subject)
        listed = {"schemaVersion": 2, "manifests": [referrer]}
        registry.manifest(listed, fallback_tag(subject["digest"]), media_type=INDEX)
        subject = referrer
    error = failure(registry, depot)
    assert isinstance(error, GraphError)
    assert "deeper than 8 levels" in str(error)


def test_a_referrer_that_does_not_say_so_itself_is_left_out(registry: FaultyRegistry, depot: Depot) -> None:
    image, stranger = registry.image("1", b"layer"), registry.image("other", b"another")
    registry.manifest({"schemaVersion": 2, "manifests": [stranger]}, fallback_tag(image["digest"]), media_type=INDEX)
    assert len(pull(registry, depot).artifacts) == 1


def test_a_fallback_tag_that_is_an_image_is_refused(registry: FaultyRegistry, depot: Depot) -> None:
    image = registry.image("1", b"layer")
    registry.image(fallback_tag(image["digest"]), b"no index")
    assert "is no index" in str(failure(registry, depot))


# --- registries on a bad day ------------------------------------------------------------------


def test_a_registry_that_throttles_is_waited_for(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    asked = []

    def throttle(handler: Handler) -> bool:
        if "/blobs/" not in handler.path or len(asked) >= 4:
            return False
        asked.append(handler.path)
        handler.error(429, "TOOMANYREQUESTS", {"Retry-After": "1"})
        return True

    registry.faults.append(throttle)
    assert pull(registry, depot).failures == ()
    assert len(asked) == 4  # more often than another failure would be borne


def test_a_registry_that_throttles_for_ever_is_given_up(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    registry.faults.append(lambda handler: handler.error(429, "TOOMANYREQUESTS") is None)
    assert "HTTP 429" in str(failure(registry, depot))


def test_a_connection_that_drops_goes_on_where_it_broke(registry: FaultyRegistry, depot: Depot) -> None:
    layer = bytes(range(256)) * 8000
    registry.image("1", layer)

    def drop(handler: Handler) -> bool:
        if "/blobs/" not in handler.path or handler.headers.get("Range") or "uploads" in handler.path:
            return False
        digest = handler.path.rpartition("/")[2]
        data = registry.blobs[digest]
        if len(data) < 1000:
            return False
        handler.drop(data[: len(data) // 2], announce=len(data))
        return True

    registry.faults.append(drop)
    assert pull(registry, depot).failures == ()
    ranges = [value for _command, path, value in registry.requests if "/blobs/" in path and value]
    assert ranges
    assert not ranges[0].startswith("bytes=0-")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\x00" * 100, b'{"schemaVersion":2}'])
def test_a_registry_that_answers_garbage_is_refused(registry: FaultyRegistry, depot: Depot, body: bytes) -> None:
    def garbage(handler: Handler) -> bool:
        handler.answer(200, body, {"Content-Type": MANIFEST})
        return True

    registry.faults.append(garbage)
    assert failure(registry, depot).exit_code in {10, 11, 13, 17}


def test_garbage_from_the_referrers_api_is_no_api(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")

    def page(handler: Handler) -> bool:
        if "/referrers/" not in handler.path:
            return False
        handler.answer(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
        return True

    registry.faults.append(page)
    assert pull(registry, depot).failures == ()


# --- credentials ------------------------------------------------------------------------------


def test_a_redirect_elsewhere_gets_no_credentials(registry: FaultyRegistry, tmp_path: Path) -> None:
    with faulty_registry() as elsewhere:
        seen = []
        elsewhere.faults.append(lambda handler: seen.append(handler.headers.get("Authorization")) is not None)
        descriptor = registry.image("1", b"layer")
        elsewhere.manifests = dict(registry.manifests)

        def redirect(handler: Handler) -> bool:
            if "/manifests/" not in handler.path:
                return False
            handler.answer(307, b"", {"Location": f"http://{elsewhere.host}{handler.path}"})
            return True

        registry.faults += [wanting('Basic realm="x"'), redirect]  # type: ignore[list-item]
        assert logged_in(registry, tmp_path).manifest("app", "1").digest == descriptor["digest"]
        assert seen == [None]


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="ftp://token.example/x",service="s"',
        'Bearer realm="http://user:pass@127.0.0.1:9/x",service="s"',
        'Bearer realm="",service="s"',
        'Bearer realm="http://[::1",service="s"',
    ],
)
def test_a_place_of_tokens_that_is_none_gets_no_credentials(
    registry: FaultyRegistry, tmp_path: Path, challenge: str
) -> None:
    registry.faults.append(wanting(challenge))  # type: ignore[arg-type]
    with pytest.raises(RegistryAuthError, match="no safe place"):
        logged_in(registry, tmp_path).manifest("app", "1")


def test_what_a_registry_repeats_of_a_secret_stands_in_no_error(registry: FaultyRegistry, tmp_path: Path) -> None:
    def repeat(handler: Handler) -> bool:
        said = handler.headers.get("Authorization", "")
        if not said:
            handler.answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="x"'})
        else:
            body = {"errors": [{"code": "DENIED", "message": f"{said} is {SECRET}"}]}
            handler.answer(403, json.dumps(body).encode())
        return True

    registry.faults.append(repeat)
    with pytest.raises(RegistryAuthError, match="DENIED") as caught:
        logged_in(registry, tmp_path).manifest("app", "1")
    for secret in (SECRET, BASIC):
        assert secret not in f"{caught.value} {caught.value.hint} {caught.value.code}"


# --- proxies ----------------------------------------------------------------------------------


@contextlib.contextmanager
def proxy(
    context: ssl.SSLContext | None, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n"
) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that takes CONNECT and, with a context, speaks TLS itself in place of the host that was asked for."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                asked.append(connection.recv(65536))
                connection.sendall(answer)
                if context is not None:
                    context.wrap_socket(connection, server_side=True).close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_proxy_that_breaks_tls_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority.make(tmp_path / "mitm").issue("registry.example"))
    with proxy(context) as (address, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{SECRET}@{address}")
        with pytest.raises(RegistryError, match="TLS fails") as caught:
            RegistryClient("registry.example", timeouts=QUICK).manifest("app", "1")
    assert asked[0].startswith(b"CONNECT registry.example:443")
    assert f"Proxy-Authorization: Basic {BASIC}".lower() in asked[0].decode().lower()
    assert SECRET not in f"{caught.value} {caught.value.hint}"
    assert "a proxy that opens TLS has a CA of its own" in caught.value.hint


def test_a_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(None, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as (address, _asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{SECRET}@{address}")
        with pytest.raises(RegistryError, match=r"the proxy refuses.*407") as caught:
            RegistryClient("registry.example", timeouts=QUICK).manifest("app", "1")
    assert SECRET not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("excepted", ["registry.example", ".example", "10.0.0.0/8"])
def test_no_proxy_excepts_hosts_domains_and_networks(monkeypatch: pytest.MonkeyPatch, excepted: str) -> None:
    from tidegate.registry.access import proxy_for

    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    host = "10.1.2.3:5000" if "/" in excepted else "registry.example"
    assert proxy_for(f"https://{host}") == "http://127.0.0.1:9"
    monkeypatch.setenv("NO_PROXY", excepted)
    assert proxy_for(f"https://{host}") is None
