"""What this side remembers of a channel's ledger: its heads, and where the copy of its entries has no hole.

One value of the state's `meta` for each channel, bounded; the entries themselves are files (`log_copy`). Heads are
those that came in covers, earlier roots that a proof has shown since, and the last one of a heartbeat. Rules W-6, W-7
and W-11 of docs/format/witness.md.
"""

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING

from tidegate.errors import StateError
from tidegate.ledger.checkpoint import Checkpoint
from tidegate.ledger.riding import Riding
from tidegate.state.meta import get_meta, set_meta

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate.state.db import Transaction

HEADS_MAX = 64
FORKS_MAX = 16
_KEY = "witness."


class Relation(StrEnum):
    """How a head that came stands to what is remembered."""

    FIRST = "first"
    LINKED = "linked"
    UNLINKED = "unlinked"
    FORK = "fork"


@dataclass(frozen=True, slots=True)
class Head:
    """A size and a root hash of the log. `note` is the signed checkpoint; empty where a proof showed the root.

    One that a heartbeat told has a note and no bundle.
    """

    size: int
    root: str
    bundle: str = ""
    note: str = ""
    is_linked: bool = True

    @property
    def is_heard(self) -> bool:
        """Whether no more than a heartbeat told it."""
        return bool(self.note) and not self.bundle and not self.is_linked


@dataclass(frozen=True, slots=True)
class Run:
    """Entries `first` … `end` - 1 without a hole, in one file of which `length` bytes count; nodes as hex."""

    first: int
    end: int
    length: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """All of it. Heads rise by size; `forks` are those that contradicted one and were not accepted."""

    heads: tuple[Head, ...] = ()
    runs: tuple[Run, ...] = ()
    forks: tuple[Head, ...] = ()

    @property
    def has_come(self) -> bool:
        """Whether a cover ever brought a head."""
        return any(not head.is_heard for head in self.heads)

    @property
    def newest(self) -> Head | None:
        """The largest head that everything before it leads to."""
        return next((head for head in reversed(self.heads) if head.is_linked), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a head stands to the memory, the memory after it, and for a fork the head that it contradicts."""

    relation: Relation
    memory: Memory
    head: Head | None = None
    against: Head | None = None
    #: whether this very head was remembered before
    is_known: bool = False


def judge(memory: Memory, riding: Riding, bundle: str, earlier: "Mapping[int, bytes]") -> Answer:
    """Hold what rode in a cover against the memory.

    `earlier` are roots that this side's own copy of the entries gives, by size: they tell where a late head belongs.
    """
    checkpoint = riding.checkpoint
    if checkpoint is None:
        return Answer(Relation.UNLINKED if memory.has_come else Relation.FIRST, memory)
    shown = shown_roots(riding, (head.size for head in memory.heads))
    head = Head(checkpoint.size, checkpoint.root.hex(), bundle, checkpoint.data.decode())
    against = _contradicted(memory, shown, earlier, head)
    if against is not None:
        forks = tuple(item for item in memory.forks if (item.size, item.root) != (head.size, head.root))
        after = replace(memory, forks=(*forks, replace(head, is_linked=False))[-FORKS_MAX:])
        return Answer(Relation.FORK, after, head, against, is_known=len(forks) < len(memory.forks))
    relation = _relation(memory, shown, earlier, head)
    is_known = any((item.size, item.root, item.is_linked) == (head.size, head.root, True) for item in memory.heads)
    after = _remember(memory, shown, replace(head, is_linked=relation is not Relation.UNLINKED))
    return Answer(relation, after, head, is_known=is_known)


def judge_heard(memory: Memory, checkpoint: Checkpoint, earlier: "Mapping[int, bytes]") -> Answer:
    """Hold the checkpoint of a heartbeat against the memory. It is a fork, or *unlinked*, for nothing is shown with it.

    Only the last one is remembered: the next cover is held against it. After one that was a fork the others are known
    until a person accepts a ledger (W-11).
    """
    head = Head(checkpoint.size, checkpoint.root.hex(), "", checkpoint.data.decode(), is_linked=False)
    against = _contradicted(memory, {head.size: head.root}, earlier, head)
    if against is not None:
        if any(fork.is_heard or (fork.size, fork.root) == (head.size, head.root) for fork in memory.forks):
            return Answer(Relation.FORK, memory, head, against, is_known=True)
        return Answer(Relation.FORK, replace(memory, forks=(*memory.forks, head)[-FORKS_MAX:]), head, against)
    if head.size in earlier or any(known.size == head.size for known in memory.heads):
        return Answer(Relation.LINKED, memory, head, is_known=True)
    others = [known for known in memory.heads if not known.is_heard]
    kept = sorted((*others, head), key=lambda item: item.size)
    return Answer(Relation.UNLINKED, replace(memory, heads=tuple(kept[-HEADS_MAX:])), head)


def shown_roots(riding: Riding, sizes: "Iterable[int]") -> dict[int, str]:
    """The roots that the log of the cover's checkpoint has at earlier sizes, as entries and proofs show them."""
    checkpoint = riding.checkpoint
    assert checkpoint is not None, "nothing is shown without a checkpoint"
    shown = {proof.size: proof.root.hex() for proof in riding.proofs}
    if riding.entries is not None:
        wanted = chain(sizes, (riding.entries.first,))
        shown |= {size: root.hex() for size, root in riding.entries.roots(wanted).items()}
    return shown | {checkpoint.size: checkpoint.root.hex()}


def _contradicted(memory: Memory, shown: dict[int, str], earlier: "Mapping[int, bytes]", head: Head) -> Head | None:
    """The remembered head that cannot be of the same log."""
    for known in memory.heads:
        if known.size in shown and shown[known.size] != known.root:
            return known
    newest = memory.newest
    if newest is not None and head.size in earlier and earlier[head.size].hex() != head.root:
        return newest
    return None


def _relation(memory: Memory, shown: dict[int, str], earlier: "Mapping[int, bytes]", head: Head) -> Relation:
    newest = memory.newest
    if newest is None:
        return Relation.FIRST
    is_before = any(known.size == head.size and known.is_linked for known in memory.heads) or head.size in earlier
    return Relation.LINKED if newest.size in shown or is_before else Relation.UNLINKED


def _remember(memory: Memory, shown: dict[int, str], head: Head) -> Memory:
    """With the head; where it is linked, so is every root that it shows, also of heads that were not until now."""
    heads = {known.size: known for known in memory.heads}
    if head.is_linked:
        for size, root in shown.items():
            known = heads.get(size, Head(size, root))
            heads[size] = replace(known, is_linked=True)
        heads[head.size] = replace(head, bundle=heads[head.size].bundle or head.bundle)
    elif head.size not in heads or heads[head.size].is_heard:
        heads[head.size] = head
    kept = sorted(heads.values(), key=lambda item: item.size)
    return replace(memory, heads=tuple(kept[-HEADS_MAX:]))


# --- in the state -----------------------------------------------------------------------------


def get_memory(tx: "Transaction", channel_id: str) -> Memory:
    text = get_meta(tx, _KEY + channel_id)
    return Memory() if text is None else read_memory(text, channel_id)


def read_memory(text: str, channel_id: str) -> Memory:
    """The memory that `text` is. Raises StateError."""
    try:
        found = json.loads(text)
        heads = tuple(Head(**item) for item in found["heads"])
        runs = tuple(Run(**{**item, "nodes": tuple(item["nodes"])}) for item in found["runs"])
        return Memory(heads, runs, tuple(Head(**item) for item in found["forks"]))
    except (ValueError, KeyError, TypeError):
        raise StateError(f"what was seen of the ledger of channel {channel_id[:16]} is damaged in the state") from None


def put_memory(tx: "Transaction", channel_id: str, memory: Memory) -> None:
    set_meta(tx, _KEY + channel_id, write_memory(memory))


def write_memory(memory: Memory) -> str:
    return json.dumps(asdict(memory))
