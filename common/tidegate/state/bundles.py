"""Bundles that this side made or received, and where each stands. Also: what a BUNDLE on a command line means."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tidegate import clock
from tidegate.errors import BundleUnknownError, StateError, UsageError
from tidegate.names import bundle_name, parse_bundle_name
from tidegate.state.db import Transaction
from tidegate.state.schema import HAS_VOIDS

ID_PREFIX_MIN = 8  # hex digits of a bundle_id that a person may type
_HEX = re.compile(r"[0-9a-f]{8,64}")
_NUMBER = re.compile(r"[0-9]{1,16}")


class BundleState(StrEnum):
    """Where a bundle stands; the first three on the low side, the others on the high side."""

    PACKED = "packed"
    SENT = "sent"
    DISCARDED = "discarded"
    RECEIVING = "receiving"
    INCOMPLETE = "incomplete"
    WAITING = "waiting"
    QUARANTINED = "quarantined"
    LOADED = "loaded"
    REFUSED = "refused"
    DENIED = "denied"
    #: it was loaded, and its content was removed later (`cleanup`); its number stays taken
    CLEANED = "cleaned"


@dataclass(frozen=True, slots=True)
class BundleRow:
    """One bundle. Times are seconds since 1970; `size` is bytes as carried, `content_size` of the blobs."""

    bundle_id: str
    channel_id: str
    sequence: int
    side: str
    state: BundleState
    created: int
    size: int
    content_size: int
    expires: int | None = None
    path: str | None = None
    #: objects as the manifest lists them: name, kind, media_type, digest, size
    artifacts: tuple[dict[str, Any], ...] = ()
    #: bundle_id of the bundle before
    previous: str | None = None
    updated: int = 0
    #: further facts of the room that wrote the row
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return bundle_name(self.channel_id, self.sequence)

    @property
    def epoch(self) -> int:
        return int(self.detail.get("epoch", 1))


_COLUMNS = (
    "bundle_id, channel_id, sequence, side, state, created, size, content_size,"
    " expires, path, artifacts, previous, updated, detail"
)


def put_bundle(tx: Transaction, row: BundleRow) -> None:
    """Write the row, in place of one of the same bundle_id. `updated` is set to now."""
    tx.execute(
        f"INSERT OR REPLACE INTO bundles ({_COLUMNS}, name) VALUES ({', '.join('?' * 15)})",
        (
            row.bundle_id,
            row.channel_id,
            row.sequence,
            row.side,
            row.state,
            row.created,
            row.size,
            row.content_size,
            row.expires,
            row.path,
            json.dumps(row.artifacts),
            row.previous,
            clock.now(),
            json.dumps(row.detail),
            row.name,
        ),
    )


def set_bundle_state(
    tx: Transaction, bundle_id: str, state: BundleState, *, detail: dict[str, Any] | None = None
) -> None:
    """Move a known bundle to `state`; `detail` is merged into the row's."""
    row = get_bundle(tx, bundle_id)
    if row is None:
        raise StateError(f"bundle {bundle_id[:16]}: is not in the state")
    tx.execute(
        "UPDATE bundles SET state = ?, detail = ?, updated = ? WHERE bundle_id = ?",
        (state, json.dumps({**row.detail, **(detail or {})}), clock.now(), bundle_id),
    )


def note_detail(tx: Transaction, bundle_id: str, **facts: Any) -> None:
    """Merge facts into the detail of a known bundle, which does not count as a change of it: its age stays."""
    row = get_bundle(tx, bundle_id)
    if row is not None:
        detail = json.dumps({**row.detail, **facts})
        tx.execute("UPDATE bundles SET detail = ? WHERE bundle_id = ?", (detail, bundle_id))


def delete_bundle(tx: Transaction, bundle_id: str) -> None:
    """Forget a row; the ledger keeps what happened."""
    tx.execute("DELETE FROM bundles WHERE bundle_id = ?", (bundle_id,))


def get_bundle(tx: Transaction, bundle_id: str) -> BundleRow | None:
    rows = _select(tx, "WHERE bundle_id = ?", (bundle_id,))
    return rows[0] if rows else None


def list_bundles(
    tx: Transaction, *, channel_id: str | None = None, states: Iterable[BundleState] = ()
) -> tuple[BundleRow, ...]:
    """Bundles by channel and number; all, or those of one channel, or in one of `states`."""
    wanted = tuple(states)
    rows = _select(tx, "WHERE ? IS NULL OR channel_id = ?", (channel_id, channel_id))
    return tuple(row for row in rows if not wanted or row.state in wanted)


def bundles_by_number(tx: Transaction, channel_id: str, sequence: int) -> tuple[BundleRow, ...]:
    """Every bundle of one number: more than one after it was packed again, or when the channel forked."""
    return _select(tx, "WHERE channel_id = ? AND sequence = ?", (channel_id, sequence))


def bundles_with_voids(tx: Transaction, channel_id: str) -> tuple[BundleRow, ...]:
    """Bundles of a channel in whose detail "void" is a list with something in it, as `put_bundle` writes it.

    They are few, and asked for with each bundle that comes: the others are not made into objects.
    """
    return _select(tx, f"WHERE channel_id = ? AND {HAS_VOIDS}", (channel_id,))


def newest_bundle(tx: Transaction, channel_id: str) -> BundleRow | None:
    """The bundle of the highest number that is not discarded."""
    kept = [row for row in list_bundles(tx, channel_id=channel_id) if row.state is not BundleState.DISCARDED]
    return kept[-1] if kept else None


def find_bundle(tx: Transaction, text: str) -> BundleRow:
    """The bundle that `text` means: a name, a number where there is one channel, or 8 or more hex of its id.

    Of two that fit, one that is not discarded or refused wins. Raises BundleUnknownError where none fits, UsageError
    where `text` cannot be told to mean one.
    """
    found = _matching(tx, text)
    dead = (BundleState.DISCARDED, BundleState.REFUSED)
    alive = tuple(row for row in found if row.state not in dead) or found
    if not alive:
        raise BundleUnknownError(f"no bundle {text!r} is known here", hint='"tidegate status" lists the bundles')
    # A channel that began to count anew has its numbers twice: the newest epoch's is meant.
    newest = max(row.epoch for row in alive)
    alive = tuple(row for row in alive if row.epoch == newest)
    if len(alive) > 1:
        ids = ", ".join(f"{row.name} ({row.bundle_id[:16]})" for row in alive)
        raise UsageError(f"{text!r} means more than one bundle: {ids}", hint="give more digits of the bundle_id")
    return alive[0]


def _matching(tx: Transaction, text: str) -> tuple[BundleRow, ...]:
    by_name = parse_bundle_name(text)
    if by_name is not None:
        prefix, sequence = by_name
        return _select(tx, "WHERE substr(channel_id, 1, 4) = ? AND sequence = ?", (prefix, sequence))
    found: tuple[BundleRow, ...] = ()
    if _NUMBER.fullmatch(text):
        found = _select(tx, "WHERE sequence = ?", (int(text),))
        if len({row.channel_id for row in found}) > 1:
            names = ", ".join(row.name for row in found)
            raise UsageError(f"{text!r} is a number in more than one channel: {names}", hint="give the bundle's name")
    if not found and _HEX.fullmatch(text):
        found = _select(tx, "WHERE substr(bundle_id, 1, ?) = ?", (len(text), text))
    return found


def _select(tx: Transaction, where: str, values: tuple[str | int | None, ...]) -> tuple[BundleRow, ...]:
    rows = tx.execute(f"SELECT {_COLUMNS} FROM bundles {where} ORDER BY channel_id, sequence, created", values)
    return tuple(_from_columns(row) for row in rows)


def _from_columns(columns: tuple[Any, ...]) -> BundleRow:
    (bundle_id, channel_id, sequence, side, state, created, size, content_size, expires, path, *rest) = columns
    artifacts, previous, updated, detail = rest
    try:
        return BundleRow(
            bundle_id,
            channel_id,
            sequence,
            side,
            BundleState(state),
            created,
            size,
            content_size,
            expires,
            path,
            tuple(json.loads(artifacts)),
            previous,
            updated,
            json.loads(detail),
        )
    except ValueError as error:
        raise StateError(f"bundle {bundle_id[:16]}: its row contradicts itself: {error}") from None
