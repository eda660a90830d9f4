"""What receiving came to: one value a bundle, and the ledger's words for each way to end."""

from dataclasses import dataclass, field
from enum import StrEnum

from tidegate.errors import CarrierFormatError, MediaError, StateError, TidegateError, reason_of
from tidegate.ledger.entries import Event, Outcome


class OutcomeKind(StrEnum):
    """How it ended for one bundle."""

    RECEIVED = "received"  # whole, verified, in quarantine
    WAITING = "waiting"  # whole and verified, but its number or its time jumps: somebody must admit it
    DUPLICATE = "duplicate"  # was there already: nothing to do
    INCOMPLETE = "incomplete"  # something is damaged or missing; what was read is kept
    REFUSED = "refused"  # a check did not pass
    FAILED = "failed"  # this host could not go on (disk full, busy); what was read is kept
    PLANNED = "planned"  # a dry run: everything that can be checked without writing holds


@dataclass(frozen=True, slots=True)
class ReceiveOutcome:
    """One bundle of a medium, or one volume whose bundle is not known. Sizes are bytes."""

    kind: OutcomeKind
    name: str = ""
    bundle_id: str = ""
    channel_name: str = ""
    sequence: int = 0
    error: TidegateError | None = None
    artifacts: tuple[str, ...] = ()
    content_size: int = 0
    #: signers of the manifest, by holder
    signed_by: tuple[str, ...] = ()
    symbols_missing: int = 0
    blocks_mended: int = 0
    #: files of the volumes at hand that are not on the medium
    files_missing: int = 0
    #: volumes of its set that were at hand in one go; 0 where it is on one volume
    sticks_read: int = 0
    chunks_done: int = 0
    chunk_count: int = 0
    #: names that do not move, because a newer bundle set them: the bundle came late
    is_late: bool = False
    late_names: tuple[str, ...] = ()
    #: numbers of bundles whose content this one builds on and that is not here (0 for a baseline)
    needs: tuple[int, ...] = ()
    #: what the office may be told: it proves that the content was read (docs/format/slip.md)
    code: str = ""
    #: first and last number that has not come before this one
    gap: tuple[int, int] | None = None
    #: numbers of the volumes of a set that are missing, as far as they are known, and that in words
    missing_volumes: tuple[int, ...] = ()
    missing_text: str = ""
    #: how the low side's ledger stands to what was seen of it (docs/format/witness.md), what a person should know of
    #: it, and a fork, for which the bundle waits
    ledger: str = ""
    warning: str = ""
    alarm: TidegateError | None = None
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 where all is well, else the error's own."""
        error = self.error or self.alarm
        return error.exit_code if error is not None else 0

    def as_fields(self) -> dict[str, object]:
        """The outcome for ``--json``."""
        facts: dict[str, object] = {
            "outcome": self.kind.value,
            "bundle": self.name,
            "bundle_id": self.bundle_id,
            "channel": self.channel_name,
            "sequence": self.sequence,
            "artifacts": list(self.artifacts),
            "content_bytes": self.content_size,
            "signed_by": list(self.signed_by),
            "damaged_places": self.symbols_missing,
            "blocks_mended": self.blocks_mended,
            "files_missing": self.files_missing,
            "late_names": list(self.late_names),
            "needs": list(self.needs),
            "seconds": round(self.seconds, 3),
        }
        if self.code:
            facts["code"] = self.code
        if self.ledger:
            facts["ledger"] = self.ledger
        if self.warning:
            facts["ledger_warning"] = self.warning
        if self.alarm is not None:
            facts |= {"alarm": self.alarm.message, "exit_code": self.exit_code}
        if self.gap is not None:
            facts["gap"] = list(self.gap)
        if self.kind is OutcomeKind.INCOMPLETE:
            facts |= {"chunks_done": self.chunks_done, "chunks": self.chunk_count}
            facts["missing_volumes"] = list(self.missing_volumes)
        if self.error is not None:
            facts |= {"error": self.error.message, "class": type(self.error).__name__, "exit_code": self.exit_code}
        return facts


@dataclass(frozen=True, slots=True)
class MediumReport:
    """One look at a medium: what became of its bundles, and what else lies on it."""

    outcomes: tuple[ReceiveOutcome, ...]
    strangers: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    unlisted: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def may_be_removed(self) -> bool:
        """Whether the medium has nothing left to give."""
        done = {OutcomeKind.RECEIVED, OutcomeKind.WAITING, OutcomeKind.DUPLICATE}
        return all(item.kind in done or item.missing_text for item in self.outcomes)


#: the event of a refusal, by the reason of its class; `refuse` for the others
_EVENTS = {
    "expired": Event.EXPIRED,
    "fork": Event.FORK,
    "ahead": Event.AHEAD,
    "stale": Event.STALE,
    "signature": Event.VERIFY_FAILED,
    "key-revoked": Event.VERIFY_FAILED,
    "digest": Event.VERIFY_FAILED,
    "tampered": Event.VERIFY_FAILED,
}


def kind_of(error: TidegateError) -> OutcomeKind:
    """How a bundle ends that `error` ended."""
    if isinstance(error, MediaError) and not isinstance(error, CarrierFormatError):
        return OutcomeKind.INCOMPLETE  # but what is signed and malformed is so in every copy
    return OutcomeKind.FAILED if isinstance(error, StateError) else OutcomeKind.REFUSED


def event_of(error: TidegateError) -> tuple[Event, Outcome]:
    """The one entry that `error` is recorded as."""
    kind = kind_of(error)
    if kind is OutcomeKind.REFUSED:
        return _EVENTS.get(reason_of(error), Event.REFUSE), Outcome.REFUSED
    return Event.RECEIVE, Outcome.PARTIAL if kind is OutcomeKind.INCOMPLETE else Outcome.FAILED
