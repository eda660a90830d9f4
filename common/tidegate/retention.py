"""What may go and what stays, as `cleanup` says it: values and words that both sides share.

The two halves look and remove (`tidegate_sender.cleaning`, `tidegate_receiver.cleaning`); here is what they answer,
how long things are left (`Limits`), and the entry of each removal. What goes is recorded before it goes, in the same
transaction that says of the bundle what is not here any more; whoever is killed in between leaves files that nothing
names, and the next cleanup removes them. Reasons: docs/decisions/0014-keeping.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate import clock
from tidegate.errors import LedgerError, TidegateError
from tidegate.ledger.bundle_facts import bundle_facts
from tidegate.ledger.entries import Entry, Event, entry
from tidegate.text import printable

if TYPE_CHECKING:
    from tidegate.config import Settings
    from tidegate.depot.store import Depot
    from tidegate.state.bundles import BundleRow
    from tidegate.workspace import Workspace

DAY_SECONDS = 86400
STAT_BLOCK_BYTES = 512  # what st_blocks counts, stat(2)
#: from the first slip that does not name a bundle any more until its content goes; the slip has to be read meanwhile
GRACE_DAYS_MAX = 30


class Kind(StrEnum):
    """What sort of thing it is; the ledger has it as the reason of the removal."""

    BUNDLE_FILE = "bundle-file"
    LEFTOVER = "leftover"
    INCOMPLETE = "incomplete"
    UNVERIFIED = "unverified"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    LET_GO = "let-go"
    SUPERSEDED = "superseded"
    DEPOT = "depot"
    STAGE = "stage"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things are left, in days, and the time that ages are counted to."""

    keep_days: int
    now: int
    #: of what came over a stream and is not whole
    incomplete_days: int = 10

    @classmethod
    def of(cls, settings: "Settings", keep_days: int | None = None) -> "Limits":
        kept = settings.keep_incomplete_days
        if keep_days is None:
            return cls(settings.keep_days, clock.now(), kept)
        return cls(keep_days, clock.now(), min(kept, keep_days))

    @property
    def grace_days(self) -> int:
        return min(self.keep_days, GRACE_DAYS_MAX)

    def days_since(self, time: float) -> int:
        """Whole days; 0 for what lies ahead, so that a clock that was set back keeps everything."""
        return max(0, int(self.now - time) // DAY_SECONDS)

    def is_over(self, time: float, days: int | None = None) -> bool:
        """Whether `time` lies so many days back, by default `keep_days`. Whole seconds, as those of `now`."""
        return self.now - int(time) >= (self.keep_days if days is None else days) * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Goes:
    """One thing that goes, or went: why, and how large it is on the disk. `age_days` since it was last changed."""

    kind: Kind
    name: str
    why: str
    size_bytes: int
    age_days: int
    bundle_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stays:
    """One thing that stays, and why."""

    name: str
    why: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What a cleanup found; after one that removes, `goes` is what went and `stays` has what could not."""

    goes: tuple[Goes, ...]
    stays: tuple[Stays, ...]

    @property
    def size_bytes(self) -> int:
        return sum(item.size_bytes for item in self.goes)

    def __add__(self, other: "Cleanup") -> "Cleanup":
        return Cleanup(self.goes + other.goes, self.stays + other.stays)


NOTHING = Cleanup((), ())

#: one half of `cleanup`: looks, and with `remove` removes what may go
Cleaner = Callable[["Workspace", Limits, bool], Cleanup]


def removal_entry(goes: Goes, row: "BundleRow | None" = None, **facts: Any) -> Entry:
    """The entry of one removal."""
    about: dict[str, Any] = {}
    if row is not None:
        about = {**bundle_facts(row), "epoch": row.epoch}
    return entry(
        Event.DELETE,
        subject=goes.name,
        step=f"cleanup {goes.kind}",
        reason=goes.kind,
        detail=goes.why,
        size=goes.size_bytes,
        **(about | facts),
    )


def folder_bytes(folder: Path) -> int:
    """What all files below `folder` take on the disk; what goes away meanwhile takes nothing."""
    import os

    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(f"{place}/{name}")
            except FileNotFoundError:
                continue
            total += status.st_blocks * STAT_BLOCK_BYTES
    return total


def file_bytes(path: Path) -> int:
    """Bytes of a file, without its holes; 0 where it is gone."""
    try:
        status = path.lstat()
        return min(status.st_size, status.st_blocks * STAT_BLOCK_BYTES)
    except FileNotFoundError:
        return 0


def changed_at(path: Path) -> float:
    """When a file or folder was last changed; now where it is gone."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return float(clock.now())


def clean_depot(workspace: "Workspace", clean: Callable[["Depot"], Cleanup]) -> Cleanup:
    """What `clean` says of the root's depot, where it has one.

    Where a graph or a bundle's papers cannot be read, nobody knows what is still needed: all of it stays.
    """
    from tidegate.depot.store import Depot

    folder = workspace.root / "depot"
    if not (folder / "index.json").is_file():
        return NOTHING
    try:
        return clean(Depot(folder, create=False))
    except LedgerError:
        raise  # what cannot be recorded does not happen
    except TidegateError as error:
        return Cleanup((), (Stays("depot", printable(error.message, 300), 0),))
