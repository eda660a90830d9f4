"""What must be true of a channel, in plain Python: numbers, voids, names, bases, slips. Knows nothing of the product.

The rules are those of the documents (trust-and-ledger; docs/format/bundle.md, slip.md), written once more from them.
`HighModel` and `LowModel` are copied as a whole where a test puts a backup of a root back.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from channel_world import DAY, FIRST_DAY, Packed

WINDOW = 1024
STEP = 7 * DAY


class Fate(StrEnum):
    """Where a bundle stands on the high side."""

    INCOMPLETE = "incomplete"
    WAITING = "waiting"
    HELD = "held"
    LOADED = "loaded"
    REFUSED = "refused"
    DENIED = "denied"
    CLEANED = "cleaned"


WHOLE = {Fate.WAITING, Fate.HELD, Fate.LOADED, Fate.DENIED, Fate.CLEANED}
#: whose word about void numbers counts
_SPEAKS = {Fate.HELD, Fate.LOADED, Fate.DENIED, Fate.CLEANED}


@dataclass(frozen=True)
class Copy:
    """One volume on a stick. `share` is (set, number) of a striped set of which two are enough."""

    packed: Packed
    carrier: int
    root_version: int
    is_readable: bool = True
    share: tuple[str, int] | None = None
    is_damaged: bool = False

    @property
    def can_be_damaged(self) -> bool:
        """Whether it has content, and what is damaged now is all that is."""
        return bool(self.packed.brought) and self.share is None and not self.is_damaged


@dataclass
class HighRow:
    """One bundle on the high side. `shares` were read and are kept; `has_pieces`: some of its content may be kept."""

    packed: Packed
    fate: Fate
    shares: set[tuple[str, int]] = field(default_factory=set)
    has_pieces: bool = False
    was_let_go: bool = False
    was_told: bool = False
    is_disputed: bool = False
    voids: bool = True


@dataclass
class HighModel:
    """What the high side may know and show."""

    rows: dict[str, HighRow] = field(default_factory=dict)
    #: those of earlier epochs, which count for nothing any more
    old: dict[str, HighRow] = field(default_factory=dict)
    epoch: int = 1
    highest: int = 0
    floor: int = FIRST_DAY
    root_version: int = 1
    names: dict[str, tuple[int, str]] = field(default_factory=dict)
    depot: set[str] = field(default_factory=set)
    graphs: dict[str, frozenset[str]] = field(default_factory=dict)

    # --- what is known ---------------------------------------------------------------------------

    @property
    def void(self) -> dict[int, tuple[str, str | None]]:
        told: dict[int, tuple[str, str | None]] = {}
        for row in sorted(self.rows.values(), key=lambda row: row.packed.number):
            if row.fate in _SPEAKS and row.voids:
                told.update(row.packed.void)
        return told

    def is_withdrawn(self, row: HighRow) -> bool:
        bundle_id, reason = self.void.get(row.packed.number, ("", None))
        return bundle_id == row.packed.bundle_id and reason is not None

    def of(self, *fates: Fate) -> list[HighRow]:
        found = [row for row in self.rows.values() if row.fate in fates]
        return sorted(found, key=lambda row: row.packed.number)

    def know_root(self, version: int, epoch: int) -> None:
        """A root came with a stick. In a new epoch everything is counted anew."""
        self.root_version = max(self.root_version, version)
        if epoch > self.epoch:
            self.old |= self.rows
            self.rows, self.highest, self.epoch = {}, 0, epoch
            self.names = {name: (0, digest) for name, (_, digest) in self.names.items()}

    # --- receiving -------------------------------------------------------------------------------

    def judge(self, packed: Packed, own_clock: int) -> str:
        """The one outcome of a copy that can be read; the words are those of the ledger."""
        row = self.rows.get(packed.bundle_id)
        if row is not None and row.fate in WHOLE:
            is_wanted = row.fate is Fate.CLEANED and packed.number in self.missing()
            if not is_wanted:
                return "duplicate"
        if not packed.is_signed:
            return "verify-failed"
        number = packed.number
        others = [
            other
            for other in self.rows.values()
            if other.packed.number == number
            and other.packed.bundle_id != packed.bundle_id
            and other.fate is not Fate.REFUSED
        ]
        if others:
            return "fork"
        if number in self.void:
            return "stale" if self.void[number][0] == packed.bundle_id else "fork"
        if number <= self.highest - WINDOW:
            return "stale"
        if packed.expires is not None and packed.expires <= self.floor:
            return "expired"
        if self.highest and number > self.highest + WINDOW:
            return "waiting"
        if packed.created > max(self.floor, own_clock) + STEP:
            return "waiting"
        return "received"

    def take(self, packed: Packed, outcome: str) -> None:
        """What follows from an outcome."""
        if outcome in {"received", "waiting"}:
            fate = Fate.HELD if outcome == "received" else Fate.WAITING
            before = self.rows.pop(packed.bundle_id, None)
            self.rows[packed.bundle_id] = HighRow(packed, fate, is_disputed=bool(before and before.is_disputed))
            if fate is Fate.HELD:
                self.count(packed)
        elif outcome == "fork" or outcome in {"stale", "expired"}:
            self.rows[packed.bundle_id] = HighRow(packed, Fate.REFUSED)
        elif outcome == "incomplete":
            row = self.rows.setdefault(packed.bundle_id, HighRow(packed, Fate.INCOMPLETE))
            row.fate = Fate.INCOMPLETE
            row.has_pieces = True

    def count(self, packed: Packed) -> None:
        self.highest = max(self.highest, packed.number)
        self.floor = min(max(self.floor, packed.created), self.floor + STEP)

    # --- loading ---------------------------------------------------------------------------------

    def may_load(self, row: HighRow) -> str:
        """The error class that a load ends with; empty where it may be loaded."""
        if row.fate not in {Fate.HELD, Fate.LOADED}:
            return "LoadError"
        if row.is_disputed:
            return "NotReleasedError"
        expires = row.packed.expires
        if row.fate is Fate.HELD and expires is not None and expires <= self.floor:
            return "ExpiredError"
        if self.is_withdrawn(row):
            return "NotReleasedError"
        if set(row.packed.required) - self.depot:
            return "RequiredMissingError"
        return ""

    def load(self, row: HighRow) -> None:
        row.fate = Fate.LOADED
        self.depot |= row.packed.brought
        for name, digest in row.packed.names.items():
            if self.names.get(name, (0, ""))[0] <= row.packed.number:
                self.names[name] = (row.packed.number, digest)

    # --- slips -----------------------------------------------------------------------------------

    def here(self) -> dict[int, str]:
        """Numbers whose content is here, those that lack what they build on too."""
        return {
            row.packed.number: row.packed.bundle_id
            for row in self.rows.values()
            if (row.fate is Fate.HELD or (row.fate is Fate.LOADED and not row.was_let_go))
            and not self.is_withdrawn(row)
        }

    def needed(self) -> set[int]:
        """Numbers of which a bundle that waits for loading lacks content."""
        quarantined = [row for row in self.of(Fate.HELD) if not self.is_withdrawn(row)]
        brought = {row.packed.number: row.packed.brought for row in quarantined}
        return {
            number
            for row in quarantined
            for digest, number in row.packed.required.items()
            if digest not in self.depot and digest not in brought.get(number, frozenset())
        } - {0}

    def held(self) -> dict[int, str]:
        needed = self.needed()
        return {number: bundle_id for number, bundle_id in self.here().items() if number not in needed}

    def missing(self) -> set[int]:
        """Numbers that should have come."""
        here = set(self.here())
        decided = {r.packed.number for r in self.rows.values() if r.fate is Fate.CLEANED or r.was_let_go} - here
        aside = {r.packed.number for r in self.of(Fate.WAITING, Fate.DENIED)} - here
        known = (here | decided) - aside
        if known and self.highest:
            known.add(self.highest)
        wanted = set(range(max(min(known), max(known) - WINDOW + 1), max(known) + 1)) if known else set()
        wanted -= decided | aside
        wanted |= self.needed() | {row.packed.number for row in self.of(Fate.INCOMPLETE)}
        return wanted - set(self.held()) - set(self.void)

    # --- keeping ---------------------------------------------------------------------------------

    def sweep(self) -> None:
        """What the depot still has after a cleanup: what names reach, waiting bundles need, loaded ones brought."""
        kept: set[str] = set()
        for _, digest in self.names.values():
            kept |= self.graphs[digest]
        for row in (*self.rows.values(), *self.old.values()):
            if row.fate in {Fate.HELD, Fate.WAITING}:
                kept |= {*row.packed.required, *row.packed.brought}
            elif row.fate is Fate.LOADED:
                kept |= row.packed.brought
        self.depot &= kept


@dataclass
class LowRow:
    """One bundle on the low side. `was_begun`: a medium may hold a copy."""

    packed: Packed
    was_begun: bool = False
    has_file: bool = True
    is_out: bool = False
    is_void: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class PrintedSlip:
    """What a slip says."""

    text: str
    epoch: int
    size: int
    held: dict[int, str]
    missing: frozenset[int]
    #: after the slip itself, that the ledger goes on
    proof: str = ""


@dataclass
class LowModel:
    """What the low side gave, and what it may count on."""

    rows: dict[str, LowRow] = field(default_factory=dict)
    next_number: int = 1
    confirmed: frozenset[int] = frozenset()
    last_slip: int = 0
    last_text: str = ""
    epoch: int = 1
    #: numbers that were given before a backup was put back, and of which nothing else is known
    lost: frozenset[int] = frozenset()

    def living(self) -> list[LowRow]:
        return sorted((row for row in self.rows.values() if not row.is_out), key=lambda row: row.packed.number)

    def void(self) -> dict[int, tuple[str, str | None]]:
        return {row.packed.number: (row.packed.bundle_id, row.reason) for row in self.rows.values() if row.is_void}

    def number(self) -> int:
        """The number that the next bundle gets."""
        living = self.living()
        if living and not living[-1].was_begun:
            return living[-1].packed.number
        return self.next_number

    def pack(self, packed: Packed) -> None:
        assert packed.number == self.number(), "a number was skipped, or given again"
        for row in self.living():
            if row.packed.number == packed.number:
                row.is_out = True
        self.rows[packed.bundle_id] = LowRow(packed)
        self.next_number = max(self.next_number, packed.number + 1)

    def check_base(self, packed: Packed) -> None:
        """Nothing is left out on a guess."""
        carried = {row.packed.number: row for row in self.rows.values() if row.was_begun}
        for digest, number in packed.required.items():
            assert number in self.confirmed, f"builds on {number}, which nobody confirmed"
            assert not carried[number].is_void, f"builds on {number}, which was taken back"
            assert digest in carried[number].packed.brought, f"{digest} did not come with {number}"
        wanted: set[str] = set().union(*packed.graphs.values())
        assert wanted == packed.brought | set(packed.required), "something is neither brought nor required"

    def read(self, slip: PrintedSlip) -> str:
        """The error class that reading ends with, ``nothing`` for the same slip again, else empty."""
        if slip.epoch < self.epoch or slip.size < self.last_slip:
            return "SlipOldError"
        if slip.size == self.last_slip and slip.text != self.last_text:
            return "SlipForkError"
        sent = {row.packed.number: row for row in self.rows.values() if row.was_begun}
        if not {*slip.held, *slip.missing} <= {*sent, *self.lost}:
            return "SlipClaimError"
        judged = not any(number in self.lost and number not in sent for number in slip.held)
        if judged and any(sent[number].packed.bundle_id != bundle_id for number, bundle_id in slip.held.items()):
            return "SlipForkError"
        return "nothing" if slip.size == self.last_slip else ""

    def confirm(self, slip: PrintedSlip) -> None:
        sent = {row.packed.number: row for row in self.rows.values() if row.was_begun}
        self.confirmed = frozenset(number for number in slip.held if number not in sent or not sent[number].is_void)
        self.last_slip, self.last_text = slip.size, slip.text

    def begin_epoch(self) -> None:
        """Numbers begin at 1."""
        self.rows, self.next_number, self.epoch = {}, 1, self.epoch + 1
        self.confirmed = self.lost = frozenset()

    def put_back(self, last: int) -> None:
        """The whole root is older than the world; a person knows that `last` was the last number."""
        self.lost = frozenset({*self.lost, *range(self.next_number, last + 1)})
        for row in self.rows.values():
            if not (row.was_begun or row.is_out) and row.packed.number <= last:
                row.is_out = True  # another bundle of that number may have left
                self.lost |= {row.packed.number}
        self.next_number = max(self.next_number, last + 1)


def one_each(events: Iterable[str], wanted: int) -> bool:
    """Whether exactly `wanted` of `events` end something."""
    return sum(event in TERMINAL for event in events) == wanted


#: entries that say how a copy of a bundle ended: each look at one has exactly one of these
TERMINAL = {
    "quarantine done": {"received", "waiting"},
    "duplicate nothing": {"duplicate"},
    "receive partial": {"incomplete"},
    "receive failed": {"failed"},
    "fork refused": {"fork"},
    "stale refused": {"stale"},
    "expired refused": {"expired"},
    "verify-failed refused": {"verify-failed"},
    "refuse refused": {"refused"},
}
