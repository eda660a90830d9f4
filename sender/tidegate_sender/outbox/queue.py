"""The queue of a link: what waits to be sent, and the words with which a person orders it.

It lives in the state (`tidegate.state.sendings`), so every command sees it, and a killed runner finds it again.
A bundle that is put here has its number for good: the next pack does not take its place.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.errors import BundleUnknownError, UsageError
from tidegate.lookup import FoundBundle, bundle_path
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, set_bundle_state
from tidegate.state.meta import get_meta, set_meta
from tidegate.state.sendings import (
    Priority,
    Sending,
    SendingState,
    first_place,
    get_sending,
    list_sendings,
    next_place,
    put_sending,
)
from tidegate_sender.riding import make_cover
from tidegate_sender.slips.reading import was_sent

if TYPE_CHECKING:
    from tidegate.state.db import Transaction
    from tidegate.workspace import Workspace

_LINK_KEY = "outbox.link"
OPEN = (SendingState.WAITING, SendingState.HELD)


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A sending with the row of its bundle; None where the state forgot it."""

    sending: Sending
    row: BundleRow | None

    @property
    def name(self) -> str:
        return self.row.name if self.row is not None else self.sending.bundle_id[:16]


def enqueue(
    workspace: "Workspace",
    row: BundleRow,
    link: str,
    priority: Priority = Priority.NORMAL,
    *,
    pieces: tuple[tuple[int, int], ...] = (),
) -> bool:
    """Let a bundle wait for the link; False where it waits already. Raises BundleUnknownError, UsageError."""
    path = bundle_path(workspace, row)
    found = FoundBundle(row.bundle_id, row, path)
    found.file()
    make_cover(workspace, found)
    with workspace.state.transaction() as tx:
        current = get_bundle(tx, row.bundle_id)
        if current is None or (current.state is BundleState.DISCARDED and not was_sent(current)):
            raise UsageError(f"bundle {row.name}: was discarded, and its number is the next one's")
        known = get_sending(tx, row.bundle_id, link)
        if known is not None and known.state in OPEN and known.priority <= priority:
            return False
        set_bundle_state(tx, row.bundle_id, current.state, detail={"write_begun": True})
        before = known or Sending(row.bundle_id, link)
        put_sending(
            tx,
            replace(
                before,
                state=SendingState.WAITING,
                priority=priority,
                place=next_place(tx),
                pieces=pieces,
                queued=clock.now(),
            ),
        )
    return True


def list_queue(workspace: "Workspace", link: str | None = None) -> tuple[QueueItem, ...]:
    """What is known of a link, or of all: what waits first, in its order, then what was sent, the newest first."""
    with workspace.state.reading() as tx:
        items = [QueueItem(sending, get_bundle(tx, sending.bundle_id)) for sending in list_sendings(tx, link=link)]
    waiting = [item for item in items if item.sending.state in OPEN]
    others = sorted(
        (item for item in items if item.sending.state not in OPEN),
        key=lambda item: item.sending.last or 0,
        reverse=True,
    )
    return (*waiting, *others)


def change(workspace: "Workspace", row: BundleRow, link: str | None, verb: str) -> tuple[str, ...]:
    """``hold``, ``release``, ``cancel`` or ``first`` for a bundle on one link, or on all where it waits; which links.

    Raises BundleUnknownError where it waits nowhere.
    """
    with workspace.state.transaction() as tx:
        waiting = [
            sending for sending in list_sendings(tx, link=link, states=OPEN) if sending.bundle_id == row.bundle_id
        ]
        if not waiting:
            raise BundleUnknownError(
                f"bundle {row.name} waits for no link", hint='"tidegate outbox list" shows what waits'
            )
        for sending in waiting:
            put_sending(tx, _changed(tx, sending, verb))
    return tuple(sending.link for sending in waiting)


def _changed(tx: "Transaction", sending: Sending, verb: str) -> Sending:
    if verb == "hold":
        return replace(sending, state=SendingState.HELD)
    if verb == "release":
        return replace(sending, state=SendingState.WAITING)
    if verb == "cancel":
        return replace(sending, state=SendingState.SENT if sending.sent else SendingState.CANCELLED)
    return replace(sending, state=SendingState.WAITING, priority=Priority.URGENT, place=first_place(tx))


def sent_since(workspace: "Workspace", link: str, since: int) -> tuple[BundleRow, ...]:
    """Bundles that went over the link at or after a time, by number."""
    with workspace.state.reading() as tx:
        rows = [
            get_bundle(tx, sending.bundle_id)
            for sending in list_sendings(tx, link=link)
            if sending.sent is not None and (sending.last or sending.sent) >= since
        ]
    return tuple(sorted((row for row in rows if row is not None), key=lambda row: row.sequence))


def remember_link(workspace: "Workspace", link: str) -> None:
    """What the other commands mean where no link is named."""
    with workspace.state.transaction() as tx:
        set_meta(tx, _LINK_KEY, link)


def usual_link(workspace: "Workspace") -> str:
    """The link of the last runner. Raises UsageError where there was none."""
    with workspace.state.reading() as tx:
        link = get_meta(tx, _LINK_KEY)
    if link is None:
        raise UsageError(
            "no outbox has run here yet, so there is no usual link", hint="name it with --to udp://ADDRESS"
        )
    return link


# --- times as a person types them ---------------------------------------------------------------

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY = re.compile(r"([a-z]{3})[a-z]*(?:\s+(\d{1,2}):(\d{2}))?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_AGO = re.compile(r"(\d{1,5})\s*([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_since(text: str, now: datetime | None = None) -> int:
    """``fri 18:00`` (the last one), ``18:00``, ``2026-01-30``, ``2026-01-30T18:00``, ``36h``: seconds since 1970.

    Times are this host's local ones. Raises UsageError.
    """
    moment = now or datetime.now().astimezone()
    plain = text.strip().lower()
    try:
        if match := _AGO.fullmatch(plain):
            return int(moment.timestamp()) - int(match[1]) * _UNITS[match[2]]
        if match := _CLOCK.fullmatch(plain):
            at = moment.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
            return int((at if at <= moment else at - timedelta(days=1)).timestamp())
        if (match := _WEEKDAY.fullmatch(plain)) and match[1] in _DAYS:
            at = moment.replace(hour=int(match[2] or 0), minute=int(match[3] or 0), second=0, microsecond=0)
            at -= timedelta(days=(moment.weekday() - _DAYS.index(match[1])) % 7)
            return int((at if at <= moment else at - timedelta(days=7)).timestamp())
        return int(datetime.fromisoformat(text.strip().upper().replace("Z", "+00:00")).astimezone().timestamp())
    except ValueError:
        raise UsageError(
            f"{text!r} is no time", hint="write it like 'fri 18:00', 18:00, 36h, or 2026-01-30T18:00"
        ) from None
