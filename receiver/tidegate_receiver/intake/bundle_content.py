"""Fill the spool with a bundle's content from its copies, and say what is missing where they do not suffice.

Symbols of one code fill each other (`sources`), chunks are verified one by one (`reassembly`); here is which copies are
asked in which order, what becomes of one that lies, and what is kept for another stick.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tidegate.bundle.manifest import Manifest
from tidegate.bundle.tables import Tables
from tidegate.carrier.announcement import CHUNKS, Announcement
from tidegate.errors import DigestError, DiskFullError, TamperedError, TidegateError, VolumeMissingError
from tidegate.pieces import TOLD_MAX, ChunkRange, joined, pieces_text
from tidegate.report import ProgressCallback
from tidegate.units import format_bytes
from tidegate_receiver.intake.copies import Copy
from tidegate_receiver.intake.room import has_room
from tidegate_receiver.intake.volume_sets import SetMissing, missing_of
from tidegate_receiver.reassembly.blobs import BlobDigestError
from tidegate_receiver.reassembly.filling import FillReport
from tidegate_receiver.reassembly.progress import Progress
from tidegate_receiver.reassembly.reassembly import Reassembly
from tidegate_receiver.reassembly.sources import CodeSource, SparingSource, sources_by_code
from tidegate_receiver.reassembly.spool import Spool
from tidegate_receiver.reassembly.spooled_content import SAVE_SECONDS
from tidegate_receiver.reassembly.symbol_store import SymbolStore, kept_bytes


def missing_pieces(progress: Progress) -> str:
    """The pieces that are not here, as the office is told them: few ranges, which may hold some that are here."""
    missing = np.flatnonzero(~progress.chunks)
    cuts = np.flatnonzero(np.diff(missing) > 1)
    firsts = missing[np.concatenate(([0], cuts + 1))] if len(missing) else missing
    lasts = missing[np.concatenate((cuts, [len(missing) - 1]))] if len(missing) else missing
    ranges = [ChunkRange(first, last + 1) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]
    return pieces_text(joined(ranges, TOLD_MAX))


class ContentFilling:
    """The content of one bundle on its way into `spool`; `run` is called once.

    `detail` is what the bundle's row keeps: ``sets`` is read, ``chunks``, ``chunks_done``, ``missing_sticks`` are set.
    """

    def __init__(
        self,
        copies: tuple[Copy, ...],
        spool: Spool,
        detail: dict[str, Any],
        *,
        quota_bytes: int = 0,
        save_seconds: float = SAVE_SECONDS,
        progress: ProgressCallback | None = None,
    ) -> None:
        self.copies = copies
        self.announcement = copies[0].verified.announcement
        self.spool = spool
        self.detail = detail
        self.quota_bytes = quota_bytes
        self.save_seconds = save_seconds
        self.progress = progress
        self.filled = FillReport()
        self.missing: SetMissing | None = None

    def run(self, tables: Tables, manifest: Manifest) -> None:
        """Take every chunk that the copies can give. Raises VolumeMissingError or DiskFullError where that is not all
        of them, DigestError and TamperedError where copies lie; what was verified is kept."""
        made = Reassembly(self.spool, tables, save_seconds=self.save_seconds)
        copied = tuple(copy.source for copy in self.copies)
        sources = sources_by_code(copied, lambda announcement: self._make_store(announcement, manifest))
        with made as reassembly, self._counted(reassembly, sources):
            self._fill_from_all(reassembly, sources)
            while not reassembly.content.is_filled or reassembly.verify_blobs():
                if not reassembly.content.is_filled:
                    raise self._missing_error(reassembly, sources)
                self._fill_from_all(reassembly, sources)
            reassembly.content.save()

    def _make_store(self, announcement: Announcement, manifest: Manifest) -> SymbolStore:
        def may_keep(needed_bytes: int) -> bool:
            spool = self.spool
            rest = max(0, manifest.content_size - spool.used_bytes()) + needed_bytes
            quota = self.quota_bytes
            return has_room(spool.folder, rest) and (
                not quota or manifest.content_size + kept_bytes(spool.folder) + needed_bytes <= quota
            )

        return SymbolStore(self.spool.folder, announcement.parts[CHUNKS], may_keep)

    def _missing_error(self, reassembly: Reassembly, sources: tuple[CodeSource, ...]) -> TidegateError:
        """What is missing: by the numbers of sticks where they are a set, else by damaged places."""
        refused = sum(source.store.refused_bytes for source in sources if source.store is not None)
        if refused and any(source.is_striped for source in sources):
            return DiskFullError(
                f"bundle {self.announcement.name}: no room to keep {format_bytes(refused)} of this stick",
                hint="make room; or plug in all sticks of the set but the spare ones, and name them in one command",
            )
        geometry = self.announcement.geometry(CHUNKS)
        needed = reassembly.content.needed_groups(geometry)
        self.missing = missing_of(self.detail.get("sets", {}), self.announcement, needed)
        if self.missing is None:
            return reassembly.missing_error(sources[0], self.filled)
        self.detail["missing_sticks"] = self.missing.text
        done, count = reassembly.progress.chunks_done, len(reassembly.progress.chunks)
        return VolumeMissingError(
            f"bundle {self.announcement.name}: {self.missing.text}; {done} of {count} pieces of content are kept",
            hint=self.missing.hint,
        )

    @contextlib.contextmanager
    def _counted(self, reassembly: Reassembly, sources: tuple[CodeSource, ...]) -> Iterator[None]:
        """Note in the bundle's row how much is there, and how much was damaged, however it ends."""
        try:
            yield
        finally:
            progress = reassembly.progress
            self.detail |= {"chunks_done": progress.chunks_done, "chunks": len(progress.chunks)}
            self.detail["missing_pieces"] = missing_pieces(progress)
            if any(source.is_striped for source in sources):
                # What a share does not hold is no damage; what its medium did not give is.
                self.filled.symbols_missing = sum(copy.source.symbols_damaged for copy in self.copies)

    def _fill_from_all(self, reassembly: Reassembly, sources: tuple[CodeSource, ...]) -> None:
        """All copies together; where one of them lies, each alone, so that an honest one beside it still counts."""
        try:
            for source in sources:
                self.filled.add(reassembly.fill(source, self.progress))
        except BlobDigestError:
            raise
        except (DigestError, TamperedError):
            for source in sources:
                if source.store is not None:
                    source.store.forget()  # a lie may have been kept from an earlier medium
            for copy in self.copies[1:] and self.copies:
                self._fill_from_one(reassembly, copy)
            if not reassembly.content.is_filled:
                raise

    def _fill_from_one(self, reassembly: Reassembly, copy: Copy) -> None:
        try:
            self.filled.add(reassembly.fill(SparingSource(copy.source), self.progress))
        except BlobDigestError:
            raise
        except (DigestError, TamperedError):
            return
