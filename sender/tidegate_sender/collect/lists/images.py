"""What a transfer list says of an image beyond its reference: tags, SBOMs, what is expected; and public keys to carry.

Key files are read when the list is, so that a wrong one is named with its line before anything is asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.errors import FormatError, KeyFileError, UsageError
from tidegate.provenance.expectation import PREDICATES, Expectation, ExpectedKey
from tidegate.provenance.keys import PublicKey, read_key
from tidegate.registry.reference import Reference, parse_reference, slug
from tidegate_sender.collect.files import collect_files, title_of
from tidegate_sender.collect.items import ImageItem, LayoutItem
from tidegate_sender.collect.kinds import Brought, Sink, SourceItem, Surroundings
from tidegate_sender.collect.tags import check_patterns

KEY = "key"


def make_image(fields: dict[str, Any], folder: Path, common: dict[str, Any]) -> ImageItem:
    """The item of an entry under `images`. Raises UsageError."""
    tags = _texts(fields.get("tags", ()))
    check_patterns(tags)
    if "newest" in fields and not tags:
        raise UsageError("newest chooses among tags that fit, and there are no tags: add tags")
    reference = _reference(fields["ref"], with_patterns=bool(tags))
    return ImageItem(
        reference=reference,
        platforms=tuple(fields.get("platforms", ())),
        tags=tags,
        newest=fields.get("newest", 0),
        **_belonging(fields, folder),
        **common,
    )


def make_layout(fields: dict[str, Any], folder: Path, common: dict[str, Any]) -> LayoutItem:
    """The item of an entry under `layouts`. Raises UsageError."""
    name = fields.get("name", "")
    return LayoutItem(
        path=folder / fields["path"],
        tag=fields.get("tag", ""),
        name=parse_reference(name).name if name else "",
        platforms=tuple(fields.get("platforms", ())),
        **_belonging(fields, folder),
        **common,
    )


def _belonging(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What is said of what belongs to an image, wherever it is."""
    return {
        "attachments": fields.get("attachments", True),
        "sboms": tuple(folder / path for path in _texts(fields.get("sbom", ()))),
        "expect": make_expectation(fields["expect"], folder) if "expect" in fields else None,
    }


def _reference(text: str, *, with_patterns: bool) -> Reference:
    reference = parse_reference(text)
    last = text.rpartition("/")[2]
    if with_patterns and (":" in last or "@" in text):
        raise UsageError(f"{text!r} names a tag or digest, and tags has patterns; one of them is meant")
    return reference


def make_expectation(fields: dict[str, Any], folder: Path) -> Expectation:
    """What ``expect:`` says. Raises UsageError for what cannot be held."""
    keys = tuple(_key(folder / path) for path in _texts(fields.get("signed-by", ())))
    predicates = tuple(PREDICATES.get(text, text) for text in _texts(fields.get("predicates", ())))
    if predicates and not keys:
        raise UsageError("expect: predicates are held against a key: add signed-by")
    if fields.get("identity") and not keys:
        raise UsageError("expect: an identity is that of a signature: add signed-by")
    expectation = Expectation(
        keys=tuple(ExpectedKey(key.name, key.text) for key in keys),
        predicates=predicates,
        types=_texts(fields.get("types", ())),
        identity=fields.get("identity", ""),
        sbom=fields.get("sbom", False),
    )
    try:
        expectation.to_text()
    except FormatError as error:
        raise UsageError(error.message) from None
    return expectation


def _key(path: Path) -> PublicKey:
    try:
        return read_key(path)
    except KeyFileError as error:
        raise UsageError(f"expect: signed-by: {error.message}", hint=error.hint) from None


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyItem(SourceItem):
    """A public key that is carried as content, so that the high side's own verifiers get it from whom they trust."""

    path: Path
    title: str

    lock_kind = KEY

    @property
    def label(self) -> str:
        return str(self.path)

    def bring(self, sink: Sink, around: Surroundings) -> tuple[Brought, ...]:
        """The key as a files artifact of one file. Raises KeyFileError for what is no public key, CollectError."""
        read_key(self.path)
        result = collect_files(self.path, self.title, sink)
        return (Brought(f"keys/{slug(self.title)}", KEY, result.descriptor, result.size_bytes),)


def make_key(fields: dict[str, Any], folder: Path, common: dict[str, Any]) -> KeyItem:
    """The item of an entry under `keys`. Raises UsageError."""
    path = folder / fields["path"]
    title = fields.get("name") or title_of(path)
    if not slug(title):
        raise UsageError(f"{title!r} has no letter or digit that a registry takes in a name")
    return KeyItem(path=path, title=title, **common)
