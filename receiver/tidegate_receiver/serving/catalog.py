"""What a stage's index reaches, arranged as a registry sees it: repositories, tags, manifests, blobs, referrers.

The index is read again whenever its file changes; artifacts that were walked before are kept, since nothing under a
digest changes. An artifact that is damaged is left out and logged, and the others are served. Places in a stage's
index: docs/format/content.md, "Names".
"""

import logging
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tidegate.charts.artifact import ChartBlobs, chart_blobs
from tidegate.charts.metadata import METADATA_MAX_BYTES, ChartMetadata, parse_metadata
from tidegate.depot.descriptors import Descriptor, Manifest
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import DepotError, StageUnknownError, TidegateError
from tidegate.oci import PLATFORMS
from tidegate.provenance.attachments import as_referrer, subject_of
from tidegate.registry.reference import split_place

_LOG = logging.getLogger("tidegate.serve")


@dataclass(frozen=True, slots=True)
class StagedChart:
    """A Helm chart among the artifacts: its metadata, and its parts."""

    metadata: ChartMetadata
    blobs: ChartBlobs


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository: what its own places reach, and nothing else of the stage."""

    tags: dict[str, str]  # tag to digest
    manifests: dict[str, Descriptor]
    blobs: dict[str, int]  # digest to size; manifests are among them
    referrers: dict[str, tuple[Descriptor, ...]]  # digest of the subject to what refers to it
    charts: tuple[StagedChart, ...] = ()
    #: bytes that each tag reaches
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Catalog:
    """A stage at one moment; `damaged` are the places that cannot be served."""

    repositories: dict[str, Repository]
    damaged: tuple[str, ...] = ()
    #: when the stage's index was last written, in seconds since 1970
    changed: int = 0


@dataclass(frozen=True, slots=True)
class _Artifact:
    """What one root reaches. `referring`: pairs of a subject's digest and the descriptor that refers to it."""

    blobs: tuple[Descriptor, ...]
    referring: tuple[tuple[str, Descriptor], ...]
    chart: StagedChart | None = None


_ArtifactKey = tuple[str, str]  # digest of the root, chosen platforms
#: tag or digest, root, and what it reaches
_Item = tuple[str, Descriptor, _Artifact]


class StageCatalog:
    """The present catalog of the stage in `folder`. Safe for threads. Raises StageUnknownError for no stage."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "index.json").is_file():
            raise StageUnknownError(f"{folder}: no stage is there", hint='"tidegate load" makes the stage')
        self._layout = Depot(folder, create=False)
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._artifacts: dict[_ArtifactKey, _Artifact] = {}
        self._catalog = Catalog({})

    def catalog(self) -> Catalog:
        """The catalog of the index as it is on the disk now."""
        stamp = self._current_stamp()
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._catalog = self._read()
                    self._stamp = stamp
        return self._catalog

    def open_blob(self, digest: str, size: int) -> BinaryIO | None:
        """The blob's file, or None where it is not there with that size."""
        try:
            file = self._layout.open_blob(digest)
        except (DepotError, OSError) as error:
            _LOG.warning("%s", error)
            return None
        if os.fstat(file.fileno()).st_size != size:
            _LOG.warning("%s: blob %s has not the %d bytes of its descriptor", self._layout.folder, digest, size)
            file.close()
            return None
        return file

    def _current_stamp(self) -> tuple[int, int, int] | None:
        try:
            status = (self._layout.folder / "index.json").stat()
        except OSError:
            return self._stamp  # keep serving what was there
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> Catalog:
        try:
            references = self._layout.references()
        except TidegateError as error:
            _LOG.warning("%s", error)
            return self._catalog
        artifacts: dict[_ArtifactKey, _Artifact] = {}
        places: dict[str, list[_Item]] = {}
        damaged = []
        for place, root in references.items():
            key = (root.digest, root.annotations.get(PLATFORMS, ""))
            try:
                artifact = artifacts[key] = self._artifacts.get(key) or _read_artifact(self._layout, root)
            except TidegateError as error:
                _LOG.warning("%s: not served: %s", place, error)
                damaged.append(place)
                continue
            name, tag = split_place(place)
            places.setdefault(name, []).append((tag, root, artifact))
        self._artifacts = artifacts
        repositories = {name: _repository(items) for name, items in places.items()}
        return Catalog(repositories, tuple(damaged), self._changed())

    def _changed(self) -> int:
        try:
            return int((self._layout.folder / "index.json").stat().st_mtime)
        except OSError:
            return 0


def _read_artifact(layout: Depot, root: Descriptor) -> _Artifact:
    referring: list[tuple[str, Descriptor]] = []
    parts: list[ChartBlobs] = []

    def visit(descriptor: Descriptor, manifest: Manifest, data: bytes) -> None:
        subject = subject_of(data)
        if subject:
            referring.append((subject, as_referrer(descriptor, manifest)))
        if descriptor.digest == root.digest and (found := chart_blobs(manifest)) is not None:
            parts.append(found)

    blobs = walk(layout, root, visit=visit)
    return _Artifact(blobs, tuple(referring), _read_chart(layout, parts[0]) if parts else None)


def _read_chart(layout: Depot, blobs: ChartBlobs) -> StagedChart | None:
    """The chart as its config describes it; None, and a line in the log, where that is no chart's."""
    what = f"chart config {blobs.config.digest}"
    try:
        data = layout.read_blob(blobs.config.digest, max_bytes=METADATA_MAX_BYTES)
        return StagedChart(parse_metadata(data, what), blobs)
    except TidegateError as error:
        _LOG.warning("%s: not among the charts: %s", what, error)
        return None


def _repository(items: list[_Item]) -> Repository:
    manifests: dict[str, Descriptor] = {}
    blobs: dict[str, int] = {}
    referrers: dict[str, dict[str, Descriptor]] = {}
    for _, _, artifact in items:
        for item in artifact.blobs:
            blobs[item.digest] = item.size
            if item.is_index or item.is_manifest:
                manifests[item.digest] = item
        for subject, referrer in artifact.referring:
            referrers.setdefault(subject, {})[referrer.digest] = referrer
    return Repository(
        tags={tag: root.digest for tag, root, _ in items if ":" not in tag},
        manifests=manifests,
        blobs=blobs,
        referrers={subject: tuple(found.values()) for subject, found in referrers.items()},
        charts=tuple(artifact.chart for _, _, artifact in items if artifact.chart is not None),
        sizes={tag: sum(blob.size for blob in artifact.blobs) for tag, _, artifact in items},
    )
