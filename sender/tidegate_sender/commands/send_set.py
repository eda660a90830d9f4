"""``tidegate send`` over several media: which come, what is said of each, and what to do next."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.commands.options import Invocation
from tidegate.units import format_bytes, format_duration
from tidegate_sender.commands.send_labels import LabelSheet
from tidegate_sender.commands.send_words import READ_BACK_WORDS

if TYPE_CHECKING:
    from tidegate.lookup import FoundBundle
    from tidegate.workspace import Workspace
    from tidegate_sender.delivery import Delivery
    from tidegate_sender.sets.delivery import SetDelivery, SetStep
    from tidegate_sender.sets.plan import SetVolume


@dataclass(slots=True)
class SetSending:
    """One call of ``send`` for a set. `media` are the paths that were named."""

    invocation: Invocation
    workspace: "Workspace"
    found: "FoundBundle"
    delivery: "SetDelivery"
    media: tuple[Path, ...]
    wait: bool
    sheet: LabelSheet

    def places(self) -> tuple[Path, ...]:
        """The media to begin with: none for a dry run by size, or where one is waited for."""
        from tidegate.media.plugged import choose_medium, plugged_media

        folders = self.workspace.settings.media_folders
        if self.media:
            return tuple(choose_medium(path, folders) for path in self.media)
        if self.invocation.dry_run and self.delivery.choice.stick_bytes:
            return ()
        if self.wait and not plugged_media(folders):
            return ()
        return (choose_medium(None, folders, to_write=True),)

    def is_wanted(self, places: tuple[Path, ...]) -> bool:
        """Whether a set is asked for, under way, or lies there; else it depends on the room on the first medium."""
        choice = self.delivery.choice
        if choice.spare or choice.again or choice.new_set or not places:
            return True
        return self.delivery.is_under_way or self.delivery.holds_volume(places[0])

    def tell_unused(self, places: tuple[Path, ...]) -> None:
        for place in places:
            self.invocation.report.line(f"{place} was not needed: all of it lies on the first")

    def run(self, places: tuple[Path, ...]) -> None:
        """Write one volume to each medium, or say what would be written."""
        if self.invocation.dry_run:
            self._show_plan(places)
            return
        self.workspace.begin()
        for number, place in enumerate(self._all_places(places), start=1):
            step = self._write(place, is_last=number >= len(places) and not self.wait)
            if step.is_complete or self.delivery.choice.again is not None:
                return

    def _all_places(self, places: tuple[Path, ...]) -> Iterator[Path]:
        from tidegate.media.arrival import arriving_media

        yield from places
        if self.wait:
            self.invocation.report.line("waiting for the next stick; Ctrl-C ends, and the same command goes on")
            folders = self.workspace.settings.media_folders
            yield from arriving_media(folders, tuple(path.absolute() for path in self.media), present=not places)

    # --- what is said -------------------------------------------------------------------------

    def _write(self, place: Path, *, is_last: bool) -> "SetStep":
        from tidegate.media.plugged import medium_for_ledger

        started = time.monotonic()
        report = self.invocation.report
        with report.progress() as progress:
            step = self.delivery.write(place, medium_for_ledger(place), progress)
        if step.delivery is not None:
            self.sheet.add(step.delivery)
        text = _what(step, self._name, time.monotonic() - started)
        goes_on = is_last and self.delivery.choice.again is None
        report.closing(f"{text}; {_next(step, goes_on=goes_on)}", **self._values(step))
        return step

    @property
    def _name(self) -> str:
        assert self.found.row is not None, "looked at by the caller"
        return self.found.row.name

    def _values(self, step: "SetStep") -> dict[str, object]:
        from tidegate.files import SYNCS

        progress = self.delivery.progress
        values: dict[str, object] = {
            "bundle": self._name,
            "bundle_id": self.found.bundle_id,
            "outcome": step.delivery.report.outcome if step.delivery else "already-there",
            "medium": str(step.medium),
            "set": progress.shape.set if progress else "",
            "volume": step.volume.number,
            "volumes": step.expected,
            "volumes_known": step.is_exact,
            "missing_volumes": list(step.missing),
            "complete": step.is_complete,
            "volume_bytes": step.volume.volume_bytes,
            "syncs": SYNCS.count,
        }
        if step.delivery is not None:
            values |= {
                "read_back": step.delivery.report.read_back,
                "may_be_removed": _is_removable(step.delivery),
                "write_seconds": round(step.delivery.report.write_seconds, 3),
                "read_back_seconds": round(step.delivery.report.read_back_seconds, 3),
            }
        return values

    # --- a dry run ----------------------------------------------------------------------------

    def _show_plan(self, places: tuple[Path, ...]) -> None:
        planner, volumes = self.delivery.plan(places)
        report = self.invocation.report
        shape = planner.shape
        if shape.is_striped:
            report.line(
                f"any {shape.spare} of {shape.volumes} sticks may be lost; that costs {planner.overhead:.0%} more than"
                " the content"
            )
        for size, alike in groupby(volumes, key=lambda volume: volume.volume_bytes):
            report.line(f"{_list_of(tuple(alike))}: {format_bytes(size)} ({size} bytes)")
        count = len(volumes)
        report.closing(
            f"bundle {self._name}: {count} {'stick' if count == 1 else 'sticks'} to write, "
            f"{format_bytes(sum(volume.volume_bytes for volume in volumes))} in all",
            bundle=self._name,
            bundle_id=self.found.bundle_id,
            volumes=[{"number": item.number, "volume_bytes": item.volume_bytes} for item in volumes],
            spare=shape.spare,
            overhead=round(planner.overhead, 4),
        )


def _list_of(volumes: tuple["SetVolume", ...]) -> str:
    first, last = volumes[0].number, volumes[-1].number
    return f"stick {first}" if first == last else f"sticks {first} to {last}, each"


def _is_removable(delivery: "Delivery") -> bool:
    written = delivery.report
    return written.may_be_removed and (written.read_back.value != "skipped" or written.outcome.value == "already-there")


def _what(step: "SetStep", name: str, seconds: float) -> str:
    of = f"stick {step.volume.number} of {'' if step.is_exact else 'about '}{step.expected}"
    if step.delivery is None:
        return f"nothing to do: {step.medium} has {of} of {name} already"
    written = step.delivery.report
    size, took = format_bytes(written.volume_bytes), format_duration(seconds)
    if written.outcome.value == "already-there":
        return f"{of} of {name} was on {step.medium} already, whole"
    return f"{of} of {name} written: {size}{READ_BACK_WORDS[written.read_back.value]} in {took}"


def _next(step: "SetStep", *, goes_on: bool) -> str:
    removable = step.delivery is None or _is_removable(step.delivery)
    ending = "unmount it, then it may be removed" if removable else "not read back: do not rely on it yet"
    if step.is_complete:
        return f"the set is complete; {ending}"
    return f"{ending}; next: insert another and run the same again" if goes_on else ending
