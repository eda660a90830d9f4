"""Plain lists of old and new names: CSV and JSON with every artifact, and variables for Ansible."""

import csv
import io
import json
from collections.abc import Iterable

from tidegate_receiver.naming.rows import NameRow
from tidegate_receiver.naming.writing import yaml_text

HEADS = ("old", "new", "digest", "old_digest", "kind")
_FORMULA = ("=", "+", "-", "@", "\t")


def csv_list(rows: Iterable[NameRow]) -> str:
    """RFC 4180, with one line of heads. What a spreadsheet would take for a formula begins with a quote."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(HEADS)
    writer.writerows([_cell(value) for value in _values(row)] for row in rows)
    return file.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def json_list(rows: Iterable[NameRow]) -> str:
    """An array of objects."""
    return json.dumps([dict(zip(HEADS, _values(row), strict=True)) for row in rows], indent=1) + "\n"


def ansible_variables(rows: Iterable[NameRow]) -> str:
    """``tidegate_images``: old name to new one, by digest; ``tidegate_names``: the same with tags."""
    images = [row for row in rows if row.is_image]
    return yaml_text(
        {
            "tidegate_images": {row.old: row.pinned for row in images},
            "tidegate_names": {row.old: row.new for row in images},
        }
    )


def _values(row: NameRow) -> tuple[str, ...]:
    return row.old, row.new, row.digest, row.root, row.kind
