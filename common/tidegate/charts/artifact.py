"""A chart as the OCI artifact that Helm pushes and pulls: config, the packaged chart, its provenance if it has one.

Media types and annotations are Helm's (helm.sh/docs/topics/registries, "OCI Specification"); the time of creation is
left out, so that the same chart has the same digest whoever packs it.
"""

from dataclasses import dataclass
from typing import Protocol

from tidegate.canonical import dumps
from tidegate.charts.metadata import ChartMetadata
from tidegate.depot.descriptors import Descriptor, Manifest
from tidegate.oci import OCI_MANIFEST

CONFIG_TYPE = "application/vnd.cncf.helm.config.v1+json"
CONTENT_TYPE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROVENANCE_TYPE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
#: the kind of artifact in a bundle's manifest
CHART_KIND = "chart"
#: where charts of HTTP repositories and files stand: ``charts/app:1.2.3``
CHARTS_FOLDER = "charts"
PROVENANCE_MAX_BYTES = 1024 * 1024


class BlobAdder(Protocol):
    def add(self, data: bytes, media_type: str) -> Descriptor: ...


@dataclass(frozen=True, slots=True)
class ChartBlobs:
    """The parts of a chart's manifest."""

    config: Descriptor
    content: Descriptor
    provenance: Descriptor | None = None


def add_chart(sink: BlobAdder, metadata: ChartMetadata, content: bytes, provenance: bytes | None) -> Descriptor:
    """Write the chart's blobs and its manifest; gives the manifest's descriptor."""
    config = sink.add(metadata.config_bytes(), CONFIG_TYPE)
    layers = [sink.add(content, CONTENT_TYPE)]
    if provenance is not None:
        layers.append(sink.add(provenance, PROVENANCE_TYPE))
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
        "annotations": _annotations(metadata),
    }
    return sink.add(dumps(manifest), OCI_MANIFEST)


def _annotations(metadata: ChartMetadata) -> dict[str, str]:
    """What Helm writes of Chart.yaml into the manifest, but for the time."""
    fields = metadata.fields
    found = {
        "org.opencontainers.image.title": metadata.name,
        "org.opencontainers.image.version": metadata.version,
        "org.opencontainers.image.description": metadata.description,
        "org.opencontainers.image.url": fields.get("home", ""),
        "org.opencontainers.image.source": (fields.get("sources") or [""])[0],
    }
    return {key: text for key, text in found.items() if text}


def chart_blobs(manifest: Manifest) -> ChartBlobs | None:
    """The parts of a manifest that is a chart's; None for any other."""
    if manifest.config is None or manifest.config.media_type != CONFIG_TYPE:
        return None
    content = next((layer for layer in manifest.layers if layer.media_type == CONTENT_TYPE), None)
    if content is None:
        return None
    provenance = next((layer for layer in manifest.layers if layer.media_type == PROVENANCE_TYPE), None)
    return ChartBlobs(manifest.config, content, provenance)
