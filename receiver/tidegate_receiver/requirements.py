"""What a bundle builds on and does not bring: is it here, and if not, with which bundle did it come?

A blob may lie in the depot or in the quarantine of an earlier bundle. What is missing does not refuse the bundle, since
bundles overtake each other; it is said by number, and `load` waits for it (docs/decisions/0008-intake.md).
"""

from collections.abc import Mapping
from pathlib import Path

from tidegate.bundle.tables import Records
from tidegate.names import hex_of

#: of one bundle at most so many numbers are listed
LISTED_MAX = 256


def missing_sequences(required: Records, depot: Path, quarantined: Mapping[int, Path]) -> tuple[int, ...]:
    """The numbers of the bundles (0 for a baseline) that brought content which is not here now, rising.

    `required` is the verified table; `depot` and the values of `quarantined`, by sequence, are OCI layouts.
    """
    from tidegate.bundle.tables import digest_of

    missing: set[int] = set()
    for record in required:
        sequence = int(record["sequence"])
        if sequence in missing:
            continue
        name = hex_of(digest_of(record))
        places = (depot, quarantined[sequence]) if sequence in quarantined else (depot,)
        if not any(_has(place, name, int(record["size"])) for place in places):
            missing.add(sequence)
    return tuple(sorted(missing))[:LISTED_MAX]


def _has(layout: Path, name: str, size: int) -> bool:
    try:
        return (layout / "blobs" / "sha256" / name).stat().st_size == size
    except OSError:
        return False
