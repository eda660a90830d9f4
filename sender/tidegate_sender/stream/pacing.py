"""How fast a stream goes: a rate by time of day, and a token bucket that holds it.

A diode drops what its slowest part cannot take, and nobody says so: a rate is always in force. It counts the bytes of
IP packets. Where the interface has the ``fq`` queue the kernel spreads packets as well (link.py); the bucket does not
need it.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tidegate.errors import UsageError

#: how long a sleep may be late without the rate being missed
BUCKET_SECONDS = 0.005
RATE_MIN = 1000  # bytes a second
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(bit|b|byte|bytes)?(?:/s|ps)?", re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})=(.+)")
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True, slots=True)
class Window:
    """A rate for a time of day, minutes since midnight; one that ends before it starts goes over midnight."""

    start: int
    end: int
    rate: int

    def holds(self, minute: int) -> bool:
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


@dataclass(frozen=True, slots=True)
class RateSchedule:
    """Bytes a second, and windows of the local day in which another rate holds; the first that fits wins."""

    rate: int
    windows: tuple[Window, ...] = ()

    def at(self, moment: datetime) -> int:
        minute = moment.hour * 60 + moment.minute
        return next((window.rate for window in self.windows if window.holds(minute)), self.rate)

    def now(self) -> int:
        return self.at(datetime.now().astimezone()) if self.windows else self.rate

    @property
    def highest(self) -> int:
        """What the burst is reckoned by."""
        return max(self.rate, *(window.rate for window in self.windows), RATE_MIN)


def parse_rate(text: str) -> int:
    """``9gbit``, ``500mbit``, ``20MB``: bytes a second, decimal units. Raises UsageError."""
    match = _RATE.fullmatch(text.strip())
    if match is None or not (match[2] or match[3]):
        raise UsageError(f"{text!r} is no rate", hint="write it like 9gbit, 500mbit or 100MB (bytes a second)")
    value = float(match[1]) * _FACTORS[match[2].lower()]
    # "b" alone is bytes, as in MB; bits are spelled out
    rate = int(value / 8) if (match[3] or "bit").lower() == "bit" else int(value)
    if rate < RATE_MIN:
        raise UsageError(f"{text!r} is {rate} bytes a second, the least is {RATE_MIN}")
    return rate


def parse_schedule(text: str) -> RateSchedule:
    """``1gbit`` or ``1gbit,22:00-06:00=9gbit``. Raises UsageError."""
    first, *rest = text.split(",")
    return RateSchedule(parse_rate(first), tuple(_parse_window(item.strip()) for item in rest))


def _parse_window(text: str) -> Window:
    match = _SPAN.fullmatch(text)
    times = [int(item) for item in match.groups()[:4]] if match else []
    if match is None or times[0] > 24 or times[2] > 24 or times[1] > 59 or times[3] > 59:
        raise UsageError(f"{text!r} is no time of day with a rate", hint="write it like 22:00-06:00=9gbit")
    return Window(times[0] * 60 + times[1], times[2] * 60 + times[3], parse_rate(match[5]))


def format_rate(rate: float) -> str:
    """``9 Gbit/s``, ``1.5 Mbit/s``."""
    bits = rate * 8
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits < 1000:
            return f"{bits:.3g} {unit}"
        bits /= 1000
    return f"{bits:.4g} Gbit/s"


class TokenBucket:
    """Holds a rate: `spend` waits until so many bytes may go. A late sleep is made up for within the bucket."""

    def __init__(
        self,
        schedule: RateSchedule,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.schedule = schedule
        self._clock = clock
        self._sleep = sleep
        self._looked = -1.0
        self.rate = schedule.now()
        self._free_at = clock()

    def spend(self, count: int) -> None:
        """Wait until `count` bytes may be sent, and count them."""
        now = self._clock()
        if self.schedule.windows and now - self._looked >= 1:  # the hour is looked up once a second
            self._looked, self.rate = now, self.schedule.now()
        self._free_at = max(self._free_at, now - BUCKET_SECONDS)
        if self._free_at > now:
            self._sleep(self._free_at - now)
        self._free_at += count / self.rate
