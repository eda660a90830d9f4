"""The daily canary: a tiny bundle that shows that the whole way works, and the alarm when it stays away.

Once a canary came over a link, the next one is due within the setting `canary_hours`. Where none came *whole* by then,
that is an entry, and one more when one comes again. What is remembered over a restart is the host's time, so after one
a clock that was wrong can tell of a canary too early by its error; while a listener runs, its monotonic clock counts.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.state.bundles import get_bundle
from tidegate.state.meta import get_meta, set_meta
from tidegate.workspace import Workspace
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome
from tidegate_receiver.listener.counting import LinkStatus

CANARY_NAME = "canary"
HOUR_SECONDS = 3600.0
#: a listener that was off gives what waits at the other end so long to come
START_GRACE_SECONDS = HOUR_SECONDS
_WHOLE = {OutcomeKind.RECEIVED, OutcomeKind.WAITING}


@dataclass(slots=True)
class _Watched:
    """The canaries of one channel over one link. `due` is monotonic, `facts` are what the state keeps."""

    key: str
    due: float
    facts: dict[str, Any]


class Canaries:
    """All canaries that came over the link of `status`."""

    def __init__(self, workspace: Workspace, status: LinkStatus) -> None:
        self.workspace = workspace
        self.status = status
        self._seconds = workspace.settings.canary_hours * HOUR_SECONDS
        self._watched: dict[str, _Watched] = {}
        for channel in workspace.trust.list():
            key = _key(status.address, channel.channel_id)
            with workspace.state.reading() as tx:
                stored = get_meta(tx, key)
            if stored:
                facts = json.loads(stored)
                gone = max(0.0, time.time() - float(facts["time"]))
                due = time.monotonic() + max(START_GRACE_SECONDS, self._seconds - gone)
                self._watched[channel.channel_id] = _Watched(key, due, facts)
                self._show(facts)

    def note(self, outcome: ReceiveOutcome) -> None:
        """A bundle came; perhaps it is a canary."""
        if outcome.kind not in _WHOLE or outcome.artifacts != (CANARY_NAME,):
            return
        with self.workspace.state.reading() as tx:
            row = get_bundle(tx, outcome.bundle_id)
        if row is None:
            return
        before = self._watched.get(row.channel_id)
        was_lost = before is not None and not before.facts["alive"]
        facts = {
            "channel": row.channel_id,
            "channel_name": outcome.channel_name,
            "bundle": outcome.name,
            "time": time.time(),
            "alive": True,
        }
        key = _key(self.status.address, row.channel_id)
        self._watched[row.channel_id] = _Watched(key, time.monotonic() + self._seconds, facts)
        self._keep(key, facts, Event.CANARY_REGAINED if was_lost else None, f"{outcome.name} came whole")

    def check_time(self) -> None:
        """Tell of canaries that stay away."""
        if not self._seconds:
            return
        now = time.monotonic()
        for watched in self._watched.values():
            if watched.facts["alive"] and now >= watched.due:
                watched.facts = {**watched.facts, "alive": False}
                hours = self.workspace.settings.canary_hours
                detail = f"no canary came whole for {hours} hours; the last one was {watched.facts['bundle']}"
                self._keep(watched.key, watched.facts, Event.CANARY_LOST, detail)

    def _show(self, facts: dict[str, Any]) -> None:
        self.status.canaries[str(facts["channel_name"])] = dict(facts)

    def _keep(self, key: str, facts: dict[str, Any], event: Event | None, detail: str) -> None:
        self._show(facts)
        with self.workspace.state.transaction() as tx:
            set_meta(tx, key, json.dumps(facts, sort_keys=True))
            if event is not None:
                made = entry(
                    event,
                    subject=self.status.address,
                    step=event,
                    outcome=Outcome.DONE,
                    channel=facts["channel"],
                    channel_name=facts["channel_name"],
                    detail=f"{self.status.address}: {detail}",
                )
                tx.queue(made)


def _key(address: str, channel_id: str) -> str:
    return f"link.canary.{address}.{channel_id}"
