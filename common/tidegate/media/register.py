"""The media register of the low side: give a medium its token, follow it through `send`, and compare what comes back.

    register ─► send: contents unknown ─► write ─► counter + 1 on the medium ─► contents as they are now ─► return

The order makes a crash harmless: until a writing has ended the register says that the contents are unknown, never that
they are what they are not. Tokens: docs/format/media-token.md. What is compared: `snapshot`.
"""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tidegate import clock
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.token import (
    MediumToken,
    TokenState,
    build_token,
    judge_token,
    known_token,
    token_digest,
    valid_label,
)
from tidegate.errors import MediaError, MediaNotFoundError, MediumLostError, TidegateError, UsageError
from tidegate.files import locked
from tidegate.ledger.entries import Entry, Event, Medium, Outcome, entry
from tidegate.media.plugged import medium_for_ledger
from tidegate.media.sighting import Alarm, AlarmReason, Sighting, device_of, sight
from tidegate.media.snapshot import Changes, Progress, compare, find_damage, take_snapshot
from tidegate.media.token_file import write_token
from tidegate.state.media import (
    MediumRow,
    MediumState,
    get_medium,
    list_media,
    media_by_label,
    medium_by_digest,
    put_medium,
)
from tidegate.text import printable
from tidegate.workspace import Workspace

LOCK_WAIT_SECONDS = 10.0
BEFORE_LOST = "before_lost"  # in a row's detail: the state that `found` gives back
BUNDLES_MAX = 16  # names that are remembered of one medium on its way


class RegisterOutcome(StrEnum):
    """What `register` does."""

    REGISTERED = "registered"
    ADOPTED = "adopted"  # the token was ours, and the register did not know it any more
    ALREADY = "already-registered"


# --- looking ----------------------------------------------------------------------------------


def look(workspace: Workspace, place: Path, facts: Medium | None = None) -> Sighting:
    """The medium at `place` and what the register says of it. Raises MediaNotFoundError, MediumLostError."""
    data = find_volumes(place).token
    if data is None:
        return sight(None, None, facts or medium_for_ledger(place))
    judged = judge_token(data, (workspace.trust.own_channel(),))
    with workspace.state.reading() as tx:
        # A key that was revoked since: the very file that was written here is still this medium's own.
        row = medium_by_digest(tx, judged.digest)
        if judged.token is None and row is not None:
            judged = known_token(data)
        if judged.token is not None:
            row = get_medium(tx, judged.token.token)
    return sight(judged, row, facts or medium_for_ledger(place))


def find_row(workspace: Workspace, label: str) -> MediumRow:
    """The medium of that label, the newest where there are several. Raises UsageError."""
    return find_rows(workspace, label)[-1]


def find_rows(workspace: Workspace, label: str) -> tuple[MediumRow, ...]:
    """The media of that label: one on the low side, a high side may have met several. Raises UsageError."""
    with workspace.state.reading() as tx:
        rows = media_by_label(tx, label)
    if not rows:
        raise UsageError(f"no medium is registered as {printable(label)}", hint='"tidegate media list" lists them')
    return rows


def list_rows(workspace: Workspace) -> tuple[MediumRow, ...]:
    with workspace.state.reading() as tx:
        return list_media(tx)


# --- registering ------------------------------------------------------------------------------


def check_registrable(
    workspace: Workspace, place: Path, label: str, *, replace_token: bool
) -> tuple[RegisterOutcome, Sighting]:
    """What `register` would do (a word of RegisterOutcome), and the medium. Raises UsageError, MediaError."""
    if not valid_label(label):
        raise UsageError(f"{printable(label)}: a label has 1 to 32 letters, digits, '.', '_' or '-'")
    if not place.is_dir():
        raise MediaNotFoundError(f"{printable(place)}: no such folder")
    seen = look(workspace, place)
    token = seen.judged.token if seen.judged else None
    with workspace.state.reading() as tx:
        taken = [row for row in media_by_label(tx, label) if token is None or row.token != token.token]
    if taken:
        raise UsageError(
            f"label {label} is taken by a medium that was registered on {clock.format_time(taken[0].registered)}",
            hint="choose another label; one that was used stays with its medium, lost or not",
        )
    if replace_token or seen.judged is None or seen.judged.state is TokenState.UNREADABLE:
        _refuse_own_label(seen, label)
        return RegisterOutcome.REGISTERED, seen
    if token is not None and token.label.lower() == label.lower():
        return (RegisterOutcome.ALREADY if seen.is_registered else RegisterOutcome.ADOPTED), seen
    what = (
        f"it is registered as {token.label}" if token else f"it has a token that does not count ({seen.judged.reason})"
    )
    raise UsageError(f"{printable(place)}: {what}", hint="--replace gives it a token of its own under the new label")


def _refuse_own_label(seen: Sighting, label: str) -> None:
    if seen.row is not None and seen.row.label.lower() == label.lower():
        raise UsageError(f"label {label} stays with the token that this medium, or the one it copies, has")


def register(
    workspace: Workspace, place: Path, label: str, *, replace_token: bool = False
) -> tuple[RegisterOutcome, Sighting]:
    """Give the medium at `place` a token under `label`; entries before and after. See `check_registrable`."""
    lock = workspace.folder("spool") / "media.lock"
    with locked(lock, busy="another command registers a medium", wait_seconds=LOCK_WAIT_SECONDS):
        return _register(workspace, place, label, replace_token=replace_token)


def _register(
    workspace: Workspace, place: Path, label: str, *, replace_token: bool
) -> tuple[RegisterOutcome, Sighting]:
    """The same, where no other command can take the label meanwhile."""
    outcome, seen = check_registrable(workspace, place, label, replace_token=replace_token)
    if outcome is RegisterOutcome.ALREADY:
        return outcome, seen
    old = seen.judged.token if seen.judged else None
    now = clock.now()
    if outcome is RegisterOutcome.ADOPTED and old is not None:
        token = old
    else:
        stamp = clock.format_time(now)
        channel = workspace.trust.own_channel().channel_id
        token = MediumToken(1, channel, label, secrets.token_hex(16), 1, registered=stamp, written=stamp)
    facts = replace(seen.facts, register_label=token.label, token=token.token, counter=token.counter)
    _record(workspace, _entry(Event.MEDIA_REGISTERED, facts, Outcome.BEGUN))
    data = build_token(token, workspace.signer("carrier"))
    write_token(place, data)
    row = MediumRow(
        token=token.token,
        label=token.label,
        channel_id=token.channel,
        state=MediumState.HERE,
        counter=token.counter,
        token_digest=token_digest(data),
        registered=now,
        updated=now,
        device=device_of(facts),
        contents=_snapshot(workspace, place),
    )
    detail = "the register knows it again" if outcome is RegisterOutcome.ADOPTED else None
    _record(workspace, _entry(Event.MEDIA_REGISTERED, facts, detail=detail), row=row)
    return outcome, replace(seen, facts=facts, row=row)


# --- sending ----------------------------------------------------------------------------------


@dataclass(slots=True)
class TrackedMedium:
    """A medium that is being written to. `facts` are for its entries, `notes` for whoever runs the command; what it
    `carries` is remembered for its label."""

    facts: Medium
    notes: list[str] = field(default_factory=list)
    carries: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def tracked_medium(workspace: Workspace, place: Path, facts: Medium) -> Iterator[TrackedMedium]:
    """Around each writing to a medium: alarms before it, counter and contents after it.

    A medium without a token that counts passes through untouched. Alarms are entries and notes; they stop nothing.
    A token that cannot be written after a bundle was is a note too: the bundle is there.
    """
    seen = look(workspace, place, facts)
    tracked = TrackedMedium(seen.facts, [alarm.text for alarm in seen.alarms])
    if seen.alarms:
        _record(workspace, *(alarm_entry(alarm, seen.facts) for alarm in seen.alarms))
    if seen.row is None or seen.judged is None or seen.judged.token is None:
        yield tracked
        return
    row, old = seen.row, seen.judged.token
    token = replace(old, counter=max(row.counter, old.counter) + 1, written=clock.format_time(clock.now()))
    tracked.facts = replace(seen.facts, counter=token.counter)
    _record(workspace, row=replace(row, contents=None, updated=clock.now()))
    try:
        yield tracked
    except TidegateError:
        with contextlib.suppress(MediaError):  # most failures leave the medium as it was, and cleared up
            _record(workspace, row=replace(row, contents=_snapshot(workspace, place), updated=clock.now()))
        raise
    try:
        _end_writing(workspace, place, row, token, tracked)
    except MediaError as error:
        tracked.notes.append(f"{error.message}; it will not be possible to compare it when it comes back")


def _end_writing(workspace: Workspace, place: Path, row: MediumRow, token: MediumToken, tracked: TrackedMedium) -> None:
    """The medium's token with its new counter, then what lies on it now."""
    data = build_token(token, workspace.signer("carrier"))
    write_token(place, data)
    changed = replace(
        row,
        state=MediumState.AWAY,
        counter=token.counter,
        token_digest=token_digest(data),
        updated=clock.now(),
        device=device_of(tracked.facts) or row.device,
        contents=_snapshot(workspace, place),
        detail=_carried(row, tracked.carries),
    )
    _record(workspace, row=changed)


def _carried(row: MediumRow, carries: dict[str, Any]) -> dict[str, Any]:
    """What was just written, and every bundle that was since the medium was here last."""
    if not carries:
        return row.detail
    earlier = [] if row.state is MediumState.HERE else [name for name in bundles_of(row) if name != carries["bundle"]]
    return {**carries, "bundles": [*earlier, carries["bundle"]][-BUNDLES_MAX:]}


def bundles_of(row: MediumRow) -> tuple[str, ...]:
    """Names of the bundles that a medium went away with."""
    known = row.detail.get("bundles") or [row.detail.get("bundle", "")]
    return tuple(str(name) for name in known if name)


# --- lost, found ------------------------------------------------------------------------------


def set_lost(workspace: Workspace, row: MediumRow, *, lost: bool, reason: str | None) -> None:
    """Mark a medium as lost, or as found again."""
    event = Event.MEDIA_LOST if lost else Event.MEDIA_FOUND
    facts = facts_of(row)
    detail = {name: value for name, value in row.detail.items() if name != BEFORE_LOST}
    if lost:  # being lost must not make a suspicious medium a good one
        changed = replace(row, state=MediumState.LOST, detail={**detail, BEFORE_LOST: row.state.value})
    else:
        state = MediumState(row.detail.get(BEFORE_LOST, MediumState.AWAY.value))
        changed = replace(row, state=state, detail=detail)
    changed = replace(changed, updated=clock.now())
    _record(workspace, _entry(event, facts, justification=reason), row=changed)


def facts_of(row: MediumRow) -> Medium:
    """A medium that is not at hand, as the ledger takes it."""
    device = {name: row.device.get(name) for name in ("vendor", "product", "serial", "capacity")}
    return Medium(**device, register_label=row.label, token=row.token, counter=row.counter)


# --- return -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReturnReport:
    """What came back. `is_compared` is False where the register does not know what should be there."""

    row: MediumRow
    changes: Changes
    alarms: tuple[Alarm, ...]
    is_compared: bool
    has_token: bool = True

    @property
    def is_clean(self) -> bool:
        return self.changes.is_clean and self.has_token and not self.alarms


def compare_medium(
    workspace: Workspace, place: Path, label: str | None, progress: Progress | None = None
) -> tuple[ReturnReport, Sighting]:
    """Compare the medium at `place` with what was written to it; every record is read, nothing is changed.

    `label` names the medium where it has no token any more. Raises UsageError for one that is not registered.
    """
    seen = look(workspace, place)
    row = seen.row
    if label is not None:
        named = find_row(workspace, label)
        if row is not None and row.token != named.token:
            raise UsageError(f"{printable(place)}: is {row.label} by its token, not {named.label}")
        row = named
    if row is None:
        hint = 'name it with "--label LABEL" if its token is gone; "tidegate media list" lists what is registered'
        raise UsageError(f"{printable(place)}: {_why_unknown(seen)}", hint=hint)
    chain = workspace.trust.own_channel()
    contents = _snapshot(workspace, place)
    changes = Changes(unchanged=len(contents))
    if row.contents is not None:
        changes = compare(row.contents, contents)
        damaged = set(find_damage(place, chain, progress)) - {*changes.added, *changes.changed}
        changes = replace(
            changes,
            changed=tuple(sorted({*changes.changed, *damaged})),
            unchanged=changes.unchanged - len(damaged & row.contents.keys()),
        )
    expected = (AlarmReason.WAS_LOST, AlarmReason.SUSPECT)  # a lost one that comes back is good news
    alarms = tuple(alarm for alarm in seen.alarms if alarm.reason not in expected)
    return ReturnReport(row, changes, alarms, row.contents is not None, has_token=seen.row is not None), seen


def _why_unknown(seen: Sighting) -> str:
    if seen.judged is None:
        return "has no token: it is not registered, or its token was removed"
    if seen.judged.token is None:
        return f"its token does not count: {seen.judged.reason}"
    return f"its token says {seen.judged.token.label}, which the register does not know"


def record_return(workspace: Workspace, report: ReturnReport, seen: Sighting) -> None:
    """The entry of a return, and the medium's new state."""
    row = report.row
    facts = replace(seen.facts, register_label=row.label, token=row.token)
    changes = report.changes
    counts = {
        "added": len(changes.added),
        "changed": len(changes.changed),
        "missing": len(changes.missing),
        "unchanged": changes.unchanged,
    }
    reason, outcome = None, Outcome.DONE if report.is_compared else Outcome.PARTIAL
    if not report.is_clean:
        reason, outcome = "medium-changed", Outcome.FAILED
    detail = None if report.has_token else "it has no token that counts any more"
    if not report.is_compared:
        detail = "what was written last is not known: nothing could be compared"
    made = _entry(
        Event.MEDIA_RETURNED, facts, outcome, counts=counts, names=tuple(changes.lines()), reason=reason, detail=detail
    )
    state = MediumState.HERE if report.is_clean else MediumState.SUSPECT
    alarms = tuple(alarm_entry(alarm, facts) for alarm in report.alarms)
    _record(workspace, made, *alarms, row=replace(row, state=state, updated=clock.now()))


# --- entries ----------------------------------------------------------------------------------


def alarm_entry(alarm: Alarm, facts: Medium) -> Entry:
    return _entry(Event.MEDIA_ALARM, facts, Outcome.FAILED, reason=alarm.reason.value, detail=alarm.text)


def _entry(event: Event, facts: Medium, outcome: Outcome = Outcome.DONE, **more: Any) -> Entry:
    subject = f"medium-{facts.token}" if facts.token else "medium"
    return entry(event, subject=subject, step=event, outcome=outcome, medium=facts, **more)


def _record(workspace: Workspace, *entries: Entry, row: MediumRow | None = None) -> None:
    with workspace.state.transaction() as tx:
        if row is not None:
            put_medium(tx, row)
        for made in entries:
            tx.queue(made)
    workspace.recorder.drain()


def _snapshot(workspace: Workspace, place: Path) -> dict[str, Any]:
    try:
        return take_snapshot(place, workspace.trust.own_channel())
    except OSError as error:
        raise MediumLostError(f"{printable(place)}: {error.strerror}") from None
