"""What ``receive``, ``watch`` and the listener do and say once bundles are in: automatic loading, closing lines."""

from typing import TYPE_CHECKING

from tidegate.errors import TidegateError
from tidegate.report import Report, counted, print_error
from tidegate.units import format_bytes, format_duration
from tidegate_receiver.intake.outcomes import MediumReport, OutcomeKind, ReceiveOutcome

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


def load_automatically(
    workspace: "Workspace", found: MediumReport
) -> tuple[tuple[str, ...], tuple[TidegateError, ...]]:
    """Load what came over channels whose release is automatic: names of what was loaded, and what went wrong."""
    from tidegate_receiver.promotion.after_load import follow
    from tidegate_receiver.promotion.promotion import load
    from tidegate_receiver.promotion.release import Releaser, may_load_automatically

    names: list[str] = []
    failures: list[TidegateError] = []
    for outcome in found.outcomes:
        if outcome.kind is OutcomeKind.RECEIVED and may_load_automatically(workspace.settings, outcome.channel_name):
            try:
                done = load(workspace, outcome.bundle_id, releaser=Releaser.RULE)
                names.append(outcome.name)
                follow(workspace, done)  # what fails in it is in the ledger
                failures.extend(found.error for found in done.failures if found.error is not None)
            except TidegateError as error:  # it is in quarantine all the same, and the others go on
                failures.append(error)
    return tuple(names), tuple(failures)


def show_medium(report: Report, found: MediumReport, loaded: tuple[str, ...] = (), *, of_stream: bool = False) -> int:
    """One closing line a bundle, and what else lies on the medium; the exit code of the worst."""
    if found.strangers:
        report.line(f"{counted(len(found.strangers), 'other file')} on the medium, left alone")
    for note in found.notes:
        report.warn(note)
    for name in found.damaged:
        report.warn(f"nothing can be recognised in {name}")
    for outcome in found.outcomes:
        ending = _ending(outcome, outcome.name in loaded)
        if of_stream:
            ending = _without_medium(ending)
        report.closing(f"{_what(outcome)}; {ending}", **_values(outcome, found, outcome.name in loaded))
        if outcome.warning:
            report.warn(outcome.warning)
        for error in (outcome.error, outcome.alarm):
            if error is not None and not report.json_lines:
                print_error(error)
    return max((outcome.exit_code for outcome in found.outcomes), default=0)


def _values(outcome: ReceiveOutcome, found: MediumReport, is_loaded: bool) -> dict[str, object]:
    from tidegate.files import SYNCS

    return {
        **outcome.as_fields(),
        "state": "loaded" if is_loaded else outcome.kind,
        "may_be_removed": found.may_be_removed,
        "medium_alarms": list(found.notes),
        "syncs": SYNCS.count,
    }


def _what(outcome: ReceiveOutcome) -> str:
    name = outcome.name or "a volume"
    size = format_bytes(outcome.content_size)
    if outcome.kind is OutcomeKind.RECEIVED:
        return f"received {name}: {_sticks(outcome)}{_damage(outcome)}, {size} in {format_duration(outcome.seconds)}"
    if outcome.kind is OutcomeKind.WAITING:
        return f"{outcome.name} waits: {_damage(outcome)}, {size} in {format_duration(outcome.seconds)}"
    if outcome.kind is OutcomeKind.DUPLICATE:
        return f"nothing to do: {name} is here already"
    if outcome.kind is OutcomeKind.INCOMPLETE:
        return f"incomplete {name}: {outcome.chunks_done} of {outcome.chunk_count} pieces are whole and kept"
    if outcome.kind is OutcomeKind.PLANNED:
        return f"{name} would be received: {counted(len(outcome.artifacts), 'artifact')}, {size}"
    return f"{outcome.kind} {name}"  # the error says why, on a line of its own


def _sticks(outcome: ReceiveOutcome) -> str:
    if outcome.sticks_read < 2:
        return "with this stick its set is whole, " if outcome.sticks_read else ""
    return "both sticks read, " if outcome.sticks_read == 2 else f"{outcome.sticks_read} sticks read, "


def _damage(outcome: ReceiveOutcome) -> str:
    if outcome.files_missing:
        files = counted(outcome.files_missing, "file is", "files are")
        return f"{files} gone from the medium and repaired, nothing of the content missing"
    if not outcome.symbols_missing:
        return "undamaged, nothing missing"
    return f"{counted(outcome.symbols_missing, 'damaged place')} repaired, nothing missing"


def _ending(outcome: ReceiveOutcome, is_loaded: bool) -> str:
    if outcome.kind is OutcomeKind.RECEIVED:
        notes = []
        if outcome.late_names:
            names = counted(len(outcome.late_names), "name stays", "names stay")
            notes.append(f"it came late, {names} where a newer bundle set them")
        if outcome.gap is not None:
            first, last = outcome.gap
            notes.append(
                f"number {first} has not come" if first == last else f"numbers {first} to {last} have not come"
            )
        if outcome.needs:
            notes.append(f"load number {', '.join(map(str, outcome.needs))} first")
        if outcome.alarm is not None:
            notes.append("it waits, since the low side's ledger contradicts what was seen")
        else:
            notes.append("loaded" if is_loaded else f'next: "tidegate load {outcome.name}"')
        return "; ".join([*notes, "the medium may be removed", *_for_the_office(outcome)])
    if outcome.kind is OutcomeKind.WAITING:
        return "; ".join([f'next: "tidegate admit {outcome.name} --reason …"', "the medium may be removed"])
    if outcome.kind is OutcomeKind.DUPLICATE:
        return "; ".join(["the medium may be removed", *_for_the_office(outcome)])
    if outcome.kind is OutcomeKind.PLANNED:
        return "nothing was written"
    if outcome.kind is OutcomeKind.INCOMPLETE:
        if outcome.missing_text:
            return f"{outcome.missing_text}; this one may be removed"
        return "insert another copy of it, and run the same again"
    return "nothing of it was taken"


def _without_medium(ending: str) -> str:
    """The ending for a bundle that came over a stream, where nothing can be removed or inserted."""
    if ending.startswith("insert another copy"):
        return "what it lacks comes when the low side sends it again"
    gone = ("the medium may be removed", "this one may be removed")
    return "; ".join(part for part in ending.split("; ") if part not in gone) or "nothing to do"


def _for_the_office(outcome: ReceiveOutcome) -> tuple[str, ...]:
    return (f"for the office: {outcome.code}",) if outcome.code else ()
