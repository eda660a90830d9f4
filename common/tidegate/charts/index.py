"""The index of an HTTP chart repository: the versions of one chart out of it, and an index of our own charts.

An index may have tens of megabytes and thousands of charts: only the entry that is wanted is built, of the rest the
events go by. Form: helm.sh/docs/topics/chart_repository, "The index file".
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tidegate.errors import FormatError
from tidegate.units import MIB
from tidegate.yaml_reading import DEPTH_MAX, LOADER, VALUES_MAX, decode

INDEX_MAX_BYTES = 64 * MIB
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")
_BROKEN = (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError, AttributeError)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version of a chart in an index; `sha256` is empty where the index has none."""

    version: str
    urls: tuple[str, ...]
    sha256: str = ""


def find_versions(data: bytes, chart: str, what: str) -> tuple[IndexEntry, ...]:
    """The versions of `chart`, in the order of the index; none where it does not list it. Raises FormatError."""
    text = decode(data, what, INDEX_MAX_BYTES)
    try:
        found = _Reader(yaml.parse(text, Loader=LOADER), what).entry(chart)
    except _BROKEN as error:
        raise FormatError(f"{what}: is no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(found, list):
        raise FormatError(f"{what}: entries.{chart[:100]} is no list")
    return tuple(_entry(item, chart, what) for item in found if isinstance(item, dict))


def _entry(item: dict[str, Any], chart: str, what: str) -> IndexEntry:
    version, urls, digest = item.get("version"), item.get("urls"), item.get("digest") or ""
    if not isinstance(version, str) or not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise FormatError(f"{what}: an entry of {chart} has no version, or no urls")
    match = _SHA256.match(digest) if isinstance(digest, str) else None
    if digest and match is None:
        raise FormatError(f"{what}: {chart} {version[:40]}: {str(digest)[:80]!r} is no sha256 digest")
    return IndexEntry(version, tuple(urls), match[1] if match else "")


class _Reader:
    """Goes through the events of an index once."""

    def __init__(self, events: Iterator[yaml.Event], what: str) -> None:
        self._events, self._what = events, what
        self._left = VALUES_MAX

    def entry(self, chart: str) -> Any:
        """The value at ``entries.CHART``; an empty list where there is none."""
        for kind in (yaml.StreamStartEvent, yaml.DocumentStartEvent):
            if not isinstance(self._next(), kind):
                raise FormatError(f"{self._what}: is empty")
        if self._enter_key("entries") and self._enter_key(chart):
            return self._build(self._next(), 0)
        return []

    def _next(self) -> yaml.Event:
        event = next(self._events, None)
        if event is None:
            raise FormatError(f"{self._what}: ends early")
        return event

    def _enter_key(self, wanted: str) -> bool:
        """Go into the mapping that comes next, up to the value of `wanted`; False where it is not there."""
        if not isinstance(self._next(), yaml.MappingStartEvent):
            raise FormatError(f"{self._what}: is no index of a chart repository")
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            if isinstance(key, yaml.ScalarEvent) and key.value == wanted:
                return True
            if not isinstance(key, yaml.ScalarEvent):
                self._skip(key)
            self._skip(self._next())
        return False

    def _skip(self, event: yaml.Event) -> None:
        depth = 0
        while True:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise FormatError(f"{self._what}: nested deeper than {DEPTH_MAX} levels")
            if depth == 0:
                return
            event = self._next()

    def _build(self, event: yaml.Event, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > DEPTH_MAX:
            raise FormatError(f"{self._what}: more than {VALUES_MAX} values, or deeper than {DEPTH_MAX} levels")
        if isinstance(event, yaml.ScalarEvent):
            return event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return [*self._items(yaml.SequenceEndEvent, depth)]
        if isinstance(event, yaml.MappingStartEvent):
            flat = [*self._items(yaml.MappingEndEvent, depth)]
            return {key: value for key, value in zip(flat[::2], flat[1::2], strict=True) if isinstance(key, str)}
        raise FormatError(f"{self._what}: aliases are not read here")

    def _items(self, end: type[yaml.Event], depth: int) -> Iterator[Any]:
        while not isinstance(event := self._next(), end):
            yield self._build(event, depth + 1)


@dataclass(frozen=True, slots=True)
class ServedChart:
    """A chart that an index of ours lists: its metadata's fields, digest of the packaged chart, where it is had."""

    fields: dict[str, Any] = field(hash=False)
    sha256: str
    url: str


def write_index(charts: Iterable[ServedChart], generated: str) -> bytes:
    """An index in Helm's form (JSON, which is YAML too), newest versions first; `generated` is a time in RFC 3339."""
    from tidegate.canonical import dumps
    from tidegate.charts.versions import parse_version

    entries: dict[str, list[dict[str, Any]]] = {}
    for chart in charts:
        entry = {**chart.fields, "digest": chart.sha256, "urls": [chart.url], "created": generated}
        entries.setdefault(str(chart.fields["name"]), []).append(entry)
    for listed in entries.values():
        listed.sort(key=lambda entry: (_rank(parse_version(entry["version"])), entry["urls"]), reverse=True)
    return dumps({"apiVersion": "v1", "entries": entries, "generated": generated})


def _rank(version: Any) -> tuple[Any, ...]:
    return (version is not None, version.precedence_key if version is not None else ())
