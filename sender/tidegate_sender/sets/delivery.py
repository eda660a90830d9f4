"""Send a bundle over several media, one after another, today or tomorrow.

    which set is under way? ─► which volume is next? ─► what fits here? ─► deliver it ─► remember it

Nothing of a set is kept in memory between two media: whoever kills this, or goes home, runs the same command again.
"""

from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path

from tidegate.carrier.announcement import FILE_MAX_BYTES, Announcement, parse_announcement
from tidegate.carrier.medium import find_volumes
from tidegate.errors import BusyError, TidegateError, UsageError
from tidegate.ledger.entries import Medium
from tidegate.lookup import FoundBundle
from tidegate.units import KIB, MIB
from tidegate.workspace import Workspace
from tidegate_sender.delivery import Delivery, Progress, SendOptions, VolumePart, deliver, preamble_of
from tidegate_sender.media.target import bytes_available, bytes_needed, check_medium, choose_target, medium_errors
from tidegate_sender.riding import make_cover, open_carried
from tidegate_sender.sets.plan import Room, SetPlanner, SetShape, SetVolume, new_set, plan_stripes, sized
from tidegate_sender.sets.state import SetProgress, begin_set, find_set, give_up_set, note_volume

OVERHEAD_MAX = 0.5
#: left free on a medium: what a file system needs besides whole clusters is not known beforehand
RESERVE_LEAST_BYTES = 256 * KIB
RESERVE_MOST_BYTES = 64 * MIB
RESERVE_SHARE = 500


@dataclass(frozen=True, slots=True)
class SetOptions:
    """How a set is made. `stick_bytes` limits what is used of a medium; `redundancy` None means: as it was begun."""

    spare: int = 0
    stick_bytes: int | None = None
    accept_overhead: bool = False
    new_set: bool = False
    again: int | None = None
    #: for striped sets: how many, where that many were named; else as few as `stick_bytes` allows
    volumes: int | None = None
    redundancy_given: bool = False
    file_bytes: int = FILE_MAX_BYTES


@dataclass(frozen=True, slots=True)
class SetStep:
    """What one medium got, or had already (`delivery` is None). `expected`: about how many volumes there will be."""

    volume: SetVolume
    expected: int
    is_exact: bool
    is_complete: bool
    missing: tuple[int, ...]
    medium: Path
    delivery: Delivery | None = None


class SetDelivery:
    """The set of one bundle. Use as a context manager; `write` once for each medium."""

    def __init__(self, workspace: Workspace, found: FoundBundle, options: SendOptions, choice: SetOptions) -> None:
        self.workspace = workspace
        self.found = found
        self.options = options
        self.choice = choice
        self.preamble = preamble_of(workspace)
        with workspace.state.reading() as tx:
            self.progress = find_set(tx, found.bundle_id)
        self._bundle = open_carried(found)
        self._planner: SetPlanner | None = None

    @property
    def is_under_way(self) -> bool:
        return self.progress is not None and self.progress.is_running and not self.choice.new_set

    # --- what would be done -------------------------------------------------------------------

    def plan(self, places: tuple[Path, ...]) -> tuple[SetPlanner, tuple[SetVolume, ...]]:
        """The volumes still to be written: on the media at `places`, then on others as large as the last of them."""
        rooms = [self._room(place) for place in places] or [sized(self.choice.stick_bytes or 0)]
        planner = self._planner_for(rooms)
        begun = self.progress if self.is_under_way else None
        written = begun.written if begun is not None else ()
        if planner.shape.volumes is not None:
            numbers = {volume.number for volume in written}
            return planner, tuple(planner.share(n) for n in range(1, planner.shape.volumes + 1) if n not in numbers)
        first = max((volume.end for volume in written), default=0)
        return planner, tuple(planner.plan_all(len(written) + 1, first, chain(rooms, repeat(rooms[-1]))))

    def holds_volume(self, place: Path) -> bool:
        """Whether a volume of this bundle's newest set, one that was written, lies at `place`."""
        return self.progress is not None and bool(self._numbers_at(place) & set(self.progress.numbers))

    # --- doing it -----------------------------------------------------------------------------

    def write(self, place: Path, facts: Medium, tell: Progress) -> SetStep:
        """Write the next volume to the medium at `place`, unless one of this set lies there already."""
        check_medium(place)
        self._dress()
        if self.choice.again is not None:
            return self._write_again(place, facts, tell)
        there = self._step_of_what_is_there(place)
        if there is not None:
            return there
        room = self._room(place)
        planner = self._planner_for([room])
        progress = self._begin(planner)
        if planner.shape.is_striped:
            volume = planner.share(progress.next_number)
            planner.check_share(volume, room)
        else:
            volume = planner.next_volume(progress.next_number, progress.next_group, room)
        part = VolumePart(planner.announcement(volume), progress.completed_by(volume))
        delivery = deliver(self.workspace, self.found, place, facts, self._options(planner), tell, part)
        with self.workspace.state.transaction() as tx:
            current = find_set(tx, self.found.bundle_id)
            if current is None or current.job != progress.job or volume.number in current.numbers:
                raise BusyError(
                    f"bundle {planner.name}: another command wrote stick {volume.number} of the set meanwhile",
                    hint="empty the folder TIDEGATE of this stick, and run the same again",
                )
            self.progress = note_volume(tx, current, volume)
        return self._step(planner, volume, place, delivery)

    def _dress(self) -> None:
        """From the first write on the bundle has the cover that it is sent with, whose length the plans count with."""
        if make_cover(self.workspace, self.found):
            self._bundle.close()
            self._bundle = open_carried(self.found)
            self._planner = None

    def _write_again(self, place: Path, facts: Medium, tell: Progress) -> SetStep:
        """One volume of the newest set once more, the same bytes: for a medium that was lost or is damaged."""
        number, progress = self.choice.again, self.progress
        volume = next((item for item in progress.written if item.number == number), None) if progress else None
        if progress is None or volume is None:
            raise UsageError(f"stick {number} was not written", hint="without --again the next stick is written")
        planner = self._planner_for([self._room(place)])
        planner.check_share(volume, self._room(place))
        part = VolumePart(planner.announcement(volume), completes=not progress.is_running)
        delivery = deliver(self.workspace, self.found, place, facts, self._options(planner), tell, part)
        return self._step(planner, volume, place, delivery)

    def _begin(self, planner: SetPlanner) -> SetProgress:
        if self.is_under_way and self.progress is not None:
            return self.progress
        with self.workspace.state.transaction() as tx:
            current = find_set(tx, self.found.bundle_id)
            if current is not None and current.is_running and current != self.progress:
                raise BusyError(
                    f"bundle {planner.name}: another command began a set meanwhile",
                    hint="run the same again: it then goes on with that set",
                )
            if self.progress is not None and self.progress.is_running:
                give_up_set(tx, self.progress)
            self.progress = begin_set(tx, self.found.bundle_id, planner.shape)
        self.choice = replace(self.choice, new_set=False)
        return self.progress

    def _options(self, planner: SetPlanner) -> SendOptions:
        return SendOptions(planner.shape.redundancy, sync=self.options.sync, read_back=self.options.read_back)

    # --- the plan -----------------------------------------------------------------------------

    def _planner_for(self, rooms: list[Room]) -> SetPlanner:
        if self._planner is None:
            self._planner = self._make_planner(rooms)
        return self._planner

    def _make_planner(self, rooms: list[Room]) -> SetPlanner:
        choice = self.choice
        begun = self.progress if self.is_under_way or choice.again is not None else None
        if begun is not None:
            self._check_choice(begun)
            return SetPlanner(self._bundle, begun.shape, len(self.preamble), file_bytes=choice.file_bytes)
        if not choice.spare:
            shape = SetShape(new_set(), self.options.redundancy)
            return SetPlanner(self._bundle, shape, len(self.preamble), file_bytes=choice.file_bytes)
        if choice.redundancy_given:
            raise UsageError("--redundancy and --spare exclude each other: spares say how much repair data there is")
        room = min(rooms, key=lambda item: item.available if item.available is not None else 1 << 62)
        planner = plan_stripes(
            self._bundle,
            choice.spare,
            room,
            len(self.preamble),
            volumes=choice.volumes,
            file_bytes=choice.file_bytes,
        )
        self._check_overhead(planner)
        return planner

    def _check_choice(self, begun: SetProgress) -> None:
        """A set goes on as it was begun."""
        shape = begun.shape
        if self.choice.spare and self.choice.spare != shape.spare:
            raise UsageError(
                f"a set with {shape.spare or 'nothing'} to spare is under way", hint="--new-set begins another one"
            )
        if self.choice.redundancy_given and abs(self.options.redundancy - shape.redundancy) > 1e-9:
            raise UsageError(
                f"the set under way was begun with --redundancy {shape.redundancy * 100:g}%",
                hint="go on without the option; --new-set begins another one",
            )

    def _check_overhead(self, planner: SetPlanner) -> None:
        if planner.overhead > OVERHEAD_MAX and not self.choice.accept_overhead:
            count, spare = planner.shape.volumes, planner.shape.spare
            raise UsageError(
                f"{spare} to spare among {count} sticks costs {planner.overhead:.0%} more than the content",
                hint="smaller sticks, so more of them, cost less (one of 5: 39 %, one of 10: 22 %);"
                " --accept-overhead takes it",
            )

    def _room(self, place: Path) -> Room:
        check_medium(place)
        limit = self.choice.stick_bytes
        with medium_errors(place, "looking at it"):
            target = choose_target(place, self.found.bundle_id)
            free = bytes_available(place, target)
        if free is not None:
            free = max(0, free - min(RESERVE_MOST_BYTES, max(RESERVE_LEAST_BYTES, free // RESERVE_SHARE)))
        sizes = [size for size in (free, limit) if size is not None]
        return Room(min(sizes, default=None), lambda layout: bytes_needed(place, layout, target))

    # --- what is there ------------------------------------------------------------------------

    def _numbers_at(self, place: Path) -> set[int]:
        """The numbers of the volumes of the newest set at `place`; by what they say of themselves."""
        if self.progress is None:
            return set()
        found: set[int] = set()
        for volume in find_volumes(place).volumes:
            try:
                announcement: Announcement = parse_announcement(volume.frame)
            except TidegateError:
                continue
            if (announcement.bundle_id, announcement.set) == (self.found.bundle_id, self.progress.shape.set):
                found.add(announcement.volume)
        return found

    def _step_of_what_is_there(self, place: Path) -> SetStep | None:
        progress = self.progress
        if progress is None or self.choice.new_set:
            return None
        here = self._numbers_at(place) & set(progress.numbers)
        if not here:
            return None
        volume = next(item for item in progress.written if item.number == min(here))
        self._check_choice(progress)
        planner = SetPlanner(self._bundle, progress.shape, len(self.preamble), file_bytes=self.choice.file_bytes)
        return self._step(planner, volume, place, None)

    def _step(self, planner: SetPlanner, volume: SetVolume, place: Path, delivery: Delivery | None) -> SetStep:
        progress, count = self.progress, planner.shape.volumes
        assert progress is not None
        newest = max(progress.written, key=lambda item: item.number)
        is_known = count is not None or newest.is_last
        expected = count or planner.expected_count(newest)
        missing = tuple(number for number in range(1, expected + 1) if number not in progress.numbers)
        return SetStep(volume, expected, is_known, not progress.is_running, missing, place, delivery)

    def close(self) -> None:
        self._bundle.close()

    def __enter__(self) -> "SetDelivery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
