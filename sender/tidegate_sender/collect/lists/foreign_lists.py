"""Lists that other tools read, taken as they are: plain text, hauler's manifest, skopeo's file for ``sync``.

Plain text has an image a line, as images-to-mirror.txt and Kubespray's images.list have them; ``#`` begins a comment. A
field of hauler or skopeo that would change what is brought, and that is not known here, is refused by name: nothing is
left out in silence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.errors import FormatError, UsageError
from tidegate.files import read_given
from tidegate.registry.reference import is_host, parse_reference
from tidegate.units import MIB
from tidegate.yaml_reading import read_documents
from tidegate_sender.collect.charts import OCI, ChartItem
from tidegate_sender.collect.downloads import DownloadItem
from tidegate_sender.collect.files import title_of
from tidegate_sender.collect.items import FilesItem, ImageItem, Item
from tidegate_sender.collect.lists.beginnings import is_hauler
from tidegate_sender.collect.lists.images import make_expectation

LIST_MAX_BYTES = 16 * MIB
LINES_MAX = 100_000
HAULER_API = re.compile(r"content\.hauler\.cattle\.io/v\d\w*\Z")
_SKOPEO_FIELDS = {"images", "images-by-tag-regex", "images-by-semver", "tls-verify", "cert-dir", "credentials"}


@dataclass(frozen=True, slots=True)
class ListContext:
    """What every item of a list gets: the list's name and folder, and what its entry says."""

    name: str
    folder: Path
    platforms: tuple[str, ...] = ()
    common: tuple[tuple[str, Any], ...] = ()

    def fields(self, place: str) -> dict[str, Any]:
        return {**dict(self.common), "origin": f"{self.name}{place}"}


def read_foreign_list(path: Path, platforms: tuple[str, ...] = (), **common: Any) -> tuple[Item, ...]:
    """The items of a list on the disk, whatever tool it is for. Raises UsageError."""
    data = read_given(path, LIST_MAX_BYTES)
    known = {
        key: value for key, value in common.items() if key in {"required", "ticket", "justification", "load", "listed"}
    }
    return parse_foreign_list(data, ListContext(str(path), path.parent, platforms, tuple(known.items())))


def parse_foreign_list(data: bytes, context: ListContext) -> tuple[Item, ...]:
    """The items of a list's bytes. Raises UsageError naming line or entry."""
    if len(data) > LIST_MAX_BYTES:
        raise UsageError(f"{context.name}: {len(data)} bytes, the limit is {LIST_MAX_BYTES}")
    if not context.name.lower().endswith((".yaml", ".yml")) and not is_hauler(data):
        return tuple(_text_items(data, context))
    try:
        documents = read_documents(data, context.name, texts=True, max_bytes=LIST_MAX_BYTES)
    except FormatError as error:
        raise UsageError(error.message) from None
    items = tuple(item for document in documents if document is not None for item in _items(document, context))
    if len(items) > LINES_MAX:
        raise UsageError(f"{context.name}: more than {LINES_MAX} entries")
    return items


# --- plain text -------------------------------------------------------------------------------


def _text_items(data: bytes, context: ListContext) -> Iterator[Item]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"{context.name}: is not UTF-8 text") from None
    if len(lines) > LINES_MAX:
        raise UsageError(f"{context.name}: more than {LINES_MAX} lines")
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            yield _image(text, f":{number}", context)


def _image(text: str, place: str, context: ListContext, **more: Any) -> ImageItem:
    try:
        reference = parse_reference(text.removeprefix("docker://"))
    except UsageError as error:
        raise UsageError(f"{context.name}{place}: {error.message}") from None
    given = {"platforms": context.platforms, **more}
    return ImageItem(reference=reference, given=text, **given, **context.fields(place))


def _items(document: Any, context: ListContext) -> Iterator[Item]:
    if not isinstance(document, dict):
        raise UsageError(f"{context.name}: is no list that is known here")
    if HAULER_API.match(str(document.get("apiVersion", ""))):
        yield from _hauler_items(document, context)
    elif document and all(is_host(str(key)) or "/" in str(key) for key in document):
        yield from _skopeo_items(document, context)
    else:
        raise UsageError(
            f"{context.name}: is neither a hauler manifest nor a list for skopeo sync",
            hint='hauler has "apiVersion: content.hauler.cattle.io/v1"; skopeo has the names of registries at the top',
        )


# --- hauler -----------------------------------------------------------------------------------


def _hauler_items(document: dict[str, Any], context: ListContext) -> Iterator[Item]:
    kind, spec = str(document.get("kind", "")), document.get("spec")
    readers = {
        "Images": ("images", _hauler_image),
        "Charts": ("charts", _hauler_chart),
        "Files": ("files", _hauler_file),
    }
    if kind not in readers:
        raise UsageError(
            f"{context.name}: kind {kind[:60]!r} of hauler is not read here; known are {', '.join(readers)}"
        )
    field, read = readers[kind]
    annotations = _mapping(_mapping(document.get("metadata")).get("annotations"))
    for number, entry in enumerate(_listed(_mapping(spec).get(field), f"spec.{field}", context), 1):
        place = f": {kind}[{number}]"
        if not isinstance(entry, dict):
            raise UsageError(f"{context.name}{place}: is no set of fields")
        yield read(entry, annotations, place, context)


def _hauler_image(entry: dict[str, Any], annotations: dict[str, Any], place: str, context: ListContext) -> Item:
    _refuse_unknown(entry, {"name", "platform", "registry", "key"}, place, context)
    text = str(entry.get("name", ""))
    registry = str(entry.get("registry") or annotations.get("hauler.dev/registry") or "")
    if registry and not is_host(text.partition("/")[0] if "/" in text else ""):
        text = f"{registry}/{text}"
    platform = str(entry.get("platform") or annotations.get("hauler.dev/platform") or "")
    platforms = (platform,) if platform and platform != "all" else context.platforms
    key = str(entry.get("key") or annotations.get("hauler.dev/key") or "")
    expect = make_expectation({"signed-by": key}, context.folder) if key else None
    return _image(text, place, context, platforms=platforms, expect=expect)


def _hauler_chart(entry: dict[str, Any], annotations: dict[str, Any], place: str, context: ListContext) -> Item:
    del annotations
    known = {"name", "repoURL", "version", "add-images", "add-dependencies", "values", "registry", "platform", "verify"}
    _refuse_unknown(entry, known | {"addImages", "addDependencies"}, place, context)
    name, repository, version = (str(entry.get(key) or "") for key in ("name", "repoURL", "version"))
    images = str(entry.get("add-images") or entry.get("addImages") or "").lower() == "true"
    values = (context.folder / str(entry["values"]),) if isinstance(entry.get("values"), str) else ()
    platforms = (str(entry["platform"]),) if entry.get("platform") else context.platforms
    more = {"images": images, "values": values, "platforms": platforms, **context.fields(place)}
    if repository.startswith(OCI) or repository.startswith(("http://", "https://")):
        return ChartItem(chart=name, repository=repository, version=version, given=repository, **more)
    if repository:
        raise UsageError(f"{context.name}{place}: repoURL {repository[:200]!r} is neither http(s):// nor oci://")
    return ChartItem(path=context.folder / name, given=name, **more)


def _hauler_file(entry: dict[str, Any], annotations: dict[str, Any], place: str, context: ListContext) -> Item:
    del annotations
    _refuse_unknown(entry, {"path", "name"}, place, context)
    path, name = str(entry.get("path", "")), str(entry.get("name") or "")
    if path.startswith(("http://", "https://")):
        return DownloadItem(url=path, title=name, given=path, **context.fields(place))
    if not path:
        raise UsageError(f"{context.name}{place}: path is missing")
    where = context.folder / path
    return FilesItem(path=where, title=name or title_of(where), given=path, **context.fields(place))


# --- skopeo sync ------------------------------------------------------------------------------


def _skopeo_items(document: dict[str, Any], context: ListContext) -> Iterator[Item]:
    for registry, fields in document.items():
        place = f": {registry[:200]}"
        if not isinstance(fields, dict):
            raise UsageError(f"{context.name}{place}: is no set of fields")
        _refuse_unknown(fields, _SKOPEO_FIELDS, place, context)
        if _mapping(fields.get("credentials")):
            raise UsageError(
                f"{context.name}{place}: credentials in a list are not read",
                hint="log in to the registry instead (docker login, podman login), and take them out of the file",
            )
        yield from _skopeo_registry(registry, fields, place, context)


def _skopeo_registry(registry: str, fields: dict[str, Any], place: str, context: ListContext) -> Iterator[Item]:
    for repository, tags in _mapping(fields.get("images")).items():
        where = f"{place}: {repository[:200]}"
        listed = _listed(tags, "tags", context)
        for tag in listed:
            joined = f"@{tag}" if str(tag).startswith("sha256:") else f":{tag}"
            yield _image(f"{registry}/{repository}{joined}", where, context)
        if not listed:
            yield _image(f"{registry}/{repository}", where, context, tags=("*",))
    for repository, expression in _mapping(fields.get("images-by-tag-regex")).items():
        where = f"{place}: {repository[:200]}"
        yield _image(f"{registry}/{repository}", where, context, tags=(_checked(f"/{expression}/", where, context),))
    for repository, versions in _mapping(fields.get("images-by-semver")).items():
        where = f"{place}: {repository[:200]}"
        pattern = _checked(_as_range(str(versions)), where, context)
        yield _image(f"{registry}/{repository}", where, context, tags=(pattern,))


def _as_range(text: str) -> str:
    """A range that begins with an operator, as tag patterns are told apart; ``3.12 - 3.13`` is ``>=3.12 <=3.13``."""
    low, dash, high = text.partition(" - ")
    if dash:
        return f">={low.strip()} <={high.strip()}"
    return text if text[:1] in "<>=~^" else f"={text}"


def _checked(pattern: str, place: str, context: ListContext) -> str:
    from tidegate_sender.collect.tags import check_patterns

    try:
        check_patterns((pattern,))
    except UsageError as error:
        raise UsageError(f"{context.name}{place}: {error.message}") from None
    return pattern


# --- common -----------------------------------------------------------------------------------


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any, what: str, context: ListContext) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(f"{context.name}: {what} is no list")
    return value


def _refuse_unknown(fields: dict[str, Any], known: set[str], place: str, context: ListContext) -> None:
    for name in fields:
        if name not in known and not str(name).startswith("use-tlog"):
            raise UsageError(f"{context.name}{place}: field {str(name)[:60]!r} is not known here")
