"""What is sent again while nothing waits: what went over the link lately and was not confirmed, the newest first.

So a receiver that was down over a weekend mends itself, and nobody needs to know. Each repeat begins with other
symbols, so that any part of it helps. What every site confirmed by a return slip is not repeated, nor what is void or
expired.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.lookup import bundle_path
from tidegate.state.bundles import BundleRow
from tidegate.state.sendings import SendingState
from tidegate.units import GIB
from tidegate_sender.outbox.queue import QueueItem, list_queue
from tidegate_sender.slips.memory import held_by_all

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long after it was first sent, and up to how many bytes in all, what was sent is repeated.

    `pause_seconds` lie between two repeats of one bundle at least, so that an idle link is idle most of the time.
    """

    seconds: float = 7 * 86400.0
    total_bytes: int = 64 * GIB
    pause_seconds: float = 3600.0


def repeat_round(workspace: "Workspace", link: str, retention: Retention) -> tuple[str, ...]:
    """The ids of the bundles that are to be repeated now, the newest first."""
    now, room = clock.now(), retention.total_bytes
    confirmed = _Confirmed(workspace)
    chosen = []
    for item in sorted(list_queue(workspace, link), key=_age, reverse=True):
        sending, row = item.sending, item.row
        if row is None or sending.state is not SendingState.SENT or sending.sent is None:
            continue
        if now - sending.sent > retention.seconds or row.detail.get("void") or (row.expires and row.expires <= now):
            continue
        path = bundle_path(workspace, row)
        if path is None or not path.is_file() or confirmed.holds(row):
            continue
        room -= row.size
        if room < 0:
            break
        # a clock that was set back must not silence the link
        if not 0 <= now - (sending.last or 0) < retention.pause_seconds:
            chosen.append(row.bundle_id)
    return tuple(chosen)


def _age(item: QueueItem) -> tuple[int, int]:
    """When it was first sent, then its number: small bundles go out many in a second."""
    return item.sending.sent or 0, item.row.sequence if item.row is not None else 0


class _Confirmed:
    """What every site of a bundle's audience is known to hold; each answer is looked up once."""

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace
        self._held: dict[tuple[str, int, tuple[str, ...]], frozenset[int]] = {}

    def holds(self, row: BundleRow) -> bool:
        audience = tuple(row.detail.get("audience") or self._workspace.settings.sites)
        key = (row.channel_id, int(row.detail.get("epoch", 1)), audience)
        if key not in self._held:
            with self._workspace.state.reading() as tx:
                self._held[key] = frozenset(held_by_all(tx, *key))
        return row.sequence in self._held[key]
