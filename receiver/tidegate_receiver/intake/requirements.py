"""What a bundle builds on and does not bring: is it here, and if not, with which bundle did it come?

A blob may lie in the depot or in the quarantine of an earlier bundle. What is missing does not refuse the bundle, since
bundles overtake each other; it is said by number, and `load` waits for it (docs/decisions/0008-intake.md).
"""

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.digests import Column, column_of_files, places_of, sorting_order
from tidegate.bundle.tables import Records

#: of one bundle at most so many numbers are listed
LISTED_MAX = 256
#: up to so many blobs are looked for one by one: reading the names of a large depot takes longer
ONE_BY_ONE_MAX = 4096
_BATCH = 1 << 16  # names read together: their digests are what stays in memory, 32 bytes each


def missing_sequences(required: Records, depot: Path, quarantined: Mapping[int, Path]) -> tuple[int, ...]:
    """The numbers of the bundles (0 for a baseline) that brought content which is not here now, rising.

    `required` is the verified table; `depot` and the values of `quarantined`, by sequence, are OCI layouts.
    """
    lacking = lacking_records(required, depot)
    missing = []
    for sequence in np.unique(lacking["sequence"]).tolist():
        place = quarantined.get(sequence)
        if place is None or len(lacking_records(lacking[lacking["sequence"] == sequence], place)):
            missing.append(sequence)
        if len(missing) == LISTED_MAX:
            break
    return tuple(missing)


def lacking_records(required: Records, layout: Path) -> Records:
    """Those of `required` whose blobs are not in an OCI layout.

    Few are looked for one by one, with their sizes; many by the list of what is there: a blob entered under its digest
    after its bytes were compared, so that its name is enough to say whether it is waited for.
    """
    folder = layout / "blobs" / "sha256"
    is_here = _are_there if len(required) <= ONE_BY_ONE_MAX else _are_listed
    return required[~is_here(required, folder)]


def _are_there(required: Records, folder: Path) -> NDArray[np.bool_]:
    pairs = zip(required["sha256"], required["size"].tolist(), strict=True)
    return np.fromiter((_size(folder / key.tobytes().hex()) == size for key, size in pairs), np.bool_, len(required))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _are_listed(required: Records, folder: Path) -> NDArray[np.bool_]:
    here = _listed(folder)
    found = places_of(here[sorting_order(here)], required)
    is_here = np.zeros(len(required), np.bool_)
    is_here[found[found >= 0]] = True
    return is_here


def _listed(folder: Path) -> Column:
    """The digests that name files in `folder`, in no order."""
    found = [column_of_files(())]
    try:
        with os.scandir(os.fsencode(folder)) as entries:
            while batch := [entry.name for entry in islice(entries, _BATCH)]:
                found.append(column_of_files(batch))
    except OSError:
        pass  # what cannot be read cannot be counted on: it is waited for
    return np.concatenate(found)
