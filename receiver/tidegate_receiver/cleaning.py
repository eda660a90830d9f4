"""What the high side needs no more: what was never finished, decided against, or superseded.

    spool: bundles that are not whole and were left, leftovers; a listener removes those of its streams by itself
    quarantine: content that was denied, or that the low side took back
    depot and stages (`cleaning_content`): content that no stage, no waiting bundle and no confirmed base reaches
    direct (`cleaning_direct`): what direct loads brought and do not ask for any more

One thing at a time: what the state and the ledger say of it in one transaction, then the files. Whoever is killed in
between leaves files that the next cleanup finds. Loads wait meanwhile; what is being received is left alone.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.errors import BusyError, LedgerError, TidegateError
from tidegate.files import locked
from tidegate.retention import Cleanup, Goes, Kind, Limits, Stays, folder_bytes, removal_entry
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, list_bundles, put_bundle
from tidegate.text import printable
from tidegate_receiver.cleaning_content import clean_content
from tidegate_receiver.cleaning_direct import clean_direct
from tidegate_receiver.intake.numbering import read_void, withdrawal
from tidegate_receiver.intake.quarantine import empty_quarantine, holds_content
from tidegate_receiver.intake.records import STREAM
from tidegate_receiver.intake.unverified import list_unverified, touched
from tidegate_receiver.promotion.promotion import LOAD_LOCK
from tidegate_receiver.reassembly.spool import Spool, disk

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

_BUNDLE_ID = re.compile(r"[0-9a-f]{64}")
_PARTIAL = (BundleState.RECEIVING, BundleState.INCOMPLETE)
_WHOLE = (BundleState.QUARANTINED, BundleState.WAITING, BundleState.LOADED, BundleState.DENIED, BundleState.CLEANED)
#: what the row of a bundle says of content that is kept in the spool
_SPOOL_FACTS = ("sets", "missing_sticks", "missing_pieces")


def clean(workspace: "Workspace", limits: Limits, remove: bool) -> Cleanup:
    """Look, and with `remove` remove what may go. Raises BusyError while a load is under way."""
    if not remove:
        return _clean(workspace, limits, remove=False)
    busy = "a load is under way on this root"
    with locked(workspace.folder("stages") / LOAD_LOCK, busy=busy):
        return _clean(workspace, limits, remove=True)


def clean_spool(workspace: "Workspace", limits: Limits) -> Cleanup:
    """Remove what is over in the spool alone, as a listener does. What comes or came just now is left alone."""
    return _clean_spool(workspace, limits, remove=True)


def _clean(workspace: "Workspace", limits: Limits, *, remove: bool) -> Cleanup:
    return (
        _clean_spool(workspace, limits, remove=remove)
        + _clean_quarantine(workspace, limits, remove=remove)
        + clean_content(workspace, limits, remove=remove)
        + clean_direct(workspace, limits, remove=remove)
    )


# --- the spool --------------------------------------------------------------------------------


def _clean_spool(workspace: "Workspace", limits: Limits, *, remove: bool) -> Cleanup:
    found = Cleanup((), ())
    for folder in _bundle_folders(workspace.root / "spool"):
        with workspace.state.reading() as tx:
            row = get_bundle(tx, folder.name)
        found += _clean_spooled(workspace, folder, row, limits, remove=remove)
    return found


def _clean_spooled(
    workspace: "Workspace", folder: Path, row: BundleRow | None, limits: Limits, *, remove: bool
) -> Cleanup:
    announced = next((item for item in list_unverified(workspace) if item.folder == folder), None)
    name = row.name if row is not None else announced.name if announced is not None else folder.name[:16]
    since, days = touched(folder), _days_kept(row, limits)
    size, age, is_over = folder_bytes(folder), limits.days_since(since), limits.is_over(since, days)
    left = f"{days - age} more {'day' if days - age == 1 else 'days'}"
    if row is not None and row.state in _PARTIAL and not is_over:
        return Cleanup((), (Stays(name, f"not whole yet: another copy goes on with it; {left}", size),))
    if announced is not None and not is_over:
        return Cleanup((), (Stays(name, f"only announced, without signatures yet; {left}", size),))
    if announced is not None:
        why = f"only announced, without signatures; nothing of it came for {age} days"
        item = Goes(Kind.UNVERIFIED, name, why, size, age, folder.name)
    elif row is not None and row.state in _PARTIAL:
        item = Goes(Kind.INCOMPLETE, name, f"not whole, nothing of it came for {age} days", size, age, row.bundle_id)
    elif row is not None and row.state in _WHOLE:
        why = f"it is {row.state}: what a command that was killed left"
        item = Goes(Kind.LEFTOVER, name, why, size, age, row.bundle_id)
    elif is_over:
        item = Goes(Kind.LEFTOVER, name, "no bundle was taken from it", size, age, folder.name)
    else:
        return Cleanup((), (Stays(name, "no bundle was taken from it yet", size),))
    return _done_or_why(item, remove, lambda: _remove_spooled(workspace, folder, item, limits))


def _remove_spooled(workspace: "Workspace", folder: Path, item: Goes, limits: Limits) -> None:
    spool = Spool(folder)
    with spool.locked():
        with workspace.state.transaction() as tx:
            row = get_bundle(tx, folder.name)
            if item.kind is not Kind.LEFTOVER and not limits.is_over(touched(folder), _days_kept(row, limits)):
                raise BusyError(f"bundle {item.name}: something of it came just now")
            if row is not None and row.state in _PARTIAL:
                if item.kind is not Kind.INCOMPLETE:
                    raise BusyError(f"bundle {item.name}: is being received")
                detail = {key: value for key, value in row.detail.items() if key not in _SPOOL_FACTS}
                detail |= {"chunks_done": 0, "cleaned": limits.now}
                put_bundle(tx, replace(row, state=BundleState.INCOMPLETE, detail=detail))
            tx.queue(removal_entry(item, row))
        spool.remove()


def _days_kept(row: BundleRow | None, limits: Limits) -> int:
    """What came over a stream comes again by itself, and goes sooner than what somebody carried here."""
    if row is not None and row.state in _PARTIAL and not row.detail.get(STREAM):
        return limits.keep_days
    return limits.incomplete_days


# --- quarantine -------------------------------------------------------------------------------


def _clean_quarantine(workspace: "Workspace", limits: Limits, *, remove: bool) -> Cleanup:
    found = Cleanup((), ())
    with workspace.state.reading() as tx:
        rows = {row.bundle_id: row for row in list_bundles(tx)}
        epochs = {(row.channel_id, _epoch(row)) for row in rows.values()}
        void = {key: read_void(tx, *key) for key in epochs}
    for folder in _bundle_folders(workspace.root / "quarantine"):
        row = rows.get(folder.name)
        if row is None:
            why = "no bundle of the state is this: it may be about to be recorded, or was put here by hand"
            found += Cleanup((), (Stays(f"quarantine/{folder.name[:16]}", why, folder_bytes(folder)),))
        elif holds_content(folder) or (folder / "blobs").is_dir():
            taken_back = withdrawal(void[row.channel_id, _epoch(row)], row)
            found += _clean_quarantined(workspace, folder, row, taken_back, limits, remove=remove)
    return found


def _clean_quarantined(
    workspace: "Workspace", folder: Path, row: BundleRow, taken_back: str | None, limits: Limits, *, remove: bool
) -> Cleanup:
    size, age = folder_bytes(folder), limits.days_since(row.updated)
    is_old = limits.is_over(row.updated)
    if row.state in (BundleState.LOADED, BundleState.CLEANED):
        why = "loaded: what a load that was killed left; the papers stay"
        item = Goes(Kind.LEFTOVER, row.name, why, size, age, row.bundle_id)
    elif row.state is BundleState.DENIED and is_old:
        item = Goes(Kind.DENIED, row.name, f"denied {age} days ago; the papers stay", size, age, row.bundle_id)
    elif row.state is BundleState.QUARANTINED and taken_back is not None and is_old:
        why = f"the low side withdrew it: {printable(taken_back, 100)}; the papers stay"
        item = Goes(Kind.WITHDRAWN, row.name, why, size, age, row.bundle_id)
    else:
        return Cleanup((), (Stays(row.name, _why_it_waits(row, taken_back, limits), size),))
    return _done_or_why(item, remove, lambda: _remove_quarantined(workspace, folder, row, item, limits))


def _why_it_waits(row: BundleRow, taken_back: str | None, limits: Limits) -> str:
    left = max(0, limits.keep_days - limits.days_since(row.updated))
    days = f"{left} more {'day' if left == 1 else 'days'}"
    if row.state is BundleState.DENIED:
        return f"denied; kept {days}"
    if taken_back is not None:
        return f"the low side withdrew it; kept {days}"
    return "waits in quarantine: somebody has to load or deny it" if row.state is BundleState.QUARANTINED else row.state


def _remove_quarantined(workspace: "Workspace", folder: Path, row: BundleRow, item: Goes, limits: Limits) -> None:
    with workspace.state.transaction() as tx:
        if get_bundle(tx, row.bundle_id) != row:
            raise BusyError(f"bundle {row.name}: was changed meanwhile")
        # What was taken back is decided with its removal: its number is neither held nor waited for.
        state = BundleState.DENIED if item.kind is Kind.WITHDRAWN else row.state
        put_bundle(tx, replace(row, state=state, detail={**row.detail, "cleaned": limits.now}))
        tx.queue(removal_entry(item, row))
    with disk("emptying quarantine"):
        empty_quarantine(folder)


# --- both -------------------------------------------------------------------------------------


def _bundle_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _BUNDLE_ID.fullmatch(path.name) and path.is_dir())


def _done_or_why(item: Goes, remove: bool, doing: Callable[[], None]) -> Cleanup:
    """`item` as gone, or, where it cannot go now, as what stays."""
    try:
        if remove:
            doing()
    except LedgerError:
        raise  # what cannot be recorded does not happen
    except TidegateError as error:
        return Cleanup((), (Stays(item.name, printable(error.message, 200), item.size_bytes),))
    return Cleanup((item,), ())


def _epoch(row: BundleRow) -> int:
    return int(row.detail.get("epoch", 1))
