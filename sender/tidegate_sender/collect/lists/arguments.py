"""What an argument of `pack` and `plan` means: a path, a transfer list, an OCI layout, or an image.

``./``, ``../`` and ``/`` begin a path; ``oci:`` begins an OCI layout; a YAML file with ``tidegate:`` at its top is a
transfer list, with or without such a beginning, which is held to the lock file beside it; a hauler manifest and a
plain text list (``.txt``, ``.list``) are taken as they are, and ``list:`` says so of any file; ``tar:`` begins a tar of
images, ``chart:`` a chart's file, ``oci://`` a chart in a registry, ``imgpkg:`` a bundle of imgpkg. Anything else is an
image reference by Docker's rules.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.registry.reference import Reference, files_name, is_host, parse_reference
from tidegate_sender.collect.files import title_of
from tidegate_sender.collect.items import FilesItem, ImageItem, Item, LayoutItem
from tidegate_sender.collect.lists.beginnings import beginning_of, is_hauler, is_transfer_list

_LAYOUT = "oci:"
_CHART_IN_REGISTRY = "oci://"
_TEXT_LISTS = (".txt", ".list")
_FILES = (*_TEXT_LISTS, ".yaml", ".yml", ".tar", ".tar.gz", ".tgz", ".tar.zst")


class ArgumentKind(StrEnum):
    """What an argument names."""

    PATH = "path"
    TRANSFER_LIST = "transfer-list"
    LAYOUT = "layout"
    IMAGE = "image"
    LIST = "list"
    TAR = "tar"
    CHART = "chart"
    IMGPKG = "imgpkg"


_SAID = (ArgumentKind.LIST, ArgumentKind.TAR, ArgumentKind.CHART, ArgumentKind.IMGPKG)
_LISTS = (ArgumentKind.TRANSFER_LIST, ArgumentKind.LIST)
#: what an argument may begin with to say what it is
_BEGINNINGS = {f"{kind}:": kind for kind in _SAID}


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument and what it names; `text` without ``oci:``."""

    kind: ArgumentKind
    text: str


def classify_argument(text: str) -> Argument:
    """Decide by the rules above. Only YAML files are looked into. Raises UsageError for a list that is none."""
    if text.startswith(_CHART_IN_REGISTRY):
        return Argument(ArgumentKind.CHART, text)
    for beginning, kind in _BEGINNINGS.items():
        rest = text.removeprefix(beginning)
        # An image may be called "list:2" or "chart:1": a tag is no path, unless it ends as files of that kind do.
        if rest != text and (kind is ArgumentKind.IMGPKG or "/" in rest or _is_file(rest)):
            return Argument(kind, rest)
    if text.startswith(_LAYOUT):
        return Argument(ArgumentKind.LAYOUT, text.removeprefix(_LAYOUT))
    is_path = text in {".", ".."} or text.startswith(("./", "../", "/"))
    is_yaml = text.lower().endswith((".yaml", ".yml"))
    first_bytes = beginning_of(Path(text)) if is_yaml else b""
    if is_transfer_list(first_bytes):
        return Argument(ArgumentKind.TRANSFER_LIST, text)
    if is_hauler(first_bytes):
        return Argument(ArgumentKind.LIST, text)
    if is_path:
        return Argument(ArgumentKind.PATH, text)
    if text.lower().endswith(_TEXT_LISTS) and Path(text).is_file():
        return Argument(ArgumentKind.LIST, text)
    if is_yaml and not is_host(text.partition("/")[0] if "/" in text else ""):
        state = "has no top-level field tidegate" if Path(text).is_file() else "no such file"
        hint = f'a transfer list begins with "tidegate: 1"; to bring the file itself, write ./{text}'
        raise UsageError(f"{text}: {state}", hint=hint)
    return Argument(ArgumentKind.IMAGE, text)


def _is_file(text: str) -> bool:
    return text.lower().endswith(_FILES) or Path(text).is_file()


def items_from_arguments(texts: Iterable[str], *, platforms: tuple[str, ...] = ()) -> tuple[Item, ...]:
    """The items that arguments name, those of transfer lists in their place. Raises UsageError.

    `platforms` applies to images and layouts named directly.
    """
    items: list[Item] = []
    for text in texts:
        argument = classify_argument(text)
        found = _items(argument, platforms)
        items += _listed(found, Path(argument.text)) if argument.kind in _LISTS else found
    return tuple(items)


def _listed(items: Iterable[Item], path: Path) -> tuple[Item, ...]:
    """A list that does not say what it goes by goes by its file."""
    name = os.fsencode(path.resolve()).decode("utf-8", "replace")
    return tuple(item if item.listed else replace(item, listed=(name,)) for item in items)


def _items(argument: Argument, platforms: tuple[str, ...]) -> tuple[Item, ...]:
    if argument.kind is ArgumentKind.TRANSFER_LIST:
        from tidegate_sender.collect.lists.lock import hold_to_lock
        from tidegate_sender.collect.lists.transfer_list import read_transfer_list

        return hold_to_lock(read_transfer_list(Path(argument.text)), Path(argument.text))
    if argument.kind is ArgumentKind.LIST:
        from tidegate_sender.collect.lists.foreign_lists import read_foreign_list

        return read_foreign_list(Path(argument.text), platforms)
    if argument.kind in _FURTHER:
        return _further(argument, platforms)
    if argument.kind is ArgumentKind.LAYOUT:
        path, _, tag = argument.text.partition(":")
        if not path:
            raise UsageError('"oci:" needs a folder: oci:./layout or oci:./layout:TAG')
        return (LayoutItem(path=Path(path), tag=tag, platforms=platforms),)
    if argument.kind is ArgumentKind.PATH:
        path_named = Path(argument.text)
        title = title_of(path_named)
        files_name(title)
        return (FilesItem(path=path_named, title=title),)
    return (ImageItem(reference=_reference(argument.text), platforms=platforms),)


_FURTHER = {ArgumentKind.TAR: "tars", ArgumentKind.CHART: "charts", ArgumentKind.IMGPKG: "imgpkg"}


def _further(argument: Argument, platforms: tuple[str, ...]) -> tuple[Item, ...]:
    """As a transfer list in this folder would have it."""
    from tidegate_sender.collect.lists.entries import further_items

    main = {ArgumentKind.TAR: "path", ArgumentKind.CHART: "source", ArgumentKind.IMGPKG: "ref"}[argument.kind]
    fields: dict[str, object] = {main: argument.text}
    if platforms and argument.kind is not ArgumentKind.IMGPKG:
        fields["platforms"] = platforms
    return further_items(_FURTHER[argument.kind], fields, Path(), {"given": argument.text})


def _reference(text: str) -> Reference:
    try:
        return parse_reference(text)
    except UsageError as error:
        if Path(text).exists():
            raise UsageError(error.message, hint=f"to bring the file or folder, write ./{text}") from None
        raise
