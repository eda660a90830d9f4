"""New names by rule: the beginning of a name is replaced by another, as the settings of a target say.

A rule ends with ``/``, or names whole components; the longest that fits counts, and what none fits keeps the place that
it has on the stage. What belongs to an image has the image's name before its tag, and so goes with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tidegate.errors import NameTakenError, UsageError
from tidegate.registry.reference import place_of
from tidegate.state.placements import Placement
from tidegate_receiver.loaders.items import LoadItem


def new_place(name: str, rules: Mapping[str, str]) -> str:
    """Where a target with `rules` has the artifact `name`. Raises UsageError where that is no place."""
    fitting = [left for left in rules if _fits(name, left)]
    if not fitting:
        return place_of(name)
    left = max(fitting, key=len)
    try:
        # With a host before it: the new name's first component is none, whatever it looks like.
        return place_of(f"tidegate.invalid/{rules[left]}{name[len(left) :]}")
    except UsageError:
        raise UsageError(f'{name[:300]}: "{left}" = "{rules[left]}" makes no name of it') from None


def _fits(name: str, left: str) -> bool:
    if not name.startswith(left):
        return False
    return left.endswith("/") or name[len(left) : len(left) + 1] in {"", "/", ":", "@"}


def rewritten(items: Iterable[LoadItem], rules: Mapping[str, str], target: str) -> tuple[LoadItem, ...]:
    """`items` with their places at `target`. Raises NameTakenError where two with other content have one place."""
    made: dict[str, LoadItem] = {}
    moved = tuple(replace(item, place=new_place(item.name, rules)) for item in items)
    for item in moved:
        other = made.setdefault(item.place, item)
        if other.root.digest != item.root.digest:
            raise NameTakenError(f"{target}: both {other.name} and {item.name} would be {item.place}", hint=_HINT)
    return moved


def check_free(items: Iterable[LoadItem], channel_id: str, target: str, there: Iterable[Placement]) -> None:
    """Raises NameTakenError where something of another name or channel was put to one of the places before."""
    holders = {known.place: known for known in there}
    for item in items:
        known = holders.get(f"{target}/{item.place}")
        if known is None or known.root == item.root.digest:
            continue
        if (known.channel_id, known.name) != (channel_id, item.name):
            raise NameTakenError(
                f"{item.name} would be {known.place}, and that is {known.name}",
                hint="change the rules of this target, or remove that first: tidegate prune",
            )


_HINT = "change the rules of this target: [targets.NAME.rewrite] in the settings"
