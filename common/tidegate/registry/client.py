"""The distribution API of one registry: manifests and blobs out of it and into it.

Pulling: `manifest`, `fetch_blob`. Pushing: `has_blob`, `mount_blob`, `push_blob`, `put_manifest`. Manifests are checked
here against the digest that was asked for; a blob's bytes go to the caller's writer, which checks them. A connection
that breaks inside a blob is taken up again where it broke. Specification: opencontainers/distribution-spec, v1.1.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, urljoin

import msgspec
import urllib3

from tidegate.errors import RegistryError, RegistryLiesError
from tidegate.oci import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tidegate.registry.access import RegistryAccess
from tidegate.registry.transport import PassingError, Timeouts, Transport, final
from tidegate.registry.upload import BlobSource, Upload
from tidegate.units import MIB

MANIFEST_MAX_BYTES = 4 * MIB
_TAGS_MAX = 100_000
_TAGS_PAGE_MAX = 4 * MIB
# Schema 1 is asked for last, so that an old image is refused by its name and not as "not found".
ACCEPT = ", ".join(
    (
        OCI_INDEX,
        OCI_MANIFEST,
        DOCKER_INDEX,
        DOCKER_MANIFEST,
        "application/vnd.docker.distribution.manifest.v1+json;q=0.1",
    )
)
_OK = frozenset({200})
#: registries without the referrers API say so in all these ways
_REFERRERS = frozenset({200, 400, 404, 405, 406, 501})
_REFERRER_PAGES_MAX = 64
_NO_TYPE = {"", "application/json", "text/plain", "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class ManifestAnswer:
    """A manifest or index as a registry gave it; `digest` was computed from `data`."""

    media_type: str
    digest: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


class _TagList(msgspec.Struct):
    tags: list[str] | None = None


class RegistryClient:
    """One registry, by its host (``localhost:5000``). May be used by several threads."""

    def __init__(
        self,
        host: str,
        *,
        scheme: str | None = None,
        timeouts: Timeouts | None = None,
        access: RegistryAccess | None = None,
    ) -> None:
        self.host = host
        self._transport = Transport(host, scheme=scheme, timeouts=timeouts, access=access)
        self._without_referrers: set[str] = set()  # repositories that were asked for referrers, and have no such API
        #: what this host knows about registries; chart repositories are reached with the same
        self.access = access

    def ping(self) -> None:
        """Raises RegistryError where no registry answers at this host, RegistryAuthError where it wants credentials."""
        self._transport.send("GET", "/v2/", what="registry", expect=_OK, finish=True)

    # --- manifests ---------------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> ManifestAnswer:
        """The manifest or index of a tag or digest.

        Raises RegistryLiesError when its bytes have not the digest asked for, or not the one the registry names.
        """
        answer = self._get_manifest(repository, reference, _OK)
        assert answer is not None, "404 is not expected here, and raised"
        return answer

    def find_manifest(self, repository: str, reference: str) -> ManifestAnswer | None:
        """As `manifest`; None where the registry has no such manifest. A pull is counted for what is there alone."""
        return self._get_manifest(repository, reference, frozenset({200, 404}))

    def _get_manifest(self, repository: str, reference: str, expect: frozenset[int]) -> ManifestAnswer | None:
        what = _object(repository, reference)
        response = self._transport.send(
            "GET", self._manifest_path(repository, reference), what=what, expect=expect, headers={"Accept": ACCEPT}
        )
        if response.status == 404:
            self._transport.throw_away(response)
            return None
        named = response.headers.get("Docker-Content-Digest", "")
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        data = self._transport.read_all(response, what, MANIFEST_MAX_BYTES)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        asked = reference if reference.startswith("sha256:") else ""
        for expected in (asked, named if named.startswith("sha256:") else ""):
            if expected and expected != digest:
                raise RegistryLiesError(f"{self.host}: {what}: says {expected}, its bytes have the digest {digest}")
        return ManifestAnswer("" if media_type in _NO_TYPE else media_type, digest, data)

    def manifest_digest(self, repository: str, reference: str) -> str | None:
        """The digest that a tag stands for now; None where the registry has no such manifest."""
        what = _object(repository, reference)
        response = self._transport.send(
            "HEAD",
            self._manifest_path(repository, reference),
            what=what,
            expect=frozenset({200, 404}),
            headers={"Accept": ACCEPT},
            finish=True,
        )
        if response.status == 404:
            return None
        return response.headers.get("Docker-Content-Digest") or self.manifest(repository, reference).digest

    def put_manifest(self, repository: str, reference: str, media_type: str, data: bytes) -> str:
        """Put a manifest under a tag or its digest, and read its digest back. Gives the digest.

        Raises RegistryError with `code` ``MANIFEST_BLOB_UNKNOWN`` where the registry lacks something it names,
        RegistryLiesError when another digest comes back.
        """
        what = _object(repository, reference)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._transport.send(
            "PUT",
            self._manifest_path(repository, reference),
            what=what,
            expect=frozenset({200, 201, 202}),
            headers={"Content-Type": media_type},
            body=data,
            finish=True,
        )
        back = self.manifest_digest(repository, reference)
        if back != digest:
            raise RegistryLiesError(f"{self.host}: {what}: put {digest}, read back {back or 'nothing'}")
        return digest

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete the manifest `digest`, and with it every tag that stands for it; gone before is fine as well."""
        what = _object(repository, digest)
        expect = frozenset({200, 202, 204, 404})
        self._transport.send("DELETE", self._manifest_path(repository, digest), what=what, expect=expect, finish=True)

    def tags(self, repository: str) -> tuple[str, ...]:
        """All tags of a repository, in the registry's order; none where it has no such repository."""
        url: str | None = f"/v2/{repository}/tags/list"
        tags: list[str] = []
        while url is not None and len(tags) < _TAGS_MAX:
            response = self._transport.send("GET", url, what=repository, expect=frozenset({200, 404}))
            data = self._transport.read_all(response, repository, _TAGS_PAGE_MAX)
            if response.status == 404:
                break
            try:
                tags += msgspec.json.decode(data, type=_TagList).tags or []
            except (msgspec.MsgspecError, RecursionError) as error:
                raise RegistryError(f"{self.host}: {repository}: tags: {error}") from None
            url = self._next_page(url, response.headers.get("Link", ""))
        return tuple(tags)

    def referrers(self, repository: str, digest: str) -> tuple[bytes, ...] | None:
        """The pages of what refers to a manifest, unread; None where the repository has no such API, asked once."""
        if repository in self._without_referrers:
            return None
        what = f"{repository}@{digest}: referrers"
        url: str | None = f"/v2/{repository}/referrers/{digest}"
        pages: list[bytes] = []
        while url is not None:
            response = self._transport.send("GET", url, what=what, expect=_REFERRERS, headers={"Accept": OCI_INDEX})
            data = self._transport.read_all(response, what, MANIFEST_MAX_BYTES)
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if response.status != 200 or (not pages and media_type != OCI_INDEX):
                if not pages:
                    self._without_referrers.add(repository)
                return None  # a page of HTML with 200 is no answer either
            pages.append(data)
            if len(pages) > _REFERRER_PAGES_MAX:
                raise RegistryLiesError(f"{self.host}: {what}: more than {_REFERRER_PAGES_MAX} pages")
            url = self._next_page(url, response.headers.get("Link", ""))
        return tuple(pages)

    def _next_page(self, url: str, link: str) -> str | None:
        """The address in a Link header; only this registry's own is followed."""
        found = re.match(r"<([^>]+)>;\s*rel=\"?next", link)
        following = urljoin(self._transport.base + url if url.startswith("/") else url, found[1]) if found else None
        return following if following and following.startswith(f"{self._transport.base}/") else None

    # --- blobs out ---------------------------------------------------------------------------

    def fetch_blob(
        self, repository: str, digest: str, size: int, write: Callable[[bytes], object], *, start: int = 0
    ) -> None:
        """Give the blob's bytes from `start` to `size` to `write`, in order, each once; goes on where a line breaks.

        Raises RegistryLiesError when the registry names or gives another length. The digest is the writer's check.
        """
        what = _object(repository, digest)
        received, failures = start, 0
        while received < size:
            before = received
            try:
                for piece in self._blob_pieces(repository, digest, size, received):
                    write(piece)
                    received += len(piece)
                if received < size:
                    raise PassingError(f"{self.host}: {what}: connection lost after {received} of {size} bytes")
            except PassingError as error:
                # Attempts count from the last progress: a long blob over a bad line still arrives.
                failures = 1 if received - before >= MIB else failures + 1
                if not self._transport.may_retry(error, failures):
                    raise final(error) from None
                self._transport.pause(error, failures)

    def _blob_pieces(self, repository: str, digest: str, size: int, start: int) -> Iterator[bytes]:
        """The blob's bytes from `start` on, in one answer, as far as it comes."""
        what = _object(repository, digest)
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._transport.send_once(
            "GET", f"/v2/{repository}/blobs/{digest}", what=what, expect=frozenset({200, 206}), headers=headers
        )
        try:
            skip, rest = self._expected_body(response, what, size, start), size - start
            for whole in self._transport.pieces(response, what):
                piece = whole[skip:]
                skip -= len(whole) - len(piece)
                if len(piece) > rest:
                    raise RegistryLiesError(f"{self.host}: {what}: gives more than its {size} bytes")
                rest -= len(piece)
                yield piece
        finally:
            # Closing also serves the good case: urllib3 has put a fully read connection back into its pool by then.
            response.close()

    def _expected_body(self, response: urllib3.BaseHTTPResponse, what: str, size: int, start: int) -> int:
        """How many bytes of the body to skip: a registry may answer a range with the whole blob."""
        if response.status == 206:
            first = re.match(r"bytes (\d{1,15})-", response.headers.get("Content-Range", ""))
            if first is None or int(first[1]) != start:
                raise RegistryLiesError(f"{self.host}: {what}: asked for bytes from {start}, got another range")
            skip = 0
        else:
            skip = start
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:18]) != size - start + skip:
            raise RegistryLiesError(f"{self.host}: {what}: announces {length} bytes, {size - start + skip} expected")
        return skip

    # --- blobs in ----------------------------------------------------------------------------

    def has_blob(self, repository: str, digest: str, size: int | None = None) -> bool:
        """Whether the repository has the blob. Raises RegistryLiesError where it has it with another `size`."""
        what = _object(repository, digest)
        response = self._transport.send(
            "HEAD", f"/v2/{repository}/blobs/{digest}", what=what, expect=frozenset({200, 404}), finish=True
        )
        if response.status == 404:
            return False
        length = response.headers.get("Content-Length", "")
        if size is not None and length.isdecimal() and int(length) != size:
            raise RegistryLiesError(f"{self.host}: {what}: says {length} bytes, it has {size}")
        return True

    def mount_blob(self, repository: str, digest: str, from_repository: str) -> bool:
        """Take a blob over from another repository of this registry; False where the registry does not do it."""
        path = f"/v2/{repository}/blobs/uploads/?mount={quote(digest)}&from={quote(from_repository, safe='')}"
        what = _object(repository, digest)
        response = self._transport.send("POST", path, what=what, expect=frozenset({201, 202}), finish=True)
        if response.status == 201:
            return True
        self._cancel(response.headers.get("Location", ""), what)
        return False

    def _cancel(self, location: str, what: str) -> None:
        """Close the upload that the registry opened in place of a mount; a registry that cannot will expire it."""
        if location:
            with contextlib.suppress(RegistryError):
                url = urljoin(self._transport.base, location)
                self._transport.send_once("DELETE", url, what=what, expect=frozenset({200, 202, 204, 404}))

    def push_blob(
        self,
        repository: str,
        digest: str,
        size: int,
        source: BlobSource,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Send a blob; `source` opens it at an offset. Large ones in pieces, taken up again where they broke.

        `progress` gets the number of bytes that arrived since it was last called.
        """
        Upload(self._transport, repository, digest, size, source, progress).run()

    def _manifest_path(self, repository: str, reference: str) -> str:
        return f"/v2/{repository}/manifests/{quote(reference, safe=':')}"


def _object(repository: str, reference: str) -> str:
    return f"{repository}{'@' if reference.startswith('sha256:') else ':'}{reference}"
