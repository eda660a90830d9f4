"""What one side can know of its links: values that the two sides' halves make and `tidegate link status` shows."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class LinkReport:
    """One link. `lines` are for a person, `facts` for ``--json``, `metrics` in Prometheus' text format."""

    address: str
    lines: tuple[str, ...]
    facts: dict[str, object] = field(default_factory=dict)
    metrics: str = ""
    is_well: bool = True


#: a side's half: everything that it knows, by link
StatusMaker = Callable[[Workspace], tuple[LinkReport, ...]]
