"""Which volumes of a set were read, and which are missing, in the words of whoever holds the sticks.

What is known of a set is what its verified announcements said, kept in the bundle's row from one medium to the next. A
sequential set does not know how many volumes it has until its last one was read; then that is said.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tidegate.carrier.announcement import CHUNKS, Announcement

SETS_MAX = 8


@dataclass(frozen=True, slots=True)
class SetMissing:
    """What a set lacks. `volumes` are numbers that are certainly missing (of a striped set: any of which would do)."""

    volumes: tuple[int, ...]
    text: str
    hint: str


def note_volumes(known: dict[str, Any], announcements: Iterable[Announcement]) -> dict[str, Any]:
    """`known`, as a row's detail holds it, with the volumes that were read now; the newest sets last."""
    sets = {name: {**item, "volumes": dict(item["volumes"])} for name, item in known.items()}
    for announcement in announcements:
        if not announcement.is_one_of_several:
            continue
        ranges = [[first, end] for part, first, end in announcement.spans if part == CHUNKS]
        item = sets.pop(announcement.set, {"volumes": {}})
        item["volumes"][str(announcement.volume)] = ranges
        if announcement.is_striped:
            item["count"] = announcement.volumes
        elif announcement.last:
            item["last"] = announcement.volume
        sets[announcement.set] = item
    return dict(list(sets.items())[-SETS_MAX:])


def missing_of(known: dict[str, Any], announcement: Announcement, needed: Iterable[int]) -> SetMissing | None:
    """What the set of `announcement` lacks, where `needed` are the groups from which content is missing."""
    item = known.get(announcement.set)
    if item is None:
        return None
    if announcement.is_striped:
        return _missing_shares(announcement, sorted(map(int, item["volumes"])))
    return _missing_ranges(item, sorted(needed))


# --- striped ----------------------------------------------------------------------------------


def spares_of(announcement: Announcement) -> int:
    """How many volumes of a striped set may be missing, by its code."""
    chunks, volumes = announcement.parts[CHUNKS], announcement.volumes or 1
    share = -(-(chunks.source_count + chunks.repair_count) // volumes)
    return min(chunks.repair_count // share, volumes - 1)


def _missing_shares(announcement: Announcement, seen: list[int]) -> SetMissing:
    count = announcement.volumes or 1
    absent = tuple(number for number in range(1, count + 1) if number not in seen)
    more = count - spares_of(announcement) - len(seen)
    hint = "insert it and run the same again; what was read is kept, and several that are in at once may be named"
    if more > 0:
        one = f"{more} more of " if more < len(absent) else ""
        return SetMissing(absent, f"{one}{_sticks(absent)} of the set {'is' if more == 1 else 'are'} needed", hint)
    if absent:
        return SetMissing(absent, f"what was read is damaged: {_sticks(absent)} of the set would help", hint)
    return SetMissing((), "every stick of the set was read, and they are damaged beyond repair", _AGAIN)


# --- sequential -------------------------------------------------------------------------------

_AGAIN = 'have the low side write it again: "tidegate send BUNDLE --again N", and insert that'


def _missing_ranges(item: dict[str, Any], needed: list[int]) -> SetMissing | None:
    volumes = {int(number): ranges for number, ranges in item["volumes"].items()}
    covered = {group for ranges in volumes.values() for first, end in ranges for group in range(first, end)}
    absent = [group for group in needed if group not in covered]
    damaged = tuple(
        number
        for number, ranges in sorted(volumes.items())
        if any(first <= group < end for first, end in ranges for group in needed) and not absent
    )
    if not absent:
        if not damaged:
            return None
        text = f"{_sticks(damaged)} of the set {_is(damaged)} damaged beyond repair"
        return SetMissing(damaged, text, f"insert another copy; or {_AGAIN}")
    last = item.get("last")
    highest = max([*volumes, last or 0])
    numbers = [number for number in range(1, highest + 1) if number not in volumes]
    is_open = last is None and absent[-1] >= max((end for ranges in volumes.values() for _, end in ranges), default=0)
    if is_open:
        numbers.append(highest + 1)
    if not numbers:  # a resend of some groups is a volume of its own, and every one of its set was read
        return None
    missing = tuple(numbers)
    text = f"{_sticks(missing)} of the set {_is(missing)} missing"
    if is_open:
        text += ", perhaps more: none that was read is the last one"
    return SetMissing(missing, text, "insert it and run the same again; what was read is kept")


def _is(numbers: tuple[int, ...]) -> str:
    return "is" if len(numbers) == 1 else "are"


def _sticks(numbers: tuple[int, ...]) -> str:
    """``stick 2``, ``sticks 1 and 3``, ``sticks 1, 2, 5``; the first few of many."""
    if len(numbers) == 1:
        return f"stick {numbers[0]}"
    shown = [str(number) for number in numbers[:12]]
    if len(numbers) > 12:
        return f"sticks {', '.join(shown)}, …"
    return f"sticks {', '.join(shown[:-1])} and {shown[-1]}"
