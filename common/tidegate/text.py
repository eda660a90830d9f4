"""Text from outside, made fit to be seen: no terminal escape of a stranger reaches a screen or a log."""

import os
import re

from tidegate.errors import UsageError

REASON_MAX = 256  # characters, as docs/format/bundle.md has it

LIMIT = 1000  # characters; a path on Linux has at most 4096 bytes, and nobody reads that


def printable(text: str | os.PathLike[str], limit: int = LIMIT) -> str:
    """`text` with everything that is not printable escaped, cut to `limit` characters.

    Bytes of a file name that are no UTF-8 (PEP 383) become ``\\xNN``.
    """
    plain = text if isinstance(text, str) else os.fspath(text)
    if any("\udc80" <= letter <= "\udcff" for letter in plain):
        plain = plain.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in plain)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def check_reason(reason: str) -> str:
    """`reason` as a person gave it, where it is one line of 1 to 256 characters; raises UsageError where not."""
    if not reason.strip() or len(reason) > REASON_MAX or not reason.isprintable():
        raise UsageError(f"the reason is one line of 1 to {REASON_MAX} characters")
    return reason


def screen_lines(text: str) -> str:
    """`text` of several lines, fit for a screen: as `printable`, but tabs and line breaks stay and nothing is cut.

    Where everything that is said goes through: whoever forgot to escape a stranger's words has not opened a terminal.
    """
    if text.isprintable():
        return text
    pieces = re.split(r"(\r?\n|\t)", text)  # CSV ends its lines with both
    return "".join(piece if number % 2 else printable(piece, 12 * len(piece)) for number, piece in enumerate(pieces))


def screen_json(text: str) -> str:
    """One line of JSON, with what is not printable (DEL, C1, bidi, lone surrogates) as JSON's own escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _json_escape(ord(c)) for c in text)


def _json_escape(point: int) -> str:
    if point < 0x10000:
        return f"\\u{point:04x}"
    point -= 0x10000
    return f"\\u{0xD800 + (point >> 10):04x}\\u{0xDC00 + (point & 0x3FF):04x}"
