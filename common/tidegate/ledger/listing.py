"""The entries of a ledger for people: which of them, in what order. Hashes are checked by `verify`, not here."""

import re
from collections.abc import Iterable
from pathlib import Path

from tidegate import clock
from tidegate.errors import FormatError, LedgerDamagedError, UsageError
from tidegate.ledger.checkpoint import CHECKPOINT_MAX_BYTES, read_unverified
from tidegate.ledger.entries import RecordedEntry, read_entry
from tidegate.ledger.log import CHECKPOINT_NAME, LogFiles

_ID_PREFIX = re.compile(r"[0-9a-f]{8,64}")


def list_recorded(
    folder: Path, *, event: str | None = None, bundle: str | None = None, since: str | None = None
) -> tuple[RecordedEntry, ...]:
    """Entries in order: all, or those of an event, of a bundle, or from a time on.

    `bundle` is a name, or 8 or more hex digits of a bundle_id; `since` a time like 2026-01-31T08:00:00Z.
    Needs no key. Raises UsageError for a `since` that is no time, LedgerDamagedError where files are missing.
    """
    files = LogFiles(folder)
    return select_entries(files.raw_entries(_size(files)), event=event, bundle=bundle, since=since)


def select_entries(
    raw: Iterable[tuple[int, bytes]], *, event: str | None = None, bundle: str | None = None, since: str | None = None
) -> tuple[RecordedEntry, ...]:
    """The same of entries that come from anywhere."""
    if since is not None:
        _check_time(since)
    found = (read_entry(number, data) for number, data in raw)
    return tuple(
        item
        for item in found
        if (event is None or item.text("event") == event)
        and (bundle is None or _is_of_bundle(item, bundle))
        and (since is None or item.text("time") >= since)  # one form of time, so the order of texts is that of times
    )


def _size(files: LogFiles) -> int:
    """How many entries the checkpoint covers; later ones belong to no log."""
    data = files.read(CHECKPOINT_NAME, CHECKPOINT_MAX_BYTES)
    try:
        return 0 if data is None else read_unverified(data).size
    except FormatError as error:
        raise LedgerDamagedError(f"{files.folder}: {error}") from None


def _is_of_bundle(item: RecordedEntry, bundle: str) -> bool:
    if item.text("bundle_name") == bundle:
        return True
    return _ID_PREFIX.fullmatch(bundle) is not None and item.text("bundle").startswith(bundle)


def _check_time(text: str) -> None:
    try:
        clock.parse_time(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
