"""What an argument of `pack` and `plan` means: a path, a transfer list, an OCI layout, or an image.

``./``, ``../`` and ``/`` begin a path; ``oci:`` begins an OCI layout; a YAML file with ``tidegate:`` at its top is a
transfer list, with or without such a beginning, which is held to the lock file beside it; anything else is an image
reference by Docker's rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.registry.reference import Reference, files_name, is_host, parse_reference
from tidegate.units import KIB
from tidegate_sender.collect.files import title_of
from tidegate_sender.collect.items import FilesItem, ImageItem, Item, LayoutItem

_TOP_LEVEL = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?tidegate[\"']?[ \t]*:", re.MULTILINE)
_LOOK_BYTES = 64 * KIB  # the top level key stands among the first lines
_LAYOUT = "oci:"


class ArgumentKind(StrEnum):
    """What an argument names."""

    PATH = "path"
    TRANSFER_LIST = "transfer-list"
    LAYOUT = "layout"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument and what it names; `text` without ``oci:``."""

    kind: ArgumentKind
    text: str


def classify_argument(text: str) -> Argument:
    """Decide by the rules above. Only YAML files are looked into. Raises UsageError for a list that is none."""
    if text.startswith(_LAYOUT):
        return Argument(ArgumentKind.LAYOUT, text.removeprefix(_LAYOUT))
    is_path = text in {".", ".."} or text.startswith(("./", "../", "/"))
    is_yaml = text.lower().endswith((".yaml", ".yml"))
    if is_yaml and _is_transfer_list(Path(text)):
        return Argument(ArgumentKind.TRANSFER_LIST, text)
    if is_path:
        return Argument(ArgumentKind.PATH, text)
    if is_yaml and not is_host(text.partition("/")[0] if "/" in text else ""):
        state = "has no top-level field tidegate" if Path(text).is_file() else "no such file"
        hint = f'a transfer list begins with "tidegate: 1"; to bring the file itself, write ./{text}'
        raise UsageError(f"{text}: {state}", hint=hint)
    return Argument(ArgumentKind.IMAGE, text)


def _is_transfer_list(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return _TOP_LEVEL.search(file.read(_LOOK_BYTES)) is not None
    except (OSError, ValueError):
        return False


def items_from_arguments(texts: Iterable[str], *, platforms: tuple[str, ...] = ()) -> tuple[Item, ...]:
    """The items that arguments name, those of transfer lists in their place. Raises UsageError.

    `platforms` applies to images and layouts named directly.
    """
    items: list[Item] = []
    for text in texts:
        items += _items(classify_argument(text), platforms)
    return tuple(items)


def _items(argument: Argument, platforms: tuple[str, ...]) -> tuple[Item, ...]:
    if argument.kind is ArgumentKind.TRANSFER_LIST:
        from tidegate_sender.collect.lock import hold_to_lock
        from tidegate_sender.collect.transfer_list import read_transfer_list

        return hold_to_lock(read_transfer_list(Path(argument.text)), Path(argument.text))
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


def _reference(text: str) -> Reference:
    try:
        return parse_reference(text)
    except UsageError as error:
        if Path(text).exists():
            raise UsageError(error.message, hint=f"to bring the file or folder, write ./{text}") from None
        raise
