"""The pull part of the distribution specification, answer by answer."""

import json
from pathlib import Path

import pytest
from content import add_files, add_image, add_index, add_referrer, tar_of
from werkzeug.test import Client, TestResponse

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import StageUnknownError
from tidegate.names import hex_of
from tidegate.oci import OCI_INDEX, OCI_MANIFEST, PLATFORMS
from tidegate_receiver.serving.api import RegistryApp
from tidegate_receiver.serving.catalog import StageCatalog

LAYER = tar_of({"a": b"0123456789" * 100})
ABSENT = "sha256:" + "0" * 64


@pytest.fixture
def stage(tmp_path: Path) -> Depot:
    stage = Depot(tmp_path / "default")
    stage.set_references({"app:1": add_image(stage, [LAYER]), "team/tool:v2": add_image(stage, [b"other"])})
    return stage


@pytest.fixture
def client(stage: Depot) -> Client:
    return Client(RegistryApp(StageCatalog(stage.folder)))


def code_of(response: TestResponse) -> tuple[int, str]:
    assert response.content_type == "application/json"
    return response.status_code, json.loads(response.data)["errors"][0]["code"]


def root_of(stage: Depot, place: str) -> Descriptor:
    found = stage.reference(place)
    assert found is not None
    return found


def test_base_says_that_this_is_a_registry(client: Client) -> None:
    response = client.get("/v2/")
    assert response.status_code == 200
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_manifest_is_given_by_tag_and_by_digest(client: Client, stage: Depot) -> None:
    root = root_of(stage, "app:1")
    for reference in ("1", root.digest):
        response = client.get(f"/v2/app/manifests/{reference}", headers={"Accept": OCI_MANIFEST})
        assert response.status_code == 200
        assert response.data == stage.read_blob(root.digest, max_bytes=10_000)
        assert response.content_type == OCI_MANIFEST
        assert response.headers["Docker-Content-Digest"] == root.digest
        assert response.headers["ETag"] == f'"{root.digest}"'


def test_manifest_head_has_the_headers_and_no_body(client: Client, stage: Depot) -> None:
    root = root_of(stage, "app:1")
    response = client.head("/v2/app/manifests/1?ns=docker.io")
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == str(root.size)
    assert response.headers["Docker-Content-Digest"] == root.digest


def test_manifest_of_a_type_that_is_not_accepted_is_unknown(client: Client) -> None:
    response = client.get("/v2/app/manifests/1", headers={"Accept": OCI_INDEX})
    assert code_of(response) == (404, "MANIFEST_UNKNOWN")
    assert client.get("/v2/app/manifests/1", headers={"Accept": f"{OCI_INDEX}, */*;q=0.1"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v2/app/manifests/2", (404, "MANIFEST_UNKNOWN")),
        (f"/v2/app/manifests/{ABSENT}", (404, "MANIFEST_UNKNOWN")),
        ("/v2/none/manifests/1", (404, "NAME_UNKNOWN")),
        ("/v2/app/manifests/sha256:12", (400, "DIGEST_INVALID")),
        (f"/v2/app/blobs/{ABSENT}", (404, "BLOB_UNKNOWN")),
        ("/v2/app/blobs/sha512:12", (400, "DIGEST_INVALID")),
        ("/v2/app/blobs/..%2f..%2findex.json", (404, "NAME_UNKNOWN")),
        ("/v2/App/tags/list", (404, "NAME_UNKNOWN")),
        ("/v2/none/tags/list", (404, "NAME_UNKNOWN")),
        ("/v2/app/referrers/x", (400, "DIGEST_INVALID")),
        ("/v2/app/tags/list?n=-1", (400, "PAGINATION_NUMBER_INVALID")),
        ("/nothing", (404, "NAME_UNKNOWN")),
        ("/v2//app/tags/list", (404, "NAME_UNKNOWN")),
    ],
)
def test_what_is_not_there_has_its_code(client: Client, path: str, answer: tuple[int, str]) -> None:
    assert code_of(client.get(path)) == answer


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v2/app/blobs/uploads/", "/v2/app/manifests/1", "/v2/"])
def test_writes_are_unsupported(client: Client, method: str, path: str) -> None:
    response = client.open(path, method=method, data=b"x")
    assert code_of(response) == (405, "UNSUPPORTED")
    assert response.headers["Allow"] == "GET, HEAD"


def layer_of(stage: Depot, place: str) -> str:
    manifest = json.loads(stage.read_blob(root_of(stage, place).digest, max_bytes=10_000))
    return str(manifest["layers"][0]["digest"])


def test_blob_is_given_whole_with_its_digest(client: Client, stage: Depot) -> None:
    response = client.get(f"/v2/app/blobs/{layer_of(stage, 'app:1')}")
    assert (response.status_code, response.data) == (200, LAYER)
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Length"] == str(len(LAYER))


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=512-", 512, len(LAYER)), ("bytes=-7", len(LAYER) - 7, len(LAYER))],
)
def test_blob_range_is_honoured(client: Client, stage: Depot, asked: str, start: int, stop: int) -> None:
    response = client.get(f"/v2/app/blobs/{layer_of(stage, 'app:1')}", headers={"Range": asked})
    assert (response.status_code, response.data) == (206, LAYER[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(LAYER)}"


def test_blob_range_outside_is_416_and_several_ranges_give_the_whole(client: Client, stage: Depot) -> None:
    path = f"/v2/app/blobs/{layer_of(stage, 'app:1')}"
    response = client.get(path, headers={"Range": f"bytes={len(LAYER)}-"})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{len(LAYER)}"
    assert client.get(path, headers={"Range": "bytes=0-1,4-5"}).data == LAYER
    assert client.get(path, headers={"Range": "nonsense"}).data == LAYER
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"another"'}).data == LAYER


def test_blob_that_the_client_has_is_not_sent_again(client: Client, stage: Depot) -> None:
    digest = layer_of(stage, "app:1")
    response = client.get(f"/v2/app/blobs/{digest}", headers={"If-None-Match": f'"{digest}"'})
    assert (response.status_code, response.data) == (304, b"")


def test_a_repository_answers_only_for_what_its_own_tags_reach(client: Client, stage: Depot) -> None:
    assert code_of(client.get(f"/v2/team/tool/blobs/{layer_of(stage, 'app:1')}")) == (404, "BLOB_UNKNOWN")
    digest = root_of(stage, "app:1").digest
    assert code_of(client.get(f"/v2/team/tool/manifests/{digest}")) == (404, "MANIFEST_UNKNOWN")


def test_a_blob_that_no_name_reaches_is_not_served(client: Client, stage: Depot) -> None:
    with stage.commit() as commit:
        secret = commit.add(b"left over")
    assert code_of(client.get(f"/v2/app/blobs/{secret.digest}")) == (404, "BLOB_UNKNOWN")


def test_tags_come_in_pages(client: Client, stage: Depot) -> None:
    root = root_of(stage, "app:1")
    stage.set_references({f"app:{tag}": root for tag in ("a", "b", "c", "Z")})
    assert client.get("/v2/app/tags/list").json == {"name": "app", "tags": ["1", "Z", "a", "b", "c"]}
    first = client.get("/v2/app/tags/list?n=2")
    assert first.json == {"name": "app", "tags": ["1", "Z"]}
    assert first.headers["Link"] == '</v2/app/tags/list?n=2&last=Z>; rel="next"'
    last = client.get("/v2/app/tags/list?n=3&last=Z")
    assert last.json == {"name": "app", "tags": ["a", "b", "c"]}
    assert "Link" not in last.headers
    assert client.get("/v2/app/tags/list?n=0").json == {"name": "app", "tags": []}


def test_catalog_lists_repositories(client: Client) -> None:
    assert client.get("/v2/_catalog").json == {"repositories": ["app", "team/tool"]}
    page = client.get("/v2/_catalog?n=1")
    assert page.json == {"repositories": ["app"]}
    assert page.headers["Link"] == '</v2/_catalog?n=1&last=app>; rel="next"'


def test_referrers_are_listed_and_filtered(client: Client, stage: Depot) -> None:
    subject = root_of(stage, "app:1")
    signature = add_referrer(stage, subject, "application/test.signature")
    sbom = add_referrer(stage, subject, "application/test.sbom")
    stage.set_references({"app:sig": signature, "app:sbom": sbom})
    everything = client.get(f"/v2/app/referrers/{subject.digest}")
    assert everything.content_type == OCI_INDEX
    assert {item["digest"] for item in everything.json["manifests"]} == {signature.digest, sbom.digest}
    assert "OCI-Filters-Applied" not in everything.headers
    filtered = client.get(f"/v2/app/referrers/{subject.digest}?artifactType=application/test.sbom")
    assert [item["digest"] for item in filtered.json["manifests"]] == [sbom.digest]
    assert filtered.json["manifests"][0]["annotations"] == {"by": "test"}
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"


def test_referrers_of_an_unknown_subject_are_an_empty_list(client: Client) -> None:
    for name in ("app", "none"):
        response = client.get(f"/v2/{name}/referrers/{ABSENT}")
        assert (response.status_code, response.json["manifests"]) == (200, [])


def test_index_is_read_again_when_it_changes(client: Client, stage: Depot) -> None:
    before = client.head("/v2/app/manifests/1").headers["Docker-Content-Digest"]
    stage.set_references({"app:1": add_image(stage, [b"new"]), "files/docs:latest": add_files(stage, "docs", [LAYER])})
    assert client.head("/v2/app/manifests/1").headers["Docker-Content-Digest"] != before
    assert client.get("/v2/files/docs/tags/list").json == {"name": "files/docs", "tags": ["latest"]}
    assert code_of(client.get(f"/v2/app/manifests/{before}")) == (404, "MANIFEST_UNKNOWN")


def test_an_index_of_chosen_platforms_serves_those(client: Client, stage: Depot, tmp_path: Path) -> None:
    elsewhere = Depot(tmp_path / "elsewhere")
    mine, other = add_image(stage, [b"arm"], architecture="arm64"), add_image(elsewhere, [b"x86"])
    index = add_index(stage, {"arm64": mine, "amd64": other})
    chosen = Descriptor(index.media_type, index.digest, index.size, annotations={PLATFORMS: "linux/arm64"})
    stage.set_references({"multi:1": chosen})
    assert client.get("/v2/multi/manifests/1").status_code == 200
    assert client.get(f"/v2/multi/manifests/{mine.digest}").status_code == 200
    assert code_of(client.get(f"/v2/multi/manifests/{other.digest}")) == (404, "MANIFEST_UNKNOWN")


def test_an_image_by_digest_alone_is_served_without_a_tag(client: Client, stage: Depot) -> None:
    root = add_image(stage, [b"by digest"])
    stage.set_references({f"plain@{root.digest}": root})
    assert client.get("/v2/plain/tags/list").json == {"name": "plain", "tags": []}
    assert client.get(f"/v2/plain/manifests/{root.digest}").status_code == 200


def test_a_damaged_artifact_is_left_out_and_the_others_are_served(client: Client, stage: Depot) -> None:
    path = stage.blob_path(root_of(stage, "app:1").digest)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    assert code_of(client.get("/v2/app/manifests/1")) == (404, "NAME_UNKNOWN")
    assert client.get("/v2/team/tool/manifests/v2").status_code == 200


def test_a_blob_of_another_size_or_missing_is_not_served(client: Client, stage: Depot) -> None:
    digest = layer_of(stage, "app:1")
    path = stage.folder / "blobs/sha256" / hex_of(digest)
    path.chmod(0o644)
    path.write_bytes(b"short")
    assert code_of(client.get(f"/v2/app/blobs/{digest}")) == (404, "BLOB_UNKNOWN")
    path.unlink()
    assert code_of(client.get(f"/v2/app/blobs/{digest}")) == (404, "BLOB_UNKNOWN")


def test_an_index_that_breaks_keeps_what_was_served(client: Client, stage: Depot) -> None:
    assert client.get("/v2/app/manifests/1").status_code == 200
    (stage.folder / "index.json").write_bytes(b"{")
    assert client.get("/v2/app/manifests/1").status_code == 200


def test_a_folder_without_an_index_is_no_stage(tmp_path: Path) -> None:
    with pytest.raises(StageUnknownError):
        StageCatalog(tmp_path)
