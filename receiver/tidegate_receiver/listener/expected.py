"""Which announcements to look at first when there are more than there is time for.

A signature costs 50 microseconds, a forged announcement costs its sender nothing. But a session that is under way has
*data* under its tag, far more than an attacker can send under each of thousands of tags. So tags of data that no
session has yet are remembered, those with the most of it, and their announcements have a budget of their own.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

TAGS_MAX = 64
#: new tags of one batch that are remembered; the rest of a flood is not looked at
NEW_MAX = 8
HALVED_EVERY_SECONDS = 1.0


class ExpectedTags:
    """Tags of data without a session, by how much came lately; of bounded size."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._halved = time.monotonic()

    def note(self, tags: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """Distinct tags in one batch, and how many datagrams of each."""
        self._halve()
        is_known = np.isin(tags, self.tags())
        for tag, count in zip(tags[is_known].tolist(), counts[is_known].tolist(), strict=True):
            self._counts[tag] += count
        tags, counts = tags[~is_known], counts[~is_known]
        for place in np.argsort(counts)[-NEW_MAX:].tolist():
            self._add(int(tags[place]), int(counts[place]))

    def _add(self, tag: int, count: int) -> None:
        if len(self._counts) >= TAGS_MAX:
            least = min(self._counts, key=self._counts.__getitem__)
            if self._counts[least] > count:
                return
            del self._counts[least]
        self._counts[tag] = count

    def _halve(self) -> None:
        now = time.monotonic()
        if now - self._halved >= HALVED_EVERY_SECONDS:
            self._halved = now
            self._counts = {tag: count // 2 for tag, count in self._counts.items() if count > 1}

    def tags(self) -> NDArray[np.uint64]:
        return np.array(list(self._counts), np.uint64)

    def __contains__(self, tag: object) -> bool:
        return tag in self._counts

    def forget(self, tag: int) -> None:
        """It has a session now, or never will."""
        self._counts.pop(tag, None)
