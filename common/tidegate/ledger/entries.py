"""One ledger entry: one event, as canonical JSON of at most 65,535 bytes.

`entry` is how a step writes one: it fills in time, host, software and actor, and makes texts from outside harmless.
Whether the clock counts and which attempt it is are filled in when the entry is queued (state/db.py).
Fields: docs/format/ledger.md, "Entry".
"""

import os
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from functools import cache
from typing import Any

import tidegate
from tidegate import canonical, clock
from tidegate.errors import FormatError, LedgerError

ENTRY_MAX_BYTES = 65535  # what the length in an entry bundle can say
ENTRY_VERSION = 1
TEXT_MAX = 256  # characters of a text that may come from outside
DETAIL_MAX = 1000
LIST_MAX = 128  # names and targets that one entry lists, fewer where they are long


class Event(StrEnum):
    """What can happen. A reader keeps words that it does not know."""

    INIT = "init"
    MEDIA_REGISTERED = "media-registered"
    MEDIA_INSERTED = "media-inserted"
    MEDIA_REJECTED = "media-rejected"
    MEDIA_REMOVED = "media-removed"
    MEDIA_LOST = "media-lost"
    MEDIA_FOUND = "media-found"
    MEDIA_RETURNED = "media-returned"
    MEDIA_ALARM = "media-alarm"
    COLLECT = "collect"
    PACK = "pack"
    DISCARD = "discard"
    WITHDRAW = "withdraw"
    SIGN = "sign"
    WRITE = "write"
    READ_BACK = "read-back"
    SEND = "send"
    RECEIVE = "receive"
    MEND = "mend"
    DUPLICATE = "duplicate"
    LATE = "late"
    STALE = "stale"
    GAP = "gap"
    FORK = "fork"
    AHEAD = "ahead"
    EXPIRED = "expired"
    REFUSE = "refuse"
    VERIFY_FAILED = "verify-failed"
    QUARANTINE = "quarantine"
    SCAN = "scan"
    APPROVE = "approve"
    DENY = "deny"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    PROVENANCE = "provenance"
    LOAD = "load"
    LOAD_FAILED = "load-failed"
    HOOK = "hook"
    SERVE = "serve"
    DELETE = "delete"
    KEY_CHANGE = "key-change"
    ROOT_CHANGE = "root-change"
    TRUST_CHANGE = "trust-change"
    POLICY_CHANGE = "policy-change"
    CLOCK_ALARM = "clock-alarm"
    CLOCK_CHANGE = "clock-change"
    LEDGER_ALARM = "ledger-alarm"
    EXPORT = "export"
    RESTORE = "restore"
    SLIP_PRINTED = "slip-printed"
    SLIP_WITHDRAWN = "slip-withdrawn"
    WITNESSED = "witnessed"
    REVIEW_SIGNED = "review-signed"
    HEARTBEAT_LOST = "heartbeat-lost"
    HEARTBEAT_REGAINED = "heartbeat-regained"
    CANARY_LOST = "canary-lost"
    CANARY_REGAINED = "canary-regained"


class Outcome(StrEnum):
    """How it went. An effect outside the root has an entry BEGUN before it and one of the others after it."""

    BEGUN = "begun"
    DONE = "done"
    NOTHING = "nothing"
    PARTIAL = "partial"
    REFUSED = "refused"
    FAILED = "failed"


class ClockStatus(StrEnum):
    """Whether the own clock counts on this host."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


class Person(StrEnum):
    """How far the person behind an account is known."""

    PROVEN = "proven"
    DECLARED = "declared"
    NOT_IDENTIFIED = "not-identified"


@dataclass(frozen=True, slots=True)
class Actor:
    """The account that ran the step, and how far that tells a person."""

    uid: int
    person: Person
    login: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PreviousBundle:
    """The bundle before, as the manifest links it."""

    bundle_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Somebody who signed or decided, with the key that did it."""

    holder: str
    key_id: str
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a loader put one artifact."""

    name: str
    place: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a check of an artifact's own signatures found."""

    name: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Scanner:
    """What a scanner found; its report is a blob."""

    engine: str
    verdict: str
    signature_date: str | None = None
    report_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Medium:
    """A medium as it describes itself; nothing of it is proven. `capacity` in bytes.

    `label` is the file system's own; `register_label`, `token` and `counter` are those of the media register.
    """

    vendor: str | None = None
    product: str | None = None
    serial: str | None = None
    label: str | None = None
    capacity: int | None = None
    path: str | None = None
    register_label: str | None = None
    token: str | None = None
    counter: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. `subject`, `step` and `attempt` make up its event id; attempt 0 and no clock: not queued yet."""

    event: Event
    outcome: Outcome
    subject: str
    step: str
    time: str
    host: str
    software: str
    actor: Actor
    attempt: int = 0
    clock: ClockStatus | None = None
    reason: str | None = None
    detail: str | None = None
    bundle: str | None = None
    bundle_name: str | None = None
    channel: str | None = None
    channel_name: str | None = None
    epoch: int | None = None
    sequence: int | None = None
    previous: PreviousBundle | None = None
    audience: tuple[str, ...] | None = None
    classification: str | None = None
    ticket: str | None = None
    justification: str | None = None
    requester: str | None = None
    sender: str | None = None
    courier: str | None = None
    operator: str | None = None
    approvers: tuple[KeyHolder, ...] | None = None
    signers: tuple[KeyHolder, ...] | None = None
    counts: dict[str, int] | None = None
    size: int | None = None
    stored: int | None = None
    kinds: tuple[str, ...] | None = None
    manifest_digest: str | None = None
    policy_digest: str | None = None
    names: tuple[str, ...] | None = None
    names_left_out: int | None = None
    targets: tuple[Target, ...] | None = None
    targets_left_out: int | None = None
    provenance: tuple[Provenance, ...] | None = None
    scanners: tuple[Scanner, ...] | None = None
    medium: Medium | None = None
    symbols_lost: int | None = None
    symbols_mended: int | None = None
    key_id: str | None = None

    @property
    def step_key(self) -> str:
        """Subject and step: what attempts are counted by."""
        return f"{self.subject}/{self.step}"

    @property
    def event_id(self) -> str:
        return f"{self.step_key}/{self.attempt}"

    def to_bytes(self) -> bytes:
        """The entry as the ledger holds it; lists that are too long for it are cut, and say by how many.

        Raises LedgerError where it is too long all the same, or is not stamped yet.
        """
        if self.clock is None or self.attempt < 1:
            raise LedgerError(f"entry {self.step_key}: has no clock status or attempt yet; it is queued to get them")
        facts = {name: value for name, value in asdict(self).items() if name not in {"subject", "step", "attempt"}}
        try:
            data = canonical.dumps({**facts, "version": ENTRY_VERSION, "event_id": self.event_id})
        except (TypeError, ValueError) as error:
            raise LedgerError(f"entry {self.event_id}: {error}") from None
        if len(data) <= ENTRY_MAX_BYTES:
            return data
        if self.names or self.targets:
            return self._with_half_the_lists().to_bytes()
        raise LedgerError(f"entry {self.event_id}: {len(data)} bytes, the limit is {ENTRY_MAX_BYTES}")

    def _with_half_the_lists(self) -> "Entry":
        names, targets = self.names or (), self.targets or ()
        kept_names, kept_targets = names[: len(names) // 2], targets[: len(targets) // 2]
        return replace(
            self,
            names=kept_names or None,
            names_left_out=(self.names_left_out or 0) + len(names) - len(kept_names) or None,
            targets=kept_targets or None,
            targets_left_out=(self.targets_left_out or 0) + len(targets) - len(kept_targets) or None,
        )


_FIELDS = {item.name for item in fields(Entry)}


def entry(
    event: Event,
    *,
    subject: str,
    step: str,
    outcome: Outcome = Outcome.DONE,
    names: tuple[str, ...] = (),
    targets: tuple[Target, ...] = (),
    **facts: Any,
) -> Entry:
    """An entry for what happens now, in this process; `facts` are further fields of `Entry`.

    Texts are cut to their limit and made printable, long lists are cut and say by how many.
    Raises TypeError for a field that `Entry` does not have.
    """
    made = Entry(
        event=event,
        outcome=outcome,
        subject=clean_text(subject),
        step=clean_text(step).replace("/", "-"),  # the event id is cut at its last two slashes
        time=clock.format_time(clock.now()),
        host=clean_text(os.uname().nodename),
        software=tidegate.__version__,
        actor=own_actor(),
        names=tuple(names[:LIST_MAX]) or None,
        names_left_out=max(0, len(names) - LIST_MAX) or None,
        targets=tuple(targets[:LIST_MAX]) or None,
        targets_left_out=max(0, len(targets) - LIST_MAX) or None,
        **facts,
    )
    return replace(made, **{name: _clean(name, getattr(made, name)) for name in _FREE_FIELDS})


def clean_text(text: str, limit: int = TEXT_MAX) -> str:
    """`text` with at most `limit` characters, all of them UTF-8; what is not becomes ``\\xNN``."""
    raw = os.fsencode(text) if _is_file_name(text) else text.encode("utf-8", "backslashreplace")
    plain = raw.decode("utf-8", "backslashreplace")
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def _is_file_name(text: str) -> bool:
    """Whether `text` has bytes of a file name in it that are no UTF-8 (PEP 383), and nothing else that is not."""
    return any("\udc80" <= letter <= "\udcff" for letter in text) and not any(
        "\ud800" <= letter < "\udc80" for letter in text
    )


def _clean(name: str, value: Any) -> Any:
    """`value` with every text in it clean; enums and numbers stay as they are."""
    if isinstance(value, str) and not isinstance(value, StrEnum):
        return clean_text(value, DETAIL_MAX if name == "detail" else TEXT_MAX)
    if isinstance(value, tuple | list):
        return tuple(_clean(name, item) for item in value)
    if isinstance(value, dict):
        return {clean_text(str(key)): item for key, item in value.items()}
    if isinstance(value, Target | Medium | Provenance | Scanner | KeyHolder | Actor):
        return replace(value, **{item.name: _clean(item.name, getattr(value, item.name)) for item in fields(value)})
    return value


#: fields whose text the caller gives; the others are made here
_FREE_FIELDS = tuple(
    sorted(_FIELDS - {"event", "outcome", "subject", "step", "time", "host", "software", "attempt", "clock"})
)


@cache
def own_actor() -> Actor:
    """The account of this process. A login is *declared*; root without ``sudo`` tells nobody."""
    import pwd

    uid = os.getuid()
    by_sudo = os.environ.get("SUDO_UID", "") if uid == 0 else ""
    if by_sudo.isdecimal() and len(by_sudo) <= 10 and by_sudo != "0":  # 10 digits: a uid is below 2^32
        uid = int(by_sudo)
    try:
        login = pwd.getpwuid(uid).pw_name
    except KeyError:
        login = None
    return Actor(uid=uid, person=Person.DECLARED if uid else Person.NOT_IDENTIFIED, login=login)


# --- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordedEntry:
    """An entry as it stands in the ledger. `fields` is None where its bytes are no entry that this version can read."""

    number: int
    data: bytes
    fields: dict[str, Any] | None

    def text(self, name: str) -> str:
        """A field as text, empty where it is absent or no text."""
        value = (self.fields or {}).get(name)
        return value if isinstance(value, str) else ""


def read_entry(number: int, data: bytes) -> RecordedEntry:
    """Read entry `number`. Unknown fields and events are kept; an unreadable one is an answer, not an error."""
    try:
        found = canonical.loads(data, dict[str, Any], what=f"entry {number}", max_bytes=ENTRY_MAX_BYTES)
    except FormatError:
        return RecordedEntry(number, data, None)
    return RecordedEntry(number, data, found if found.get("version") == ENTRY_VERSION else None)
