"""Which images Kubernetes manifests name: in any object, of any kind, wherever a field says ``image``.

Plain values in (YAML or JSON that was read elsewhere), references out; what looks like an image and is none is told
apart, so that nothing is left out in silence. ``status`` is not looked at: it says what runs, not what is wanted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tidegate.errors import UsageError
from tidegate.registry.reference import parse_reference

_DEPTH_MAX = 64
_RELATED = "RELATED_IMAGE"  # how operators are told of their operands' images


@dataclass(frozen=True, slots=True)
class FoundImages:
    """Normalised references, sorted and unique, and what could not be understood, with its place."""

    references: tuple[str, ...]
    unresolved: tuple[str, ...] = ()

    def with_more(self, other: "FoundImages") -> "FoundImages":
        return FoundImages(
            tuple(sorted({*self.references, *other.references})),
            tuple(sorted({*self.unresolved, *other.unresolved})),
        )


def find_images(documents: tuple[Any, ...], what: str) -> FoundImages:
    """The images that `documents` name; `what` stands in places."""
    references: set[str] = set()
    unresolved: set[str] = set()
    for document in documents:
        for place, text in _mentions(document, _title(document), 0):
            try:
                references.add(str(parse_reference(text)))
            except UsageError:
                unresolved.add(f"{what}: {place}: {text[:200]!r} is no image reference")
    return FoundImages(tuple(sorted(references)), tuple(sorted(unresolved)))


def _title(document: Any) -> str:
    if not isinstance(document, dict):
        return "document"
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return "/".join(str(part)[:100] for part in (document.get("kind", ""), name) if part) or "document"


def _mentions(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEPTH_MAX:
        yield place, f"(nested deeper than {_DEPTH_MAX} levels)"  # no reference: it is listed as not understood
        return
    if isinstance(value, list):
        for item in value:
            yield from _mentions(item, _title(item) if depth == 1 else place, depth + 1)
    elif isinstance(value, dict):
        yield from _own_mentions(value, place)
        for key, item in value.items():
            if key != "status":
                yield from _mentions(item, place, depth + 1)


def _own_mentions(value: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    image = value.get("image")
    if isinstance(image, str) and image:
        yield place, image
    elif isinstance(image, dict):
        text = image.get("reference") or image_of_parts(image, "")
        if isinstance(text, str) and text:
            yield place, text
    name, text = value.get("name"), value.get("value")
    if isinstance(name, str) and name.startswith(_RELATED) and isinstance(text, str) and text:
        yield place, text


def image_of_parts(value: dict[str, Any], default_tag: str) -> str:
    """A reference of the parts that charts and custom resources keep apart; empty where there is no repository."""
    repository = value.get("repository")
    if not isinstance(repository, str) or not repository:
        return ""
    registry, tag, digest = (value.get(key) for key in ("registry", "tag", "digest"))
    text = f"{registry}/{repository}" if isinstance(registry, str) and registry else repository
    version = str(tag) if isinstance(tag, str | int | float) and str(tag) else default_tag
    if isinstance(digest, str) and digest:
        return f"{text}@{digest}"
    return f"{text}:{version}" if version and ":" not in text.rpartition("/")[2] and "@" not in text else text
