"""Sizes: the constants that limits are written in, and sizes as people read and type them."""

import re

from tidegate.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_FACTORS = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


def format_bytes(count: int) -> str:
    """``18.2 GiB``: at most one decimal, binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def parse_bytes(text: str) -> int:
    """A size as a person types it: ``32G``, ``1.5 GiB``, ``4096``. Units are binary."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no size: write it like 32G, 500M or 4096")
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def format_duration(seconds: float) -> str:
    """``6m 41s``, ``1h 02m``, ``0.8s``; never less than ``0.1s``."""
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
