"""Lower the floor of time: the one way back from a year that is not there yet, and two people must want it.

By the policy ``two_people`` they sign with approvers' keys (``signed``), or are named by whoever runs the command
(``declared``), which the entry says. Decision 0016.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.clock import format_time, parse_time
from tidegate.config import TwoPeople
from tidegate.errors import NotReleasedError, SignatureError, UsageError
from tidegate.files import host_error, read_limited, write_durably
from tidegate.ledger.entries import Event, KeyHolder, entry
from tidegate.state.meta import set_floor
from tidegate.trust.acts import ACT_MAX_BYTES, PEOPLE, Act, ActKind, approvers_of, check_act, read_act, sign_act
from tidegate_receiver.trusted_time import read_floor

if TYPE_CHECKING:
    from tidegate.trust.envelope import Envelope
    from tidegate.trust.keys import Signer
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Lowering:
    """What became of it. `people` are holders who signed, or declared names; `is_done` once they are enough."""

    before: int
    after: int
    people: tuple[str, ...]
    is_done: bool


def lower_floor(
    workspace: "Workspace",
    *,
    to: int | None,
    reason: str | None,
    signers: tuple["Signer", ...],
    declared: tuple[str, ...],
    file: Path | None,
    dry_run: bool = False,
) -> Lowering:
    """Lower the floor, or bring the act in `file` nearer to it by one more signature.

    Raises UsageError, SignatureError, FormatError, NotReleasedError (not enough people, and no file to go on with).
    """
    with workspace.state.reading() as tx:
        before = read_floor(tx, workspace)
    if declared:
        return _lower_declared(workspace, before, to, reason, declared, dry_run=dry_run)
    site = workspace.trust.site_chain()
    act, earlier = _act(workspace, before, to, reason, file)
    envelope = sign_act(act, signers, earlier=earlier)
    people = tuple(sorted({signer.holder for signer in approvers_of(envelope, site.newest)}))
    if not people:
        raise SignatureError(f"no key that signs here is in role approver of {site.newest.label}")
    after = parse_time(act.after)
    is_done = len(people) >= PEOPLE
    if not is_done and file is None:
        raise NotReleasedError(
            f"the floor of time is lowered by {PEOPLE} people, and only {people[0]} signed",
            hint="name the other's key, too: --key FILE; or --file ACT, which the other one signs elsewhere",
        )
    if not dry_run:
        if is_done:
            known = approvers_of(envelope, site.newest)
            _record(workspace, before, after, act.reason, tuple(KeyHolder(s.holder, s.key_id, "lower") for s in known))
        elif file is not None:
            _write(file, envelope)
    return Lowering(before, after, people, is_done)


def _lower_declared(
    workspace: "Workspace", before: int, to: int | None, reason: str | None, declared: tuple[str, ...], *, dry_run: bool
) -> Lowering:
    if workspace.settings.two_people is not TwoPeople.DECLARED:
        raise UsageError(
            "this site's policy wants the signatures of two approvers, not their names",
            hint='two_people = "declared" in the settings allows names',
        )
    people = tuple(sorted({name.strip().lower() for name in declared if name.strip()}))
    if len(people) < PEOPLE:
        raise NotReleasedError(f"the floor of time is lowered by {PEOPLE} people, and {len(people)} is named")
    after = _checked(before, to)
    if not reason:
        raise UsageError("say why: --reason TEXT")
    if not dry_run:
        _record(workspace, before, after, reason, tuple(KeyHolder(name, "", "declared") for name in people))
    return Lowering(before, after, people, is_done=True)


def _act(
    workspace: "Workspace", before: int, to: int | None, reason: str | None, file: Path | None
) -> "tuple[Act, Envelope | None]":
    """The act of the file, where there is one already, else a new one."""
    site = workspace.trust.site_chain()
    if file is None or not file.exists():
        after = _checked(before, to)
        if not reason:
            raise UsageError("say why: --reason TEXT")
        made = Act(ActKind.LOWER_FLOOR, site.channel_id, format_time(before), format_time(after), reason)
        return made, None
    act, envelope, _ = read_act(read_limited(file, ACT_MAX_BYTES), site.newest)
    check_act(act, site.channel_id, before, what=str(file))
    if to is not None and format_time(to) != act.after:
        raise UsageError(f"{file}: lowers the floor to {act.after}, not to {format_time(to)}")
    return act, envelope


def _checked(before: int, to: int | None) -> int:
    if to is None:
        raise UsageError("say what time it is at least: --to 2026-03-01T00:00:00Z")
    if to >= before:
        raise UsageError(f"the floor of time is {format_time(before)} already, and {format_time(to)} is not lower")
    return to


def _record(workspace: "Workspace", before: int, after: int, reason: str, people: tuple[KeyHolder, ...]) -> None:
    made = entry(
        Event.CLOCK_CHANGE,
        subject="clock",
        step="lower-floor",
        justification=reason,
        approvers=people,
        detail=f"the floor of time was lowered from {format_time(before)} to {format_time(after)}",
    )
    with workspace.recording(), workspace.state.transaction() as tx:
        set_floor(tx, after)
        tx.queue(made)


def _write(file: Path, envelope: "Envelope") -> None:
    try:
        write_durably(file.absolute(), envelope.to_bytes())
    except OSError as error:
        raise host_error(error, f"writing {file}") from None
