"""Make the return slip of one channel: what is here, what is missing, under the head of this site's ledger.

    state ─► entry that a slip is printed, in the ledger ─► checkpoint that covers it ─► statement, signed

Each slip is an entry of its own, so the ledger's size is its running number. Format: docs/format/slip.md.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.clock import format_time, now
from tidegate.config import SLIP_FIELDS
from tidegate.errors import ChannelUnknownError, LedgerError, TidegateError, UsageError
from tidegate.ledger.checkpoint import read_unverified
from tidegate.ledger.entries import Entry, Event, Outcome, entry
from tidegate.ledger.proofs import consistency_path, read_range
from tidegate.ledger.witness_folder import read_cosigned
from tidegate.slip.code import Code, parse_code
from tidegate.slip.numbers import NO_NUMBERS, NONE, NUMBER_MAX, Numbers
from tidegate.slip.proof import SlipProof
from tidegate.slip.slip import EPOCH_MAX, Slip, Statement, fit, sign_slip
from tidegate_receiver.intake.numbering import Standing, code_text, note_told, read_standing

if TYPE_CHECKING:
    from tidegate.trust.store import PinnedChannel
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class PrintedSlip:
    """A slip, or what it would say (`slip` is None in a dry run). `left_out` counts numbers that did not fit."""

    channel_name: str
    held: Numbers
    missing: Numbers
    left_out: int
    slip: Slip | None
    #: fields that the site's policy keeps to itself
    withheld: tuple[str, ...] = ()
    proof: SlipProof | None = None


def choose_channel(workspace: "Workspace", name: str | None) -> "PinnedChannel":
    """The pinned channel of that name or id, or the only one. Raises ChannelUnknownError, UsageError."""
    pinned = workspace.trust.list()
    found = [item for item in pinned if name is None or name in (item.name, item.channel_id)]
    if not found:
        raise ChannelUnknownError(f"channel {name or '(none)'} is not pinned here")
    if len(found) > 1:
        names = ", ".join(f"{item.name} ({item.channel_id[:8]})" for item in found)
        raise UsageError(f"there is more than one channel: {names}", hint="name one with --channel; each has its slip")
    return found[0]


def make_slip(
    workspace: "Workspace", channel: "PinnedChannel", *, dry_run: bool = False, proof_from: int | None = None
) -> PrintedSlip:
    """Record that a slip is printed, and make it, with a proof from the head of `proof_from` entries where wanted.

    Raises LedgerError and its kin, UsageError.
    """
    if not dry_run:
        workspace.begin()
    said, standing = _draft(workspace, channel)
    fields = workspace.settings.slip_fields
    told = ("held" in fields) * len(standing.held) + ("missing" in fields) * len(standing.missing)
    left_out = told - len(said.held) - len(said.missing)
    withheld = tuple(name for name in SLIP_FIELDS if name not in fields)
    if proof_from is not None and proof_from > said.size - 1:
        raise UsageError(f"this site's ledger never had {proof_from} entries, it has {said.size - 1}")
    if dry_run:
        return PrintedSlip(channel.name, said.held, said.missing, left_out, None, withheld)
    with workspace.state.transaction() as tx:
        tx.queue(_entry(workspace, channel, said))
        note_told(tx, channel.channel_id, said.held, now())
    workspace.finish()
    checkpoint = workspace.recorder.checkpoint()
    if checkpoint is None:
        raise LedgerError("the ledger has no checkpoint")
    said = _under(workspace, said, standing, checkpoint.size, checkpoint.root)
    slip = sign_slip(said, channel.channel_id, workspace.signer("ledger"))
    proof = _proof(workspace, proof_from, checkpoint.size) if proof_from else None
    return PrintedSlip(channel.name, said.held, said.missing, left_out, slip, withheld, proof)


def _proof(workspace: "Workspace", old: int, size: int) -> SlipProof:
    read = workspace.recorder.log.node_reader(size)
    return SlipProof(old, read_range(old, read).root(), consistency_path(old, size, read))


def cosigned_size(workspace: "Workspace", channel_id: str) -> int | None:
    """The size of the own ledger that the channel's low side co-signed last, as far as it is known here."""
    note = read_cosigned(workspace, channel_id)
    return read_unverified(note).size if note else None


def record_not_written(workspace: "Workspace", channel_name: str, error: TidegateError) -> None:
    """An entry that the file of a slip could not be written."""
    made = entry(
        Event.SLIP_PRINTED,
        subject=channel_name,
        step=Event.SLIP_PRINTED,
        outcome=Outcome.FAILED,
        reason="host",
        detail=error.message,
    )
    with workspace.state.transaction() as tx:
        tx.queue(made)
    workspace.finish()


def _draft(workspace: "Workspace", channel: "PinnedChannel") -> tuple[Statement, Standing]:
    """The statement as it will be but for the ledger's head, with as many ranges as fit beside the longest head."""
    with workspace.state.reading() as tx:
        standing = read_standing(tx, workspace.root, channel.channel_id, channel.root.epoch)
    if channel.root.epoch > EPOCH_MAX or max(standing.held, default=0) > NUMBER_MAX:
        raise UsageError(f"channel {channel.name}: epoch {channel.root.epoch} or its numbers are too high for a slip")
    checkpoint = workspace.recorder.checkpoint()
    size = (checkpoint.size if checkpoint is not None else 0) + 1
    fields = workspace.settings.slip_fields
    draft = Statement(
        site=workspace.settings.sites[0],
        prefix=channel.channel_id[:4],
        epoch=channel.root.epoch,
        held=Numbers.of(standing.held) if "held" in fields else NO_NUMBERS,
        missing=standing.missing if "missing" in fields else NO_NUMBERS,
        held_sum="",
        code=None,
        size=size,
        root=bytes(32),
        date=format_time(now())[:10] if "date" in fields else NONE,
    )
    return _under(workspace, draft, standing, size, bytes(32)), standing


def _under(workspace: "Workspace", said: Statement, standing: Standing, size: int, root: bytes) -> Statement:
    """The statement under a head of the ledger, with its sum and code, cut to what fits."""
    ids = {number: row.bundle_id for number, row in standing.held.items()}

    def code_of(number: int) -> Code | None:
        if "code" not in workspace.settings.slip_fields:
            return None
        text = code_text(standing.held[number], said.site)
        return parse_code(text) if text else None

    return fit(replace(said, size=size, root=root), ids, code_of)


def _entry(workspace: "Workspace", channel: "PinnedChannel", said: Statement) -> Entry:
    return entry(
        Event.SLIP_PRINTED,
        subject=channel.name,
        step=Event.SLIP_PRINTED,
        channel=channel.channel_id,
        channel_name=channel.name,
        epoch=channel.root.epoch,
        audience=(workspace.settings.sites[0],),
        counts={"held": len(said.held), "missing": len(said.missing)},
        detail=f"held {said.held}, missing {said.missing}, code {said.code or NONE}, date {said.date}",
    )
