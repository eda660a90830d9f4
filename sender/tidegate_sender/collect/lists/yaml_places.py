"""YAML as plain values, with the line and column of each, so that an error can point at its place.

Text from outside: size, depth and aliases are limited before anything is built, and no tag makes an object.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

from tidegate.errors import UsageError
from tidegate.units import MIB

MAX_BYTES = 4 * MIB
MAX_DEPTH = 16
Path = tuple[str | int, ...]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it is there: ten times faster


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document: its `value`, and by path the (line, column) of each value and key, both from 1."""

    name: str
    value: Any
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def place(self, path: Path, *, key: bool = False) -> str:
        """``list.yaml:12:5`` of the value, or the key, at `path`; of the nearest above where it has none itself."""
        line, column = self.at(path, key=key)
        return f"{self.name}:{line}:{column}"

    def at(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """(line, column) as in `place`."""
        places = self.keys if key else self.values
        while path and path not in places:
            path, places = path[:-1], self.values
        return places.get(path, (1, 1))


def read_yaml(data: bytes, name: str) -> Document:
    """Read one document. Raises UsageError naming `name`, line and column."""
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name}: {len(data)} bytes, the limit is {MAX_BYTES}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}:{line}: is not UTF-8 text") from None
    document = Document(name, None)
    try:
        _check_events(text, name)
        node = yaml.compose(text, Loader=_Loader)
        value = _Builder(document).build(node, ()) if node is not None else None
    except yaml.YAMLError as error:
        raise _yaml_error(error, name) from None
    return Document(name, value, document.values, document.keys)


def _check_events(text: str, name: str) -> None:
    """Refuse aliases (they can grow beyond all bounds) and deep nesting, before nodes are built."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line, column = _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise UsageError(f"{name}:{line}:{column}: aliases (*{event.anchor}) are not read here")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UsageError(f"{name}:{line}:{column}: nested deeper than {MAX_DEPTH} levels")


class _Builder:
    """Turns nodes into values and notes their places."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._document.values[path] = _place(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, number)) for number, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node)
            place = _place(key_node.start_mark)
            where = f"{self._document.name}:{place[0]}:{place[1]}"
            if not isinstance(key, str):
                raise UsageError(f"{where}: {str(key)[:80]!r} cannot be a field's name: it is no text")
            if key in result:
                raise UsageError(f"{where}: field {key!r} stands here twice")
            self._document.keys[(*path, key)] = place
            result[key] = self.build(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node) -> Hashable:
        try:
            value: Hashable = self._scalars.construct_object(node, deep=True)
        except (ValueError, OverflowError, TypeError) as error:
            line, column = _place(node.start_mark)
            raise UsageError(f"{self._document.name}:{line}:{column}: {error}") from None
        return value


def _place(mark: Any) -> tuple[int, int]:
    """(line, column) from 1; the beginning where the parser gives no mark."""
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _yaml_error(error: yaml.YAMLError, name: str) -> UsageError:
    mark = getattr(error, "problem_mark", None)
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else name
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return UsageError(f"{where}: is no YAML: {problem}")
