"""High side: rebuild what was taken, what became of it, which names it set, what stands where, and what media came.

From the ledger, and the papers that are here.
"""

import contextlib
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tidegate.clock import parse_time
from tidegate.errors import TidegateError
from tidegate.ledger.entries import Event, Outcome, RecordedEntry
from tidegate.ledger.witness_folder import FORK_KEY
from tidegate.media.rebuilding import rebuild_media
from tidegate.restoring import confirmed_last, enter_epoch
from tidegate.retention import Kind
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, put_bundle
from tidegate.state.channels import ensure_channel, get_channel, note_sequence
from tidegate.state.db import Transaction
from tidegate.state.names import begin_epoch, set_name_if_newer
from tidegate_receiver.intake.numbering import LET_GO, void_detail
from tidegate_receiver.intake.quarantine import QuarantinedBundle
from tidegate_receiver.intake.records import SIDE
from tidegate_receiver.restoring_placements import rebuild_placements
from tidegate_receiver.trusted_time import note_time

if TYPE_CHECKING:
    from tidegate.restoring import Rebuilt
    from tidegate.workspace import Workspace

_COUNTS = (BundleState.QUARANTINED, BundleState.LOADED)
#: refusals of bundles whose manifest was verified: they stay in the inbox until somebody clears them
_REFUSALS = (Event.FORK, Event.STALE, Event.EXPIRED)


def rebuild(workspace: "Workspace", tx: Transaction, entries: tuple[RecordedEntry, ...], done: "Rebuilt") -> None:
    """Rows for every bundle that was ever in quarantine; numbers, names and the floor of time by those that count."""
    facts: dict[str, dict[str, Any]] = {}
    disputed: dict[str, str] = {}
    for item in entries:
        _note(facts, item)
        _note_alarm(disputed, item)
    done.highest = {}
    for bundle_id, known in facts.items():  # in the order in which they came
        before = get_bundle(tx, bundle_id)
        row = before or _row(workspace, bundle_id, known)
        row = replace(row, state=known["fate"], detail=_detail(row, known, disputed.get(bundle_id)))
        if row != before:
            put_bundle(tx, row)
            done.bundles += 1
        if row.state in _COUNTS:
            _count(workspace, tx, row, known, done)
    for chain in workspace.trust.chains():
        lasts = [last for item in entries if (last := confirmed_last(item, chain)) is not None]
        if lasts:
            enter_epoch(tx, chain.channel_id, chain.newest.name, chain.newest.epoch)
            done.highest[chain.channel_id] = note_sequence(tx, chain.channel_id, max(lasts))
    for bundle_id, known in facts.items():
        done.names += _set_names(tx, bundle_id, known)
    rebuild_placements(workspace, tx, entries)
    channels = {chain.channel_id for chain in workspace.trust.chains()}
    done.media = rebuild_media(tx, entries, channel_id=channels.pop() if len(channels) == 1 else "")


def _note(facts: dict[str, dict[str, Any]], item: RecordedEntry) -> None:
    """What one entry says of a bundle that was in quarantine."""
    fields, bundle_id = item.fields or {}, item.text("bundle")
    event, outcome = item.text("event"), item.text("outcome")
    if event == Event.QUARANTINE and outcome == Outcome.DONE and isinstance(fields.get("sequence"), int):
        loads = facts.get(bundle_id, {}).get("loads", [])  # it was cleaned up, and came again
        facts[bundle_id] = {"epoch": 1, **fields, "loads": loads, "fate": BundleState.QUARANTINED}
        return
    known = facts.get(bundle_id)
    if known is None and event in _REFUSALS and isinstance(fields.get("sequence"), int):
        places = [str(target["place"]) for target in fields.get("targets") or ()]
        kept = {"reason": item.text("reason"), "error": item.text("detail"), **({"evidence": places} if places else {})}
        facts[bundle_id] = {"epoch": 1, "loads": [], **fields, "fate": BundleState.REFUSED, "kept": kept}
        return
    if known is None:
        return
    if event == Event.AHEAD:
        known["fate"], known["kept"] = BundleState.WAITING, {"waits_for": item.text("detail")}
    elif event == Event.APPROVE and known["fate"] is BundleState.WAITING:
        known["fate"] = BundleState.QUARANTINED
    elif event == Event.DENY:
        known["fate"] = BundleState.DENIED
    elif event in (Event.LOAD, Event.PROMOTE) and outcome in (Outcome.DONE, Outcome.NOTHING):
        known["fate"] = BundleState.LOADED
        known["loads"] += fields.get("targets") or ()
    elif event == Event.DELETE:
        _note_removal(known, item)


def _note_removal(known: dict[str, Any], item: RecordedEntry) -> None:
    """What cleanup did: a slip must not name again what was let go, nor what is not here any more."""
    reason = item.text("reason")
    if reason == Kind.LET_GO:
        known["let_go"] = parse_time(item.text("time"))
    elif reason == Kind.SUPERSEDED:
        known["fate"] = BundleState.CLEANED
    elif reason == Kind.WITHDRAWN:
        known["fate"] = BundleState.DENIED


def _note_alarm(disputed: dict[str, str], item: RecordedEntry) -> None:
    """Bundles that wait because the low side's ledger contradicted itself, until somebody accepted it."""
    if item.text("event") in (Event.LEDGER_ALARM, Event.WITNESSED) and (bundle_id := item.text("bundle")):
        if item.text("reason") == "ledger-fork":
            disputed[bundle_id] = item.text("detail")
        elif item.text("reason") == "accepted":
            disputed.pop(bundle_id, None)


def _detail(row: BundleRow, known: dict[str, Any], dispute: str | None) -> dict[str, Any]:
    detail = {key: value for key, value in row.detail.items() if key != FORK_KEY}
    if dispute is not None:
        detail[FORK_KEY] = row.detail.get(FORK_KEY, dispute)
    if "let_go" in known:
        detail.setdefault(LET_GO, known["let_go"])
    return detail


def _row(workspace: "Workspace", bundle_id: str, known: dict[str, Any]) -> BundleRow:
    """The bundle's row from its papers, or from the entry alone where they are gone."""
    row = BundleRow(
        bundle_id=bundle_id,
        channel_id=known["channel"],
        sequence=known["sequence"],
        side=SIDE,
        state=known["fate"],
        created=0,
        size=0,
        content_size=int(known.get("size") or 0),
        path=str(PurePosixPath("quarantine") / bundle_id),
        detail={
            "epoch": known["epoch"],
            "channel_name": known.get("channel_name", ""),
            "restored": True,
            **known.get("kept", {}),
        },
    )
    with contextlib.suppress(TidegateError, OSError):
        papers = QuarantinedBundle(workspace.root / "quarantine" / bundle_id)
        manifest = papers.manifest()
        # Whatever it builds on, here or not: what of it is missing is asked for anew with each slip.
        needs = sorted(set(papers.tables().required["sequence"].tolist()))
        return replace(
            row,
            created=parse_time(manifest.created),
            content_size=manifest.content_size,
            expires=parse_time(manifest.expires) if manifest.expires else None,
            artifacts=tuple(
                {key: getattr(item, key) for key in ("name", "kind", "media_type", "digest", "size")}
                for item in manifest.artifacts
            ),
            previous=manifest.previous.bundle_id if manifest.previous else None,
            detail={**row.detail, "void": void_detail(manifest), "needs": needs},
        )
    return row


def _count(workspace: "Workspace", tx: Transaction, row: BundleRow, known: dict[str, Any], done: "Rebuilt") -> None:
    channel = get_channel(tx, row.channel_id)
    if channel is not None and channel.epoch > row.epoch:
        return
    if channel is not None and channel.epoch < row.epoch:
        begin_epoch(tx, row.channel_id)
    ensure_channel(tx, row.channel_id, str(known.get("channel_name") or row.channel_id[:16]), row.epoch)
    assert done.highest is not None
    done.highest[row.channel_id] = note_sequence(tx, row.channel_id, row.sequence)
    if row.created:
        note_time(tx, workspace, row.created)


def _set_names(tx: Transaction, bundle_id: str, known: dict[str, Any]) -> int:
    """The names that loading set, as far as no newer bundle has."""
    row, count = get_bundle(tx, bundle_id), 0
    channel = get_channel(tx, known["channel"])
    if row is None or channel is None or row.epoch != channel.epoch:
        return 0
    for target in known["loads"]:
        if isinstance(target, dict) and target.get("digest"):
            with contextlib.suppress(TidegateError):  # of two that contradict each other the first stays
                set_name_if_newer(tx, row.channel_id, str(target["name"]), row.sequence, str(target["digest"]))
                count += 1
    return count
