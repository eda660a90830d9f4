"""YAML of strangers (charts, Kubernetes manifests, indexes) as plain values, with limits before anything is built.

Depth is checked on the events, aliases share their node and are built within one budget of values, so that neither
deep nesting nor "a billion laughs" takes memory. Every scalar may be kept as the text that stood there, since a version
``1.10`` is no number. Transfer lists, whose faults need places, have a reader of their own.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from tidegate.errors import FormatError
from tidegate.units import MIB

YAML_MAX_BYTES = 32 * MIB
DEPTH_MAX = 64
VALUES_MAX = 1_000_000
DOCUMENTS_MAX = 10_000
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it is there: ten times faster
_BROKEN = (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError, AttributeError)


def read_documents(data: bytes, what: str, *, texts: bool = False, max_bytes: int = YAML_MAX_BYTES) -> tuple[Any, ...]:
    """All documents of `data`; with `texts` every scalar is the text that stood there (null stays None).

    Raises FormatError naming `what`.
    """
    text = decode(data, what, max_bytes)
    try:
        _check_depth(text, what)
        builder = _Builder(what, texts)
        found: list[Any] = []
        for node in yaml.compose_all(text, Loader=LOADER):
            if len(found) >= DOCUMENTS_MAX:
                raise FormatError(f"{what}: more than {DOCUMENTS_MAX} documents")
            found.append(builder.build(node))
    except _BROKEN as error:
        raise FormatError(f"{what}: is no YAML: {' '.join(str(error).split())[:200]}") from None
    return tuple(found)


def read_document(data: bytes, what: str, *, texts: bool = False, max_bytes: int = YAML_MAX_BYTES) -> Any:
    """The one document of `data`; None for an empty one. Raises FormatError."""
    documents = read_documents(data, what, texts=texts, max_bytes=max_bytes)
    if len(documents) > 1:
        raise FormatError(f"{what}: holds {len(documents)} documents, one is expected")
    return documents[0] if documents else None


def decode(data: bytes, what: str, max_bytes: int) -> str:
    """Text within its limit. Raises FormatError."""
    if len(data) > max_bytes:
        raise FormatError(f"{what}: {len(data)} bytes, the limit is {max_bytes}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FormatError(f"{what}: is not UTF-8 text") from None


def _check_depth(text: str, what: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise FormatError(f"{what}: nested deeper than {DEPTH_MAX} levels")


class _Builder:
    """Plain values of nodes, within one budget."""

    def __init__(self, what: str, texts: bool) -> None:
        self._what, self._texts = what, texts
        self._left = VALUES_MAX
        self._scalars = yaml.constructor.SafeConstructor()
        self._open: set[int] = set()

    def build(self, node: yaml.Node | None) -> Any:
        self._left -= 1
        if self._left < 0:
            raise FormatError(f"{self._what}: more than {VALUES_MAX} values")
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise FormatError(f"{self._what}: an alias that contains itself")
        self._open.add(id(node))
        value = dict(self._pairs(node)) if isinstance(node, yaml.MappingNode) else [*map(self.build, node.value)]
        self._open.discard(id(node))
        return value

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, Any]]:
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield key.value, self.build(value)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag == "tag:yaml.org,2002:null":
            return None
        if self._texts or node.tag == "tag:yaml.org,2002:str":
            return node.value
        return self._scalars.construct_object(node)
