"""Bring a Helm chart: from an HTTP repository, an OCI registry or a file, with its provenance, and its images.

Whatever the source, it becomes the OCI artifact that Helm itself would push. A chart from a registry stays byte by byte
as it is there. Version ranges are resolved where the versions are listed: index.yaml, or the registry's tags.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urljoin

from tidegate.charts.archive import CHART_MAX_BYTES, Chart, read_chart
from tidegate.charts.artifact import CHART_KIND, CHARTS_FOLDER, PROVENANCE_MAX_BYTES, add_chart, chart_blobs
from tidegate.charts.index import INDEX_MAX_BYTES, IndexEntry, find_versions
from tidegate.charts.needed import find_chart_images
from tidegate.charts.versions import VersionRange
from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, parse_manifest
from tidegate.errors import CollectError, FormatError, RegistryLiesError
from tidegate.registry.reference import Reference, parse_reference, split_place
from tidegate.workloads import FoundImages
from tidegate_sender.collect.download import check_url, download, download_if_there
from tidegate_sender.collect.items import ImageItem
from tidegate_sender.collect.kinds import Brought, Sink, SourceItem, Surroundings, brought
from tidegate_sender.collect.tree import named_error

OCI = "oci://"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartItem(SourceItem):
    """A chart: `path` of a .tgz; or `chart` in the HTTP `repository`; or `repository` alone, beginning with ``oci://``.

    `folder` goes between ``charts/`` and the chart's name. With `images`, what it needs is brought too, found with
    `values` (files) for `platforms`; `expects_images` fails where something stays unresolved.
    """

    chart: str = ""
    repository: str = ""
    version: str = ""
    path: Path | None = None
    folder: str = ""
    images: bool = False
    values: tuple[Path, ...] = ()
    platforms: tuple[str, ...] = ()
    expects_images: bool = False

    lock_kind = "chart"

    @property
    def label(self) -> str:
        if self.path is not None:
            return str(self.path)
        whole = self.repository if not self.chart else f"{self.repository.rstrip('/')}/{self.chart}"
        return f"{whole} {self.version}".strip()

    @property
    def lock_source(self) -> str:
        source = self.given if self.path is not None else self.label
        return f"{source} with images" if self.images else source

    @property
    def asked_version(self) -> VersionRange:
        """What the lock found, else what the list says."""
        locked = split_place(self.locked_name)[1].replace("_", "+") if self.locked_name else ""
        return VersionRange(locked or self.version)

    def bring(self, sink: Sink, around: Surroundings) -> tuple[Brought, ...]:
        artifacts, content = self._chart(sink, around)
        if not self.images:
            return artifacts
        chart = read_chart(content, self.label)
        found = find_chart_images(chart, content, self.values)
        if found.unresolved and self.expects_images:
            raise CollectError(
                f"{self.label}: images stay unresolved: {'; '.join(found.unresolved[:10])}",
                hint="give the chart's values in the list, install helm here, or list these images under images:",
            )
        return (replace(artifacts[0], notes=_notes(found)), *artifacts[1:], *self._images(found, around))

    def _images(self, found: FoundImages, around: Surroundings) -> list[Brought]:
        result: list[Brought] = []
        for text in found.references:
            item = ImageItem(reference=parse_reference(text), platforms=self.platforms, origin=self.origin, given=text)
            result += around.image(item)
        return result

    def _chart(self, sink: Sink, around: Surroundings) -> tuple[tuple[Brought, ...], bytes]:
        """The chart in the sink, with what belongs to it in a registry, and the bytes of its .tgz."""
        if self.path is not None:
            return self._packaged(sink, *_read_file(self.path))
        if self.repository.startswith(OCI):
            return self._from_registry(sink, around)
        return self._packaged(sink, *self._from_repository(around))

    def _packaged(self, sink: Sink, content: bytes, provenance: bytes | None) -> tuple[tuple[Brought, ...], bytes]:
        chart = read_chart(content, self.label)
        root = add_chart(sink, chart.metadata, content, provenance)
        return (brought(self._name(chart), CHART_KIND, sink, root),), content

    def _name(self, chart: Chart) -> str:
        folder = "/".join(part for part in (CHARTS_FOLDER, self.folder, chart.metadata.name) if part)
        return f"{folder}:{chart.metadata.tag}"

    # --- HTTP repositories -------------------------------------------------------------------

    def _from_repository(self, around: Surroundings) -> tuple[bytes, bytes | None]:
        base = check_url(self.repository.rstrip("/") + "/", self.label)
        index = download(urljoin(base, "index.yaml"), around, max_bytes=INDEX_MAX_BYTES, what="index.yaml")
        try:
            entries = find_versions(index, self.chart, f"{base}index.yaml")
        except FormatError as error:
            raise CollectError(error.message) from None
        entry = self._chosen(entries)
        if not entry.urls:
            raise CollectError(f"{self.label}: version {entry.version} has no address in the index")
        url = urljoin(base, entry.urls[0])
        if url.startswith(OCI):
            raise CollectError(f"{self.label}: lies in a registry", hint=f"name it in the list as {url}")
        if base.startswith("https:") and url.startswith("http:"):
            raise CollectError(f"{self.label}: the index leads from https to plain http ({url[:200]})")
        content = download(url, around, max_bytes=CHART_MAX_BYTES, what=f"{self.chart} {entry.version}")
        actual = sha256(content).hexdigest()
        if entry.sha256 and actual != entry.sha256:
            raise RegistryLiesError(f"{url[:300]}: has the digest {actual}, the index says {entry.sha256}")
        metadata = read_chart(content, url[:300]).metadata
        if (metadata.name, metadata.version) != (self.chart, entry.version):
            raise RegistryLiesError(f"{url[:300]}: is {metadata.name} {metadata.version}, not what the index says")
        provenance = download_if_there(
            f"{url}.prov", around, max_bytes=PROVENANCE_MAX_BYTES, what=f"{self.chart} provenance"
        )
        return content, provenance

    def _chosen(self, entries: tuple[IndexEntry, ...]) -> IndexEntry:
        version = self.asked_version.choose(entry.version for entry in entries)
        if not version:
            known = ", ".join(entry.version for entry in entries[:10]) or "no chart of that name"
            raise CollectError(f"{self.label}: no version fits; there are: {known}")
        return next(entry for entry in entries if entry.version == version)

    # --- registries --------------------------------------------------------------------------

    def _from_registry(self, sink: Sink, around: Surroundings) -> tuple[tuple[Brought, ...], bytes]:
        reference = self._resolved(around)
        item = ImageItem(reference=reference, origin=self.origin, given=self.given, locked=self.locked_root)
        artifact, *attached = around.image(item)
        manifest = parse_manifest(
            sink.read_blob(artifact.root.digest, max_bytes=MANIFEST_MAX_BYTES), artifact.root.media_type
        )
        blobs = chart_blobs(manifest)
        if blobs is None:
            raise CollectError(f"{self.label}: {reference} is no Helm chart", hint="name it under images:")
        if blobs.content.size > CHART_MAX_BYTES:
            raise CollectError(f"{self.label}: a chart of {blobs.content.size} bytes, the limit is {CHART_MAX_BYTES}")
        content = self._content(sink, around, reference, blobs.content.digest, blobs.content.size)
        read_chart(content, self.label)  # what unpacks outside of its folder is not carried
        return (replace(artifact, kind=CHART_KIND), *attached), content

    @property
    def locked_root(self) -> str:
        """The digest to ask for: a lock's, unless it stands for the chart together with its images."""
        return "" if self.images else self.locked

    @staticmethod
    def _content(sink: Sink, around: Surroundings, reference: Reference, digest: str, size: int) -> bytes:
        if sink.has(digest, size):
            return sink.read_blob(digest, max_bytes=CHART_MAX_BYTES)
        pieces: list[bytes] = []
        around.client(reference.registry).fetch_blob(reference.repository, digest, size, pieces.append)
        content = b"".join(pieces)
        if f"sha256:{sha256(content).hexdigest()}" != digest:
            raise RegistryLiesError(f"{reference}: blob {digest} has other bytes")
        return content

    def _resolved(self, around: Surroundings) -> Reference:
        """The tag that the version stands for; a repository that ends in a tag or digest needs none."""
        text = self.repository.removeprefix(OCI).rstrip("/") + (f"/{self.chart}" if self.chart else "")
        base = parse_reference(text)
        if base.digest or ":" in text.rpartition("/")[2]:
            return base
        tags = around.client(base.registry).tags(base.repository)
        version = self.asked_version.choose(tag.replace("_", "+") for tag in tags)
        if not version:
            raise CollectError(f"{self.label}: no version fits; there are: {', '.join(tags[:10]) or 'none'}")
        return replace(base, tag=version.replace("+", "_"))


def _notes(found: FoundImages) -> tuple[str, ...]:
    return tuple(f"image not resolved: {text}" for text in found.unresolved)


def _read_file(path: Path) -> tuple[bytes, bytes | None]:
    """A chart's file, and the provenance beside it."""
    content = _read(path, CHART_MAX_BYTES)
    provenance = path.with_name(path.name + ".prov")
    return content, _read(provenance, PROVENANCE_MAX_BYTES) if provenance.is_file() else None


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise CollectError(f"{path}: is no file")  # a FIFO would hang
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise named_error(error, path) from None
    if len(data) > max_bytes:
        raise CollectError(f"{path}: more than {max_bytes} bytes")
    return data
