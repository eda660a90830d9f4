"""Lock files: what each entry of a transfer list stood for when it was locked, ``transfer.lock`` beside it.

A list says what is wanted, its lock what that is: one digest for each entry, whatever its tag names by now. It is YAML
that a person reads in a merge request. The form is published (`transfer-lock.schema.json` beside this module); reasons
stand in docs/decisions/0011-lock-and-reproduce.md. How digests are found is left to `locking`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tidegate.errors import CollectError, LockMissingError, UsageError
from tidegate.files import read_given
from tidegate_sender.collect.items import FilesItem, ImageItem, Item, LayoutItem
from tidegate_sender.collect.kinds import SourceItem
from tidegate_sender.collect.lists.yaml_form import check_document, published_form
from tidegate_sender.collect.lists.yaml_places import MAX_BYTES, read_yaml

SCHEMA_FILE = "transfer-lock.schema.json"
LOCK_VERSION = 1
#: every entry may take some 300 bytes, and a list has up to 300,000
_MISSING_SHOWN = 10


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """What identifies an entry of a list: where it stands, what it says, and which platforms it wants (sorted)."""

    kind: str
    source: str
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Locked:
    """One entry of a lock. `digest` is the root before platforms are chosen; `size` is bytes of what is carried."""

    name: str
    asked: Asked
    digest: str
    size: int

    @property
    def order(self) -> tuple[str, Asked]:
        return self.name, self.asked


def asked_of(item: Item) -> Asked:
    """How a lock calls `item`. Raises CollectError for a kind of source that has no lock."""
    if isinstance(item, ImageItem) and item.tags:
        raise CollectError(f"{item.label}: patterns of tags cannot be locked", hint="name its tags one by one")
    if isinstance(item, ImageItem):
        return Asked("image", str(item.reference), tuple(sorted(item.platforms)))
    if isinstance(item, LayoutItem):
        source = f"{item.given}:{item.tag}" if item.tag else item.given
        return Asked("layout", f"{source} as {item.name}" if item.name else source, tuple(sorted(item.platforms)))
    if isinstance(item, FilesItem):
        return Asked("files", f"{item.given} as {item.title}", ())
    if isinstance(item, SourceItem):
        return Asked(item.lock_kind, item.lock_source, ())
    raise CollectError(f"{item.label}: {type(item).__name__} cannot be locked")


def lock_path(transfer_list: Path) -> Path:
    """Where the lock of a list lies: ``transfer.lock`` for ``transfer.yaml``."""
    return transfer_list.with_suffix(".lock")


def hold_to_lock(items: tuple[Item, ...], transfer_list: Path) -> tuple[Item, ...]:
    """`items` with the digests of the lock beside the list; as they are where there is none.

    Raises LockMissingError for what the lock does not have, UsageError for a file that is no lock.
    """
    path = lock_path(transfer_list)
    if not path.is_file():
        return items
    known = {locked.asked: locked for locked in read_lock(path)}
    asked = [asked_of(item) for item in items]
    missing = [item for item, name in zip(items, asked, strict=True) if name not in known]
    if missing:
        lines = [f"{item.origin}: {item.label}{_platforms(item)} is not in {path}" for item in missing[:_MISSING_SHOWN]]
        more = [f"and {len(missing) - _MISSING_SHOWN} more"] if len(missing) > _MISSING_SHOWN else []
        raise LockMissingError("\n".join(lines + more), hint=f'"tidegate lock {transfer_list}" adds what is missing')
    return tuple(
        replace(item, locked=known[name].digest, locked_name=known[name].name)
        for item, name in zip(items, asked, strict=True)
    )


def _platforms(item: Item) -> str:
    platforms = getattr(item, "platforms", ())
    return f" for {', '.join(platforms)}" if platforms else ""


def read_lock(path: Path) -> tuple[Locked, ...]:
    """The entries of a lock on the disk. Raises UsageError."""
    return parse_lock(read_given(path, MAX_BYTES), str(path))


def parse_lock(data: bytes, name: str) -> tuple[Locked, ...]:
    """The entries of a lock called `name`. Raises UsageError with line and column."""
    document = read_yaml(data, name)
    check_document(document, schema())
    found: dict[Asked, Locked] = {}
    for number, entry in enumerate(document.value["artifacts"]):
        asked = Asked(entry["kind"], entry.get("source", entry["name"]), tuple(sorted(entry.get("platforms", ()))))
        locked = Locked(entry["name"], asked, entry["digest"], entry["size"])
        if found.setdefault(asked, locked) is not locked:
            raise UsageError(f"{document.place(('artifacts', number))}: {locked.name} stands here twice")
    return tuple(sorted(found.values(), key=lambda locked: locked.order))


def format_lock(entries: Iterable[Locked], list_name: str) -> bytes:
    """The bytes of a lock: equal entries give equal bytes. Raises UsageError where nobody could read it again."""
    import yaml

    artifacts = [_as_object(locked) for locked in sorted(entries, key=lambda locked: locked.order)]
    head = (
        f"# What {json.dumps(list_name, ensure_ascii=True)} stood for when it was locked."
        ' Written by "tidegate lock", which adds\n# and removes entries; with --update it renews them.\n'
    )
    document = {"tidegate-lock": LOCK_VERSION, "artifacts": artifacts}
    body = yaml.safe_dump(document, sort_keys=False, width=1_000_000, allow_unicode=True)
    data = (head + body).encode()
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{list_name}: its lock has {len(data)} bytes, the limit is {MAX_BYTES}", hint="split the list"
        )
    return data


def _as_object(locked: Locked) -> dict[str, Any]:
    asked = locked.asked
    return {
        "name": locked.name,
        "kind": asked.kind,
        **({"source": asked.source} if asked.source != locked.name else {}),
        **({"platforms": list(asked.platforms)} if asked.platforms else {}),
        "digest": locked.digest,
        "size": locked.size,
    }


def schema() -> dict[str, Any]:
    """The published JSON schema."""
    return published_form(SCHEMA_FILE)


def changes(before: Sequence[Locked], after: Sequence[Locked]) -> tuple[tuple[str, str], ...]:
    """What a renewal did, as (name, ``added``, ``removed`` or ``changed``), in the order of names."""
    old = {locked.asked: locked for locked in before}
    new = {locked.asked: locked for locked in after}
    found = [(old[asked], "removed") for asked in old.keys() - new.keys()]
    found += [(new[asked], "added") for asked in new.keys() - old.keys()]
    found += [(new[asked], "changed") for asked in new.keys() & old.keys() if new[asked] != old[asked]]
    return tuple((locked.name, word) for locked, word in sorted(found, key=lambda pair: pair[0].order))
