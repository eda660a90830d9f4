"""What writing a bundle to a medium will take: the announcement's plan, exact bytes, room, and a range of time."""

import contextlib
import os
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tidegate.carrier.announcement import (
    ANNOUNCEMENT_FORMAT,
    CHUNKS,
    FILE_MAX_BYTES,
    Announcement,
    parse_announcement,
)
from tidegate.carrier.found import FoundVolume
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.parts import DEFAULT_REDUNDANCY, plan_parts
from tidegate.carrier.spans import full_spans
from tidegate.carrier.volume import VolumeLayout
from tidegate.errors import TidegateError
from tidegate.files import SYNCS
from tidegate.units import MIB
from tidegate_sender.media.target import Room, check_medium, choose_target, medium_errors, room_for

SPEED_PROBE_BYTES = 8 * MIB


class CarriedManifest(Protocol):
    """What the announcement takes from a manifest."""

    @property
    def channel(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def sequence(self) -> int: ...


class CarriedBundle(Protocol):
    """What writing needs of a bundle file (`tidegate.bundle.container.BundleFile`)."""

    @property
    def bundle_id(self) -> str: ...
    @property
    def part_lengths(self) -> tuple[int, int, int]: ...
    @property
    def manifest_length(self) -> int: ...
    def manifest(self) -> CarriedManifest: ...
    def read_into(self, part: int, offset: int, view: memoryview) -> None: ...


@dataclass(frozen=True, slots=True)
class WriteEstimate:
    """What writing will take. `seconds` is a range, None where the speed was not measured.

    `has_copy`: a copy of the same plan is there already; whether it is whole is found out when writing.
    """

    volume_bytes: int
    room: Room
    has_copy: bool
    seconds: tuple[float, float] | None


def plan_announcement(
    bundle: CarriedBundle, *, redundancy: float = DEFAULT_REDUNDANCY, file_bytes: int = FILE_MAX_BYTES
) -> Announcement:
    """The announcement of a volume that holds all of `bundle`: cover and head stand first and last."""
    manifest = bundle.manifest()
    parts = plan_parts(bundle.part_lengths, redundancy=redundancy)
    return Announcement(
        format=ANNOUNCEMENT_FORMAT,
        critical=(),
        carrier="media",
        channel=manifest.channel,
        epoch=manifest.epoch,
        sequence=manifest.sequence,
        bundle_id=bundle.bundle_id,
        manifest_length=bundle.manifest_length,
        parts=parts,
        set=secrets.token_hex(8),
        volume=1,
        spans=full_spans(parts),
        file_bytes=file_bytes,
    )


def has_plan(found: FoundVolume, announcement: Announcement, preamble: bytes) -> bool:
    """Whether `found` says to be a copy of what `announcement` describes. No signature is verified."""
    try:
        theirs = parse_announcement(found.frame)
    except TidegateError:
        return False
    # A copy of the whole bundle is as good in another set; a volume of several belongs to its own.
    is_whole = not announcement.is_striped and holds_all_groups(announcement)
    same = replace(theirs, set=announcement.set if is_whole else theirs.set, file_bytes=announcement.file_bytes)
    return same == announcement and found.preamble == preamble


def holds_all_groups(announcement: Announcement) -> bool:
    """Whether the chunks lie on this volume from the first group to the last."""
    groups = announcement.parts[CHUNKS].group_count
    return not groups or (CHUNKS, 0, groups) in announcement.spans


def estimate_volume(bundle: CarriedBundle, redundancy: float = DEFAULT_REDUNDANCY, *, preamble: bytes = b"") -> int:
    """Bytes that the bundle's files will have on a medium, exactly."""
    return VolumeLayout(plan_announcement(bundle, redundancy=redundancy), len(preamble)).total_bytes


def estimate_write(
    bundle: CarriedBundle,
    medium: Path,
    *,
    preamble: bytes,
    redundancy: float = DEFAULT_REDUNDANCY,
    read_back: bool = True,
    measure: bool = False,
) -> WriteEstimate:
    """What writing to `medium` will take. `measure` writes, syncs and removes 8 MiB there to learn its speed.

    Raises MediaError where `medium` cannot be used at all; a lack of room is in the result.
    """
    check_medium(medium)
    announcement = plan_announcement(bundle, redundancy=redundancy)
    layout = VolumeLayout(announcement, len(preamble))
    with medium_errors(medium, "looking at it"):
        room = room_for(medium, layout, choose_target(medium, bundle.bundle_id))
    has_copy = any(has_plan(found, announcement, preamble) for found in find_volumes(medium).volumes)
    speed = _measure_speed(medium) if measure and room.is_enough and not has_copy else None
    seconds = _seconds(layout.total_bytes, speed, read_back=read_back) if speed else None
    return WriteEstimate(layout.total_bytes, room, has_copy, seconds)


def _seconds(volume_bytes: int, bytes_per_second: float, *, read_back: bool) -> tuple[float, float]:
    """A range: sticks slow down to half once their own cache is full, and read one to four times as fast."""
    once = volume_bytes / bytes_per_second
    return (once * 1.25, once * 3) if read_back else (once, once * 2)


def _measure_speed(medium: Path) -> float | None:
    """Bytes a second that reach the medium, by one small file; None where syncs are off or nothing can be written.

    Raises nothing: what is wrong with the medium is said, and recorded, where the bundle is written.
    """
    if not SYNCS.enabled:
        return None
    path = medium / f"TG{secrets.token_hex(3).upper()}.TMP"
    piece = os.urandom(MIB)
    try:
        with path.open("xb", buffering=0) as file:
            path.unlink()  # its name is gone before its bytes come: whoever kills us leaves nothing on the medium
            started = time.monotonic()
            for _ in range(SPEED_PROBE_BYTES // MIB):
                file.write(piece)
            os.fsync(file.fileno())
            return SPEED_PROBE_BYTES / max(time.monotonic() - started, 1e-6)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()  # for file systems that keep what is open
        return None
