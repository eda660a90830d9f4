"""Whatever is asked of a served stage, the answer is one of the specification's, and never more than the stage."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from content import add_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

from tidegate.depot.store import Depot
from tidegate_receiver.serving.api import RegistryApp
from tidegate_receiver.serving.catalog import StageCatalog

SECRET = b"a blob that no name reaches"
PARTS = st.sampled_from(
    ["v2", "app", "manifests", "blobs", "tags", "list", "referrers", "_catalog", "1", "..", "", "%2e"]
)
DIGESTS = st.sampled_from(["sha256:", "sha256:" + "0" * 64, "sha256:" + "A" * 64, "md5:1"])
PATHS = st.lists(PARTS | DIGESTS | st.text(max_size=8), max_size=7).map(lambda parts: "/" + "/".join(parts))
HEADERS = st.dictionaries(
    st.sampled_from(["Range", "Accept", "If-None-Match", "If-Range"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
    | st.just("bytes=0-3")
    | st.just("bytes=9-1"),
)
QUERIES = st.dictionaries(st.sampled_from(["n", "last", "artifactType", "ns"]), st.text(max_size=8))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    stage = Depot(Path(tmp_path_factory.mktemp("stage")))
    stage.set_references({"app:1": add_image(stage, [b"layer"])})
    with stage.commit() as commit:
        commit.add(SECRET)
    yield Client(RegistryApp(StageCatalog(stage.folder)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]), path=PATHS, headers=HEADERS, query=QUERIES)
def test_any_request_gets_an_answer_of_the_specification(
    client: Client, method: str, path: str, headers: dict[str, str], query: dict[str, str]
) -> None:
    # The path goes into the environment as it is: the client itself takes "//[" for an address, which no server does.
    answer = client.open(
        method=method,
        headers=headers,
        query_string=query,
        environ_overrides={"PATH_INFO": path.encode().decode("latin-1")},
    )
    assert answer.status_code in {200, 206, 304, 400, 404, 405, 416}
    assert SECRET not in answer.data
    if answer.status_code >= 400 and method != "HEAD":
        (error,) = json.loads(answer.data)["errors"]
        assert set(error) == {"code", "message"}
