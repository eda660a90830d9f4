"""Where this host's Tidegate lives, and its settings.

Root: ``--root``, ``TIDEGATE_ROOT``, else ``/var/lib/tidegate`` where it is writable or the user is root, else
``$XDG_DATA_HOME/tidegate``. Settings, later ones win: defaults, ``ROOT/tidegate.toml`` (written by ``init``: what
belongs to this root), ``/etc/tidegate/*.toml`` and ``$XDG_CONFIG_HOME/tidegate/*.toml`` (what belongs to the host or
person; skipped where a root was named by option or environment), environment ``TIDEGATE_…``, option.
"""

import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tidegate.errors import UsageError
from tidegate.units import MIB

SETTINGS_FILE = "tidegate.toml"


class Role(StrEnum):
    """Which side of the gap this root is on."""

    LOW = "low"
    HIGH = "high"


class Release(StrEnum):
    """What a channel's content needs before it may be loaded."""

    BY_HAND = "by-hand"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Settings of one channel, ``[channels.NAME]``."""

    release: Release = Release.BY_HAND


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
    stage: str = "default"
    #: folders whose subfolders count as media besides the mount table
    media_folders: tuple[str, ...] = ("/media", "/run/media", "/mnt")
    channels: dict[str, ChannelSettings] = field(default_factory=dict)
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
        raise UsageError(f"{path}: {error}") from None
    return _with_values(settings, table, str(path))


def _environment(settings: Settings) -> Settings:
    known = {item.name: item.type for item in fields(Settings)}
    table: dict[str, Any] = {}
    for name in known:
        text = os.environ.get(f"TIDEGATE_{name.upper()}")
        if text is not None and name not in {"channels", "origins"}:
            table[name] = _from_text(name, text)
    return _with_values(settings, table, "environment") if table else settings


def _from_text(name: str, text: str) -> Any:
    default = getattr(Settings(), name)
    if isinstance(default, bool):
        return text.lower() in {"1", "true", "yes"}
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            raise UsageError(f"TIDEGATE_{name.upper()} is {text!r}, not a number") from None
    return tuple(text.split(",")) if isinstance(default, tuple) else text


def _with_values(settings: Settings, table: dict[str, Any], origin: str) -> Settings:
    import msgspec

    known = {item.name for item in fields(Settings)} - {"origins"}
    for name in table:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"{origin}: unknown setting {name!r}{meant}")
    try:
        changed = msgspec.convert({**table}, Settings, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(f"{origin}: {error}") from None
    values = {name: getattr(changed, name) for name in table}
    if "channels" in values:
        values["channels"] = {**settings.channels, **values["channels"]}
    return replace(settings, **values, origins={**settings.origins, **dict.fromkeys(table, origin)})
