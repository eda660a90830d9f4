"""Where this host's Tidegate lives, and its settings.

Root: ``--root``, ``TIDEGATE_ROOT``, else ``/var/lib/tidegate`` where it is writable or the user is root, else
``$XDG_DATA_HOME/tidegate``. Settings, later ones win: defaults, ``ROOT/tidegate.toml`` (written by ``init``: what
belongs to this root), ``/etc/tidegate/*.toml`` and ``$XDG_CONFIG_HOME/tidegate/*.toml`` (what belongs to the host or
person; skipped where a root was named by option or environment), environment ``TIDEGATE_…``, option.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tidegate.config_tables import (
    AfterLoadSettings,
    AlarmSettings,
    TargetSettings,
    read_after_load,
    read_alarm,
    read_targets,
)
from tidegate.errors import UsageError
from tidegate.names import NAME
from tidegate.units import GIB, MIB

SETTINGS_FILE = "tidegate.toml"
SLIP_FIELDS = ("held", "missing", "code", "date")
REDUNDANCY_MAX = 4  # repair symbols to source symbols, as tidegate.carrier.parts has it


class Role(StrEnum):
    """Which side of the gap this root is on."""

    LOW = "low"
    HIGH = "high"


class Release(StrEnum):
    """What a channel's content needs before it may be loaded."""

    BY_HAND = "by-hand"
    AUTOMATIC = "automatic"


class TwoPeople(StrEnum):
    """What shows that two people want something."""

    SIGNED = "signed"
    DECLARED = "declared"


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Settings of one channel, ``[channels.NAME]``."""

    release: Release = Release.BY_HAND


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How one registry is reached, ``[registries."HOST:PORT"]``; what is empty is found elsewhere or not used."""

    user: str = ""
    #: files with the password, or with a token that is sent as it is; their last line break does not count
    password_file: str = ""
    token_file: str = ""
    #: certificates (PEM) that are believed beside this host's own
    ca: str = ""
    client_cert: str = ""
    client_key: str = ""
    #: false: whoever answers is believed; for this registry alone, and nowhere that it redirects to
    tls_verify: bool = True
    plain_http: bool = False
    #: asked first when something is pulled, ``HOST[:PORT][/PREFIX]`` each
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a root. `origins` tells for each name which source won (``--show-config``)."""

    role: Role = Role.LOW
    #: low side: the channel's name and the sites it is for. high side: the own site is `sites[0]`
    channel: str = ""
    sites: tuple[str, ...] = ()
    clock_trusted: bool = False
    memory_bytes: int = 192 * MIB
    #: fraction of repair symbols on media; 0.1 is K=200 R=20
    redundancy: float = 0.1
    #: days after which a bundle expires; 0 for never
    expire_days: int = 0
    #: bytes that spool and quarantine together may take; 0 for the disk's own limit
    quota_bytes: int = 0
    #: bytes of content that was sent and not confirmed which one bundle may carry again; 0 for no limit
    again_max_bytes: int = 32 * GIB
    #: days that `cleanup` leaves things, each counted from when it became superfluous
    keep_days: int = 90
    #: high side: days that the listener and `cleanup` leave what came over a stream and is not whole
    keep_incomplete_days: int = 10
    #: high side: hours without a whole canary after which that is an alarm; 0 for never
    canary_hours: int = 26
    #: high side: what two people need where two are asked for, as for a lower floor of time
    two_people: TwoPeople = TwoPeople.SIGNED
    stage: str = "default"
    #: high side: what a return slip may tell besides the head of the ledger
    slip_fields: tuple[str, ...] = SLIP_FIELDS
    #: folders whose subfolders count as media besides the mount table
    media_folders: tuple[str, ...] = ("/media", "/run/media", "/mnt")
    #: what a label asks of whoever finds the medium
    if_found: str = "If found: please do not plug it in. Hand it in at the site named above or at a security office."
    #: files with cosign public keys: where any are named, the high side believes these and no carried ones
    provenance_keys: tuple[str, ...] = ()
    channels: dict[str, ChannelSettings] = field(default_factory=dict)
    registries: dict[str, RegistrySettings] = field(default_factory=dict)
    #: what names after ``load --to``, and after ``load:`` in a list, stand for here
    targets: dict[str, TargetSettings] = field(default_factory=dict)
    #: high side: whether every load goes to all targets that the list asks for, also one that runs by itself
    load_asked: bool = False
    after_load: AfterLoadSettings = field(default_factory=AfterLoadSettings)
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    origins: dict[str, str] = field(default_factory=dict)

    def release_of(self, channel_name: str) -> Release:
        return self.channels.get(channel_name, ChannelSettings()).release


def find_root(option: str | Path | None = None) -> Path:
    """The root folder by the documented order; it need not exist yet."""
    given = option or os.environ.get("TIDEGATE_ROOT")
    if given:
        return Path(given).absolute()
    system = Path("/var/lib/tidegate")
    if os.geteuid() == 0 or (system.is_dir() and os.access(system, os.W_OK)):
        return system
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(data) / "tidegate"


def load_settings(root: Path, *, named: bool) -> Settings:
    """The settings of `root`. `named` says that the root was given by option or environment."""
    settings = _overlay(Settings(), root / SETTINGS_FILE)
    if not named:
        for folder in (Path("/etc/tidegate"), _user_config()):
            for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
                settings = _overlay(settings, path)
    return _environment(settings)


def _user_config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "tidegate"


def _overlay(settings: Settings, path: Path) -> Settings:
    if not path.is_file():
        return settings
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return _with_values(settings, table, str(path))


_TRUE, _FALSE = {"1", "true", "yes"}, {"0", "false", "no", ""}


def _environment(settings: Settings) -> Settings:
    known = {item.name: item.type for item in fields(Settings)}
    table: dict[str, Any] = {}
    for name in known:
        text = os.environ.get(f"TIDEGATE_{name.upper()}")
        if text is not None and name not in _TABLES | {"origins"}:
            table[name] = _from_text(name, text)
    return _with_values(settings, table, "environment") if table else settings


def _from_text(name: str, text: str) -> Any:
    default = getattr(Settings(), name)
    if isinstance(default, bool):
        if text.lower() not in _TRUE | _FALSE:
            raise UsageError(f"TIDEGATE_{name.upper()} is {text!r}, neither true nor false")
        return text.lower() in _TRUE
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            raise UsageError(f"TIDEGATE_{name.upper()} is {text!r}, not a number") from None
    return tuple(text.split(",")) if isinstance(default, tuple) else text


def _with_values(settings: Settings, table: dict[str, Any], origin: str) -> Settings:
    _refuse_unknown(table, Settings, f"{origin}:")
    for name, value in table.items():
        if name not in _TABLES:
            _check(name, value, f"{origin}: {name}")
    values = {**table}
    for name in _TUPLES & values.keys():
        values[name] = tuple(values[name])
    if "role" in values:
        values["role"] = Role(values["role"])
    if "two_people" in values:
        values["two_people"] = TwoPeople(values["two_people"])
    if "redundancy" in values:
        values["redundancy"] = float(values["redundancy"])
    if "channels" in values:
        values["channels"] = {**settings.channels, **_channels(values["channels"], f"{origin}: channels")}
    if "registries" in values:
        values["registries"] = {**settings.registries, **_registries(values["registries"], f"{origin}: registries")}
    if "targets" in values:
        values["targets"] = {**settings.targets, **read_targets(values["targets"], f"{origin}: targets")}
    if "after_load" in values:
        values["after_load"] = read_after_load(values["after_load"], f"{origin}: after_load")
    if "alarm" in values:
        values["alarm"] = read_alarm(values["alarm"], f"{origin}: alarm")
    return replace(settings, **values, origins={**settings.origins, **dict.fromkeys(table, origin)})


def _channels(value: object, where: str) -> dict[str, ChannelSettings]:
    """The tables ``[channels.NAME]``. A mistyped setting there must not leave a channel at its default in silence."""
    found = {}
    for name, table in _table(value, where).items():
        facts = _table(table, f"{where}.{name}")
        _refuse_unknown(facts, ChannelSettings, f"{where}.{name}:")
        for key, setting in facts.items():
            _check(key, setting, f"{where}.{name}.{key}")
        found[name] = ChannelSettings(Release(facts["release"])) if "release" in facts else ChannelSettings()
    return found


def _registries(value: object, where: str) -> dict[str, RegistrySettings]:
    """The tables ``[registries."HOST:PORT"]``."""
    found = {}
    for host, table in _table(value, where).items():
        facts = _table(table, f"{where}.{host}")
        if not re.fullmatch(_HOST, host):
            raise UsageError(f'{where}.{host}: is no registry; write it like [registries."registry.example:5000"]')
        _refuse_unknown(facts, RegistrySettings, f"{where}.{host}:")
        for key, setting in facts.items():
            _check(key, setting, f"{where}.{host}.{key}")
        found[host] = RegistrySettings(**{**facts, "mirrors": tuple(facts.get("mirrors", ()))})
    return found


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: is {value!r}, not a table like [channels.NAME]")
    return value


def _refuse_unknown(table: dict[str, Any], kind: type, where: str) -> None:
    known = {item.name for item in fields(kind)} - {"origins"}
    for name in table:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"{where} unknown setting {name!r}{meant}")


def _check(name: str, value: object, where: str) -> None:
    is_allowed, allowed = _ALLOWED[name]
    if not is_allowed(value):
        shown = json.dumps(value, ensure_ascii=False, default=str)
        raise UsageError(f"{where}: is {shown}, not {allowed}")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= REDUNDANCY_MAX


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _are_slip_fields(value: object) -> bool:
    return isinstance(value, list | tuple) and all(item in SLIP_FIELDS for item in value)


def _one_of(kind: type[StrEnum]) -> tuple[Callable[[object], bool], str]:
    words = [str(item) for item in kind]
    return (lambda value: value in words), " or ".join(f'"{word}"' for word in words)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.match(NAME, value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_yes_or_no(value: object) -> bool:
    return isinstance(value, bool)


_HOST = r"(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
#: settings that are tables of their own
_TABLES = {"channels", "registries", "targets", "after_load", "alarm"}
_TUPLES = {"sites", "media_folders", "provenance_keys", "slip_fields"}
#: for each setting: whether a value will do, and what would, in words
_ALLOWED: dict[str, tuple[Callable[[object], bool], str]] = {
    "role": _one_of(Role),
    "release": _one_of(Release),
    "two_people": _one_of(TwoPeople),
    "channel": (lambda value: value == "" or _is_name(value), "a name"),
    "sites": (_are_texts, 'a list of names like ["plant-7"]'),
    "clock_trusted": (lambda value: isinstance(value, bool), "true or false"),
    "load_asked": (lambda value: isinstance(value, bool), "true or false"),
    "memory_bytes": (_is_size, "a whole number of bytes"),
    "redundancy": (_is_share, f"a number from 0 to {REDUNDANCY_MAX}; 0.1 is 10%"),
    "expire_days": (_is_size, "a whole number of days, 0 for never"),
    "quota_bytes": (_is_size, "a whole number of bytes, 0 for no quota"),
    "again_max_bytes": (_is_size, "a whole number of bytes, 0 for no limit"),
    **dict.fromkeys(("keep_days", "keep_incomplete_days"), (_is_size, "a whole number of days")),
    "canary_hours": (_is_size, "a whole number of hours, 0 for never"),
    "stage": (_is_name, "a name: 1 to 64 of a-z 0-9 . _ -, first and last a letter or digit"),
    "slip_fields": (_are_slip_fields, 'a list of "held", "missing", "code", "date"'),
    "if_found": (lambda value: isinstance(value, str), "a text"),
    "media_folders": (_are_texts, 'a list of folders like ["/media", "/mnt"]'),
    "provenance_keys": (_are_texts, 'a list of files like ["/etc/tidegate/release.pub"]'),
    **dict.fromkeys(("user", "password_file", "token_file", "ca", "client_cert", "client_key"), (_is_text, "a text")),
    **dict.fromkeys(("tls_verify", "plain_http"), (_is_yes_or_no, "true or false")),
    "mirrors": (_are_texts, 'a list like ["mirror.example:5000/hub"]'),
}
