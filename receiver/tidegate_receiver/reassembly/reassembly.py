"""Put a bundle together from what carriers give, chunk by verified chunk, in bounded memory.

    group of symbols ─► mend ─► whole chunks ─► digest, decompress, write (threads) ─► SHA-256 of blobs, in order

One group is in memory at a time. A group that cannot be mended wholly still gives every chunk whose bytes are whole.
What is verified is remembered (`spooled_content`), so a second stick, a second pass, or the same command after a
SIGKILL fills what is missing and skips what is there. Which symbols are damaged the source says; what the bytes must be
the signed tables say.
"""

import contextlib

from tidegate.bundle.placement import Placement
from tidegate.bundle.tables import Tables
from tidegate.carrier.announcement import CHUNKS
from tidegate.carrier.parts import SymbolSource, lost_blocks_error
from tidegate.errors import DigestError, TidegateError, VolumeMissingError
from tidegate.report import ProgressCallback
from tidegate_receiver.reassembly.arriving import ArrivingFilling, ArrivingSource
from tidegate_receiver.reassembly.blobs import BlobFiles, check_blob_digest
from tidegate_receiver.reassembly.filling import Filling, FillReport, KeepingSource
from tidegate_receiver.reassembly.pipeline import ChunkPipeline
from tidegate_receiver.reassembly.spool import Spool
from tidegate_receiver.reassembly.spooled_content import SAVE_SECONDS, SpooledContent


class Reassembly:
    """One bundle in the spool, on its way to being whole. Its tables are verified. Use as a context manager."""

    def __init__(self, spool: Spool, tables: Tables, *, save_seconds: float = SAVE_SECONDS) -> None:
        self.content = SpooledContent(spool, tables, save_seconds=save_seconds)
        self.tables = tables
        self.progress = self.content.progress
        self._placement = Placement.of(tables)
        self._files = BlobFiles(spool.blobs_folder, tables.blobs)
        self._refilled = False

    # --- filling ------------------------------------------------------------------------------

    def fill(self, source: SymbolSource, report_progress: ProgressCallback | None = None) -> FillReport:
        """Take every missing chunk that `source` can give.

        Raises DigestError or TamperedError where bytes that were reported whole are not what was signed, DiskFullError
        and MediumLostError where there is nothing to be done; all that was verified before is kept.
        """
        report = FillReport()
        before = self.progress.chunks_done
        pipeline = ChunkPipeline(self.tables, self._placement, self._files, self.progress)
        kind = ArrivingFilling if isinstance(source, ArrivingSource) else Filling
        try:
            kind(self.content, source, pipeline, report, report_progress).run()
        except BaseException:
            pipeline.close()
            with contextlib.suppress(TidegateError):  # what went wrong first is what is told
                self.content.save()
            raise
        pipeline.close()
        report.chunks_taken = self.progress.chunks_done - before
        self.content.save()
        if isinstance(source, KeepingSource):
            source.save_kept()  # after the sync of `content.save`
        return report

    def missing_error(self, source: SymbolSource, report: FillReport) -> VolumeMissingError:
        """The error that names what is damaged or was never read, after a `fill` that left something missing."""
        done, count = self.progress.chunks_done, len(self.progress.chunks)
        kept = f"{done} of {count} pieces of content are kept"
        if report.lost:
            error = lost_blocks_error(source.announcement, CHUNKS, report.lost)
            return VolumeMissingError(f"{error.message}; {kept}")
        geometry = source.announcement.geometry(CHUNKS)
        have = set(source.groups(CHUNKS))
        absent = [group for group in self.content.needed_groups(geometry) if group not in have]
        listed = ", ".join(map(str, absent[:8])) + (", …" if len(absent) > 8 else "")
        what = f"groups {listed} are not here" if absent else "not all of them came"
        return VolumeMissingError(f"bundle {source.announcement.name}: chunks: {what}; {kept}")

    # --- finishing ----------------------------------------------------------------------------

    def verify_blobs(self) -> int:
        """Compare the blobs that could not be hashed on the way; the number whose content is gone bad in the spool.

        Their chunks count as missing again: fill once more. Raises DigestError where that was tried.
        """
        damaged = 0
        for number in (~self.progress.blobs).nonzero()[0].tolist():
            try:
                check_blob_digest(self._files.digest(number), self._files.read_digest(number))
            except DigestError:
                if self._refilled:
                    raise
                self._forget_blob(number)
                damaged += 1
                continue
            self._files.finish(number)
            self.progress.blobs[number] = True
        self._refilled = self._refilled or bool(damaged)
        return damaged

    def _forget_blob(self, number: int) -> None:
        # Every chunk was verified against the signed tables, so either this disk lost bytes or the tables are wrong.
        record = self.tables.blobs[number]
        first = int(record["first_segment"])
        where = self.tables.segments["where"][first : first + int(record["segment_count"])]
        self.progress.chunks[where] = False
        for chunk in set(where.tolist()):
            for piece in self._placement.pieces(chunk):
                self.progress.blobs[piece.blob] = False
        self._files.remove(number)

    def close(self) -> None:
        self._files.close()

    def __enter__(self) -> "Reassembly":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
