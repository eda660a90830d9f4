"""Write a bundle to a medium, so that it may be removed when this returns.

    what lies there? ─► room? ─► write, sync files ─► sync folders ─► read every byte back ─► report

A whole copy that is there already is left as it is; a partial one makes place. Others' files are never touched. When
anything fails, what was written of this bundle is removed again. Format: docs/format/media.md.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.carrier.announcement import COVER, FILE_MAX_BYTES, Announcement, build_announcement, parse_announcement
from tidegate.carrier.blocks import BLOCK_BYTES
from tidegate.carrier.found import FoundVolume
from tidegate.carrier.frames import tag_of
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.parts import DEFAULT_REDUNDANCY, read_part
from tidegate.carrier.positional import open_regular
from tidegate.carrier.reader import VolumeReader
from tidegate.carrier.volume import VolumeLayout
from tidegate.errors import MediaWriteError, SignatureError, VolumeMissingError
from tidegate.files import make_folders, sync_filesystem
from tidegate_sender.media.plan import (
    CarriedBundle,
    WriteEstimate,
    estimate_volume,
    estimate_write,
    has_plan,
    plan_announcement,
)
from tidegate_sender.media.read_back import ReadBack, read_back_volume
from tidegate_sender.media.target import (
    check_medium,
    check_room,
    choose_target,
    clear_away,
    medium_errors,
    remove_files,
    room_for,
)
from tidegate_sender.media.volume_writer import VolumeWriter, WrittenFile

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer

__all__ = [
    "ReadBack",
    "WriteEstimate",
    "WriteOutcome",
    "WritePhase",
    "WriteReport",
    "estimate_volume",
    "estimate_write",
    "write_volume",
]

#: called with (bytes done, bytes in all, phase)
Progress = Callable[[int, int, str], None]


class WritePhase(StrEnum):
    """What the bytes of a progress report are counted of."""

    CHECK = "check"  # reading a copy that is there already
    WRITE = "write"
    READ_BACK = "read-back"


class WriteOutcome(StrEnum):
    """What became of the medium."""

    WRITTEN = "written"
    REPLACED = "replaced"  # a partial or older copy made place
    ALREADY_THERE = "already-there"


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What was written, and how surely it is there."""

    outcome: WriteOutcome
    announcement: Announcement
    folder: Path
    files: tuple[Path, ...]
    volume_bytes: int
    read_back: ReadBack
    synced: bool
    write_seconds: float = 0.0
    read_back_seconds: float = 0.0

    @property
    def may_be_removed(self) -> bool:
        """Whether everything is known to be on the medium itself."""
        return self.synced


def write_volume(
    bundle: CarriedBundle,
    medium: Path,
    *,
    signer: "Signer",
    preamble: bytes,
    redundancy: float = DEFAULT_REDUNDANCY,
    sync: bool = True,
    read_back: bool = True,
    progress: Progress | None = None,
    file_bytes: int = FILE_MAX_BYTES,
    plan: Announcement | None = None,
) -> WriteReport:
    """Write all of `bundle` to `medium`, a folder; with a `plan` what it says, one volume of a set.

    Raises MediaNotFoundError, MediaFullError (before the first write, or when the medium fills up), MediumLostError
    when it goes away, MediaWriteError when what is read back differs; errors of the bundle's own file pass through.
    """
    tell = progress or _tell_nobody
    check_medium(medium)
    announcement = plan or plan_announcement(bundle, redundancy=redundancy, file_bytes=file_bytes)
    there = _find_whole_copy(bundle, medium, announcement, signer, preamble, tell)
    if there is not None:
        if sync:  # whoever wrote it may have been killed before it was on the medium itself
            with medium_errors(medium, "syncing"):
                sync_filesystem(medium)
        return replace(there, synced=sync)
    with medium_errors(medium, "looking at it"):
        target = choose_target(medium, bundle.bundle_id)
        room = room_for(medium, VolumeLayout(announcement, len(preamble)), target)
    check_room(medium, room, announcement.name)
    data = build_announcement(announcement, signer)
    with medium_errors(medium, "making room"):
        remove_files(target.replaced)
        make_folders(target.folder)
    writer = VolumeWriter(target.folder, announcement, data, tag_of(data), preamble, sync=sync)
    try:
        seconds = _write(bundle, medium, writer, tell)
        way, read_back_seconds = _read_back(medium, writer, tell) if read_back else (ReadBack.SKIPPED, 0.0)
    except BaseException:
        clear_away(target.folder, tuple(file.path for file in writer.files))
        raise
    return WriteReport(
        outcome=WriteOutcome.REPLACED if target.replaced else WriteOutcome.WRITTEN,
        announcement=announcement,
        folder=target.folder,
        files=tuple(file.path for file in writer.files),
        volume_bytes=writer.layout.total_bytes,
        read_back=way,
        synced=sync,
        write_seconds=seconds,
        read_back_seconds=read_back_seconds,
    )


def _tell_nobody(_done: int, _total: int, _phase: str) -> None:
    """Where no progress is wanted."""


def _write(bundle: CarriedBundle, medium: Path, writer: VolumeWriter, tell: Progress) -> float:
    """The seconds it took."""
    total = writer.layout.total_bytes
    started = time.monotonic()
    with medium_errors(medium, "writing"):
        writer.write(bundle, lambda done: tell(done, total, WritePhase.WRITE))
    tell(total, total, WritePhase.WRITE)
    return time.monotonic() - started


def _read_back(medium: Path, writer: VolumeWriter, tell: Progress) -> tuple[ReadBack, float]:
    """How it was read back, and the seconds it took."""
    total = writer.layout.total_bytes
    started = time.monotonic()
    with medium_errors(medium, "reading back"):
        try:
            way = read_back_volume(writer.layout, writer.files, lambda done: tell(done, total, WritePhase.READ_BACK))
        except OSError as error:
            if _opening_is_readable(writer.files[0]):  # the medium is still there: it has a bad place
                raise MediaWriteError(f"{medium}: what was written cannot be read back: {error.strerror}") from None
            raise
    return way, time.monotonic() - started


def _opening_is_readable(file: WrittenFile) -> bool:
    try:
        with open_regular(file.path) as fd:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.pread(fd, BLOCK_BYTES, 0) == file.opening[:BLOCK_BYTES]
    except OSError:
        return False


# --- a copy that is there already -------------------------------------------------------------


def _find_whole_copy(
    bundle: CarriedBundle, medium: Path, announcement: Announcement, signer: "Signer", preamble: bytes, tell: Progress
) -> WriteReport | None:
    """A report on a copy that needs nothing, or None. Every record of a likely one is read."""
    for found in find_volumes(medium).volumes:
        if not has_plan(found, announcement, preamble) or not _is_signed_by(found, signer):
            continue
        reader = VolumeReader(found, parse_announcement(found.frame))
        if not reader.missing_files and not reader.short_files and _is_whole(bundle, reader, tell):
            files = tuple(file.path for file in found.files.values())
            return WriteReport(
                outcome=WriteOutcome.ALREADY_THERE,
                announcement=reader.announcement,
                folder=files[0].parent,
                files=files,
                volume_bytes=reader.layout.total_bytes,
                read_back=ReadBack.SKIPPED,
                synced=False,
            )
    return None


def _is_signed_by(found: FoundVolume, signer: "Signer") -> bool:
    """Whether the announcement is of our own key: after a rotation the medium is written again."""
    from tidegate.trust.envelope import ANNOUNCEMENT_TYPE, pae
    from tidegate.trust.keys import verify

    if found.frame.key_id != signer.key_id:
        return False
    try:
        verify(signer.public, pae(ANNOUNCEMENT_TYPE, found.frame.payload), found.frame.signature)
    except SignatureError:
        return False
    return True


def _is_whole(bundle: CarriedBundle, reader: VolumeReader, tell: Progress) -> bool:
    """Whether every record is right, and the cover is the bundle's: it may be signed anew under the same bundle_id."""
    cover = bytearray(bundle.part_lengths[COVER])
    bundle.read_into(COVER, 0, memoryview(cover))
    try:
        if read_part(reader, COVER, len(cover)) != cover:
            return False
    except VolumeMissingError:
        return False
    return reader.check(lambda done, total: tell(done, total, WritePhase.CHECK)).is_clean
