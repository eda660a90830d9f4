"""The low side's ledger as the high side has it: read it, check it, accept a fork, and follow transfers through both.

What was seen is in `witness_memory`, the entries in `log_copy`; the receiver fills both. Rules: docs/format/witness.md.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tidegate.bundle.cover import parse_cover
from tidegate.bundle.header import COVER_MAX_BYTES
from tidegate.bundle.papers import COVER_FILE, PAPERS_FOLDER
from tidegate.errors import ChannelUnknownError, FormatError, LedgerDamagedError, SignatureError, UsageError
from tidegate.files import host_error, read_given
from tidegate.ledger.bundle_facts import bundle_facts
from tidegate.ledger.checkpoint import open_checkpoint
from tidegate.ledger.entries import Event, Outcome, RecordedEntry, entry, read_entry
from tidegate.ledger.listing import list_recorded
from tidegate.ledger.log_copy import CopyReport, verify_copy
from tidegate.ledger.riding import read_riding
from tidegate.ledger.witness_folder import (
    FORK_KEY,
    channel_keys,
    keep_memory,
    load_memory,
    log_copy,
    taking_in,
)
from tidegate.ledger.witness_memory import Head, Memory, put_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.state.bundles import BundleRow
    from tidegate.trust.root import Chain
    from tidegate.workspace import Workspace

_CHECKPOINT_MAX_BYTES = 64 * 1024


def choose_chain(workspace: "Workspace", name: str | None) -> "Chain":
    """The pinned channel of that name or id, or the only one. Raises ChannelUnknownError, UsageError."""
    chains = workspace.trust.chains()
    found = [chain for chain in chains if name is None or name in (chain.newest.name, chain.channel_id)]
    if not found:
        raise ChannelUnknownError(f"channel {name or '(none)'} is not pinned here")
    if len(found) > 1:
        names = ", ".join(f"{chain.newest.name} ({chain.channel_id[:8]})" for chain in found)
        raise UsageError(f"there is more than one channel: {names}", hint="name one with --channel")
    return found[0]


def low_entries(workspace: "Workspace", chain: "Chain") -> "Iterator[tuple[int, bytes]]":
    """(number, bytes) of the low side's entries that are here, rising. Raises LedgerDamagedError."""
    copy, end = log_copy(workspace, chain.channel_id), 0
    for run in load_memory(workspace, chain.channel_id).runs:
        for number, data in copy.entries(run):
            if number >= end:
                yield number, data
        end = max(end, run.end)


def verify_low(workspace: "Workspace", chain: "Chain", against: "Path | None" = None) -> CopyReport:
    """Compute all that is remembered of the low side's ledger again. Raises LedgerDamagedError, UsageError."""
    outside = (_outside(chain, against),) if against is not None else ()
    return verify_copy(log_copy(workspace, chain.channel_id), load_memory(workspace, chain.channel_id), outside)


def _outside(chain: "Chain", path: "Path") -> Head:
    data = read_given(path, _CHECKPOINT_MAX_BYTES)
    failure = "the channel's root names no ledger key"
    for key in channel_keys(chain.newest):
        try:
            found = open_checkpoint(data, key, what=str(path))
        except (FormatError, SignatureError) as error:
            failure = error.message
        else:
            return Head(found.size, found.root.hex(), str(path))
    raise LedgerDamagedError(failure, hint="is this the checkpoint of another ledger, or of another key?")


# --- a fork is accepted -----------------------------------------------------------------------


def accept_fork(workspace: "Workspace", row: "BundleRow", reason: str) -> None:
    """Let a bundle be loaded whose low side tells another story, and take that story for the one from now on.

    The entries of the earlier one go to the evidence. Raises UsageError for a bundle that does not wait for this.
    """
    if FORK_KEY not in row.detail:
        raise UsageError(f"bundle {row.name}: does not wait because of a ledger")
    chain = choose_chain(workspace, row.channel_id)
    with taking_in(workspace):
        memory = load_memory(workspace, chain.channel_id)
        after = _other_story(workspace, chain, row, memory)
        from tidegate.state.bundles import put_bundle

        with workspace.state.transaction() as tx:
            put_memory(tx, chain.channel_id, after)
            put_bundle(tx, replace(row, detail={key: row.detail[key] for key in row.detail if key != FORK_KEY}))
            tx.queue(_accepted(chain, row, reason))
        keep_memory(workspace, chain.channel_id, after)


def _accepted(chain: "Chain", row: "BundleRow", reason: str) -> Any:
    return entry(
        Event.LEDGER_ALARM,
        subject=row.name,
        step="ledger-accepted",
        outcome=Outcome.DONE,
        reason="accepted",
        justification=reason,
        detail=str(row.detail[FORK_KEY]),
        channel_name=chain.newest.name,
        **bundle_facts(row),
    )


def _other_story(workspace: "Workspace", chain: "Chain", row: "BundleRow", memory: Memory) -> Memory:
    """The memory that begins anew with the head that the bundle brought."""
    path = workspace.root / "quarantine" / row.bundle_id / PAPERS_FOLDER / COVER_FILE
    try:
        with path.open("rb") as file:
            cover = file.read(COVER_MAX_BYTES)
    except OSError as error:
        raise host_error(error, f"reading {path}") from None
    riding = read_riding(parse_cover(cover), channel_keys(chain.newest))
    copy = log_copy(workspace, chain.channel_id)
    copy.set_aside(memory.runs, workspace.root / "evidence" / f"ledger-{chain.channel_id[:4]}-before-{row.name}")
    if riding.checkpoint is None:
        return Memory()
    found = riding.checkpoint
    anew = Memory((Head(found.size, found.root.hex(), row.name, found.data.decode()),))
    return replace(anew, runs=copy.add(anew, riding.entries)) if riding.entries is not None else anew


# --- transfers --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transfer:
    """One bundle through both ledgers; a time is empty where no entry says it."""

    sequence: int
    name: str
    bundle_id: str
    packed: str = ""
    sent: str = ""
    received: str = ""
    loaded: str = ""
    #: discarded or withdrawn by the low side
    void: str = ""
    #: labels of the media that carried it and were lost since
    lost: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        if self.void:
            return self.void
        if self.received:
            return "" if self.packed or self.sent else "the low side's record of it is not here"
        if self.sent and self.lost:
            return f"sent and never came; {', '.join(self.lost)} was lost"
        return "sent and never came" if self.sent else "not sent, as far as is known here"


#: event and outcome of the low side's and of the own ledger → the field that its time goes to
_LOW = {("pack", "done"): "packed", ("send", "done"): "sent", ("send", "nothing"): "sent", ("send", "partial"): "sent"}
_OWN = {("quarantine", "done"): "received", ("load", "done"): "loaded"}
_VOID = {"discard": "discarded by the low side", "withdraw": "withdrawn by the low side"}


def list_transfers(workspace: "Workspace", chain: "Chain") -> tuple[Transfer, ...]:
    """The bundles of a channel for this site, by number, as both ledgers tell of them."""
    site = workspace.settings.sites[0]
    found: dict[str, Transfer] = {}
    carried: dict[str, set[str]] = {}
    lost: dict[str, str] = {}
    for number, data in low_entries(workspace, chain):
        item = read_entry(number, data)
        audience = (item.fields or {}).get("audience")
        if item.text("bundle") in found or (isinstance(audience, list) and site in audience):
            _note(found, item, _LOW)
        _note_medium(item, carried, lost)
    for item in list_recorded(workspace.folder("ledger")):
        if item.text("channel") == chain.channel_id:
            _note(found, item, _OWN)
    for bundle, tokens in carried.items():
        gone = tuple(sorted(lost[token] for token in tokens if token in lost))
        if gone and bundle in found:
            found[bundle] = replace(found[bundle], lost=gone)
    return tuple(sorted(found.values(), key=lambda item: item.sequence))


def _note_medium(item: RecordedEntry, carried: dict[str, set[str]], lost: dict[str, str]) -> None:
    """Which registered media a bundle was sent on, and which of them are lost as things stand."""
    medium = (item.fields or {}).get("medium")
    token = medium.get("token") if isinstance(medium, dict) else None
    if not isinstance(token, str) or not isinstance(medium, dict):
        return
    event = item.text("event")
    if event == Event.SEND:
        carried.setdefault(item.text("bundle"), set()).add(token)
    elif event == Event.MEDIA_LOST:
        lost[token] = str(medium.get("register_label", token[:8]))
    elif event in {Event.MEDIA_FOUND, Event.MEDIA_RETURNED}:
        lost.pop(token, None)


def _note(found: dict[str, Transfer], item: RecordedEntry, times: dict[tuple[str, str], str]) -> None:
    bundle, sequence = item.text("bundle"), (item.fields or {}).get("sequence")
    if not bundle or not isinstance(sequence, int):
        return
    name = times.get((item.text("event"), item.text("outcome")))
    is_void = item.text("event") in _VOID and times is _LOW
    if name is None and not is_void:
        return
    known = found.get(bundle) or Transfer(sequence, item.text("bundle_name"), bundle)
    if is_void:
        found[bundle] = replace(known, void=_VOID[item.text("event")])
    elif name is not None and not getattr(known, name):
        changes: dict[str, Any] = {name: item.text("time")}
        found[bundle] = replace(known, **changes)
