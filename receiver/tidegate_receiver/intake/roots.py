"""Take over a channel's newer root that came with a carrier, before anything is judged by it."""

from tidegate.ledger.entries import Event, Medium, Outcome, entry
from tidegate.trust.root import Chain
from tidegate.workspace import Workspace


def advance_root(workspace: Workspace, chain: Chain, medium: Medium | None) -> Chain:
    """Store the newest root of `chain`, with an entry before and after; `medium` is None for a stream."""

    def record(outcome: Outcome, detail: str) -> None:
        made = entry(
            Event.ROOT_CHANGE,
            subject=chain.newest.name,
            step=Event.ROOT_CHANGE,
            outcome=outcome,
            channel=chain.channel_id,
            channel_name=chain.newest.name,
            epoch=chain.newest.epoch,
            medium=medium,
            detail=detail,
        )
        with workspace.state.transaction() as tx:
            tx.queue(made)
        workspace.recorder.drain()

    carrier = "stream" if medium is None else "medium"
    record(Outcome.BEGUN, f"version {chain.newest.version} came with a {carrier}")
    change = workspace.trust.advance(chain)
    record(Outcome.DONE, change.describe())
    return change.chain
