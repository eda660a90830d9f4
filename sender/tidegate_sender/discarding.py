"""Take a bundle out of its channel without leaving a gap that looks like a loss.

One that never left this host gives its number back: the next bundle has it. The number of one of which a medium may
hold a copy is *void* from then on: the following bundles say so, and the high side waits for it no more. A bundle that
is *withdrawn* may have arrived; the high side is told not to use it, and why. Either way it confirms nothing any more.
"""

import contextlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from tidegate.errors import BusyError, UsageError
from tidegate.files import locked
from tidegate.ledger.bundle_facts import bundle_facts
from tidegate.ledger.entries import Event, entry
from tidegate.lookup import bundle_path, resolve_bundle
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, list_bundles, put_bundle
from tidegate.state.channels import get_channel, put_channel
from tidegate.text import check_reason
from tidegate_sender.packing.records import LOCK_FILE, reset_names
from tidegate_sender.riding import COVER_ENDING
from tidegate_sender.slips.memory import get_confirmed
from tidegate_sender.slips.reading import was_sent

if TYPE_CHECKING:
    from tidegate.state.db import Transaction
    from tidegate.workspace import Workspace


class DiscardOutcome(StrEnum):
    """What became of the bundle's number."""

    GIVEN_BACK = "given-back"
    VOID = "void"
    WITHDRAWN = "withdrawn"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class DiscardReport:
    """What was done, and the bundles that build on content of this one."""

    outcome: DiscardOutcome
    bundle: str
    bundle_id: str
    builds_on_it: tuple[str, ...] = ()


def discard(workspace: "Workspace", text: str, *, dry_run: bool = False) -> DiscardReport:
    """Discard a bundle that will not arrive. Raises UsageError for one that a site is known to hold."""
    row = _own_bundle(workspace, text)
    if row.state is BundleState.DISCARDED:
        return DiscardReport(DiscardOutcome.NOTHING, row.name, row.bundle_id)
    holder = _holder(workspace, row)
    if holder is not None:
        raise UsageError(
            f"bundle {row.name}: site {holder} has confirmed that it holds it",
            hint=f'"tidegate withdraw {row.name} --reason …" takes it back',
        )
    outcome = DiscardOutcome.VOID if was_sent(row) else DiscardOutcome.GIVEN_BACK
    return _take_out(workspace, row, outcome, None, dry_run=dry_run)


def withdraw(workspace: "Workspace", text: str, reason: str, *, dry_run: bool = False) -> DiscardReport:
    """Take back a bundle that was sent. Raises UsageError for one that was not, and for a reason that is none."""
    row = _own_bundle(workspace, text)
    check_reason(reason)
    if row.detail.get("withdrawn") == reason:
        return DiscardReport(DiscardOutcome.NOTHING, row.name, row.bundle_id)
    if not was_sent(row):
        raise UsageError(f"bundle {row.name}: was not sent", hint=f'"tidegate discard {row.name}"')
    return _take_out(workspace, row, DiscardOutcome.WITHDRAWN, reason, dry_run=dry_run)


def _own_bundle(workspace: "Workspace", text: str) -> BundleRow:
    row = resolve_bundle(workspace, text).row
    if row is None:
        raise UsageError(f"{text}: this root did not pack that bundle")
    chain = workspace.trust.own_channel()
    if row.channel_id != chain.channel_id or row.detail.get("epoch") != chain.newest.epoch:
        raise UsageError(f"bundle {row.name}: is of another channel or epoch, in which nothing is sent any more")
    return row


def _holder(workspace: "Workspace", row: BundleRow) -> str | None:
    """A site that is known to hold the bundle."""
    root = workspace.trust.own_channel().newest
    with workspace.state.reading() as tx:
        for site in root.sites or ():
            if row.sequence in get_confirmed(tx, row.channel_id, root.epoch, site).all_held:
                return site
    return None


def _take_out(
    workspace: "Workspace", row: BundleRow, outcome: DiscardOutcome, reason: str | None, *, dry_run: bool
) -> DiscardReport:
    with workspace.state.reading() as tx:
        others = list_bundles(tx, channel_id=row.channel_id, states=(BundleState.PACKED, BundleState.SENT))
    builders = tuple(other.name for other in others if row.bundle_id in other.detail.get("base", ()))
    report = DiscardReport(outcome, row.name, row.bundle_id, builders)
    if dry_run:
        return report
    detail = {**row.detail}
    if outcome is not DiscardOutcome.GIVEN_BACK:
        detail["void"] = True
    if reason is not None:
        detail["withdrawn"] = reason
    # The lock of packing: a pack at work may be about to give the bundle's number to the next one.
    with workspace.recording(), locked(workspace.folder("spool") / LOCK_FILE, busy="a pack is at work on this root"):
        with workspace.state.transaction() as tx:
            if get_bundle(tx, row.bundle_id) != row:
                raise BusyError(f"bundle {row.name}: was changed meanwhile", hint="look at it, and run it again")
            put_bundle(tx, replace(row, state=BundleState.DISCARDED, path=None, detail=detail))
            if outcome is DiscardOutcome.GIVEN_BACK:
                _give_back(tx, row)
            reset_names(tx, row.channel_id, int(row.detail.get("epoch", 1)))
            _record(tx, row, outcome, reason)
        path = bundle_path(workspace, row)
        if path is not None:
            with contextlib.suppress(OSError):  # the next pack removes it
                path.unlink(missing_ok=True)
                path.with_suffix(COVER_ENDING).unlink(missing_ok=True)
    return report


def _give_back(tx: "Transaction", row: BundleRow) -> None:
    """The next bundle gets this number. Only the newest can be unsent, so nothing lies beyond it."""
    channel = get_channel(tx, row.channel_id)
    if channel is not None and channel.next_sequence == row.sequence + 1:
        put_channel(tx, replace(channel, next_sequence=row.sequence))


def _record(tx: "Transaction", row: BundleRow, outcome: DiscardOutcome, reason: str | None) -> None:
    is_withdrawn = outcome is DiscardOutcome.WITHDRAWN
    tx.queue(
        entry(
            Event.WITHDRAW if is_withdrawn else Event.DISCARD,
            subject=row.bundle_id,
            step="withdraw" if is_withdrawn else "discard",
            reason=outcome,
            detail=reason,
            **bundle_facts(row),
        )
    )
