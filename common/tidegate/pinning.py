"""Change what this side believes, with an entry before the change and one after it.

The trust folder lies beside the state, not in its transactions: a process killed between the two must leave the
beginning in the ledger, or a channel could be pinned without any record of it.
"""

import contextlib
from collections.abc import Iterator

from tidegate.errors import TidegateError
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.workspace import Workspace


@contextlib.contextmanager
def recorded_change(workspace: Workspace, channel_id: str, step: str, detail: str) -> Iterator[None]:
    """``trust-change begun`` under a synced checkpoint, the work, then its outcome. Raises what the work raises."""

    def record(outcome: Outcome, text: str) -> None:
        made = entry(
            Event.TRUST_CHANGE, subject=channel_id, step=step, outcome=outcome, channel=channel_id, detail=text
        )
        with workspace.state.transaction() as tx:
            tx.queue(made)
        workspace.recorder.drain()

    workspace.begin()
    record(Outcome.BEGUN, detail)
    try:
        yield
    except TidegateError as error:
        record(Outcome.FAILED, error.message)
        raise
    record(Outcome.DONE, detail)
