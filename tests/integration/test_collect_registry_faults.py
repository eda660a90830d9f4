"""A registry that refuses, fails, hangs, breaks off or lies has an error for each, and nothing wrong enters."""

import hashlib
import io
import threading
from collections.abc import Callable, Iterator

import pytest
from faulty_registry import INDEX, LAYER, MANIFEST, FaultyRegistry, Handler, faulty_registry

from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import (
    GraphError,
    RegistryAuthError,
    RegistryError,
    RegistryLiesError,
    TidegateError,
)
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import parse_reference
from tidegate.registry.transport import Timeouts
from tidegate.registry.upload import Upload
from tidegate_sender.collect.items import CollectReport, ImageItem
from tidegate_sender.collect.pipeline import collect

QUICK = Timeouts(read_seconds=0.5, stall_seconds=0.5, attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.02)
BIG = bytes(range(256)) * 12_000  # 3 MB


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with faulty_registry() as running:
        yield running


def client_of(host: str) -> RegistryClient:
    return RegistryClient(host, timeouts=QUICK)


def pull(registry: FaultyRegistry, depot: Depot, reference: str = "app:1", **more: object) -> CollectReport:
    item = ImageItem(reference=parse_reference(f"{registry.host}/{reference}"), **more)  # type: ignore[arg-type]
    return collect([item], depot, client_factory=client_of)


def pull_fails(registry: FaultyRegistry, depot: Depot, reference: str = "app:1") -> TidegateError:
    report = pull(registry, depot, reference)
    assert report.artifacts == ()
    assert depot.references() == {}
    return report.failures[0].error


def on(part: str, answer: Callable[[Handler], object], *, times: int = 1000) -> Callable[[Handler], bool]:
    """A fault for the first `times` requests whose path holds `part`."""
    left = threading.Semaphore(times)

    def fault(handler: Handler) -> bool:
        if part not in handler.path or not left.acquire(blocking=False):
            return False
        answer(handler)
        return True

    return fault


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("part", ["/manifests/", "/blobs/"])
def test_a_registry_that_wants_credentials_is_named(
    registry: FaultyRegistry, depot: Depot, status: int, part: str
) -> None:
    registry.image("1", b"layer")
    registry.faults.append(on(part, lambda handler: handler.error(status, "UNAUTHORIZED")))
    error = pull_fails(registry, depot)
    assert isinstance(error, RegistryAuthError)
    assert f"HTTP {status} (UNAUTHORIZED: unauthorized)" in str(error)
    assert registry.host in str(error)


def test_a_tag_that_is_not_there_is_named(registry: FaultyRegistry, depot: Depot) -> None:
    error = pull_fails(registry, depot, "app:nope")
    assert f"{registry.host}: app:nope: HTTP 404 (MANIFEST_UNKNOWN" in str(error)
    assert (error.status, error.code) == (404, "MANIFEST_UNKNOWN")  # type: ignore[attr-defined]


def test_a_layer_that_is_not_there_is_named(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    del registry.blobs[digest_of(b"layer")]
    assert digest_of(b"layer") in str(pull_fails(registry, depot))


def test_a_failure_that_passes_is_outlived(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    registry.faults.append(on("/manifests/", lambda handler: handler.error(503, "TOO_BUSY"), times=2))
    registry.faults.append(on("/blobs/", lambda handler: handler.error(429, "SLOWLY", {"Retry-After": "1"}), times=1))
    assert pull(registry, depot).failures == ()


def test_a_failure_that_stays_is_named_after_a_few_attempts(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    registry.faults.append(on("/manifests/", lambda handler: handler.error(500, "UNKNOWN")))
    error = pull_fails(registry, depot)
    assert type(error) is RegistryError
    assert "HTTP 500" in str(error)
    assert len(registry.requests) == QUICK.attempts


def test_an_error_page_that_is_no_json_is_an_error_all_the_same(registry: FaultyRegistry, depot: Depot) -> None:
    registry.faults.append(on("/manifests/", lambda handler: handler.answer(418, b"<html>" + b"x" * 10**6)))
    assert str(pull_fails(registry, depot)).endswith("HTTP 418")


@pytest.mark.parametrize("part", ["/manifests/", "/blobs/"])
def test_a_registry_that_hangs_is_given_up(registry: FaultyRegistry, depot: Depot, part: str) -> None:
    registry.image("1", b"layer")
    registry.faults.append(on(part, Handler.hang))
    assert "no answer within" in str(pull_fails(registry, depot))


def test_a_registry_that_trickles_is_given_up(registry: FaultyRegistry, depot: Depot) -> None:
    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BIG)))
        handler.end_headers()
        while not registry.release.wait(0.1):
            handler.wfile.write(b"\0")
            handler.wfile.flush()

    registry.image("1", BIG)
    registry.faults.append(on(digest_of(BIG), trickle))
    assert "hangs" in str(pull_fails(registry, depot))


def test_nobody_listening_is_named(depot: Depot) -> None:
    with faulty_registry() as gone:
        pass
    assert "cannot connect" in str(pull_fails(gone, depot))


def test_a_broken_connection_is_taken_up_where_it_broke(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", BIG)
    half = len(BIG) // 2
    fault = on(digest_of(BIG), lambda handler: handler.drop(BIG[:half], announce=len(BIG)), times=1)
    registry.faults.append(fault)
    assert pull(registry, depot).failures == ()
    assert depot.check_blob(digest_of(BIG)) == len(BIG)
    ranges = [text for _command, path, text in registry.requests if digest_of(BIG) in path]
    assert ranges[0] == ""
    assert 0 < int(ranges[1].removeprefix("bytes=").removesuffix("-")) <= half


def test_a_registry_without_ranges_is_read_from_the_start_and_skipped(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", BIG)
    cut = on(digest_of(BIG), lambda handler: handler.drop(BIG[:1_000_000], announce=len(BIG)), times=1)
    registry.faults += [cut, on(digest_of(BIG), lambda handler: handler.answer(200, BIG))]
    assert pull(registry, depot).failures == ()
    assert depot.check_blob(digest_of(BIG)) == len(BIG)


def test_a_connection_that_breaks_again_and_again_without_progress_is_given_up(
    registry: FaultyRegistry, depot: Depot
) -> None:
    registry.image("1", BIG)
    registry.faults.append(on(digest_of(BIG), lambda handler: handler.drop(b"", announce=len(BIG))))
    assert "connection lost" in str(pull_fails(registry, depot))
    assert registry.fetched(digest_of(BIG)) == QUICK.attempts


def test_another_range_than_asked_for_is_a_lie(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", BIG)
    cut = on(digest_of(BIG), lambda handler: handler.drop(BIG[:1_000_000], announce=len(BIG)), times=1)
    wrong = {"Content-Range": f"bytes 0-9/{len(BIG)}"}
    registry.faults += [cut, on(digest_of(BIG), lambda handler: handler.answer(206, BIG[:10], wrong))]
    assert "another range" in str(pull_fails(registry, depot))


@pytest.mark.parametrize("given", [b"LAYER", b"layers", b"lay"])
def test_a_layer_of_another_digest_or_length_is_a_lie_and_does_not_enter(
    registry: FaultyRegistry, depot: Depot, given: bytes
) -> None:
    registry.image("1", b"layer")
    registry.blobs[digest_of(b"layer")] = given
    error = pull_fails(registry, depot)
    assert isinstance(error, RegistryLiesError)
    assert digest_of(b"layer") in str(error)
    assert not depot.has(digest_of(b"layer"))


def test_more_bytes_than_announced_nowhere_are_a_lie(registry: FaultyRegistry, depot: Depot) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        for _ in range(1000):
            handler.wfile.write(bytes(65536))

    registry.image("1", b"layer")
    registry.faults.append(on(digest_of(b"layer"), endless))
    error = pull_fails(registry, depot)
    assert isinstance(error, RegistryLiesError)
    assert "more than its 5 bytes" in str(error)


def test_a_manifest_of_another_digest_than_asked_for_is_a_lie(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    other = registry.image("2", b"other")
    registry.manifests[other["digest"]] = registry.manifests["1"]
    error = pull_fails(registry, depot, f"app@{other['digest']}")
    assert isinstance(error, RegistryLiesError)


def test_a_manifest_whose_header_names_another_digest_is_a_lie(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    _media_type, data = registry.manifests["1"]
    headers = {"Content-Type": MANIFEST, "Docker-Content-Digest": "sha256:" + "0" * 64}
    registry.faults.append(on("/manifests/1", lambda handler: handler.answer(200, data, headers)))
    assert isinstance(pull_fails(registry, depot), RegistryLiesError)


def test_a_child_of_an_index_that_was_exchanged_is_a_lie(registry: FaultyRegistry, depot: Depot) -> None:
    child, other = registry.image("a", b"layer"), registry.image("b", b"other")
    registry.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}, "1", media_type=INDEX)
    registry.manifests[child["digest"]] = registry.manifests[other["digest"]]
    assert isinstance(pull_fails(registry, depot), RegistryLiesError)


def test_a_manifest_above_the_limit_is_not_held(registry: FaultyRegistry, depot: Depot) -> None:
    registry.manifests["1"] = (MANIFEST, b" " * (4 * 2**20 + 1))
    assert "more than 4194304 bytes" in str(pull_fails(registry, depot))


def test_a_manifest_that_is_no_json_is_refused(registry: FaultyRegistry, depot: Depot) -> None:
    registry.manifests["1"] = (MANIFEST, b"<html>login</html>")
    assert isinstance(pull_fails(registry, depot), GraphError)


def test_a_page_in_place_of_a_manifest_is_refused(registry: FaultyRegistry, depot: Depot) -> None:
    registry.manifests["1"] = ("text/html", b"<html>login</html>")
    assert "text/html" in str(pull_fails(registry, depot))


def test_schema_1_is_refused_by_name(registry: FaultyRegistry, depot: Depot) -> None:
    media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.manifests["1"] = (media_type, b'{"schemaVersion":1}')
    error = pull_fails(registry, depot)
    assert "schema 1" in str(error)


def test_foreign_layers_are_refused_by_name_before_anything_is_fetched(registry: FaultyRegistry, depot: Depot) -> None:
    layer = {"mediaType": LAYER, "digest": "sha256:" + "7" * 64, "size": 9, "urls": ["https://example.com/x"]}
    config = registry.blob(b"{}", "application/json")
    registry.manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}, "1")
    assert "foreign layer" in str(pull_fails(registry, depot))
    assert not any("/blobs/" in path for _command, path, _range in registry.requests)


def test_a_media_type_that_nobody_tells_is_taken_from_the_manifest(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    registry.manifests["1"] = ("application/json", registry.manifests["1"][1])
    assert pull(registry, depot).artifacts[0].descriptor.media_type == MANIFEST


def test_layers_that_came_whole_are_not_fetched_again(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"first", b"second")
    fault = on(digest_of(b"second"), lambda handler: handler.error(400, "NO"))
    registry.faults.append(fault)
    pull_fails(registry, depot)
    registry.faults.clear()
    report = pull(registry, depot)
    assert report.failures == ()
    assert depot.missing(walk(depot, report.artifacts[0].descriptor)) == ()
    total = registry.fetched(digest_of(b"first"))
    pull(registry, depot)
    assert registry.fetched(digest_of(b"first")) == total


def test_one_of_forty_that_fails_leaves_the_others(registry: FaultyRegistry, depot: Depot) -> None:
    for number in range(40):
        registry.image(str(number), f"layer {number}".encode())
    del registry.manifests["17"]
    items = [ImageItem(reference=parse_reference(f"{registry.host}/app:{number}")) for number in range(40)]
    report = collect(items, depot, client_factory=client_of)
    assert len(report.artifacts) == len(depot.references()) == 39
    assert [failure.label for failure in report.failures] == [f"{registry.host}/app:17"]


def test_a_required_one_that_fails_stops(registry: FaultyRegistry, depot: Depot) -> None:
    with pytest.raises(RegistryError, match="404"):
        pull(registry, depot, required=True)


def test_a_redirect_is_followed(registry: FaultyRegistry, depot: Depot) -> None:
    registry.image("1", b"layer")
    digest = digest_of(b"layer")
    address = {"Location": f"http://{registry.host}/elsewhere"}
    registry.faults += [
        on(f"/blobs/{digest}", lambda handler: handler.answer(307, b"", address)),
        on("/elsewhere", lambda handler: handler.answer(200, b"layer")),
    ]
    assert pull(registry, depot).failures == ()


def test_endless_redirects_are_refused(registry: FaultyRegistry, depot: Depot) -> None:
    address = {"Location": f"http://{registry.host}/v2/app/manifests/1"}
    registry.faults.append(on("/manifests/", lambda handler: handler.answer(307, b"", address)))
    assert "redirects" in str(pull_fails(registry, depot))


class Uploads:
    """The upload half of a registry, which loses the connection in the middle of the second piece, once."""

    def __init__(self, *, forget: bool = False) -> None:
        self.data = bytearray()
        self.stored = b""
        self.broken = False
        self.forget = forget

    def __call__(self, handler: Handler) -> bool:
        if "/blobs/uploads" not in handler.path:
            return False
        location = {"Location": "/v2/app/blobs/uploads/1?state=x"}
        if handler.command == "POST":
            self.data.clear()
            handler.answer(202, b"", location)
        elif handler.command == "GET":
            self._status(handler, location)
        elif handler.command == "PATCH" and len(self.data) == 1000 and not self.broken:
            self.broken = True
            self.data += handler.body[:300]
            handler.close_connection = True
            handler.connection.close()
        elif handler.command == "PATCH":
            self.data += handler.body
            handler.answer(202, b"", location)
        else:
            self.stored = bytes(self.data) + handler.body
            handler.answer(201, b"", {"Docker-Content-Digest": digest_of(self.stored)})
        return True

    def _status(self, handler: Handler, location: dict[str, str]) -> None:
        if self.forget:
            handler.error(404, "BLOB_UPLOAD_UNKNOWN")
        else:
            handler.answer(204, b"", {**location, "Range": f"0-{len(self.data) - 1}"})


@pytest.mark.parametrize("forget", [False, True])
def test_an_upload_that_broke_goes_on_or_begins_again(registry: FaultyRegistry, forget: bool) -> None:
    uploads = Uploads(forget=forget)
    registry.faults.append(uploads)
    data, reported = bytes(range(250)) * 14, []
    transport = client_of(registry.host)._transport
    source = lambda: io.BytesIO(data)  # noqa: E731
    Upload(transport, "app", digest_of(data), len(data), source, reported.append, piece_bytes=1000).run()
    assert uploads.stored == data
    assert sum(reported) == len(data)
    assert sum(command == "POST" for command, _path, _range in registry.requests) == (2 if forget else 1)


def test_an_upload_stored_under_another_digest_is_a_lie(registry: FaultyRegistry) -> None:
    registry.faults.append(Uploads())
    with pytest.raises(RegistryLiesError, match="stored"):
        client_of(registry.host).push_blob("app", digest_of(b"a"), 1, lambda: io.BytesIO(b"b"))


def test_a_manifest_that_reads_back_differently_is_a_lie(registry: FaultyRegistry) -> None:
    registry.image("1", b"layer")
    registry.faults.append(lambda handler: handler.command == "PUT" and (handler.answer(201), True)[1])
    with pytest.raises(RegistryLiesError, match="read back"):
        client_of(registry.host).put_manifest("app", "1", MANIFEST, b"{}")
