"""Look at a medium without its file system: carve what is ours out of a device or an image, for the same intake.

What is carved is volumes as a look into a folder gives them (`intake`), and readers that know where their runs lie. The
judge of this walk knows the pinned roots and what the medium's own preambles lead them to; it decides what is worth
remembering, never what is taken: every announcement is verified again by the intake.
"""

import contextlib
from pathlib import Path

from tidegate.carrier.announcement import Announcement
from tidegate.carrier.carved_reader import CarvedReader
from tidegate.carrier.carved_search import DigestSearch
from tidegate.carrier.carving import CarvedVolume, Carving
from tidegate.carrier.found import FoundVolume, MediumContents
from tidegate.carrier.frames import Frame
from tidegate.carrier.raw_medium import RawMedium
from tidegate.errors import MediaError, RefusedError, TrustError
from tidegate.media.mounts import current_mounts, mount_of
from tidegate.media.plugged import describe_raw_medium
from tidegate.report import ProgressCallback
from tidegate.text import printable
from tidegate.trust.checks import verify_announcement
from tidegate.trust.root import Chain, continue_chain, read_chain_id
from tidegate_receiver.intake.looks import Look


def device_of(given: Path) -> Path:
    """What to read: the device or image itself, or the device that is mounted on a folder.

    Raises MediaError for a folder where no device of its own is mounted.
    """
    if not given.is_dir():
        return given
    mount = mount_of(given, current_mounts())
    if mount is not None and mount.point == given.resolve() and Path(mount.source).is_block_device():
        return Path(mount.source)
    raise MediaError(
        f"{printable(given)}: no device is mounted there",
        hint="name the device of the medium, for example /dev/sdb1, or an image of it",
    )


def look_without_files(
    place: Path, chains: dict[str, Chain], stack: contextlib.ExitStack, progress: ProgressCallback | None
) -> Look:
    """Carve the medium at `place`, which stays open until `stack` ends.

    Raises MediaNotFoundError, MediaError, MediumLostError for what cannot be read at all.
    """
    medium = stack.enter_context(RawMedium(device_of(place)))
    told = (lambda done, total: progress(done, total, "searching")) if progress is not None else None
    carving = Carving(medium, RootJudge(chains), told)
    carving.run()
    search = DigestSearch(medium, carving.phases, told)
    volumes = {(volume.frame.data, volume.preamble_length): volume for volume in carving.volumes}
    contents = MediumContents(tuple(map(_as_found, volumes.values())), unlisted=carving.stats.unlisted)

    def open_reader(found: FoundVolume, announcement: Announcement) -> CarvedReader:
        return CarvedReader(found, announcement, volumes[found.frame.data, found.preamble_length], search)

    return Look(contents, describe_raw_medium(place, medium.path, medium.size), open_reader)


def _as_found(volume: CarvedVolume) -> FoundVolume:
    return FoundVolume(volume.frame, volume.preamble, volume.preamble_length, {}, {})


class RootJudge:
    """Knows `chains`, by channel id, and what preambles lead them to."""

    def __init__(self, chains: dict[str, Chain]) -> None:
        self._chains = dict(chains)

    def channel_of(self, frame: Frame) -> str:
        """The channel whose carrier key signed this announcement; empty where it is none that is known."""
        for channel_id, chain in self._chains.items():
            with contextlib.suppress(RefusedError, MediaError, TrustError):
                verify_announcement(frame, chain, others=())
                return channel_id
        return ""

    def learn(self, preamble: bytes) -> str:
        """Take in a chain of roots; the known channel that it belongs to, or nothing."""
        try:
            stored = self._chains.get(read_chain_id(preamble))
            if stored is None:
                return ""
            self._chains[stored.channel_id] = continue_chain(stored, preamble)
        except (RefusedError, TrustError):
            return ""
        return stored.channel_id
