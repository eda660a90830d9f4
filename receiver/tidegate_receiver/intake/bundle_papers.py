"""The papers of a bundle that is coming in: covers and head from its copies, or from the spool where one brought them.

What vouches for what: a cover's signatures for the manifest, the manifest's digest for the bundle's name, the
announcement for the head's length (`verification`). Here is only where they are read from and kept.
"""

import contextlib
from collections.abc import Iterable, Iterator

from tidegate.bundle.header import COVER_MAX_BYTES
from tidegate.bundle.manifest import bundle_id
from tidegate.bundle.papers import ANNOUNCEMENT_FILE, CHAIN_FILE, COVER_FILE
from tidegate.carrier.announcement import COVER, HEAD
from tidegate.carrier.parts import read_part
from tidegate.errors import LimitError, RefusedError, VolumeMissingError
from tidegate.trust.root import Chain
from tidegate.units import MIB, format_bytes
from tidegate_receiver.intake.copies import Copy
from tidegate_receiver.intake.verification import VerifiedAnnouncement, VerifiedManifest, verify_manifest_bytes
from tidegate_receiver.reassembly.sources import SparingSource, join_copies
from tidegate_receiver.reassembly.spool import Spool

#: a head is mended in memory, before anything of it may be written: 128 MiB are the tables of about 5 TiB of content
HEAD_MEMORY_BYTES = 128 * MIB


def read_head(copies: tuple[Copy, ...], spool: Spool) -> memoryview:
    """The head in the spool, else that of all copies together, else that of one that is the announced bundle's.

    Nothing vouches for it yet. Raises LimitError and VolumeMissingError.
    """
    announcement = copies[0].verified.announcement
    length, end = announcement.parts[HEAD].length, announcement.manifest_length
    if length > HEAD_MEMORY_BYTES:
        raise LimitError(
            f"bundle {announcement.name}: manifest and tables of {format_bytes(length)},"
            f" this side takes {format_bytes(HEAD_MEMORY_BYTES)}"
        )
    stored = spool.open_head()
    if stored is not None and len(stored) == length and bundle_id(stored[:end]) == announcement.bundle_id:
        return stored
    head = read_part(join_copies([copy.source for copy in copies]), HEAD, HEAD_MEMORY_BYTES)
    for copy in copies[1:]:
        if bundle_id(head[:end]) == announcement.bundle_id:
            break
        with contextlib.suppress(VolumeMissingError):
            head = read_part(SparingSource(copy.source), HEAD, HEAD_MEMORY_BYTES)
    return memoryview(head)


def verify_covers(
    copies: tuple[Copy, ...], spool: Spool, manifest_bytes: bytes, others: Iterable[Chain]
) -> tuple[bytes, VerifiedManifest]:
    """The first cover whose signatures hold for the manifest; covers differ from copy to copy, and one may lie."""
    failure: RefusedError | None = None
    for cover in _covers(copies, spool):
        try:
            return cover, verify_manifest_bytes(cover, manifest_bytes, copies[0].verified, others)
        except RefusedError as error:
            failure = failure or error
    assert failure is not None, "there is a cover, or its absence was raised"
    raise failure


def _covers(copies: tuple[Copy, ...], spool: Spool) -> Iterator[bytes]:
    """The covers of the copies, then the one that an earlier copy brought."""
    lost: list[VolumeMissingError] = []
    for copy in copies:
        try:
            yield read_part(SparingSource(copy.source), COVER, COVER_MAX_BYTES)
        except VolumeMissingError as error:
            lost.append(error)
    stored = spool.read_file(COVER_FILE, COVER_MAX_BYTES)
    if stored is not None:
        yield stored
    elif len(lost) == len(copies):
        raise lost[0]


def store_papers(spool: Spool, verified: VerifiedAnnouncement, cover: bytes, head: memoryview) -> memoryview:
    """Keep what is verified, so that another copy need not bring it again; the head as it lies on the disk."""
    spool.create()
    spool.save_head(head)
    spool.save_file(COVER_FILE, cover)
    spool.save_file(ANNOUNCEMENT_FILE, verified.frame.data)
    spool.save_file(CHAIN_FILE, verified.chain.to_whole_bytes())
    stored = spool.open_head()
    return head if stored is None else stored
