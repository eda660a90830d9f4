"""What a registry answers to whom it does not know: the header ``WWW-Authenticate``, read with limits (RFC 9110, 11.6).

Only `Basic` and `Bearer` matter; the words of Bearer are those of distribution's token specification: `realm` is where
tokens are given, `service` the registry's name there, `scope` what the token must allow. Nothing is sent from here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

HEADER_MAX = 8192  # characters; a challenge has some 200
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*)(?=\s|$)")
_PARAMETER = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in which a registry lets itself be convinced; `scheme` in small letters."""

    scheme: str
    realm: str = ""
    service: str = ""
    scopes: tuple[str, ...] = ()


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all ``WWW-Authenticate`` headers; what cannot be read is left out."""
    return tuple(challenge for header in headers for challenge in _parse(header[:HEADER_MAX]))


def _parse(header: str) -> Iterable[Challenge]:
    position = 0
    while scheme := _SCHEME.match(header, position):
        position = scheme.end()
        fields: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            name, quoted, plain = parameter.groups()
            fields.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
            position = parameter.end()
        yield Challenge(
            scheme[1].lower(),
            fields.get("realm", ""),
            fields.get("service", ""),
            tuple(fields.get("scope", "").split()),
        )
