"""Chart.yaml: what a chart says of itself, as Helm reads it (helm.sh/docs/topics/charts, "The Chart.yaml File").

Values are kept as the text that stands in the file (a version ``1.10`` is no number), in Helm's own order of fields, so
that the same chart gives the same config blob.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from tidegate.canonical import dumps
from tidegate.errors import FormatError
from tidegate.units import MIB

METADATA_MAX_BYTES = 1 * MIB
#: as registries take it in a repository's last component; Helm's own documents ask for the same
NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
#: semver, as Helm takes it: a "v" before, and parts left out
VERSION = re.compile(
    r"v?[0-9]{1,18}(?:\.[0-9]{1,18}){0,2}(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z"
)
_TEXTS = ("name", "home", "version", "description", "icon", "apiVersion", "condition", "tags", "appVersion")
_MORE_TEXTS = ("kubeVersion", "type")
_LISTS = ("sources", "keywords")
_DEPENDENCY_TEXTS = ("name", "version", "repository", "condition", "alias")
_TEXT_MAX = 64 * 1024
_TAG_MAX = 128


@dataclass(frozen=True, slots=True)
class ChartMetadata:
    """What names a chart, and `fields`, everything that goes into its config blob."""

    name: str
    version: str
    app_version: str = ""
    description: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The tag that Helm pulls it by: tags have no ``+``."""
        return self.version.replace("+", "_")

    @property
    def file_name(self) -> str:
        """``app-1.2.3.tgz``, as `helm package` calls it."""
        return f"{self.name}-{self.version}.tgz"

    def config_bytes(self) -> bytes:
        """The config blob: the metadata as JSON in canonical form."""
        return dumps(self.fields)


def parse_metadata(data: bytes, what: str) -> ChartMetadata:
    """Read Chart.yaml. Raises FormatError naming `what`."""
    from tidegate.yaml_reading import read_document

    value = read_document(data, what, texts=True, max_bytes=METADATA_MAX_BYTES)
    return metadata_from(value, what)


def metadata_from(value: Any, what: str) -> ChartMetadata:
    """Metadata of what YAML or JSON gave: Chart.yaml, a config blob, an entry of an index. Raises FormatError."""
    if not isinstance(value, dict):
        raise FormatError(f"{what}: is no set of fields")
    fields = dict(_known_fields(value))
    name, version = fields.get("name", ""), fields.get("version", "")
    if not NAME.match(name) or len(name) > 250:
        raise FormatError(f"{what}: {name[:100]!r} cannot be a chart's name: registries take a-z, 0-9, '.', '_', '-'")
    if not VERSION.match(version) or len(version) > _TAG_MAX:
        raise FormatError(f"{what}: {version[:100]!r} is no version of a chart (semver)")
    return ChartMetadata(
        name=name,
        version=version,
        app_version=fields.get("appVersion", ""),
        description=fields.get("description", ""),
        annotations=fields.get("annotations", {}),
        fields=fields,
    )


def _known_fields(value: dict[str, Any]) -> "list[tuple[str, Any]]":
    found: list[tuple[str, Any]] = [(key, _text(value.get(key))) for key in (*_TEXTS, *_MORE_TEXTS)]
    found += [(key, [_text(item) for item in _list(value.get(key))]) for key in _LISTS]
    found.append(("deprecated", _is_true(value.get("deprecated"))))
    found.append(
        ("maintainers", [_texts_of(item, ("name", "email", "url")) for item in _list(value.get("maintainers"))])
    )
    annotations = value.get("annotations")
    if isinstance(annotations, dict):
        found.append(("annotations", {str(key): _text(text) for key, text in annotations.items()}))
    found.append(("dependencies", [_dependency(item) for item in _list(value.get("dependencies"))]))
    return [(key, item) for key, item in found if item]


def _dependency(value: Any) -> dict[str, Any]:
    found = _texts_of(value, _DEPENDENCY_TEXTS)
    if isinstance(value, dict):
        tags = [_text(item) for item in _list(value.get("tags"))]
        imports = [item for item in _list(value.get("import-values")) if isinstance(item, str | dict)]
        found |= {key: item for key, item in (("tags", tags), ("import-values", imports)) if item}
    return found


def _texts_of(value: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key in keys if (text := _text(value.get(key)))}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)[:_TEXT_MAX] if isinstance(value, str | int | float) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
