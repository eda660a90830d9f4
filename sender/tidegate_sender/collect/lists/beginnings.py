"""Lists told by their beginning: whether a file is a transfer list, or which other tool it is for."""

import re
from pathlib import Path

from tidegate.units import KIB

_TOP_LEVEL = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?tidegate[\"']?[ \t]*:", re.MULTILINE)
_HAULER = re.compile(rb"^apiVersion:[ \t]*[\"']?content\.hauler\.cattle\.io/", re.MULTILINE)
_LOOK_BYTES = 64 * KIB  # the top level key stands among the first lines


def beginning_of(path: Path) -> bytes:
    """The first bytes of a file; none where there is no file, or where it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with open(path, "rb") as file:
            return file.read(_LOOK_BYTES)
    except (OSError, ValueError):
        return b""


def is_transfer_list(first_bytes: bytes) -> bool:
    """Whether the beginning of a YAML file is a transfer list's."""
    return _TOP_LEVEL.search(first_bytes) is not None


def is_hauler(first_bytes: bytes) -> bool:
    """Whether the beginning of a YAML file is a hauler manifest's."""
    return _HAULER.search(first_bytes) is not None
