"""What an examination found. Values only."""

from dataclasses import dataclass
from enum import StrEnum

from tidegate.bundle.manifest import Manifest
from tidegate.trust.root import VerifiedSigner


class Trust(StrEnum):
    """What the signatures were judged by."""

    PINNED = "pinned"  # a channel that this host trusts
    CARRIED = "carried"  # the root that came with the bundle: it says who signed, not whether to believe them


class Wholeness(StrEnum):
    """Whether every byte is there."""

    WHOLE = "whole"
    REPAIRABLE = "repairable"  # damaged, and all of it can be repaired
    DAMAGED = "damaged"  # something cannot be repaired from this source alone
    UNREAD = "unread"  # only cover and head were read; `verify` reads all


@dataclass(frozen=True, slots=True)
class Damage:
    """Damaged places of a medium: records that were wrong or unreadable, and what cannot be repaired."""

    records: int = 0
    lost_chunks: int = 0
    #: of a bundle that was received: blobs that are gone, or are not what their digest says
    lost_blobs: int = 0
    missing_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    """One bundle as one source has it. `fingerprint` is of the channel that signed, in words; `envelope` is the
    manifest with its signatures as a standard DSSE envelope."""

    source: str
    carrier: str
    bundle_id: str
    manifest: Manifest
    signers: tuple[VerifiedSigner, ...]
    trust: Trust
    fingerprint: str
    wholeness: Wholeness
    damage: Damage
    bytes_read: int
    envelope: bytes
    #: of a set: which volume this is, and of how many where that is known; "whole" is then said of this volume alone
    volume: int | None = None
    volumes: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A volume or file that could not be examined, and the error that says why."""

    source: str
    error: str
    hint: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class MediumExamination:
    """All that one look at a medium gave. `strangers` are files that are not ours, fit to be printed."""

    bundles: tuple[Examination, ...]
    refusals: tuple[Refusal, ...]
    strangers: tuple[str, ...]
    damaged_files: tuple[str, ...]
