"""How a bundle is cut over several media: which groups lie on which one, and how many it takes. Values only.

A *sequential* set gives each medium as many whole groups as it has room for, so sizes may differ and nothing need be
known of the next one. A *striped* set gives each of a known number of media its share of every group, so that any
`spare` of them may be lost. Nothing is opened or written here. Format: docs/format/media.md, "Sets".
"""

import math
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tidegate.carrier.announcement import CHUNKS, COVER, FILE_MAX_BYTES, HEAD, STRIPES, Announcement
from tidegate.carrier.parts import INTERLEAVE, SYMBOL_SIZES
from tidegate.carrier.spans import partial_spans
from tidegate.carrier.volume import VolumeLayout
from tidegate.erasure.geometry import CODEWORD_MAX_SYMBOLS, PartGeometry
from tidegate.errors import MediaFullError, UsageError
from tidegate.units import format_bytes
from tidegate_sender.media.plan import CarriedBundle, plan_announcement

VOLUMES_MAX = 999
#: striped sets: more media than this are no set that a person carries
STRIPED_MAX = 64
#: repairs of a whole block of 255 that bear scattered damage, on top of the media that may be lost
MARGIN_SYMBOLS = 20
#: a head above this share of a volume lies on the first and on the last volume only
HEAD_SHARE = 0.01

#: bytes that a volume takes on its medium, in whole clusters
Measure = Callable[[VolumeLayout], int]


@dataclass(frozen=True, slots=True)
class SetShape:
    """What all volumes of a set have in common. `volumes` and `spare` are None and 0 for a sequential one."""

    set: str
    redundancy: float
    spare: int = 0
    volumes: int | None = None

    @property
    def is_striped(self) -> bool:
        return self.volumes is not None


@dataclass(frozen=True, slots=True)
class SetVolume:
    """One volume of a set: its number, the groups of the chunks [first, end) on it, whether the head is on it."""

    number: int
    first: int
    end: int
    has_head: bool
    is_last: bool
    volume_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What one medium offers: bytes for a volume's files (None: it does not say), and how they are counted there."""

    available: int | None
    measure: Measure

    def fits(self, layout: VolumeLayout) -> bool:
        return self.available is None or self.measure(layout) <= self.available


def sized(stick_bytes: int) -> Room:
    """The room of a medium that is only a number: what a dry run plans with."""
    return Room(stick_bytes, lambda layout: layout.total_bytes)


def new_set() -> str:
    return secrets.token_hex(8)


class SetPlanner:
    """The volumes of one set of `bundle`. `file_bytes` as in the announcement."""

    def __init__(
        self, bundle: CarriedBundle, shape: SetShape, preamble_length: int, *, file_bytes: int = FILE_MAX_BYTES
    ) -> None:
        whole = plan_announcement(bundle, redundancy=shape.redundancy, file_bytes=file_bytes)
        if shape.volumes is not None:
            chunks = striped_geometry(whole.parts[CHUNKS].length, shape.volumes, shape.spare)
            whole = replace(
                whole, parts=(whole.parts[COVER], whole.parts[HEAD], chunks), critical=(STRIPES,), volumes=shape.volumes
            )
        self.shape = shape
        self.groups = whole.parts[CHUNKS].group_count
        self._whole = replace(whole, set=shape.set)
        self._preamble_length = preamble_length

    @property
    def name(self) -> str:
        return self._whole.name

    @property
    def overhead(self) -> float:
        """Repair symbols of the chunks for each source symbol."""
        chunks = self._whole.parts[CHUNKS]
        return chunks.repair_count / chunks.source_count

    def announcement(self, volume: SetVolume) -> Announcement:
        """What stands on one volume of the set."""
        content = ((volume.first, volume.end),)
        return replace(
            self._whole,
            volume=volume.number,
            spans=partial_spans(self._whole.parts, content, with_head=volume.has_head),
            last=True if volume.is_last and volume.number > 1 and not self.shape.is_striped else None,
        )

    def layout(self, volume: SetVolume) -> VolumeLayout:
        return VolumeLayout(self.announcement(volume), self._preamble_length)

    # --- sequential ---------------------------------------------------------------------------

    def next_volume(self, number: int, first: int, room: Room) -> SetVolume:
        """The volume that takes as many groups from `first` on as `room` has place for.

        Raises MediaFullError where not one group and the head fit.
        """
        if number > VOLUMES_MAX:
            raise MediaFullError(f"bundle {self.name}: a set has at most {VOLUMES_MAX} volumes: use larger media")
        rest = SetVolume(number, first, self.groups, has_head=True, is_last=True)
        if self._fits(rest, room):
            return self._with_size(rest)
        has_head = number == 1 or self._is_head_small(rest, room)
        least, beyond = first, self.groups  # `beyond` never fits: then this would be the last volume
        while beyond - least > 1:
            middle = (least + beyond) // 2
            if self._fits(SetVolume(number, first, middle, has_head, is_last=False), room):
                least = middle
            else:
                beyond = middle
        if least == first:
            raise self._too_small(number, first, room)
        return self._with_size(SetVolume(number, first, least, has_head, is_last=False))

    def plan_all(self, number: int, first: int, rooms: Iterator[Room]) -> Iterator[SetVolume]:
        """The volumes from `number` on over media of the given sizes; ends with the last one, or with the media."""
        for room in rooms:
            volume = self.next_volume(number, first, room)
            yield volume
            if volume.is_last:
                return
            number, first = number + 1, volume.end

    def expected_count(self, volume: SetVolume) -> int:
        """About how many volumes the set will have, if those to come are as large as `volume`."""
        if volume.is_last:
            return volume.number
        groups = max(1, volume.end - volume.first)
        return volume.number + math.ceil((self.groups - volume.end) / groups)

    def _is_head_small(self, rest: SetVolume, room: Room) -> bool:
        head = self._whole.parts[HEAD]
        size = room.available or self.layout(rest).total_bytes
        return sum(head.group_record_count(group) for group in range(head.group_count)) * head.symbol_size <= (
            HEAD_SHARE * size
        )

    def _too_small(self, number: int, first: int, room: Room) -> MediaFullError:
        end = min(first + 1, self.groups)
        least = SetVolume(number, first, end, has_head=number == 1 or end == self.groups, is_last=end == self.groups)
        needed, free = room.measure(self.layout(least)), room.available or 0
        return MediaFullError(
            f"bundle {self.name}: stick {number} needs at least {format_bytes(needed)} ({needed} bytes),"
            f" free are {format_bytes(free)} ({free} bytes)",
            hint="use a larger medium, or make room on this one; nothing was written to it",
        )

    # --- striped ------------------------------------------------------------------------------

    def share(self, number: int) -> SetVolume:
        """A volume of a striped set; each stands for itself, whatever was written before."""
        assert self.shape.volumes is not None
        volume = SetVolume(number, 0, self.groups, has_head=True, is_last=number == self.shape.volumes)
        return self._with_size(volume)

    def check_share(self, volume: SetVolume, room: Room) -> None:
        """Raise MediaFullError where `volume`, a share or one that is written again, does not fit."""
        layout = self.layout(volume)
        if not room.fits(layout):
            needed, free = room.measure(layout), room.available or 0
            of = f" of {self.shape.volumes}" if self.shape.is_striped else ""
            raise MediaFullError(
                f"bundle {self.name}: stick {volume.number}{of} needs {format_bytes(needed)}"
                f" ({needed} bytes), free are {format_bytes(free)} ({free} bytes)",
                hint="use a larger medium: this stick of the set cannot be cut otherwise",
            )

    def _fits(self, volume: SetVolume, room: Room) -> bool:
        return room.fits(self.layout(volume))

    def _with_size(self, volume: SetVolume) -> SetVolume:
        return replace(volume, volume_bytes=self.layout(volume).total_bytes)


def striped_geometry(length: int, volumes: int, spare: int) -> PartGeometry:
    """The code of the chunks of a striped set: any `spare` of `volumes` volumes lost, and scattered damage besides."""
    symbol_size = next(size for least, size in SYMBOL_SIZES if length >= least)
    symbols = max(1, -(-length // symbol_size))
    repair_count = _repairs(CODEWORD_MAX_SYMBOLS, volumes, spare)
    source_count = CODEWORD_MAX_SYMBOLS - repair_count
    if source_count < 1:
        raise UsageError(f"{spare} of {volumes} volumes cannot be spares: nothing would be left for the content")
    if symbols <= source_count * INTERLEAVE:  # few blocks: no more sources than they have when they are cut near-equal
        blocks = -(-symbols // source_count)
        source_count = -(-symbols // blocks)
        total = next(total for total in range(source_count + 1, 256) if _is_enough(source_count, total, volumes, spare))
        return PartGeometry(length, source_count, total - source_count, symbol_size, min(INTERLEAVE, blocks))
    return PartGeometry(length, source_count, repair_count, symbol_size, INTERLEAVE)


def _repairs(total: int, volumes: int, spare: int) -> int:
    """What a block of `total` symbols must bear: its share of the lost volumes, and the margin."""
    return spare * math.ceil(total / volumes) + math.ceil(total * MARGIN_SYMBOLS / CODEWORD_MAX_SYMBOLS)


def _is_enough(source_count: int, total: int, volumes: int, spare: int) -> bool:
    # Blocks of one source fewer have the same repairs, and must still have a symbol for each volume.
    return total - source_count >= _repairs(total, volumes, spare) and total - 1 >= volumes


def plan_stripes(
    bundle: CarriedBundle, spare: int, room: Room, preamble_length: int, *, volumes: int | None, file_bytes: int
) -> SetPlanner:
    """The striped set with the fewest volumes that fit into `room` each, or with just so many `volumes`.

    Raises UsageError where no number of them will do.
    """
    least = spare + 2
    if volumes is not None and not least <= volumes <= STRIPED_MAX:
        raise UsageError(f"a set with {spare} to spare has {least} to {STRIPED_MAX} media, not {volumes}")
    for count in [volumes] if volumes is not None else range(least, STRIPED_MAX + 1):
        planner = SetPlanner(bundle, SetShape(new_set(), 0.1, spare, count), preamble_length, file_bytes=file_bytes)
        if volumes is not None or all(room.fits(planner.layout(planner.share(n))) for n in range(1, count + 1)):
            return planner
    raise UsageError(
        f"bundle {bundle.bundle_id[:8]} does not fit on {STRIPED_MAX} media of {format_bytes(room.available or 0)}",
        hint="use larger media",
    )
