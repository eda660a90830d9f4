"""The register of media, rebuilt from the ledger: every entry about a medium names its token, label and counter.

    registered, inserted ─► here      sent ─► away, with the bundle      lost, found, returned ─► as it was said

What lay on a medium, and the digest of its token file, stand in no entry: they are not known until it is written or
seen again, and what is not known contradicts nothing (docs/format/media-token.md, K-10).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate.clock import parse_time
from tidegate.ledger.entries import Event, Outcome, RecordedEntry
from tidegate.media.register import BEFORE_LOST, BUNDLES_MAX
from tidegate.state.db import Transaction
from tidegate.state.media import MediumRow, MediumState, get_medium, put_medium

_DEVICE = ("vendor", "product", "serial", "capacity")


@dataclass(slots=True)
class _Known:
    """What the entries so far say of one medium."""

    label: str
    counter: int
    registered: int
    updated: int
    channel_id: str = ""
    state: MediumState = MediumState.HERE
    before_lost: MediumState = MediumState.AWAY
    device: dict[str, Any] = field(default_factory=dict)
    bundles: tuple[str, ...] = ()


def rebuild_media(tx: Transaction, entries: Iterable[RecordedEntry], *, channel_id: str) -> int:
    """Bring the register up to what the ledger says; how many media were not known so.

    `channel_id` is that of a medium whose entries name none.
    """
    found: dict[str, _Known] = {}
    for item in entries:
        _note(found, item)
    changed = 0
    for token, known in found.items():
        before = get_medium(tx, token)
        row = _row(token, known, before, channel_id)
        if row != before:
            put_medium(tx, row)
            changed += 1
    return changed


def _note(found: dict[str, _Known], item: RecordedEntry) -> None:
    fields = item.fields or {}
    facts = fields.get("medium") or {}
    token, label, counter = facts.get("token"), facts.get("register_label"), facts.get("counter")
    # An alarm may be about a copy: its counter and device must not become those of the medium.
    if not token or not label or item.text("event") == Event.MEDIA_ALARM or item.text("outcome") == Outcome.BEGUN:
        return
    time = parse_time(item.text("time"))
    known = found.setdefault(token, _Known(label, 0, time, time))
    known.updated = time
    known.channel_id = item.text("channel") or known.channel_id
    if isinstance(counter, int) and counter >= known.counter:
        known.counter = counter
        known.device |= {name: facts[name] for name in _DEVICE if facts.get(name)}
    _note_state(known, item)


def _note_state(known: _Known, item: RecordedEntry) -> None:
    event, outcome = item.text("event"), item.text("outcome")
    if event == Event.MEDIA_REGISTERED:
        known.state = MediumState.HERE
    elif event == Event.SEND and outcome in (Outcome.DONE, Outcome.NOTHING, Outcome.PARTIAL):
        bundle = item.text("bundle_name")
        earlier = () if known.state is MediumState.HERE else tuple(name for name in known.bundles if name != bundle)
        known.bundles = (*earlier, bundle)[-BUNDLES_MAX:] if bundle else earlier
        known.state = MediumState.AWAY
    elif event == Event.MEDIA_LOST:
        known.before_lost, known.state = known.state, MediumState.LOST
    elif event == Event.MEDIA_FOUND:
        known.state = known.before_lost
    elif event == Event.MEDIA_RETURNED:
        known.state = MediumState.SUSPECT if outcome == Outcome.FAILED else MediumState.HERE


def _row(token: str, known: _Known, before: MediumRow | None, channel_id: str) -> MediumRow:
    """The medium's row: what the state has of it stays where the ledger says no more than that."""
    detail: dict[str, Any] = {"bundle": known.bundles[-1], "bundles": list(known.bundles)} if known.bundles else {}
    if before is not None and before.counter >= known.counter:
        if before.state is known.state:
            return before
        return replace(before, state=known.state, detail=_with_lost({**detail, **before.detail}, known))
    return MediumRow(
        token=token,
        label=known.label,
        channel_id=before.channel_id if before is not None else known.channel_id or channel_id,
        state=known.state,
        counter=known.counter,
        token_digest="",
        registered=before.registered if before is not None else known.registered,
        updated=known.updated,
        device={**(before.device if before is not None else {}), **known.device},
        detail=_with_lost(detail, known),
    )


def _with_lost(detail: dict[str, Any], known: _Known) -> dict[str, Any]:
    rest = {name: value for name, value in detail.items() if name != BEFORE_LOST}
    return {**rest, BEFORE_LOST: known.before_lost.value} if known.state is MediumState.LOST else rest
