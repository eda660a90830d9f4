"""Amounts as a person types them: shares and lengths of time. Raises UsageError. Sizes: `tidegate.units`."""

from tidegate.config import REDUNDANCY_MAX
from tidegate.errors import UsageError

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_percent(text: str) -> float:
    """``10%``, ``10`` or ``0.1``: all a tenth."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        raise UsageError(f"{text!r} is no percentage: write it like 10%") from None
    share = value if value < 1 and "%" not in text else value / 100
    if not 0 <= share <= REDUNDANCY_MAX:
        raise UsageError(f"{text!r} is not within 0% and {REDUNDANCY_MAX * 100}%")
    return share


def parse_seconds(text: str) -> float:
    """``5ms``, ``30s``, ``2h``, ``7d``."""
    number, unit = text.strip().rstrip("usmhd"), text.strip().lstrip("0123456789.")
    try:
        value = float(number) * _SECONDS[unit]
    except (ValueError, KeyError):
        raise UsageError(f"{text!r} is no length of time", hint="write it like 5ms, 30s, 2h or 7d") from None
    if not 0 <= value < 10 * 365 * 86400:
        raise UsageError(f"{text!r} is too long")
    return value
