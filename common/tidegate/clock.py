"""Times as they stand in formats: whole seconds, UTC, RFC 3339 with a ``Z``."""

import os
import re
import time
from datetime import UTC, datetime

from tidegate.errors import UsageError

#: 2026-01-01: a time that was over when this version was made, raised with releases. A host knows it without any clock
#: (docs/decisions/0016).
SOFTWARE_TIME = 1_767_225_600
TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z"
_TIME = re.compile(TIME_PATTERN)


def now() -> int:
    """Seconds since 1970, by the own clock. Whether that counts is a setting (``clock``)."""
    return int(time.time())


def created_time() -> int:
    """The one time inside a bundle: ``SOURCE_DATE_EPOCH`` where it is set, else now."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return now()
    try:
        return int(given)
    except ValueError:
        raise UsageError(f"SOURCE_DATE_EPOCH is {given!r}, not a whole number of seconds") from None


def format_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> int:
    """The seconds of an RFC 3339 time that ends in ``Z``; raises ValueError for anything else."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a time like 2026-01-31T08:00:00Z")
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
