"""A medium before us, compared with what is remembered of its token: which alarms that gives.

Values in, values out. The rules: docs/format/media-token.md, K-10 and K-11.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tidegate.carrier.token import JudgedToken, TokenState
from tidegate.state.media import MediumRow, MediumState

if TYPE_CHECKING:
    from tidegate.ledger.entries import Medium

#: capacities that differ by more than this part of the larger are two devices; file systems round differently
CAPACITY_PART = 64


class AlarmReason(StrEnum):
    """Why a medium is suspicious; the word in the ledger's `reason`."""

    COUNTER_BACK = "medium-counter-back"
    CLONED = "medium-cloned"
    OTHER_DEVICE = "medium-other-device"
    TOKEN_FORGED = "medium-token-forged"  # noqa: S105 - a word for the ledger
    WAS_LOST = "medium-was-lost"
    SUSPECT = "medium-suspect"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that a person should look at."""

    reason: AlarmReason
    text: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A medium with its token judged. `facts` are for the ledger; `row` is what was remembered, None for a new one."""

    judged: JudgedToken | None
    row: MediumRow | None
    facts: "Medium"
    alarms: tuple[Alarm, ...] = ()

    @property
    def is_registered(self) -> bool:
        """Whether this side knows the medium by its token."""
        return self.row is not None


def sight(judged: JudgedToken | None, row: MediumRow | None, facts: "Medium") -> Sighting:
    """Compare the token and what the host says of the device with `row`, the one of that token."""
    token = judged.token if judged else None
    if judged is None or token is None:
        alarms: tuple[Alarm, ...] = ()
        if judged is not None and judged.state is TokenState.FORGED:
            alarms = (Alarm(AlarmReason.TOKEN_FORGED, judged.reason),)
        return Sighting(judged, None, facts, alarms)
    facts = replace(facts, register_label=token.label, token=token.token, counter=token.counter)
    found = () if row is None else tuple(_alarms(judged, row, facts))
    return Sighting(judged, row, facts, found)


def _alarms(judged: JudgedToken, row: MediumRow, facts: "Medium") -> list[Alarm]:
    token = judged.token
    assert token is not None  # the caller has looked
    found = []
    label = token.label
    if token.counter < row.counter:
        text = f"medium {label}: its counter is {token.counter}, it was {row.counter}: a copy, or put back"
        found.append(Alarm(AlarmReason.COUNTER_BACK, text))
    elif token.counter == row.counter and row.token_digest not in ("", judged.digest):  # not known after a restore
        text = f"medium {label}: another token with the same counter {token.counter} was seen: one is a copy"
        found.append(Alarm(AlarmReason.CLONED, text))
    difference = device_difference(row.device, device_of(facts))
    if difference:
        text = f"medium {label}: {difference}: its token is on another device, or a card in another reader"
        found.append(Alarm(AlarmReason.OTHER_DEVICE, text))
    if row.state is MediumState.LOST:
        found.append(Alarm(AlarmReason.WAS_LOST, f"medium {label}: it is marked as lost"))
    if row.state is MediumState.SUSPECT:
        found.append(Alarm(AlarmReason.SUSPECT, f"medium {label}: it came back changed"))
    return found


def device_of(facts: "Medium") -> dict[str, Any]:
    """What tells devices apart, as far as the host knows it."""
    values = {
        "vendor": facts.vendor,
        "product": facts.product,
        "serial": facts.serial,
        "capacity": facts.capacity,
    }
    return {name: value for name, value in values.items() if value}


def device_difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """How two descriptions contradict each other; empty where they do not. The unknown contradicts nothing."""
    for name in ("serial", "vendor", "product"):
        if name in before and name in now and before[name] != now[name]:
            return f"{name} is {now[name]}, it was {before[name]}"
    old, new = before.get("capacity", 0), now.get("capacity", 0)
    if old and new and abs(old - new) * CAPACITY_PART > max(old, new):
        return f"its capacity is {new} bytes, it was {old}"
    return ""
