"""What of one bundle's content is verified and in the spool, and what is not: the ground that every filling stands on.

The signed tables say which chunks there are and where their bytes lie, `Progress` which of them are there. It is saved
from time to time, after the content was synced, so a process that is killed does little again.
"""

import time

from tidegate.bundle.tables import Tables, chunks_between
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.locate import LocationBudget
from tidegate_receiver.reassembly.spool import Spool

SAVE_SECONDS = 15.0  # at most so much work is done again after a crash


class SpooledContent:
    """The chunks of one bundle in the spool. Its tables are verified; `budget` is for all that looks for lies in it."""

    def __init__(self, spool: Spool, tables: Tables, *, save_seconds: float = SAVE_SECONDS) -> None:
        self.tables = tables
        self.progress = spool.load_progress(len(tables.chunks), len(tables.blobs))
        self.budget = LocationBudget()
        self._spool = spool
        self._save_seconds = save_seconds
        self._saved_at = time.monotonic()

    # --- what is there ------------------------------------------------------------------------

    @property
    def is_filled(self) -> bool:
        """Whether every chunk is verified; the blobs may still have to be."""
        return bool(self.progress.chunks.all())

    def missing_chunks(self) -> int:
        return len(self.progress.chunks) - self.progress.chunks_done

    def chunks_of(self, offset: int, length: int) -> range:
        """The chunks that have bytes in [offset, offset + length) of part 2."""
        return chunks_between(self.tables.chunks, offset, offset + length)

    def needs(self, geometry: PartGeometry, group: int) -> bool:
        """Whether a chunk that is not there has bytes in `group`."""
        chunks = self.chunks_of(*geometry.group_extent(group))
        return not bool(self.progress.chunks[chunks.start : chunks.stop].all())

    def needed_groups(self, geometry: PartGeometry) -> tuple[int, ...]:
        """The groups in which a chunk that is not there has bytes."""
        return tuple(group for group in range(geometry.group_count) if self.needs(geometry, group))

    # --- what is remembered -------------------------------------------------------------------

    def save(self) -> None:
        """Make what is verified durable: first the content, then the word that it is there."""
        self._spool.save_progress(self.progress)
        self._saved_at = time.monotonic()

    def save_if_due(self) -> bool:
        """Save when it is time; whether it was."""
        is_due = time.monotonic() - self._saved_at >= self._save_seconds
        if is_due:
            self.save()
        return is_due
