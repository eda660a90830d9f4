"""What manifests, folders of them and packaged charts need: images, and the charts themselves.

The same answer serves `draft` on the low side, which writes a first transfer list, and `check` on the high side, which
says whether it is there. Sources are files, folders (every .yaml, .yml and .json in them), packaged charts, and ``-``:
standard input, as ``kubectl get pods -A -o json`` and ``helm template`` fill it.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.charts.archive import CHART_MAX_BYTES, read_chart
from tidegate.charts.metadata import ChartMetadata
from tidegate.errors import FormatError, UsageError
from tidegate.files import read_given
from tidegate.units import MIB
from tidegate.workloads import FoundImages, find_images
from tidegate.yaml_reading import read_documents

STDIN = "-"
SOURCE_MAX_BYTES = 64 * MIB
FILES_MAX = 20_000
_MANIFESTS = (".yaml", ".yml", ".json")
_CHARTS = (".tgz", ".tar.gz")


@dataclass(frozen=True, slots=True)
class WantedChart:
    """A packaged chart that was named: where it lies, and what it says of itself."""

    path: Path
    metadata: ChartMetadata


@dataclass(frozen=True, slots=True)
class Wanted:
    """All images, what could not be understood, the charts, and how many documents were read."""

    images: FoundImages
    charts: tuple[WantedChart, ...] = ()
    documents: int = 0


def gather_wanted(sources: Iterable[str], values: tuple[Path, ...] = ()) -> Wanted:
    """What `sources` need; `values` apply to charts. Raises UsageError, FormatError, ChartError naming the file."""
    images, charts, documents = FoundImages(()), [], 0
    for source in sources:
        for path in _files(source):
            if path is not None and path.name.lower().endswith(_CHARTS):
                chart, found = _chart(path, values)
                charts.append(chart)
            else:
                found, count = _manifests(path)
                documents += count
            images = images.with_more(found)
    return Wanted(images, tuple(charts), documents)


def _files(source: str) -> Iterator[Path | None]:
    """The files that a source stands for; None is standard input."""
    if source == STDIN:
        yield None
        return
    path = Path(source)
    if path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.suffix.lower() in _MANIFESTS and item.is_file())
        if not found:
            raise UsageError(f"{source}: no .yaml, .yml or .json file is in it")
        if len(found) > FILES_MAX:
            raise UsageError(f"{source}: more than {FILES_MAX} files")
        yield from found
    elif path.is_file():
        yield path
    else:
        raise UsageError(f"{source}: no such file or folder")


def _read(path: Path | None, max_bytes: int) -> bytes:
    data = _read_input(max_bytes) if path is None else read_given(path, max_bytes)
    if len(data) > max_bytes:
        raise FormatError(f"{path or 'standard input'}: more than {max_bytes} bytes")
    return data


def _read_input(max_bytes: int) -> bytes:
    try:
        return sys.stdin.buffer.read(max_bytes + 1)
    except OSError as error:
        raise UsageError(f"standard input: {error.strerror}") from None


def _manifests(path: Path | None) -> tuple[FoundImages, int]:
    what = str(path) if path is not None else "standard input"
    data = _read(path, SOURCE_MAX_BYTES)
    documents = _json(data) or read_documents(data, what, max_bytes=SOURCE_MAX_BYTES)
    return find_images(documents, what), len(documents)


def _json(data: bytes) -> tuple[Any, ...]:
    """The one document of JSON, which a cluster's answers are: read in a hundredth of the time that YAML takes."""
    import msgspec

    if data.lstrip()[:1] not in {b"{", b"["}:
        return ()
    try:
        return (msgspec.json.decode(data),)
    except (msgspec.MsgspecError, RecursionError):
        return ()  # flow-style YAML begins like this too


def _chart(path: Path, values: tuple[Path, ...]) -> tuple[WantedChart, FoundImages]:
    from tidegate.charts.needed import find_chart_images

    content = _read(path, CHART_MAX_BYTES)
    chart = read_chart(content, str(path))
    return WantedChart(path, chart.metadata), find_chart_images(chart, content, values)
