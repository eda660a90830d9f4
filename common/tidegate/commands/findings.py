"""What ``tidegate doctor`` finds, and how much it matters."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"  # works, less well
    LACKS = "lacks"  # something will not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, and the command or step that mends it."""

    subject: str
    state: State
    text: str
    mend: str = ""
