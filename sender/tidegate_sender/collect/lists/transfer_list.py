"""Transfer lists: YAML with ``tidegate: 1`` at its top that names what is to be brought.

The form is published as a JSON schema, `transfer-list.schema.json` beside this module, which `yaml_form` holds it to.
Other kinds of sources become further lists at the top (`list_entries`).
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tidegate.errors import UsageError
from tidegate.files import read_given
from tidegate.registry.reference import files_name
from tidegate_sender.collect.files import title_of
from tidegate_sender.collect.items import FilesItem, Item
from tidegate_sender.collect.lists.images import make_image, make_key, make_layout
from tidegate_sender.collect.lists.yaml_form import check_document, field_text, published_form
from tidegate_sender.collect.lists.yaml_places import MAX_BYTES, Document, read_yaml

SCHEMA_FILE = "transfer-list.schema.json"


def read_transfer_list(path: Path) -> tuple[Item, ...]:
    """The items of a transfer list on the disk. Raises UsageError."""
    return parse_transfer_list(read_given(path, MAX_BYTES), str(path), path.parent)


def parse_transfer_list(data: bytes, name: str, folder: Path) -> tuple[Item, ...]:
    """The items of a transfer list called `name`, whose relative paths start at `folder`. Raises UsageError."""
    document = read_yaml(data, name)
    check_document(document, schema())
    return tuple(_items(document, folder))


def schema() -> dict[str, Any]:
    """The published JSON schema."""
    return published_form(SCHEMA_FILE)


def _items(document: Document, folder: Path) -> Iterator[Item]:
    listed = (document.value["name"],) if "name" in document.value else ()
    for kind, entries in document.value.items():
        if kind not in _KINDS:
            continue
        for number, entry in enumerate(entries):
            place = document.place((kind, number))
            try:
                yield from _entry_items(kind, entry, folder, place, listed)
            except UsageError as error:
                raise UsageError(f"{place}: {field_text((kind, number))}: {error.message}", hint=error.hint) from None


def _entry_items(kind: str, entry: Any, folder: Path, place: str, listed: tuple[str, ...]) -> Iterable[Item]:
    main, make = _KINDS[kind]
    fields = {main: entry} if isinstance(entry, str) else dict(entry)
    common = {key: fields[key] for key in ("required", "ticket", "justification") if key in fields}
    load = fields.get("load", ())
    common |= {"origin": place, "load": (load,) if isinstance(load, str) else tuple(load), "listed": listed}
    common["given"] = str(fields.get(main, ""))
    if make is None:
        from tidegate_sender.collect.lists.entries import further_items

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
