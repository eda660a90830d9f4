"""Low side: rebuild which numbers were given, and to which bundles, from the ledger and what lies in the spool."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.bundle.container import BundleFile
from tidegate.bundle.papers import PAPERS_ROOT, read_papers
from tidegate.clock import parse_time
from tidegate.errors import TidegateError
from tidegate.ledger.entries import Event, Outcome, RecordedEntry
from tidegate.media.rebuilding import rebuild_media
from tidegate.restoring import confirmed_last, lost_numbers, note_lost
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, put_bundle
from tidegate.state.channels import ensure_channel, put_channel
from tidegate.state.db import Transaction
from tidegate_sender.packing.records import SIDE, bundle_row, reset_names
from tidegate_sender.slips.withdrawing import withdraw_again

if TYPE_CHECKING:
    from tidegate.restoring import Rebuilt
    from tidegate.trust.root import Chain
    from tidegate.workspace import Workspace


def rebuild(workspace: "Workspace", tx: Transaction, entries: tuple[RecordedEntry, ...], done: "Rebuilt") -> None:
    """Rows for every bundle that was packed, with what became of it; the next number beyond all that were given."""
    chain = workspace.trust.own_channel()
    files = _packed_files(workspace)
    facts: dict[str, dict[str, Any]] = {}
    highest, lost = 0, set(lost_numbers(tx, chain.channel_id, chain.newest.epoch))
    for item in entries:
        _note(facts, item)
        if (last := confirmed_last(item, chain)) is not None:
            given, doubtful = _give_up_unsent(facts, chain, last)
            lost |= {*doubtful, *range(max(highest, given) + 1, last + 1)}
            highest = max(highest, last)
    if lost:
        note_lost(tx, chain.channel_id, chain.newest.epoch, lost)
    for bundle_id, known in facts.items():
        if known.get("channel") != chain.channel_id:
            continue
        if known["epoch"] == chain.newest.epoch and not known["given_back"]:
            highest = max(highest, known["sequence"])
        before = get_bundle(tx, bundle_id)
        row = _with_fate(before or _row(workspace, bundle_id, known, files.get(bundle_id)), known)
        if row != before:
            put_bundle(tx, row)
            done.bundles += 1
    channel = ensure_channel(tx, chain.channel_id, chain.newest.name, chain.newest.epoch)
    put_channel(tx, replace(channel, next_sequence=max(channel.next_sequence, highest + 1)))
    reset_names(tx, chain.channel_id, chain.newest.epoch)
    withdraw_again(tx, chain, entries)
    done.media = rebuild_media(tx, entries, channel_id=chain.channel_id)
    done.highest = {chain.channel_id: max(channel.next_sequence - 1, highest)}


def _note(facts: dict[str, dict[str, Any]], item: RecordedEntry) -> None:
    """What one entry says of a bundle that was packed."""
    fields, bundle_id = item.fields or {}, item.text("bundle")
    event, outcome = item.text("event"), item.text("outcome")
    if event == Event.PACK and outcome == Outcome.DONE and bundle_id and isinstance(fields.get("sequence"), int):
        fate = {"fate": BundleState.PACKED, "begun": False, "void": False, "given_back": False}
        facts[bundle_id] = {"epoch": 1, **fields, **fate}
        return
    known = facts.get(bundle_id)
    if known is None:
        return
    if event == Event.WRITE:
        known["begun"] = True
    elif event == Event.SEND and outcome in (Outcome.DONE, Outcome.NOTHING):
        known["fate"], known["begun"] = BundleState.SENT, True
    elif event in (Event.DISCARD, Event.WITHDRAW):
        known["fate"] = BundleState.DISCARDED
        known["given_back"] = item.text("reason") in ("replaced", "given-back")
        known["void"] = not known["given_back"]
        known["withdrawn"] = item.text("detail") if event == Event.WITHDRAW else None


def _give_up_unsent(facts: dict[str, dict[str, Any]], chain: "Chain", last: int) -> tuple[int, set[int]]:
    """A person said that `last` was the last number. The highest that was given, and those that are in doubt.

    What only waited to be sent when the backup was made may have left since; or another bundle with its number has,
    that was packed in its place. To send it now could be a fork. So it is given up, and its number counts as lost.
    """
    given, doubtful = 0, set()
    for known in facts.values():
        if (known.get("channel"), known["epoch"]) != (chain.channel_id, chain.newest.epoch) or known["given_back"]:
            continue
        given = max(given, known["sequence"])
        if known["fate"] is BundleState.PACKED and not known["begun"] and known["sequence"] <= last:
            known["fate"] = BundleState.DISCARDED
            doubtful.add(known["sequence"])
    return given, doubtful


def _with_fate(row: BundleRow, known: dict[str, Any]) -> BundleRow:
    detail = {**row.detail, "epoch": known["epoch"]}
    if known["begun"]:
        detail["write_begun"] = True
    if known["void"]:
        detail["void"] = True
    if known.get("withdrawn"):
        detail["withdrawn"] = known["withdrawn"]
    path = None if known["fate"] is BundleState.DISCARDED else row.path
    return replace(row, state=known["fate"], path=path, detail=detail)


def _row(workspace: "Workspace", bundle_id: str, known: dict[str, Any], path: Path | None) -> BundleRow:
    """The bundle's row from its file, from its papers, or from the entry alone."""
    with contextlib.suppress(TidegateError, OSError):
        if path is not None:
            with BundleFile.open(path) as file:
                where = path.relative_to(workspace.root)
                return bundle_row(file.manifest(), bundle_id, where, path.stat().st_size, 0)
    with contextlib.suppress(TidegateError, OSError):
        manifest, _ = read_papers(workspace.root / PAPERS_ROOT / bundle_id, bundle_id)
        return replace(bundle_row(manifest, bundle_id, Path(), 0, 0), path=None)
    return BundleRow(
        bundle_id=bundle_id,
        channel_id=known["channel"],
        sequence=known["sequence"],
        side=SIDE,
        state=BundleState.PACKED,
        created=parse_time(known["time"]),
        size=int(known.get("stored") or 0),
        content_size=int(known.get("size") or 0),
        detail={"restored": True, "audience": list(known.get("audience") or ())},
    )


def _packed_files(workspace: "Workspace") -> dict[str, Path]:
    """The packed bundles that are still there, by bundle_id."""
    found = {}
    for path in sorted((workspace.root / "spool").glob("*.tgb")):
        with contextlib.suppress(TidegateError, OSError), BundleFile.open(path) as file:
            found[file.bundle_id] = path
    return found
