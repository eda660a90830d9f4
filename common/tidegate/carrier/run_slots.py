"""The records of a run as slots of a group's memory: where they are read to, and which of them are there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.positional import aligned_memory
from tidegate.carrier.volume import Run
from tidegate.erasure.buffer import GroupBuffer


def target_views(run: Run, buffer: GroupBuffer) -> list[memoryview]:
    """Where the records of `run` are read to: their slots, or past what is present already and must stay."""
    slots = run.slots(buffer)
    present = present_records(run, buffer)
    if not present.any():
        return list(slots)
    scratch = aligned_memory(run.symbol_size)
    return [scratch if there else slot for slot, there in zip(slots, present.tolist(), strict=True)]


def _places(run: Run, buffer: GroupBuffer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = run.order(buffer.geometry)
    return order[:, 0], order[:, 1]


def present_records(run: Run, buffer: GroupBuffer) -> NDArray[np.bool_]:
    """Which records of `run` are present; a copy."""
    present: NDArray[np.bool_] = buffer.present[_places(run, buffer)]
    return present


def mark_present(run: Run, buffer: GroupBuffer, good: NDArray[np.bool_]) -> None:
    """Mark those records of `run` that are `good`; others stay as they are."""
    positions, symbols = _places(run, buffer)
    buffer.present[positions[good], symbols[good]] = True


def is_source(run: Run, buffer: GroupBuffer) -> NDArray[np.bool_]:
    """Which records of `run` are source symbols."""
    positions, symbols = _places(run, buffer)
    below: NDArray[np.bool_] = symbols < np.asarray(buffer.source_counts)[positions]
    return below


def has_sources(run: Run, buffer: GroupBuffer) -> bool:
    """Whether every source symbol of `run` is present."""
    return bool(present_records(run, buffer)[is_source(run, buffer)].all())


def take_unlisted(run: Run, filled: Sequence[bool], buffer: GroupBuffer) -> int:
    """Mark the `filled` records of `run` that were not present, whatever they are; how many."""
    taken = np.array(filled, np.bool_) & ~present_records(run, buffer)
    mark_present(run, buffer, taken)
    return int(taken.sum())
