"""What a bundle builds on and does not bring: is it here, and if not, with which bundle did it come?

A blob may lie in the depot or in the quarantine of an earlier bundle. What is missing does not refuse the bundle, since
bundles overtake each other; it is said by number, and `load` waits for it (docs/decisions/0008-intake.md).
"""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from tidegate.bundle.tables import Records

#: of one bundle at most so many numbers are listed
LISTED_MAX = 256
#: up to so many blobs are looked for one by one: reading the names of a large depot takes longer
ONE_BY_ONE_MAX = 4096


def missing_sequences(required: Records, depot: Path, quarantined: Mapping[int, Path]) -> tuple[int, ...]:
    """The numbers of the bundles (0 for a baseline) that brought content which is not here now, rising.

    `required` is the verified table; `depot` and the values of `quarantined`, by sequence, are OCI layouts.
    """
    import numpy as np

    column = required["sequence"]
    order = np.argsort(column, kind="stable")
    cuts = np.flatnonzero(np.diff(column[order])) + 1
    here: dict[Path, _Layout] = {}
    missing = []
    for numbers in np.split(order, cuts) if len(required) else ():
        records = required if len(cuts) == 0 else required[numbers]
        sequence = int(records["sequence"][0])
        places = (depot, quarantined[sequence]) if sequence in quarantined else (depot,)
        if not all_here(records, [here.setdefault(place, _Layout(place, len(required))) for place in places]):
            missing.append(sequence)
    return tuple(missing[:LISTED_MAX])


def all_here(required: Records, layouts: "list[_Layout]") -> bool:
    """Whether each record's blob is in one of `layouts`."""
    digests = required["sha256"].tobytes().hex()
    names = [digests[at : at + 64] for at in range(0, len(digests), 64)]
    if any(layout.is_listed for layout in layouts):
        first, *others = (layout.names for layout in layouts)
        return first.issuperset(names) or not set(names).difference(first, *others)
    sizes = required["size"].tolist()
    return all(any(layout.has(name, size) for layout in layouts) for name, size in zip(names, sizes, strict=True))


class _Layout:
    """An OCI layout that blobs are looked for in: one by one, or, for very many, by the list of what is there.

    A blob entered under its digest after its bytes were compared, so that its name is enough to say whether to wait for
    another bundle; `load` looks at sizes, and reads, once more.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._blobs = folder / "blobs" / "sha256"
        self.is_listed = count > ONE_BY_ONE_MAX

    @cached_property
    def names(self) -> frozenset[str]:
        try:
            return frozenset(os.listdir(self._blobs))  # noqa: PTH208 - a million paths take ten times as long as names
        except OSError:
            return frozenset()

    def has(self, name: str, size: int) -> bool:
        try:
            return (self._blobs / name).stat().st_size == size
        except OSError:
            return False
