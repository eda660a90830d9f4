"""The pull part of the OCI distribution specification 1.1, as a WSGI application over a stage.

Every answer is made from the stage's catalog (`serving.catalog`): a repository answers for what its own tags reach
and for nothing else. Errors have the specification's JSON form. A blob's answer carries a `FileBody`, which the
server (`serve`) sends with sendfile; any other WSGI server can iterate it.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import quote

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, Rule
from werkzeug.wrappers import Request, Response

from tidegate.names import DIGEST
from tidegate.oci import OCI_INDEX
from tidegate.units import KIB
from tidegate_receiver.serving.catalog import Catalog, Repository

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

JSON_TYPE = "application/json"
BLOB_TYPE = "application/octet-stream"
PAGE_MAX = 1000  # names on one page of a list; a Link header leads to the next
_PIECE = 256 * KIB
#: names of repositories and tags as in the specification, "Pulling manifests"
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_DIGEST = re.compile(DIGEST)
_HOST = re.compile(r"(?:[a-zA-Z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?")


class CatalogSource(Protocol):
    """What answers are made from: the stage's present catalog, and its blobs."""

    def catalog(self) -> Catalog: ...

    def open_blob(self, digest: str, size: int) -> BinaryIO | None: ...


class NameConverter(BaseConverter):
    """A repository's name: path components joined by slashes."""

    regex = _NAME
    part_isolating = False


class FileBody:
    """A run of an open file as a response's body. Whoever sends it closes it."""

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        self.file = file
        self.offset = offset
        self.length = length

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(self.offset)
        left = self.length
        while left:
            piece = self.file.read(min(left, _PIECE))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def close(self) -> None:
        self.file.close()


class ApiError(Exception):
    """An answer of the specification's error form."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}

    def response(self) -> Response:
        body = json.dumps({"errors": [{"code": self.code, "message": str(self)}]})
        return Response(body, self.status, headers=self.headers, content_type=JSON_TYPE)


def _rule(path: str, endpoint: str) -> Rule:
    return Rule(path, endpoint=endpoint, strict_slashes=True, merge_slashes=False)


ROUTES = Map(
    [
        _rule("/", "page"),
        _rule("/index.yaml", "chart_index"),
        _rule("/charts/<path:path>", "chart"),
        _rule("/v2/", "base"),
        _rule("/v2", "base"),
        _rule("/v2/_catalog", "catalog"),
        _rule("/v2/<name:name>/tags/list", "tags"),
        _rule("/v2/<name:name>/manifests/<string:reference>", "manifest"),
        _rule("/v2/<name:name>/blobs/<string:digest>", "blob"),
        _rule("/v2/<name:name>/referrers/<string:digest>", "referrers"),
    ],
    converters={"name": NameConverter},
    merge_slashes=False,
    redirect_defaults=False,
)


class RegistryApp:
    """The WSGI application: one stage, read only. Safe for threads."""

    def __init__(self, source: CatalogSource) -> None:
        self._source = source
        self._endpoints: dict[str, Callable[..., Response]] = {
            "page": self._page,
            "chart_index": self._chart_index,
            "chart": self._chart,
            "base": self._base,
            "catalog": self._catalog,
            "tags": self._tags,
            "manifest": self._manifest,
            "blob": self._blob,
            "referrers": self._referrers,
        }

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._answer(request)
        except ApiError as error:
            response = error.response()
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        body = response.response
        if isinstance(body, FileBody) and request.method == "GET":
            # Past werkzeug's wrappers, so that the server sees the FileBody and can use sendfile.
            start_response(response.status, response.get_wsgi_headers(environ).to_wsgi_list())
            return body
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            raise ApiError(405, "UNSUPPORTED", "this registry is read only", {"Allow": "GET, HEAD"})
        try:
            endpoint, values = ROUTES.bind_to_environ(request.environ).match()
        except HTTPException:
            raise ApiError(404, "NAME_UNKNOWN", f"no such place: {request.path}") from None
        return self._endpoints[endpoint](request, **values)

    def _page(self, request: Request) -> Response:
        """For people; `serving.page`."""
        from tidegate_receiver.serving.page import SECURITY, page

        host = request.host if _HOST.fullmatch(request.host) else "this-host"
        text = page(self._source.catalog(), host, request.scheme)
        headers = {"Content-Security-Policy": SECURITY, "X-Content-Type-Options": "nosniff"}
        return Response(text, headers=headers, content_type="text/html; charset=utf-8")

    def _chart_index(self, request: Request) -> Response:
        """For ``helm repo add``; `serving.charts`."""
        del request
        from tidegate_receiver.serving.charts import chart_index

        return Response(chart_index(self._source.catalog()), content_type="application/yaml")

    def _chart(self, request: Request, path: str) -> Response:
        from tidegate_receiver.serving.charts import find_chart

        blob = find_chart(self._source.catalog(), path)
        if blob is None:
            raise ApiError(404, "NAME_UNKNOWN", f"no chart {path}")
        return self._bytes(request, blob.digest, blob.size, BLOB_TYPE)

    def _base(self, request: Request) -> Response:
        del request
        return _json({})

    def _catalog(self, request: Request) -> Response:
        names, link = _page(request, sorted(self._source.catalog().repositories))
        return _json({"repositories": names}, link)

    def _tags(self, request: Request, name: str) -> Response:
        names, link = _page(request, sorted(self._repository(name).tags))
        return _json({"name": name, "tags": names}, link)

    def _manifest(self, request: Request, name: str, reference: str) -> Response:
        repository = self._repository(name)
        digest = repository.tags.get(reference) if _TAG.match(reference) else reference
        if digest is not None and not _DIGEST.fullmatch(digest):
            raise ApiError(400, "DIGEST_INVALID", f"{reference} is no tag and no sha256 digest")
        manifest = repository.manifests.get(digest) if digest else None
        if digest is None or manifest is None:
            raise ApiError(404, "MANIFEST_UNKNOWN", f"{name} has no manifest {reference}")
        if not _accepts(request, manifest.media_type):
            # 404 as the distribution registry answers, not 406: it is what clients know.
            raise ApiError(404, "MANIFEST_UNKNOWN", f"{reference} is {manifest.media_type}, not in the Accept header")
        return self._bytes(request, digest, manifest.size, manifest.media_type)

    def _blob(self, request: Request, name: str, digest: str) -> Response:
        if not _DIGEST.fullmatch(digest):
            raise ApiError(400, "DIGEST_INVALID", f"{digest} is no sha256 digest")
        size = self._repository(name).blobs.get(digest)
        if size is None:
            raise ApiError(404, "BLOB_UNKNOWN", f"{name} has no blob {digest}")
        return self._bytes(request, digest, size, BLOB_TYPE)

    def _referrers(self, request: Request, name: str, digest: str) -> Response:
        if not _DIGEST.fullmatch(digest):
            raise ApiError(400, "DIGEST_INVALID", f"{digest} is no sha256 digest")
        # Never 404: an unknown subject has no referrers ("Listing Referrers").
        repository = self._source.catalog().repositories.get(name)
        found = repository.referrers.get(digest, ()) if repository else ()
        headers = {}
        wanted = request.args.get("artifactType")
        if wanted:
            found = tuple(item for item in found if item.artifact_type == wanted)
            headers["OCI-Filters-Applied"] = "artifactType"
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [item.to_json() for item in found]}
        return Response(json.dumps(index), headers=headers, content_type=OCI_INDEX)

    def _repository(self, name: str) -> Repository:
        repository = self._source.catalog().repositories.get(name)
        if repository is None:
            raise ApiError(404, "NAME_UNKNOWN", f"no repository {name} in this stage")
        return repository

    def _bytes(self, request: Request, digest: str, size: int, media_type: str) -> Response:
        """The blob, or the range of it that was asked for."""
        headers = Headers({"Docker-Content-Digest": digest, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"})
        if digest in request.if_none_match:
            return Response(status=304, headers=headers)
        start, stop, status = _range(request, digest, size)
        headers["Content-Type"] = media_type
        headers["Content-Length"] = str(stop - start)
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if request.method == "HEAD":
            return Response(status=status, headers=headers)
        file = self._source.open_blob(digest, size)
        if file is None:
            raise ApiError(404, "BLOB_UNKNOWN", f"{digest} is damaged or missing in this stage")
        response = Response(status=status, headers=headers)
        response.response = FileBody(file, start, stop - start)
        return response


def _range(request: Request, digest: str, size: int) -> tuple[int, int, int]:
    """(start, stop, status): one range is honoured, several are answered with the whole, as RFC 9110 allows."""
    asked = request.range
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return 0, size, 200
    condition = request.headers.get("If-Range")
    if condition is not None and condition != f'"{digest}"':
        return 0, size, 200
    found = asked.range_for_length(size)
    if found is None:
        raise ApiError(416, "SIZE_INVALID", f"range outside of {size} bytes", {"Content-Range": f"bytes */{size}"})
    return found[0], found[1], 206


def _accepts(request: Request, media_type: str) -> bool:
    """Whether the Accept header takes `media_type`; no header takes everything."""
    accepted = request.accept_mimetypes
    return not accepted or accepted.quality(media_type) > 0


def _page(request: Request, names: Sequence[str]) -> tuple[list[str], str | None]:
    """One page of sorted names by the parameters `n` and `last`, and the Link header to the next one."""
    last = request.args.get("last")
    rest = [name for name in names if name > last] if last else list(names)
    text = request.args.get("n", str(PAGE_MAX))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ApiError(400, "PAGINATION_NUMBER_INVALID", f"n={text} is no number of names")
    count = min(int(text), PAGE_MAX)
    page = rest[:count]
    if not page or len(rest) <= count:
        return page, None
    return page, f'<{quote(request.path)}?n={count}&last={quote(page[-1], safe="")}>; rel="next"'


def _json(value: dict[str, object], link: str | None = None) -> Response:
    return Response(json.dumps(value), headers={"Link": link} if link else None, content_type=JSON_TYPE)
