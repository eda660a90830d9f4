"""Read a packaged chart (``.tgz``) without unpacking it: its Chart.yaml, its values and its templates, within limits.

The limits are Helm's own or tighter. A member outside of the chart's one folder, a link or a device has the chart
refused: Helm would refuse it too, or worse, would not.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tidegate.charts.metadata import ChartMetadata, parse_metadata
from tidegate.errors import CollectError, FormatError
from tidegate.units import MIB

CHART_MAX_BYTES = 32 * MIB  # of the .tgz
UNPACKED_MAX_BYTES = 100 * MIB  # as Helm has it
MEMBER_MAX_BYTES = 5 * MIB  # as Helm has it
MEMBERS_MAX = 20_000
CHART_FILE = "Chart.yaml"
VALUES_FILE = "values.yaml"
_DRIVE = re.compile(r"^[a-zA-Z]:[/\\]")
_BROKEN = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, IndexError, zlib.error, RecursionError)


class ChartError(CollectError):
    """Bytes are no chart, or a chart that must not be carried."""

    exit_code = CollectError.exit_code


@dataclass(frozen=True, slots=True)
class Chart:
    """A packaged chart: what Chart.yaml says, and the files that name images, by path below the chart's folder."""

    metadata: ChartMetadata
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def values(self) -> bytes:
        return self.files.get(VALUES_FILE, b"")

    @property
    def templates(self) -> dict[str, bytes]:
        return {path: data for path, data in self.files.items() if "templates/" in f"/{path}" or "/crds/" in f"/{path}"}


def read_chart(data: bytes, what: str) -> Chart:
    """The chart in the bytes of a ``.tgz``. Raises ChartError naming `what`."""
    if len(data) > CHART_MAX_BYTES:
        raise ChartError(f"{what}: a chart of {len(data)} bytes, the limit is {CHART_MAX_BYTES}")
    folder, files = "", {}
    for name, content in _members(data, what):
        top, _, path = name.partition("/")
        folder = folder or top
        if top != folder or not path:
            raise ChartError(f"{what}: {name[:200]!r} is not below the chart's folder {folder!r}")
        if path in files:
            raise ChartError(f"{what}: {name[:200]!r} is there twice")
        files[path] = content
    if CHART_FILE not in files:
        raise ChartError(f"{what}: is no chart: it holds no {CHART_FILE}")
    try:
        metadata = parse_metadata(files[CHART_FILE], f"{what}: {CHART_FILE}")
    except FormatError as error:
        raise ChartError(error.message) from None
    return Chart(metadata, {path: content for path, content in files.items() if _is_wanted(path)})


def _is_wanted(path: str) -> bool:
    return path.endswith((".yaml", ".yml", ".tpl", ".json", ".txt"))


def _members(data: bytes, what: str) -> Iterator[tuple[str, bytes]]:
    """Plain files with their content; the path of each is checked."""
    left, count = UNPACKED_MAX_BYTES, 0
    try:
        plain = _unzip(data, what)
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:", errors="surrogateescape") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]
                count += 1
                if count > MEMBERS_MAX:
                    raise ChartError(f"{what}: more than {MEMBERS_MAX} members")
                name = _checked(info, what)
                if info.isdir():
                    continue
                left -= info.size
                if left < 0 or info.size > MEMBER_MAX_BYTES:
                    raise ChartError(f"{what}: {name[:200]!r}: {info.size} bytes, the limit is {MEMBER_MAX_BYTES}")
                file = tar.extractfile(info)
                content = file.read(info.size) if file is not None else b""
                if len(content) != info.size:
                    raise ChartError(f"{what}: {name[:200]!r}: ends early")
                yield name, content
    except _BROKEN as error:
        raise ChartError(f"{what}: is no packaged chart: {str(error)[:200]}") from None


def _unzip(data: bytes, what: str) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        plain = file.read(UNPACKED_MAX_BYTES + 1)
    if len(plain) > UNPACKED_MAX_BYTES:
        raise ChartError(f"{what}: unpacked it has more than {UNPACKED_MAX_BYTES} bytes")
    return plain


def _checked(info: tarfile.TarInfo, what: str) -> str:
    """The member's path, which must stay below the chart's folder, whatever system unpacks it."""
    name = info.name.removeprefix("./")
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or _DRIVE.match(name) or ".." in parts or "\0" in name:
        raise ChartError(f"{what}: {name[:200]!r} would land outside of the chart's folder")
    if info.isdir():
        return name
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        raise ChartError(f"{what}: {name[:200]!r} is neither file nor folder")
    return name
