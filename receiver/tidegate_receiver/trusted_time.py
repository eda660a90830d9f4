"""What time it certainly is, and what may be true at most: the floor, where it begins, and the own clock beside it.

A fresh high side knows two things without asking any clock: when its software was made, and when the channels were
founded whose words were compared by voice. The floor begins at the later of them, never at what a bundle says
(docs/decisions/0016). From there it rises by steps (`tidegate.state.meta`). Times are seconds since 1970.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.clock import SOFTWARE_TIME, format_time, now, parse_time
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.state.db import Transaction
from tidegate.state.meta import FLOOR_STEP_SECONDS, FloorChange, delete_meta, floor, get_meta, raise_floor, set_meta
from tidegate.trust.root import Chain

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

#: a channel that says it was founded later than this after the software has a wrong clock, and is no witness
PLAUSIBLE_SECONDS = 10 * 366 * 24 * 3600
_ALARM = "time.alarm"


@dataclass(frozen=True, slots=True)
class TrustedTime:
    """What is known of time. `created_limit`: what is created later waits for a person."""

    floor: int
    #: the later of the floor and a clock that counts: what expiry is judged by
    known: int
    created_limit: int
    #: the own clock, where it stands before the floor; else None
    clock_behind: int | None


def starting_floor(chains: Iterable[Chain]) -> int:
    """Where the floor begins: when the software was made, or when the youngest of `chains` was founded.

    Only version 1 counts, of which somebody compared the words: a later root may come with any medium.
    """
    founded = (parse_time(chain.roots[0].created) for chain in chains)
    return max((time for time in founded if time <= SOFTWARE_TIME + PLAUSIBLE_SECONDS), default=SOFTWARE_TIME)


def read_floor(tx: Transaction, workspace: "Workspace") -> int:
    known = floor(tx)
    return max(SOFTWARE_TIME, starting_floor(workspace.trust.chains())) if known is None else known


def read_time(tx: Transaction, workspace: "Workspace") -> TrustedTime:
    """What is known of time here and now.

    The own clock may always *widen* what is taken, even where it does not count: a bundle that is new by it is no
    alarm after a quiet month. The floor itself rises by signed times and a good clock alone.
    """
    lowest, own = read_floor(tx, workspace), now()
    known = max(lowest, own) if workspace.settings.clock_trusted else lowest
    return TrustedTime(lowest, known, max(lowest, own) + FLOOR_STEP_SECONDS, own if own < lowest else None)


def note_time(tx: Transaction, workspace: "Workspace", created: int) -> FloorChange:
    """Let the floor rise by a bundle that was taken, and by the own clock where it counts."""
    good_clock = now() if workspace.settings.clock_trusted else None
    return raise_floor(tx, start=read_floor(tx, workspace), created=created, good_clock=good_clock)


def check_clock(tx: Transaction, workspace: "Workspace") -> str | None:
    """What is wrong with the own clock, in words; the first time that it is, an alarm in the ledger."""
    time = read_time(tx, workspace)
    if time.clock_behind is None:
        delete_meta(tx, _ALARM)
        return None
    text = (
        f"this host's clock says {format_time(time.clock_behind)}, and it is {format_time(time.floor)} or later"
        " by what was signed"
    )
    if get_meta(tx, _ALARM) is None:
        set_meta(tx, _ALARM, str(time.clock_behind))
        alarm = entry(
            Event.CLOCK_ALARM,
            subject="clock",
            step=Event.CLOCK_ALARM,
            outcome=Outcome.FAILED,
            reason="clock-behind",
            detail=text,
        )
        tx.queue(alarm)
    return text
