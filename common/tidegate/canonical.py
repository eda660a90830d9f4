"""Canonical JSON (RFC 8785) in both directions, into frozen dataclasses.

Whatever is signed or logged is written by `dumps` and read by `loads`, which accepts the canonical form
only: a second form of the same value (another order of keys, a repeated key, a float) is refused.
Integers stay within RFC 8785's ±(2^53 - 1).
"""

from typing import Any, TypeVar

from tidegate.errors import FormatError

T = TypeVar("T")
INTEGER_MAX = 2**53 - 1
#: objects and arrays within each other: the same on every host, where the stack of an interpreter is not
DEPTH_MAX = 64


def to_builtins(value: Any) -> Any:
    """A dataclass as plain dicts and lists; fields that are None are left out."""
    import msgspec

    return _without_none(msgspec.to_builtins(value))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def dumps(value: Any) -> bytes:
    """The canonical bytes of a dataclass, dict or list. Raises ValueError for floats that are no integers."""
    import rfc8785

    return rfc8785.dumps(to_builtins(value))


def loads(data: bytes | memoryview, type_: type[T], *, what: str, max_bytes: int, exact: bool = True) -> T:
    """Decode canonical JSON of at most `max_bytes` into `type_`.

    `exact` demands the canonical form; foreign JSON (OCI manifests) is read with ``exact=False``.
    Raises FormatError naming `what`.
    """
    import msgspec
    import rfc8785

    if len(data) > max_bytes:
        raise FormatError(f"{what}: {len(data)} bytes, the limit is {max_bytes}")
    try:
        if exact:
            plain = msgspec.json.decode(data)
            if rfc8785.dumps(plain) != bytes(data):
                raise FormatError(f"{what}: is not canonical JSON (RFC 8785)")
            _check_values(plain, what)
            return msgspec.convert(plain, type_, strict=True)
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, rfc8785.CanonicalizationError, UnicodeError, RecursionError, ValueError) as error:
        raise FormatError(f"{what}: {error}") from None


def _check_values(value: Any, what: str, depth: int = 0) -> None:
    """No null, no float and no nesting without end, in fields known or unknown (docs/format/README.md)."""
    if value is None or isinstance(value, float):
        raise FormatError(f"{what}: holds {value!r}; a number is an integer, and a field that does not apply is absent")
    if not isinstance(value, dict | list):
        return
    if depth == DEPTH_MAX:
        raise FormatError(f"{what}: nests more than {DEPTH_MAX} deep")
    for item in value.values() if isinstance(value, dict) else value:
        _check_values(item, what, depth + 1)
