"""A stage's charts as an HTTP chart repository: what ``helm repo add`` asks for.

``/index.yaml`` lists every chart of the stage, with addresses relative to itself; the packaged chart and its provenance
are the blobs that the chart's OCI artifact holds, so that both ways of pulling give the same bytes.
"""

import datetime
from collections.abc import Iterator
from functools import lru_cache

from tidegate.charts.index import ServedChart, write_index
from tidegate.depot.descriptors import Descriptor
from tidegate.names import hex_of
from tidegate_receiver.serving.catalog import Catalog

PROVENANCE = ".prov"


def chart_index(catalog: Catalog) -> bytes:
    """The bytes of ``index.yaml`` for this catalog."""
    listed = tuple(sorted(_listed(catalog), key=lambda chart: chart.url))
    changed = datetime.datetime.fromtimestamp(catalog.changed, datetime.UTC)
    return _written(listed, f"{changed:%Y-%m-%dT%H:%M:%SZ}")


@lru_cache(maxsize=4)
def _written(charts: tuple[ServedChart, ...], changed: str) -> bytes:
    return write_index(charts, changed)


def _listed(catalog: Catalog) -> Iterator[ServedChart]:
    for name, repository in catalog.repositories.items():
        for chart in repository.charts:
            url = f"charts/{name}/{chart.metadata.file_name}"
            yield ServedChart(chart.metadata.fields, hex_of(chart.blobs.content.digest), url)


def find_chart(catalog: Catalog, path: str) -> Descriptor | None:
    """The blob at ``charts/PATH``: ``charts/app/app-1.2.3.tgz`` or ``….tgz.prov``; None where there is none."""
    name, _, file = path.rpartition("/")
    repository = catalog.repositories.get(name)
    for chart in repository.charts if repository else ():
        if file == chart.metadata.file_name:
            return chart.blobs.content
        if file == chart.metadata.file_name + PROVENANCE:
            return chart.blobs.provenance
    return None
