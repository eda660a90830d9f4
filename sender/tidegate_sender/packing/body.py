"""The body of a bundle: what follows from content and draft alone, with no key, no state and no clock.

A body is the chunks, the tables over them, and the manifest; the manifest's SHA-256 is the bundle_id. `packing` signs
one and records it; `reproduction` builds one again from the same sources and compares the bundle_id. What is equal when
equal things are packed: docs/format/bundle.md, "How a sender lays chunks out".
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tidegate.bundle.manifest import Manifest
from tidegate.bundle.tables import Records, Tables
from tidegate_sender.packing.chunks import BlobFolder, ChunkPipeline, ChunkSink
from tidegate_sender.packing.layout import SizedBlob, lay_out

#: called with (bytes of content done, bytes in all)
ProgressCallback = Callable[[int, int], None]


def build_body(
    draft: Manifest,
    brought: Sequence[SizedBlob],
    required: Records,
    blobs: BlobFolder,
    sink: ChunkSink,
    progress: ProgressCallback = lambda _done, _total: None,
    *,
    hollow: bool = False,
) -> tuple[Manifest, Tables]:
    """Bring `brought` as chunks into `sink`; `draft` with its counts and digests, and the tables.

    `hollow` leaves out what can be read from the depot later (`tidegate.hollow`); the body is the same.

    Raises LimitError, BlobMissingError, BlobDamagedError, and what the sink's disk raises.
    """
    layout = lay_out(brought)
    content_size = layout.content_size
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, content_size)

    with ChunkPipeline(layout, blobs, sink, count, hollow=hollow) as pipeline:
        chunks = pipeline.run()
    tables = Tables(layout.blobs, layout.segments, chunks, required)
    manifest = replace(draft, chunks_length=sink.chunks_length, content_size=content_size, tables=tables.entries())
    return manifest, tables


class NoSink:
    """Takes chunks and keeps their length alone: their digests stand in the tables."""

    def __init__(self) -> None:
        self.chunks_length = 0

    def append_chunk(self, stored: bytes | bytearray | memoryview) -> None:
        self.chunks_length += len(stored)

    def skip_chunk(self, length: int) -> None:
        self.chunks_length += length
