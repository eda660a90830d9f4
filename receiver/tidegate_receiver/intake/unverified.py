"""Bundles of which only a carrier key says that they are on their way: symbols in the spool, and no row in the state.

A receiver that is started late keeps what comes before cover and head (`listener.taking`). Nothing is written to the
state before signatures hold, so what is known of such a bundle lies beside it, as it came:

    spool/<bundle_id>/announced     the announcement, signed by a carrier key

It gives way to every bundle whose signatures hold: where the quota is short the oldest of these goes first.
"""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.carrier.announcement import CHUNKS, Announcement, parse_announcement, read_announcement_frame
from tidegate.errors import BusyError, TidegateError
from tidegate.files import write_durably
from tidegate.retention import DAY_SECONDS, Goes, Kind, changed_at, folder_bytes, removal_entry
from tidegate.state.bundles import BundleState, get_bundle, list_bundles
from tidegate_receiver.intake.records import IN_QUARANTINE
from tidegate_receiver.intake.room import check_quota
from tidegate_receiver.intake.verification import VerifiedAnnouncement
from tidegate_receiver.reassembly.spool import Spool, disk

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

ANNOUNCED_FILE = "announced"
_ANNOUNCED_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Unverified:
    """One of them. `touched` is when something of it last came, seconds since 1970; sizes in bytes."""

    folder: Path
    announcement: Announcement
    kept_bytes: int
    touched: float

    @property
    def name(self) -> str:
        return self.announcement.name

    @property
    def content_bytes(self) -> int:
        return self.announcement.parts[CHUNKS].length


def keep_announcement(spool: Spool, verified: VerifiedAnnouncement) -> None:
    """Say beside the symbols whose they are. Raises DiskFullError or HostError."""
    with disk("keeping an announcement"):
        write_durably(spool.folder / ANNOUNCED_FILE, verified.frame.data, mode=0o600)


def list_unverified(workspace: "Workspace") -> tuple[Unverified, ...]:
    """All of them, the one longest untouched first. A file that cannot be read is of no bundle that could be named."""
    found = []
    for path in (workspace.root / "spool").glob(f"*/{ANNOUNCED_FILE}"):
        folder = path.parent
        with workspace.state.reading() as tx:
            row = get_bundle(tx, folder.name)
        if row is not None:
            continue
        try:
            with path.open("rb") as file:
                announcement = parse_announcement(read_announcement_frame(file.read(_ANNOUNCED_MAX_BYTES)))
        except (OSError, TidegateError):
            continue
        if announcement.bundle_id == folder.name:
            found.append(Unverified(folder, announcement, folder_bytes(folder), touched(folder)))
    return tuple(sorted(found, key=lambda item: (item.touched, item.folder.name)))


def touched(folder: Path) -> float:
    """When something of a bundle in the spool last came: its files are replaced, so folders change with them."""
    places = (folder, folder / "content" / "blobs" / "sha256", folder / "progress", folder / ANNOUNCED_FILE)
    stores = (path for store in folder.glob("symbols-*") for path in (store, store / "data"))
    return max(changed_at(path) for path in (*places, *stores) if path.exists() or path == folder)


class Standing(IntEnum):
    """How much is known of a bundle that asks for room."""

    #: a carrier key announced it, and its symbols are to be kept: all that is here goes before
    ANNOUNCED = 0
    #: its papers are about to be verified: it need not make room for what is only announced
    AT_HAND = 1
    #: its signatures hold: what is only announced gives way, the oldest first
    SIGNED = 2


def check_space(workspace: "Workspace", bundle_id: str, needed_bytes: int, what: str, standing: Standing) -> None:
    """Raise DiskFullError where the bundle would pass the quota."""
    quota = workspace.settings.quota_bytes
    if not quota:
        return
    with workspace.state.reading() as tx:
        rows = list_bundles(tx, states=(BundleState.RECEIVING, BundleState.INCOMPLETE, *IN_QUARANTINE))
    taken = sum(row.content_size for row in rows if row.bundle_id != bundle_id)
    others = [item for item in list_unverified(workspace) if item.folder.name != bundle_id]
    unverified = sum(item.kept_bytes for item in others)
    if standing is Standing.ANNOUNCED:
        taken += unverified
    check_quota(quota, taken, needed_bytes, what)
    while standing is Standing.SIGNED and others and taken + unverified + needed_bytes > quota:
        oldest = others.pop(0)
        unverified -= oldest.kept_bytes
        _give_way(workspace, oldest, what)


def _give_way(workspace: "Workspace", item: Unverified, what: str) -> None:
    spool = Spool(item.folder)
    age = max(0, int(clock.now() - item.touched)) // DAY_SECONDS
    why = f"only announced, without signatures, and gave way to {what}"
    try:
        with spool.locked():
            with workspace.state.transaction() as tx:
                if get_bundle(tx, item.folder.name) is not None:
                    return
                gone = Goes(Kind.UNVERIFIED, item.name, why, item.kept_bytes, age, item.folder.name)
                tx.queue(removal_entry(gone))
            spool.remove()
    except BusyError:
        return  # its session is under way
