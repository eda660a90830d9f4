"""Transfer lists: YAML with ``tidegate: 1`` at its top that names what is to be brought.

The form is published as a JSON schema (`transfer-list.schema.json` beside this module). Every fault is named with file,
line, column and field, all of them at once. Other kinds of sources become further lists at the top.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.errors import UsageError
from tidegate.registry.reference import files_name
from tidegate_sender.collect.files import title_of
from tidegate_sender.collect.items import FilesItem, Item
from tidegate_sender.collect.list_images import make_image, make_key, make_layout
from tidegate_sender.collect.yaml_places import MAX_BYTES, Document, read_yaml

if TYPE_CHECKING:
    from jsonschema import ValidationError

SCHEMA_FILE = "transfer-list.schema.json"
_FAULTS_MAX = 20


def read_transfer_list(path: Path) -> tuple[Item, ...]:
    """The items of a transfer list on the disk. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return parse_transfer_list(data, str(path), path.parent)


def parse_transfer_list(data: bytes, name: str, folder: Path) -> tuple[Item, ...]:
    """The items of a transfer list called `name`, whose relative paths start at `folder`. Raises UsageError."""
    document = read_yaml(data, name)
    check_document(document, schema())
    return tuple(_items(document, folder))


def check_document(document: Document, form: dict[str, Any]) -> None:
    """Hold `document` to the JSON schema `form`. Raises UsageError naming every fault."""
    faults = [text for _place, text in sorted(_faults(document, form))]
    if faults:
        more = [f"{document.name}: and {len(faults) - _FAULTS_MAX} faults more"] if len(faults) > _FAULTS_MAX else []
        raise UsageError("\n".join(faults[:_FAULTS_MAX] + more))


def _faults(document: Document, form: dict[str, Any]) -> Iterator[tuple[tuple[int, int], str]]:
    """Every fault with its (line, column)."""
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(form).iter_errors(document.value):
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            yield from _unknown_fields(error, path, document)
        else:
            yield document.at(path), f"{document.place(path)}: {_field(path)}: {_wrong(error)}"


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The published JSON schema."""
    text = resources.files(__package__).joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _unknown_fields(
    error: "ValidationError", path: tuple[str | int, ...], document: Document
) -> Iterator[tuple[tuple[int, int], str]]:
    """The fields that the schema does not know, each with what was probably meant."""
    known = list(error.schema["properties"]) if isinstance(error.schema, dict) else []
    instance: Any = error.instance
    for name in instance:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"known here are {', '.join(known)}"
            place = document.place((*path, name), key=True)
            yield document.at((*path, name), key=True), f"{place}: {_field((*path, name))}: unknown field; {meant}"


def _wrong(error: "ValidationError") -> str:
    value = json.dumps(error.instance, default=str, ensure_ascii=False)[:80]
    if error.validator == "type":
        wanted = {"string": "text", "array": "a list", "object": "a set of fields", "boolean": "true or false"}
        quotes = "; put it in quotes" if error.validator_value == "string" and not _is_nested(error.instance) else ""
        return f"{value} is not {wanted.get(str(error.validator_value), error.validator_value)}{quotes}"
    if error.validator == "required":
        return error.message.replace("is a required property", "is missing")
    if error.validator == "const":
        return f"{value} is a version that is not known here; this is version {error.validator_value}"
    if error.validator == "pattern":
        return f"{value} is {'no digest' if 'sha256' in str(error.validator_value) else 'not written like linux/amd64'}"
    return error.message[:200]


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict) or value is None


def _field(path: tuple[str | int, ...]) -> str:
    """``images[3].ref``, counted from 1 as people do."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "top level"


def _items(document: Document, folder: Path) -> Iterator[Item]:
    for kind, entries in document.value.items():
        if kind not in _KINDS:
            continue
        for number, entry in enumerate(entries):
            place = document.place((kind, number))
            try:
                yield from _entry_items(kind, entry, folder, place)
            except UsageError as error:
                raise UsageError(f"{place}: {_field((kind, number))}: {error.message}", hint=error.hint) from None


def _entry_items(kind: str, entry: Any, folder: Path, place: str) -> Iterable[Item]:
    main, make = _KINDS[kind]
    fields = {main: entry} if isinstance(entry, str) else dict(entry)
    common = {key: fields[key] for key in ("required", "ticket", "justification") if key in fields}
    load = fields.get("load", ())
    common |= {"origin": place, "load": (load,) if isinstance(load, str) else tuple(load)}
    common["given"] = str(fields.get(main, ""))
    if make is None:
        from tidegate_sender.collect.list_entries import further_items

        return further_items(kind, fields, folder, common)
    return (make(fields, folder, common),)


def _files(fields: dict[str, Any], folder: Path, common: dict[str, Any]) -> FilesItem:
    path = folder / fields["path"]
    title = fields.get("name") or title_of(path)
    files_name(title)
    return FilesItem(path=path, title=title, **common)


#: each list at the top: the field that a plain text stands for, and what makes the item (None: `list_entries`)
_KINDS: dict[str, tuple[str, Callable[[dict[str, Any], Path, dict[str, Any]], Item] | None]] = {
    "images": ("ref", make_image),
    "layouts": ("path", make_layout),
    "files": ("path", _files),
    "keys": ("path", make_key),
    "charts": ("source", None),
    "tars": ("path", None),
    "imgpkg": ("ref", None),
    "lists": ("path", None),
}
