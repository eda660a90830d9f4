"""Whether there is room for a bundle, asked before the first byte of it is written."""

import os
from pathlib import Path

from tidegate.errors import DiskFullError
from tidegate.units import MIB, format_bytes

#: left alone: what state, ledger and folders need meanwhile
MARGIN_BYTES = 16 * MIB


def has_room(folder: Path, needed_bytes: int) -> bool:
    """Whether the disk under `folder` has `needed_bytes` and a margin."""
    status = os.statvfs(folder)
    return needed_bytes + MARGIN_BYTES <= status.f_bavail * status.f_frsize


def check_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Raise DiskFullError where the disk under `folder` has less than `needed_bytes` and a margin."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if needed_bytes + MARGIN_BYTES > free:
        raise DiskFullError(
            f"{what}: {format_bytes(needed_bytes)} needed under {folder}, {format_bytes(free)} free",
            hint="make room and run the same command again; what was read is kept",
        )


def check_quota(quota_bytes: int, taken_bytes: int, needed_bytes: int, what: str) -> None:
    """Raise DiskFullError where spool and quarantine would take more than the setting allows; 0 is no limit."""
    if quota_bytes and taken_bytes + needed_bytes > quota_bytes:
        raise DiskFullError(
            f"{what}: {format_bytes(needed_bytes)} more would pass the quota: {format_bytes(taken_bytes)} of"
            f" {format_bytes(quota_bytes)} are taken by quarantine and spool",
            hint='load or deny what is in quarantine, "tidegate cleanup" says what may go, or raise quota_bytes',
        )
