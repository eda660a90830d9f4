"""What all formats stand on: README.md (conventions) and the words that trust.md and bundle.md define."""

import base64
import binascii
import itertools
import json
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import blake3

LARGEST_INTEGER = 2**53 - 1
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_HEX = re.compile(r"[0-9a-f]*")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
# bundle.md, Manifest: what a *line* does not hold.
_NO_LINE = re.compile("[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class RefusedError(Exception):
    """A document's rule is broken. `cause` is the word of trust.md where it names one, else empty."""

    def __init__(self, rule: str, what: str, cause: str = "") -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule
        self.cause = cause


def need(condition: object, rule: str, what: str, cause: str = "") -> None:
    if not condition:
        raise RefusedError(rule, what, cause)


def blake(data: bytes) -> bytes:
    """BLAKE3-256."""
    return bytes(blake3.blake3(data).digest())


def canonical(value: object) -> bytes:
    """RFC 8785 for values without fractions: members by UTF-16 code units, the shortest escapes."""

    def ordered(item: object) -> object:
        if isinstance(item, dict):
            return {key: ordered(item[key]) for key in sorted(item, key=lambda text: text.encode("utf-16-be"))}
        return [ordered(inner) for inner in item] if isinstance(item, list) else item

    return json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def _whole(text: str) -> int:
    number = int(text)
    if abs(number) > LARGEST_INTEGER:
        raise ValueError("integer beyond 2^53 - 1")
    return number


def _no_fraction(text: str) -> int:
    raise ValueError(f"{text} is no integer")


def _holds_null(value: object) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(_holds_null(item) for item in inner)


def _nesting(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_nesting, inner), default=0)


def parse(data: bytes, rule: str, what: str) -> Any:
    """Canonical JSON and no other form (README.md)."""
    try:
        value = json.loads(
            data.decode("utf-8"), parse_int=_whole, parse_float=_no_fraction, parse_constant=_no_fraction
        )
        same = canonical(value) == data
        null = _holds_null(value)
        nesting = _nesting(value)
    except (ValueError, RecursionError) as error:
        raise RefusedError(rule, f"{what} is no JSON of integers: {error}") from None
    need(same, rule, f"{what} is not canonical")
    need(not null, rule, f"{what} holds null")
    need(nesting <= 64, rule, f"{what} nests more than 64 deep")
    return value


def parse_object(data: bytes, rule: str, what: str) -> dict[str, Any]:
    value = parse(data, rule, what)
    need(isinstance(value, dict), rule, f"{what} is no object")
    return dict(value)


def field(of: dict[str, Any], name: str, form: Callable[[Any], bool], rule: str, optional: bool = False) -> Any:
    """One field of an object; an optional one that is absent gives None, and null is never taken for absent."""
    if name not in of:
        need(optional, rule, f"{name} is missing")
        return None
    need(form(of[name]), rule, f"{name} is not as the document says")
    return of[name]


def is_name(value: object) -> bool:
    """trust.md: 1 to 64 of a-z 0-9 . _ -, first and last a letter or digit."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_time(value: object) -> bool:
    """trust.md: RFC 3339, whole seconds, Z, a date that exists."""
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        return False
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return False
    return moment.utcoffset() == timedelta(0)


def is_text(longest: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and len(value) <= longest


def is_line(longest: int, shortest: int = 0) -> Callable[[object], bool]:
    """bundle.md: text that can be printed as it is."""
    return lambda value: isinstance(value, str) and shortest <= len(value) <= longest and not _NO_LINE.search(value)


def is_int(low: int, high: int = LARGEST_INTEGER) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_hex(size: int) -> Callable[[object], bool]:
    """Lower-case hex of so many bytes."""
    return lambda value: isinstance(value, str) and len(value) == 2 * size and _HEX.fullmatch(value) is not None


def is_list(form: Callable[[Any], bool], low: int, high: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and low <= len(value) <= high and all(form(item) for item in value)


def is_rising(values: list[str]) -> bool:
    """trust.md: sorted means by bytes; each once."""
    as_bytes = [value.encode() for value in values]
    return all(a < b for a, b in itertools.pairwise(as_bytes))


def from_base64(text: object, rule: str, what: str) -> bytes:
    """RFC 4648, section 4, with padding, unused bits zero (T-1, L-11)."""
    try:
        need(isinstance(text, str), rule, f"{what} is no text")
        data = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(rule, f"{what} is no base64") from None
    need(base64.b64encode(data).decode() == text, rule, f"{what} is not the one form of base64")
    return data


def nfc(text: str) -> bytes:
    """trust.md, Keys: a passphrase's bytes."""
    return unicodedata.normalize("NFC", text).encode()
