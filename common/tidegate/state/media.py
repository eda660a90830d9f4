"""The media that this side knows by their token (docs/format/media-token.md): label, counter, device, contents.

Low side: what was registered here. High side: what was seen. The rows serve comparison; the history is in the ledger.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tidegate.errors import StateError
from tidegate.state.db import Transaction


class MediumState(StrEnum):
    """Where a medium is, as far as anybody said."""

    HERE = "here"  # low side: at hand; high side: seen
    AWAY = "away"  # low side: `send` ended on it, and it has not come back
    LOST = "lost"
    SUSPECT = "suspect"  # it came back with something added or changed


@dataclass(frozen=True, slots=True)
class MediumRow:
    """One medium. `token_digest` is that of the token file last written or seen, `device` what the host said of it.

    `contents` is what lay on it after the last writing, by path, or None where that is not known; `detail` what it
    last carried. `registered` and `updated` are seconds since 1970.
    """

    token: str
    label: str
    channel_id: str
    state: MediumState
    counter: int
    token_digest: str
    registered: int
    updated: int
    device: dict[str, Any] = field(default_factory=dict)
    contents: dict[str, Any] | None = None
    detail: dict[str, Any] = field(default_factory=dict)


_COLUMNS = "token, label, channel_id, state, counter, token_digest, registered, updated, device, contents, detail"


def put_medium(tx: Transaction, row: MediumRow) -> None:
    """Add the row, or replace the one of its token."""
    contents = None if row.contents is None else json.dumps(row.contents)  # ASCII: names may be no UTF-8
    tx.execute(
        f"INSERT OR REPLACE INTO media ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.token,
            row.label,
            row.channel_id,
            row.state.value,
            row.counter,
            row.token_digest,
            row.registered,
            row.updated,
            json.dumps(row.device),
            contents,
            json.dumps(row.detail),
        ),
    )


def get_medium(tx: Transaction, token: str) -> MediumRow | None:
    """The medium of that token."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM media WHERE token = ?", (token,))
    return _read(rows[0]) if rows else None


def medium_by_digest(tx: Transaction, digest: str) -> MediumRow | None:
    """The medium whose token file, as it was last written or seen, has that digest."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM media WHERE token_digest = ?", (digest,))
    return _read(rows[0]) if rows else None


def media_by_label(tx: Transaction, label: str) -> tuple[MediumRow, ...]:
    """Media of that label, whatever the case of its letters: one on the low side; a high side may see several."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM media WHERE label = ? ORDER BY registered, token", (label,))
    return tuple(_read(row) for row in rows)


def list_media(tx: Transaction) -> tuple[MediumRow, ...]:
    """All media, by label."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM media ORDER BY label, registered, token")
    return tuple(_read(row) for row in rows)


def _read(row: tuple[Any, ...]) -> MediumRow:
    token, label, channel_id, state, counter, digest, registered, updated, device, contents, detail = row
    try:
        return MediumRow(
            token,
            label,
            channel_id,
            MediumState(state),
            counter,
            digest,
            registered,
            updated,
            json.loads(device),
            None if contents is None else json.loads(contents),
            json.loads(detail),
        )
    except ValueError as error:
        raise StateError(f"medium {label}: its row cannot be read: {error}") from None
