"""The low side's ledger as heartbeats tell of it: a fork is known before a bundle brings it.

A heartbeat carries a checkpoint and nothing that links it to another one. So it is held against what was seen, and the
last one is remembered for the next cover to be held against. Rule W-11 of docs/format/witness.md.
"""

from typing import TYPE_CHECKING

from tidegate.bundle.cover import Piece, PieceType
from tidegate.ledger.checkpoint import Checkpoint
from tidegate.ledger.entries import Entry, Event, Outcome, entry
from tidegate.ledger.riding import Riding, read_riding
from tidegate.ledger.witness_folder import channel_keys, keep_memory, load_memory, log_copy, taking_in
from tidegate.ledger.witness_memory import Answer, Memory, Relation, judge_heard, put_memory
from tidegate_receiver.intake.witness import keep_evidence, roots_here

if TYPE_CHECKING:
    from tidegate.trust.root import Chain
    from tidegate.workspace import Workspace


def witness_heard(
    workspace: "Workspace", chain: "Chain", link: str, note: bytes, *, may_search: bool = True
) -> Relation | None:
    """Hold the checkpoint of a heartbeat of `link` against what was seen.

    None for one that does not hold, and, where this side's own entries may not be searched (`may_search`: 2 s for a
    million of them), for one that only they answer. A fork is an entry and evidence, once. Raises BusyError where
    another command takes in a ledger, HostError.
    """
    riding = read_riding((Piece(PieceType.LEDGER_CHECKPOINT, note),), channel_keys(chain.newest))
    checkpoint = riding.checkpoint
    if checkpoint is None:
        return None
    with taking_in(workspace, wait_seconds=0.0):
        memory = load_memory(workspace, chain.channel_id)
        earlier: dict[int, bytes] = {}
        if _is_answered_by_entries(memory, checkpoint):
            if not may_search:
                return None
            earlier = roots_here(log_copy(workspace, chain.channel_id), memory, checkpoint)
        answer = judge_heard(memory, checkpoint, earlier)
        if answer.memory != memory:
            _remember(workspace, chain, link, riding, answer)
    return answer.relation


def _is_answered_by_entries(memory: Memory, checkpoint: Checkpoint) -> bool:
    if any(head.size == checkpoint.size for head in memory.heads):
        return False
    return any(run.first <= checkpoint.size <= run.end for run in memory.runs)


def _remember(workspace: "Workspace", chain: "Chain", link: str, riding: Riding, answer: Answer) -> None:
    if answer.relation is Relation.FORK:
        keep_evidence(workspace, chain, answer, riding)
    with workspace.state.transaction() as tx:
        put_memory(tx, chain.channel_id, answer.memory)
        if answer.relation is Relation.FORK:
            tx.queue(_alarm(chain, link, answer))
    keep_memory(workspace, chain.channel_id, answer.memory)


def _alarm(chain: "Chain", link: str, answer: Answer) -> Entry:
    head, against = answer.head, answer.against
    assert head is not None and against is not None, "a fork has two sides"
    return entry(
        Event.LEDGER_ALARM,
        subject=link,
        step="heartbeat",
        outcome=Outcome.FAILED,
        channel=chain.channel_id,
        channel_name=chain.newest.name,
        epoch=chain.newest.epoch,
        reason="ledger-fork",
        counts={"entries": head.size},
        detail=(
            f"link {link}: ledger {chain.newest.name}/low of {head.size} entries, root hash {head.root};"
            f" contradicts {against.size} entries with root hash {against.root}"
        ),
    )
