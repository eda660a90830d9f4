"""Load charts into a repository over HTTP: ChartMuseum's API, or a plain PUT as Artifactory, Nexus and WebDAV take it.

A chart that is there with the same bytes is left alone; one with other bytes under the same version is refused, since
who has installed it would not see the change. What was sent is read back. Whatever is no chart is left out and named.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Self
from urllib.parse import quote, urlsplit

from tidegate.charts.archive import CHART_MAX_BYTES
from tidegate.charts.artifact import PROVENANCE_MAX_BYTES, ChartBlobs, chart_blobs
from tidegate.charts.metadata import METADATA_MAX_BYTES, ChartMetadata, parse_metadata
from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, Descriptor, parse_manifest
from tidegate.errors import BlobMissingError, FormatError, LoadError, NameTakenError
from tidegate.registry.client import RegistryClient
from tidegate.registry.transport import Transport
from tidegate_receiver.loaders.items import LEFT_OUT, BlobSource, LoadedItem, LoadItem

_FOUND = frozenset({200})
_MAYBE = frozenset({200, 404})
#: 409, where nothing was there: the answer to a first attempt was lost; what is there is read back
_STORED = frozenset({200, 201, 202, 204, 409})


class Style(StrEnum):
    """How a repository takes charts."""

    MUSEUM = "chartmuseum"
    PUT = "put"


@dataclass(frozen=True, slots=True)
class _Chart:
    metadata: ChartMetadata
    blobs: ChartBlobs


class ChartRepositoryLoader:
    """Sends charts of `source` to the repository at `url`, reached as `client` reaches its host."""

    def __init__(self, source: BlobSource, style: Style, url: str, *, client: RegistryClient) -> None:
        parts = urlsplit(url)
        self.target = f"{style}+{url.rstrip('/')}"
        self._source, self._style = source, style
        self._path = parts.path.rstrip("/")
        self._transport = Transport(parts.netloc, scheme=parts.scheme, access=client.access)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def check(self, items: tuple[LoadItem, ...]) -> None:
        """Every chart is whole, and the repository answers. Raises LoadError where there is no chart among them."""
        charts = [chart for item in items if (chart := self._chart(item)) is not None]
        if items and not charts:
            raise LoadError(f"{self.target}: takes charts, and the bundle has none", hint="load it to a registry")
        missing = self._source.missing(
            blob for chart in charts for blob in (chart.blobs.content, chart.blobs.provenance) if blob is not None
        )
        if missing:
            raise BlobMissingError(f"chart blob {missing[0].digest} is missing, or has another size")
        path = f"{self._path}/health" if self._style is Style.MUSEUM and not self._path else f"{self._path}/"
        expect = frozenset({200, 204, 301, 302, 404, 405})
        self._transport.send("GET", path, what="repository", expect=expect, finish=True)

    def load(self, item: LoadItem) -> LoadedItem:
        """Send one chart. Raises RegistryError, NameTakenError."""
        chart = self._chart(item)
        if chart is None:
            note = f"{item.name}: is no chart, and is left out of {self.target}"
            return LoadedItem(item.name, LEFT_OUT, item.root.digest, changed=False, notes=(note,))
        place = f"{self.target}/{chart.metadata.file_name}"
        present = self._present(chart.metadata.file_name)
        if present and present != chart.blobs.content.digest:
            raise NameTakenError(
                f"{place}: is there with other bytes ({present[:19]}, not {chart.blobs.content.digest[:19]})",
                hint="a version of a chart is never replaced: remove it there by hand, if it is wrong",
            )
        size = 0 if present else self._send(chart.metadata.file_name, "charts", chart.blobs.content, CHART_MAX_BYTES)
        signed, notes = self._send_provenance(chart, place)
        changed = not present or bool(signed)
        return LoadedItem(item.name, place, item.root.digest, changed, size + signed, notes)

    def _send_provenance(self, chart: _Chart, place: str) -> tuple[int, tuple[str, ...]]:
        """Bytes sent, and what there is to say. Also of a chart that is there: a load may have ended in between."""
        wanted, file = chart.blobs.provenance, f"{chart.metadata.file_name}.prov"
        if wanted is None:
            return 0, ()
        present = self._present(file)
        if present and present != wanted.digest:
            return 0, (f"{place}.prov: is there with another signature, which stays",)
        return (0 if present else self._send(file, "prov", wanted, PROVENANCE_MAX_BYTES)), ()

    def _chart(self, item: LoadItem) -> _Chart | None:
        if item.root.is_index:
            return None
        data = self._source.read_blob(item.root.digest, max_bytes=MANIFEST_MAX_BYTES)
        blobs = chart_blobs(parse_manifest(data, item.root.media_type, what=item.name))
        if blobs is None:
            return None
        config = self._source.read_blob(blobs.config.digest, max_bytes=METADATA_MAX_BYTES)
        try:
            return _Chart(parse_metadata(config, f"{item.name}: config"), blobs)
        except FormatError as error:
            raise LoadError(error.message) from None

    def _present(self, name: str) -> str:
        """The digest of what is there under the name of a file; empty where nothing is."""
        file = quote(name, safe="+")
        path = f"{self._path}/charts/{file}" if self._style is Style.MUSEUM else f"{self._path}/{file}"
        response = self._transport.send("GET", path, what=name, expect=_MAYBE)
        data = self._transport.read_all(response, name, CHART_MAX_BYTES)
        return f"sha256:{sha256(data).hexdigest()}" if response.status == 200 else ""

    def _send(self, file: str, endpoint: str, blob: Descriptor, max_bytes: int) -> int:
        """Send a file and read it back; how many bytes it has."""
        data = self._source.read_blob(blob.digest, max_bytes=max_bytes)
        self._put(file, endpoint, data)
        found = self._present(file)
        if found != blob.digest:
            raise LoadError(f"{self.target}/{file}: read back it is {found or 'not there'}, sent was {blob.digest}")
        return len(data)

    def _put(self, file: str, endpoint: str, data: bytes) -> None:
        headers = {"Content-Type": "application/octet-stream", "X-Checksum-Sha256": sha256(data).hexdigest()}
        if self._style is Style.MUSEUM:
            # /api/TENANT/charts: the tenant's folders stand between.
            method, path = "POST", f"/api{self._path}/{endpoint}"
        else:
            method, path = "PUT", f"{self._path}/{quote(file, safe='+')}"
        self._transport.send(method, path, what=file, expect=_STORED, headers=headers, body=data, finish=True)
