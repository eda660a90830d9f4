"""Settings that are tables: targets of a load, what runs after one, and who is told when a timed run fails.

Each is read by its fields: what a field may hold follows from its type, and what it means is said in
docs/operating/settings.md. Raises UsageError naming table and field.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Any

from tidegate.errors import UsageError
from tidegate.names import NAME

SECONDS_MAX = 24 * 3600
_LEFT = re.compile(r"[A-Za-z0-9.:_\[\]-]+(?:/[a-z0-9._-]+)*/?")
_RIGHT = re.compile(r"(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/|$))*")
_HOST_PORT = re.compile(r"(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")
_HARBOR = "harbor"


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """A place that transfer lists may name by ``load:``, ``[targets.NAME]``; `to` as ``load --to`` takes it."""

    to: str = ""
    #: beginnings of names, and what stands there in their place; the longest that fits counts
    rewrite: dict[str, str] = field(default_factory=dict)
    #: "harbor": projects that are missing are created by its API
    projects: str = ""
    #: whether everybody may pull from a project that is created
    projects_public: bool = False
    #: what reports call the Secret with the login of this registry
    secret: str = ""
    #: reports that are written after each load: format to file
    reports: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AfterLoadSettings:
    """What is told when something was loaded, ``[after_load]``; empty: nobody."""

    #: a program and its arguments; no shell looks at them
    command: tuple[str, ...] = ()
    url: str = ""
    #: a file with a token that goes along as ``Authorization: Bearer``
    token_file: str = ""
    #: certificates (PEM) that are believed beside this host's own
    ca: str = ""
    seconds: int = 60


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """Who is told when `sync` fails, ``[alarm]``."""

    command: tuple[str, ...] = ()
    mail_to: tuple[str, ...] = ()
    mail_from: str = ""
    #: HOST:PORT of the relay
    smtp: str = ""
    starttls: bool = False
    smtp_user: str = ""
    smtp_password_file: str = ""
    #: certificates (PEM) that are believed beside this host's own
    ca: str = ""
    seconds: int = 30


def read_targets(value: object, where: str) -> dict[str, TargetSettings]:
    """The tables ``[targets.NAME]``."""
    found = {}
    for name, table in _table(value, where).items():
        facts = _values(TargetSettings, table, f"{where}.{name}")
        if not re.match(NAME, name) or not facts.get("to"):
            raise UsageError(f"{where}.{name}: needs a name of small letters, and to: what load --to takes")
        if facts.get("projects", "") not in {"", _HARBOR}:
            raise UsageError(f'{where}.{name}.projects: is {facts["projects"]!r}, not "{_HARBOR}"')
        for left, right in facts.get("rewrite", {}).items():
            if not _LEFT.fullmatch(left) or not _RIGHT.fullmatch(right) or left.endswith("/") != right.endswith("/"):
                raise UsageError(
                    f"{where}.{name}.rewrite: {left!r} = {right!r}: not two beginnings of names",
                    hint='write it like "docker.io/library/" = "mirror/library/", or without / at the end of both',
                )
        found[name] = TargetSettings(**facts)
    return found


def read_after_load(value: object, where: str) -> AfterLoadSettings:
    """The table ``[after_load]``."""
    found = AfterLoadSettings(**_values(AfterLoadSettings, _table(value, where), where))
    if found.url and not re.fullmatch(r"https?://[^\s@?#/]+(?:/[^\s@#]*)?", found.url):
        raise UsageError(f"{where}.url: is no address like https://HOST/PATH", hint="a token belongs into token_file")
    if found.url.startswith("http:") and found.token_file and not _is_local(found.url):
        raise UsageError(f"{where}: a token does not go over plain http", hint="write https:// in url")
    return found


def read_alarm(value: object, where: str) -> AlarmSettings:
    """The table ``[alarm]``."""
    found = AlarmSettings(**_values(AlarmSettings, _table(value, where), where))
    if found.mail_to and not (found.smtp and found.mail_from):
        raise UsageError(f"{where}: mail_to needs smtp and mail_from beside it")
    if found.smtp and not _HOST_PORT.fullmatch(found.smtp):
        raise UsageError(f"{where}.smtp: is {found.smtp!r}, not HOST:PORT")
    for address in (*found.mail_to, *filter(None, (found.mail_from,))):
        if not re.fullmatch(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+", address):
            raise UsageError(f"{where}: {address!r} is no address of mail")
    return found


def _is_local(url: str) -> bool:
    host = url.partition("://")[2].partition("/")[0]
    return re.fullmatch(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?", host) is not None


def _values(kind: type, value: object, where: str) -> dict[str, Any]:
    """The values of one table, each of its field's type."""
    facts = _table(value, where)
    known = {item.name: str(item.type) for item in fields(kind)}
    found = {}
    for name, given in facts.items():
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(f"{where}: unknown setting {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        found[name] = _of_type(given, known[name], f"{where}.{name}")
    return found


def _of_type(value: object, kind: str, where: str) -> Any:
    if "dict" in kind:
        table = _table(value, where)
        if all(isinstance(item, str) and item for item in table.values()):
            return table
        raise UsageError(f'{where}: is no table of texts like {{ "A" = "B" }}')
    if "tuple" in kind:
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        raise UsageError(f'{where}: is {value!r}, not a list like ["A", "B"]')
    if "bool" in kind:
        if isinstance(value, bool):
            return value
        raise UsageError(f"{where}: is {value!r}, not true or false")
    if "int" in kind:
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= SECONDS_MAX:
            return value
        raise UsageError(f"{where}: is {value!r}, not a number of seconds from 1 to {SECONDS_MAX}")
    if isinstance(value, str) and "\0" not in value:
        return value
    raise UsageError(f"{where}: is {value!r}, not a text")


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: is {value!r}, not a table")
    return value
