"""Text from outside, made fit to be seen: no terminal escape of a stranger reaches a screen or a log."""

import os

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
